"""Tiles: the daily folds of events that rules read. `tiles = fold(events)`, exactly and at any moment.

Two locks keep it so. The gate: ingest holds it shared while it stores events and folds them, and whoever changes
which signals are folded takes it alone for a moment. The fold lock: whoever moves users holds it shared, and whoever
folds stored events holds it alone, so that nobody's tiles are folded while they move.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
import psycopg
from django.db import transaction

from scoring import language
from scoring.compiler.fold import KEY, TILE_COLUMNS, fold_sql, signals_for
from scoring.compiler.query import Query
from scoring.identity import Change
from scoring.language.document import ANYTHING
from scoring.models import Signal
from scoring.models.raw import cursor

Cursor = psycopg.Cursor[Any]

LOCKS = 0x50514C  # the namespace of this system's advisory locks on stored facts
GATE, FOLD = 1, 2
CHUNK = 10_000  # event ids that one step of a backfill folds: below 200 ms even beside other work


def hold_gate(c: Cursor) -> None:
    """Hold the gate shared to the transaction's end. The signals must be read by a later statement."""
    c.execute(f"SELECT pg_advisory_xact_lock_shared({LOCKS}, {GATE})")


def hold_fold_lock(c: Cursor) -> None:
    """Hold the fold lock shared to the transaction's end: users may be moved."""
    c.execute(f"SELECT pg_advisory_xact_lock_shared({LOCKS}, {FOLD})")


def active(c: Cursor) -> dict[int, language.Signal]:
    """Return the signals that ingest folds, by id."""
    return {signal_id: _signal(text) for signal_id, text in c.execute(_ACTIVE)}


_ACTIVE = "SELECT id, definition::text FROM scoring_signal WHERE retired_at IS NULL"


@lru_cache(maxsize=4096)
def _signal(definition: str) -> language.Signal:
    return language.load_signal(orjson.loads(definition))


def append(c: Cursor, *, events: Query, names: Iterable[str], signals: dict[int, language.Signal]) -> None:
    """Append the partial tiles of new events: `events` selects them with the columns that compiler.fold names.

    `names` are the names that occur among them. The gate is held, and the users are locked.
    """
    matching = signals_for(signals, names=names)
    if matching:
        fold = fold_sql(matching)
        c.execute(_append_sql(events.sql, fold.sql), {**events.params, **fold.params})


@lru_cache(maxsize=256)
def _append_sql(events: str, fold: str) -> str:
    return f"""INSERT INTO scoring_tile ({TILE_COLUMNS})
WITH fresh AS ({events})
SELECT * FROM ({fold}) AS folded ORDER BY signal_id, account_id, day, user_id"""  # noqa: S608


def follow(c: Cursor, changes: Sequence[Change]) -> set[int]:
    """Move the tiles of users that were merged or whose home changed; return all accounts that now count differently.

    The changes' users are locked for update and the fold lock is held.
    """
    moving = [change for change in changes if change.was != change.now or change.old_home != change.new_home]
    if moving:
        c.execute(_MOVE, {field: [getattr(m, field) for m in moving] for field in ("was", "now", "new_home")})
    if not changes:
        return set()
    # Whatever these users ever did may count differently now: users are told apart, and some are excluded.
    rows = c.execute(_ACCOUNTS_OF, {"users": sorted({change.now for change in changes})})
    homes = {home for change in moving for home in (change.old_home, change.new_home)}
    return homes | {account for (account,) in rows}


_VALUES = "count, first_at, last_at, value_sum, value_max, value_last, limit_last, value_last_at, value_last_id"
_MOVE = f"""
WITH moves AS (
    SELECT * FROM unnest(%(was)s::bigint[], %(now)s::bigint[], %(new_home)s::bigint[]) AS m(was, now, home)
), gone AS (
    DELETE FROM scoring_tile t USING moves m WHERE t.user_id = m.was AND (m.was <> m.now OR t.inherited)
    RETURNING t.*, m.now, m.home
)
INSERT INTO scoring_tile ({TILE_COLUMNS})
SELECT signal_id, CASE WHEN inherited THEN home ELSE account_id END, now, inherited, day, {_VALUES}
FROM gone ORDER BY 1, 2, day, 3
"""  # noqa: S608
_ACCOUNTS_OF = "SELECT DISTINCT account_id FROM scoring_tile WHERE user_id = ANY (%(users)s::bigint[])"


def register(*, signals: Iterable[language.Signal], at: datetime) -> list[Signal]:
    """Make sure that ingest folds these signals from now on, and return their rows, in no special order.

    A row that is new, or was retired, is not ready: its history waits for `backfill`. Two signals with the same
    content are one row. Commits: it must not be called inside a transaction.
    """
    wanted = {language.signal_digest(signal): signal for signal in signals}
    stored = Signal.objects.filter(digest__in=wanted)
    if stored.filter(retired_at__isnull=True).count() == len(wanted):
        return list(stored)
    _forget_retired(list(wanted))
    with transaction.atomic(durable=True), cursor() as c:
        c.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {FOLD})")
        c.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {GATE})")
        c.execute(_FORGET, {"digests": list(wanted)})  # in case they were active meanwhile
        # Every event that could be missed live is committed by now, with an id up to here.
        (barrier,) = c.execute(_NEWEST_EVENT).fetchone() or (0,)
        for digest, signal in sorted(wanted.items()):
            definition = orjson.dumps(language.dump_signal(signal)).decode()
            c.execute(_REGISTER, {"digest": digest, "definition": definition, "at": at, "barrier": barrier})
    return list(Signal.objects.filter(digest__in=wanted))


_NEWEST_EVENT = """
SELECT CASE WHEN is_called AND EXISTS (SELECT FROM scoring_event) THEN last_value ELSE 0 END
FROM scoring_event_id_seq
"""
_REGISTER = """
INSERT INTO scoring_signal AS s (digest, definition, activated_at, barrier, backfilled_to)
VALUES (%(digest)s::text, %(definition)s::jsonb, %(at)s::timestamptz, %(barrier)s::bigint, 0)
ON CONFLICT (digest) DO UPDATE
SET activated_at = excluded.activated_at, barrier = excluded.barrier, backfilled_to = 0, retired_at = NULL
WHERE s.retired_at IS NOT NULL
"""


def _forget_retired(digests: Sequence[str]) -> None:
    """Drop what is left of retired signals: they missed events, so they are folded anew. Nobody adds to them."""
    with transaction.atomic(durable=True), cursor() as c:
        c.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {FOLD})")
        c.execute(_FORGET, {"digests": list(digests)})


_FORGET = """
DELETE FROM scoring_tile WHERE signal_id IN (
    SELECT id FROM scoring_signal WHERE digest = ANY (%(digests)s::text[]) AND retired_at IS NOT NULL)
"""


def retire(*, signals: Iterable[Signal], at: datetime) -> None:
    """Stop folding signals that no rule set reads any more; the built-in `any` stays. Commits, like `register`."""
    ids = [signal.pk for signal in signals if signal.digest != language.signal_digest(ANYTHING)]
    with transaction.atomic(durable=True), cursor() as c:
        c.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {GATE})")
        Signal.objects.filter(pk__in=ids, retired_at__isnull=True).update(retired_at=at)


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
        c.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {FOLD})")
        behind = c.execute(_BEHIND, {"ids": list(signal_ids)}).fetchall()
        if not behind:
            return False
        after = min(cursor_ for _, _, cursor_, _ in behind)
        first = [(id_, text, barrier) for id_, text, cursor_, barrier in behind if cursor_ == after]
        others = [cursor_ for _, _, cursor_, _ in behind if cursor_ > after]
        upto = min([after + size, *others, *(barrier for *_, barrier in first)])
        fold = fold_sql({id_: _signal(text) for id_, text, _ in first})
        c.execute(_append_sql(_STORED, fold.sql), {"after": after, "upto": upto, **fold.params})
        c.execute(_ADVANCE, {"ids": [id_ for id_, *_ in first], "upto": upto})
        return True


_BEHIND = """
SELECT id, definition::text, backfilled_to, barrier FROM scoring_signal
WHERE id = ANY (%(ids)s::bigint[]) AND backfilled_to < barrier AND retired_at IS NULL ORDER BY id
"""
_ADVANCE = "UPDATE scoring_signal SET backfilled_to = %(upto)s::bigint WHERE id = ANY (%(ids)s::bigint[])"
_RESOLVED = """
SELECT e.message_id, e.at, e.name, e.properties, coalesce(e.account_id, u.home_id) AS account_id, u.id AS user_id,
       e.account_id IS NULL AS inherited
FROM scoring_event e
LEFT JOIN scoring_identity i ON i.id = e.identity_id
LEFT JOIN scoring_productuser u ON u.id = i.user_id
"""
_STORED = f"{_RESOLVED} WHERE e.id > %(after)s::bigint AND e.id <= %(upto)s::bigint"


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the stored tiles are not the fold of the events; None on a side: there is no such tile."""

    signal: int
    account: int
    user: int | None
    inherited: bool
    day: str
    stored: dict[str, Any] | None
    folded: dict[str, Any] | None


def verify(*, signals: Iterable[Signal] | None = None) -> Difference | None:
    """Fold all events anew and compare with the tiles of the signals (all that are ready, if None).

    Returns the first difference, None if there is none. Reads everything, in one snapshot; waits for nobody.
    """
    chosen = Signal.objects.filter(retired_at__isnull=True) if signals is None else signals
    ready = {s.pk: language.load_signal(s.definition) for s in chosen if s.is_ready}
    if not ready:
        return None
    fold = fold_sql(ready)
    with cursor() as c:
        row = c.execute(_verify_sql(fold.sql), {"ids": list(ready), **fold.params}).fetchone()
    return Difference(*row[:5], *(orjson.loads(side) if side else None for side in row[5:])) if row else None


_NEWEST = 'ORDER BY value_last_at DESC, value_last_id COLLATE "C" DESC) FILTER (WHERE value_last IS NOT NULL))[1]'


def _verify_sql(fold: str) -> str:
    return f"""
WITH fresh AS ({_RESOLVED}), folded AS ({fold}),
stored AS (
    SELECT {KEY}, sum(count)::bigint AS count, min(first_at) AS first_at, max(last_at) AS last_at,
           sum(value_sum) AS value_sum, max(value_max) AS value_max,
           (array_agg(value_last {_NEWEST} AS value_last, (array_agg(limit_last {_NEWEST} AS limit_last,
           max(value_last_at) AS value_last_at, (array_agg(value_last_id {_NEWEST} AS value_last_id
    FROM scoring_tile WHERE signal_id = ANY (%(ids)s::bigint[]) GROUP BY {KEY}
)
SELECT signal_id, account_id, user_id, inherited, day::text,
       (SELECT to_jsonb(s)::text FROM stored s WHERE (s.signal_id, s.account_id, s.inherited, s.day) =
            (d.signal_id, d.account_id, d.inherited, d.day) AND s.user_id IS NOT DISTINCT FROM d.user_id),
       (SELECT to_jsonb(f)::text FROM folded f WHERE (f.signal_id, f.account_id, f.inherited, f.day) =
            (d.signal_id, d.account_id, d.inherited, d.day) AND f.user_id IS NOT DISTINCT FROM d.user_id)
FROM ((SELECT * FROM stored EXCEPT SELECT * FROM folded)
      UNION ALL (SELECT * FROM folded EXCEPT SELECT * FROM stored)) AS d
ORDER BY signal_id, account_id, day, user_id LIMIT 1"""  # noqa: S608
