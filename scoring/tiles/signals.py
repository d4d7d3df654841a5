"""Which signals are folded: activate one, fold its history. None is ever given up: docs/adr/0005."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime

import orjson
from django.db import transaction

from scoring import language
from scoring.compiler.fold import fold_sql
from scoring.models import Signal
from scoring.models.raw import cursor
from scoring.tiles.folding import OPEN_DAY, RESOLVED, append_sql, load_signal
from scoring.tiles.locks import Cursor, stop_senders, take_fold_lock

CHUNK = 10_000  # event ids that one step of a backfill folds: below 200 ms even beside other work


def register(*, signals: Iterable[language.Signal], at: datetime) -> list[Signal]:
    """Make sure that ingest folds these signals from now on, and return their rows, in no special order.

    A row that is new is not ready: its history waits for `backfill`. Two signals with the same content are one row.
    Commits: it must not be called inside a transaction.
    """
    wanted = {language.signal_digest(signal): signal for signal in signals}
    stored = list(Signal.objects.filter(digest__in=wanted))
    if len(stored) == len(wanted):
        return stored
    with transaction.atomic(durable=True), cursor() as c:
        stop_senders(c)
        # Every event that could be missed live is committed by now, with an id up to here.
        barrier = newest_event(c)
        for digest, signal in sorted(wanted.items()):
            definition = orjson.dumps(language.dump_signal(signal)).decode()
            c.execute(_REGISTER, {"digest": digest, "definition": definition, "at": at, "barrier": barrier})
    return list(Signal.objects.filter(digest__in=wanted))


def newest_event(c: Cursor) -> int:
    """Return the newest id that an event has taken, be it committed or not; 0 if there is none."""
    row = c.execute(_NEWEST_EVENT).fetchone()
    return int(row[0]) if row else 0


_NEWEST_EVENT = """
SELECT CASE WHEN is_called AND EXISTS (SELECT FROM scoring_event) THEN last_value ELSE 0 END
FROM scoring_event_id_seq
"""
_REGISTER = """
INSERT INTO scoring_signal (digest, definition, activated_at, barrier, backfilled_to, known_from)
SELECT %(digest)s::text, %(definition)s::jsonb, %(at)s::timestamptz, %(barrier)s::bigint, 0, max(events_from)
FROM scoring_source
ON CONFLICT (digest) DO NOTHING
"""


def known_from(*, signals: Mapping[str, language.Signal]) -> dict[str, date]:
    """Return the first day (UTC) of which all is known, for those of the named signals that have one.

    They were registered after events had been dropped. Of the others all of history is counted.
    """
    names = {language.signal_digest(signal): name for name, signal in signals.items()}
    rows = Signal.objects.filter(digest__in=names, known_from__isnull=False)
    return {names[digest]: day for digest, day in rows.values_list("digest", "known_from") if day}


def backfill(
    *, signals: Iterable[Signal], on_progress: Callable[[int, int], object] = lambda done, total: None
) -> None:
    """Fold all of history for the signals that are not ready; `on_progress` is told (done, total) event ids.

    Safe to kill and to run again, and to run twice at once: each chunk commits its tiles with its cursor.
    """
    ids = [signal.pk for signal in signals]
    with cursor() as c:
        c.execute(_SUMMARIZE)
    total = max(Signal.objects.filter(pk__in=ids).values_list("barrier", flat=True), default=0)
    while backfill_chunk(signal_ids=ids):
        done = min(Signal.objects.filter(pk__in=ids).values_list("backfilled_to", flat=True))
        on_progress(min(done, total), total)


# A chunk finds its events by a BRIN index on ids, which autovacuum may not have brought up to date yet.
_SUMMARIZE = """
SELECT brin_summarize_new_values(i.indexrelid)
FROM pg_inherits h JOIN pg_index i ON i.indrelid = h.inhrelid
JOIN pg_class k ON k.oid = i.indexrelid JOIN pg_am m ON m.oid = k.relam AND m.amname = 'brin'
WHERE h.inhparent = 'scoring_event'::regclass
"""


def backfill_chunk(*, signal_ids: Sequence[int], size: int = CHUNK) -> bool:
    """Fold up to `size` event ids of history for those signals that are furthest behind, in one transaction.

    Returns whether anything was left to do, and was done.
    """
    with transaction.atomic(durable=True), cursor() as c:
        take_fold_lock(c)
        behind = c.execute(_BEHIND, {"ids": list(signal_ids)}).fetchall()
        if not behind:
            return False
        after = min(cursor_ for _, _, cursor_, _ in behind)
        first = [(id_, text, barrier) for id_, text, cursor_, barrier in behind if cursor_ == after]
        others = [cursor_ for _, _, cursor_, _ in behind if cursor_ > after]
        upto = min([after + size, *others, *(barrier for *_, barrier in first)])
        fold = fold_sql({id_: load_signal(text) for id_, text, _ in first})
        c.execute(append_sql(_STORED, fold.sql), {"after": after, "upto": upto, **fold.params})
        c.execute(_ADVANCE, {"ids": [id_ for id_, *_ in first], "upto": upto})
        return True


_BEHIND = """
SELECT id, definition::text, backfilled_to, barrier FROM scoring_signal
WHERE id = ANY (%(ids)s::bigint[]) AND backfilled_to < barrier ORDER BY id
"""
_ADVANCE = "UPDATE scoring_signal SET backfilled_to = %(upto)s::bigint WHERE id = ANY (%(ids)s::bigint[])"
_STORED = f"""{RESOLVED}
JOIN scoring_source s ON s.id = e.source_id
WHERE e.id > %(after)s::bigint AND e.id <= %(upto)s::bigint AND {OPEN_DAY}
"""
