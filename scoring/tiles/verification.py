"""Check that `tiles = fold(events)`, stretch by stretch of days, so that no stretch needs much memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from typing import Any

import orjson

from scoring import language
from scoring.compiler.fold import KEY, MERGED, fold_sql
from scoring.models import Account, Identity, Partition, Signal, event_partitions
from scoring.models.raw import cursor
from scoring.tiles.folding import FIRST_DAY, RESOLVED
from scoring.tiles.locks import Cursor

STRETCH_PAGES = 8192  # of 8 kB of stored events in one stretch, or a MOST_STRETCHES-th of all if that is more
MOST_STRETCHES = 40  # each reads the tiles once


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days that were compared in one snapshot, and what the events of those days add up to."""

    first: str  # ISO day, or "-infinity"
    end: str  # the first day after it, or "infinity"
    tiles: int
    counted: int  # events, once for each signal that counts them


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


def verify(
    *, signals: Iterable[Signal] | None = None, on_progress: Callable[[Stretch], object] = lambda stretch: None
) -> Difference | None:
    """Fold the stored events anew and compare with the tiles of the signals (all that are ready, if None).

    Returns the first difference, None if there is none. Days of which events were dropped are left out: see
    `verified_from`. Each stretch is one statement in one snapshot, which waits for nobody; it is told when compared.
    """
    ids = None if signals is None else {signal.pk for signal in signals}
    with cursor() as c:
        for first, end in list(_stretches(verified_from())):
            stretch, difference = _compare(c, ids, first, end)
            on_progress(stretch)
            if difference:
                return difference
    return None


def verified_from() -> date | None:
    """Return the first day (UTC) of which no source has dropped events; None if none ever did."""
    with cursor() as c:
        row = c.execute(KEPT_FROM).fetchone()
    return row[0] if row else None


KEPT_FROM = "SELECT max(events_from) FROM scoring_source"


def _stretches(since: date | None) -> Iterator[tuple[str, str]]:
    """Yield (first day, end): whole days of about STRETCH_PAGES, together all days from `since` on."""
    partitions = event_partitions()
    most = max(STRETCH_PAGES, sum(partition.blocks for partition in partitions) // MOST_STRETCHES)
    first, held = since.isoformat() if since else "-infinity", 0
    for day, pages in chain.from_iterable(_pieces(partition, most) for partition in partitions):
        if held and held + pages > most and (since is None or day > since):
            yield first, day.isoformat()
            first, held = day.isoformat(), 0
        held += pages
    yield first, "infinity"


def _pieces(partition: Partition, most: int) -> Iterator[tuple[date, int]]:
    """Yield (first day, pages): of a partition that is larger than `most`, as many pieces of as many days."""
    days = (partition.end - partition.first).days
    pieces = min(days, -(-partition.blocks // most) or 1)
    for piece in range(pieces):
        yield partition.first + timedelta(days=days * piece // pieces), partition.blocks // pieces


def _compare(c: Cursor, ids: set[int] | None, first: str, end: str) -> tuple[Stretch, Difference | None]:
    chosen = Signal.objects.all() if ids is None else Signal.objects.filter(pk__in=ids)
    ready = {s.pk: language.load_signal(s.definition) for s in chosen if s.is_ready}
    if not ready:
        return Stretch(first, end, 0, 0), None
    fold = fold_sql(ready)
    params = {"ids": list(ready), "first": first, "end": end, **fold.params}
    tiles, counted, *row = c.execute(_verify_sql(fold.sql), params).fetchone() or (0, 0, None)
    stretch = Stretch(first, end, tiles, counted)
    if row[0] is None:
        return stretch, None
    return stretch, Difference(*row[:5], *(orjson.loads(side) if side else None for side in row[5:]))


def _verify_sql(fold: str) -> str:
    return f"""
WITH fresh AS (
    {RESOLVED}
    WHERE e.at >= %(first)s::timestamp AT TIME ZONE 'UTC' AND e.at < %(end)s::timestamp AT TIME ZONE 'UTC'
      AND e.at >= ({FIRST_DAY})::timestamp AT TIME ZONE 'UTC'
), folded AS MATERIALIZED ({fold}),
stored AS MATERIALIZED (
    SELECT {KEY}, {MERGED} FROM scoring_tile
    WHERE signal_id = ANY (%(ids)s::bigint[]) AND day >= %(first)s::date AND day < %(end)s::date
      AND day >= ({FIRST_DAY}) GROUP BY {KEY}
), counted AS (
    SELECT count(*) AS tiles, coalesce(sum(count), 0)::bigint AS counted FROM folded
), different AS (
    SELECT * FROM ((SELECT * FROM stored EXCEPT SELECT * FROM folded)
                   UNION ALL (SELECT * FROM folded EXCEPT SELECT * FROM stored)) AS either
    ORDER BY signal_id, account_id, day, user_id LIMIT 1
)
SELECT tiles, counted, signal_id, account_id, user_id, inherited, day::text,
       (SELECT to_jsonb(s)::text FROM stored s WHERE (s.signal_id, s.account_id, s.inherited, s.day) =
            (d.signal_id, d.account_id, d.inherited, d.day) AND s.user_id IS NOT DISTINCT FROM d.user_id),
       (SELECT to_jsonb(f)::text FROM folded f WHERE (f.signal_id, f.account_id, f.inherited, f.day) =
            (d.signal_id, d.account_id, d.inherited, d.day) AND f.user_id IS NOT DISTINCT FROM d.user_id)
FROM counted LEFT JOIN different d ON true"""  # noqa: S608


def words(difference: Difference) -> str:
    """Return the difference in a sentence or two, by the names that people know."""
    signal = Signal.objects.get(pk=difference.signal)
    account = Account.objects.filter(pk=difference.account).first()
    known = list(Identity.objects.filter(user=difference.user).order_by("id").values_list("value", flat=True)[:1])
    user = f"user {difference.user} ({known[0]})" if known else f"user {difference.user}"
    who = "no user" if difference.user is None else user
    where = f"account {account or difference.account}{', its home' if difference.inherited else ''}"
    about = orjson.dumps(signal.definition).decode()
    both = {**(difference.stored or {}), **(difference.folded or {})}
    stored, folded = difference.stored or {}, difference.folded or {}
    what = ", ".join(
        f"{field}: {stored.get(field, 'nothing')} in the tiles, {folded.get(field, 'nothing')} by the events"
        for field in both
        if stored.get(field) != folded.get(field)
    )
    return f"on {difference.day}, {who}, {where}, signal {signal.pk} {about}: {what}"
