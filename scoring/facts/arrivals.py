"""Count what the doors answer, each answer once: in the transaction of the events, where there is one.

A request leaves a line in a log, so that no two requests ever wait for the same row. The log is folded every few
seconds: by minute, later by hour. Whoever reads adds the log to what is folded, so a count never waits for a fold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import psycopg
from django.db import transaction
from psycopg.rows import class_row

from scoring import tiles
from scoring.models import Glimpse, Lane, Rejection, Source
from scoring.models.raw import cursor

FOLDING = 7  # the lock under which arrivals are folded; see tiles.LOCKS
FOLDED_AT_ONCE = 5_000  # lines of the log

AHEAD = timedelta(hours=1)  # by which an event is dated in the future, rather than by a clock that is a little off
LONG_AGO = timedelta(days=30)

MINUTES_ARE_KEPT = timedelta(days=3)
SAMPLES_ARE_KEPT = timedelta(days=7)
REASONS_ARE_KEPT = timedelta(days=90)
LOOKS_ARE_KEPT = timedelta(hours=1)
LIBRARIES_LISTED = 20  # of each source
LOOKS = 50  # of each source


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a door knows of a request besides the facts in it."""

    wire: str = ""  # "segment", "native", "import"; empty: facts that came by no door
    library: str = ""  # name and version, as far as the sender told; at most 100 characters
    skew: timedelta | None = None  # how far the client's clock is behind ours; None: it did not tell its time
    lane: Lane = Lane.LIVE  # in which the accounts concerned wait for their scores


@dataclass(frozen=True, slots=True)
class Reason:
    """Why so many items of one request were turned away, with one of them as it came."""

    code: str
    message: str
    count: int = 1
    sample: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """What came from one source by one wire: in one minute, or altogether."""

    source: int
    at: datetime  # when the minute, or the whole time, began
    wire: str
    accepted: int
    duplicate: int
    rejected: int
    without_company: int
    future: int
    past: int
    skew: int | None  # milliseconds by which the client's clock was behind ours, the last; and the extremes
    skew_low: int | None
    skew_high: int | None
    last_at: datetime  # of the last call, as far as it is known: of a folded minute its beginning


@dataclass(frozen=True, slots=True)
class Turned:
    """What was turned away for one reason."""

    code: str
    count: int
    last_at: datetime
    message: str
    sample: str


# ---- counting ------------------------------------------------------------------------------------------------


def count(
    c: psycopg.Cursor[Any],
    *,
    source: Source,
    envelope: Envelope,
    duplicate: int,
    events: Iterable[tuple[datetime, int | None]],
    at: datetime,
) -> None:
    """Count a batch: its new `events`, and how many were known already.

    An event is given as its time and the account that is somebody's home; None where it names its account itself.

    Belongs in the transaction that stores the events: then what is counted as accepted is what is stored.
    """
    ahead, long_ago = at + AHEAD, at - LONG_AGO
    accepted = future = past = 0
    homes: dict[int, int] = {}
    for when, home in events:
        accepted += 1
        future += when > ahead
        past += when < long_ago
        if home is not None:
            homes[home] = homes.get(home, 0) + 1
    line = _line(source, envelope, at) | {"accepted": accepted, "duplicate": duplicate, "future": future, "past": past}
    if homes:
        c.execute(_COUNT_HOMES, line | {"homes": list(homes), "calls": list(homes.values())})
    else:
        c.execute(_COUNT, line)  # mostly; looking accounts up would cost as much again


def note(*, source: Source | None, envelope: Envelope, reasons: Sequence[Reason], at: datetime) -> None:
    """Count what was turned away; without reasons, that somebody called. No source: a call that named no known key."""
    rejected = sum(reason.count for reason in reasons)
    listed = orjson.dumps(list(reasons)).decode() if reasons else None
    with cursor() as c:
        c.execute(_NOTE, _line(source, envelope, at) | {"rejected": rejected, "reasons": listed})


def _line(source: Source | None, envelope: Envelope, at: datetime) -> dict[str, Any]:
    skew = None if envelope.skew is None else round(envelope.skew.total_seconds() * 1000)
    return {
        "source": None if source is None else source.pk,
        "at": at,
        "wire": envelope.wire,
        "library": envelope.library[:100],
        "skew": skew,
    }


_COUNT = """
INSERT INTO scoring_arrival
    (source_id, at, wire, library, accepted, duplicate, rejected, without_company, future, past, skew)
VALUES (%(source)s::bigint, %(at)s::timestamptz, %(wire)s::text, %(library)s::text, %(accepted)s::int,
        %(duplicate)s::int, 0, 0, %(future)s::int, %(past)s::int, %(skew)s::bigint)
"""
_COUNT_HOMES = """
INSERT INTO scoring_arrival
    (source_id, at, wire, library, accepted, duplicate, rejected, without_company, future, past, skew)
SELECT %(source)s::bigint, %(at)s::timestamptz, %(wire)s::text, %(library)s::text, %(accepted)s::int,
       %(duplicate)s::int, 0, coalesce(sum(n.calls), 0), %(future)s::int, %(past)s::int, %(skew)s::bigint
FROM unnest(%(homes)b::bigint[], %(calls)b::int[]) AS n(home, calls)
JOIN scoring_account AS a ON a.id = n.home AND a.kind IN ('user', 'visitor')
"""
_NOTE = """
INSERT INTO scoring_arrival
    (source_id, at, wire, library, accepted, duplicate, rejected, without_company, future, past, skew, reasons)
VALUES (%(source)s::bigint, %(at)s::timestamptz, %(wire)s::text, %(library)s::text, 0, 0, %(rejected)s::int, 0, 0, 0,
        %(skew)s::bigint, %(reasons)s::jsonb)
"""


# ---- folding -------------------------------------------------------------------------------------------------


def fold_arrivals() -> int:
    """Fold the log, and return how many lines of it. May be killed at any moment; a second one at once does nothing."""
    folded = 0
    while True:
        with transaction.atomic(durable=True), cursor() as c:
            if not _is_mine(c):
                return folded
            row = c.execute(_FOLD, {"most": FOLDED_AT_ONCE}).fetchone()
            lines = row[0] if row else 0
            if lines:
                c.execute(_TRIM_LIBRARIES, {"most": LIBRARIES_LISTED})
                c.execute(_TRIM_LOOKS, {"most": LOOKS})
        folded += lines
        if lines < FOLDED_AT_ONCE:
            return folded


def thin_arrivals(*, at: datetime) -> None:
    """Fold old minutes into hours, and drop samples, reasons and looks that have been kept long enough."""
    with transaction.atomic(durable=True), cursor() as c:
        if _is_mine(c):
            c.execute(_THIN, {"before": at - MINUTES_ARE_KEPT})
    Rejection.objects.filter(at__lt=at - REASONS_ARE_KEPT).delete()
    Rejection.objects.filter(at__lt=at - SAMPLES_ARE_KEPT).exclude(sample="").update(sample="")
    Glimpse.objects.filter(at__lt=at - LOOKS_ARE_KEPT).delete()


def _is_mine(c: psycopg.Cursor[Any]) -> bool:
    row = c.execute(f"SELECT pg_try_advisory_xact_lock({tiles.LOCKS}, {FOLDING})").fetchone()
    return bool(row and row[0])


def _add_up(rows: str, *, unit: str, low: str, high: str) -> str:
    """The statement that adds rows of the log, or of traffic, to the traffic of their minutes or hours."""
    return f"""
    INSERT INTO scoring_traffic AS t (source_id, at, wire, is_hour, accepted, duplicate, rejected, without_company,
                                      future, past, skew, skew_low, skew_high)
    SELECT source_id, date_trunc('{unit}', at, 'UTC'), wire, {unit == "hour"}, sum(accepted), sum(duplicate),
           sum(rejected), sum(without_company), sum(future), sum(past),
           (array_agg(skew ORDER BY at DESC) FILTER (WHERE skew IS NOT NULL))[1], min({low}), max({high})
    FROM {rows} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (source_id, at, wire, is_hour) DO UPDATE SET
        accepted = t.accepted + excluded.accepted, duplicate = t.duplicate + excluded.duplicate,
        rejected = t.rejected + excluded.rejected,
        without_company = t.without_company + excluded.without_company,
        future = t.future + excluded.future, past = t.past + excluded.past,
        skew = coalesce(excluded.skew, t.skew),
        skew_low = least(t.skew_low, excluded.skew_low), skew_high = greatest(t.skew_high, excluded.skew_high)
"""  # noqa: S608


_FOLD = f"""
WITH gone AS (
    DELETE FROM scoring_arrival WHERE id IN (SELECT id FROM scoring_arrival ORDER BY id LIMIT %(most)s::int)
    RETURNING *
), known AS (
    SELECT gone.* FROM gone JOIN scoring_source AS s ON s.id = gone.source_id
), counted AS (
    {_add_up("known", unit="minute", low="skew", high="skew")}
), turned_away AS (
    INSERT INTO scoring_rejection AS r (source_id, at, code, count, last_at, message, sample)
    SELECT g.source_id, date_trunc('hour', g.at, 'UTC'), w.code, sum(w.count), max(g.at),
           (array_agg(w.message ORDER BY g.at DESC))[1],
           coalesce((array_agg(w.sample ORDER BY g.at DESC) FILTER (WHERE w.sample <> ''))[1], '')
    FROM gone AS g, jsonb_to_recordset(g.reasons) AS w(code text, message text, count bigint, sample text)
    WHERE g.reasons IS NOT NULL AND (g.source_id IS NULL OR g.source_id IN (SELECT source_id FROM known))
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (source_id, at, code) DO UPDATE SET
        count = r.count + excluded.count, last_at = greatest(r.last_at, excluded.last_at),
        message = excluded.message, sample = coalesce(nullif(excluded.sample, ''), r.sample)
), sent_by AS (
    INSERT INTO scoring_library AS l (source_id, wire, name, calls, last_at)
    SELECT source_id, wire, library, sum(accepted + duplicate + rejected), max(at)
    FROM known GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (source_id, wire, name) DO UPDATE SET
        calls = l.calls + excluded.calls, last_at = greatest(l.last_at, excluded.last_at)
), heard AS (
    UPDATE scoring_source AS s SET last_call_at = greatest(s.last_call_at, n.at)
    FROM (SELECT source_id, max(at) AS at FROM known GROUP BY 1) AS n WHERE s.id = n.source_id
)
SELECT count(*) FROM gone
"""  # noqa: S608
_TRIM_LIBRARIES = """
DELETE FROM scoring_library WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY source_id ORDER BY last_at DESC, id DESC) AS place
        FROM scoring_library) AS listed
    WHERE place > %(most)s::int)
"""
_TRIM_LOOKS = """
DELETE FROM scoring_glimpse WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY source_id ORDER BY id DESC) AS place
        FROM scoring_glimpse) AS listed
    WHERE place > %(most)s::int)
"""
_THIN = f"""
WITH gone AS (
    DELETE FROM scoring_traffic WHERE NOT is_hour AND at < %(before)s::timestamptz RETURNING *
)
{_add_up("gone", unit="hour", low="skew_low", high="skew_high")}
"""  # noqa: S608


# ---- looking -------------------------------------------------------------------------------------------------


def watch(*, source: Source, until: datetime) -> None:
    """Keep the source's last calls for somebody to see, until then. Doors know of it within five seconds."""
    Source.objects.filter(pk=source.pk).update(watched_until=until)


def is_watched(*, source: Source, at: datetime) -> bool:
    """Return whether calls of the source are to be shown: somebody looks, or waits for the first one."""
    if source.watched_until is not None and at < source.watched_until:
        return True
    return source.last_call_at is None


def show(*, glimpses: Sequence[Glimpse]) -> None:
    """Keep the last of these calls for whoever watches."""
    Glimpse.objects.bulk_create(glimpses[-LOOKS:])


def forget_samples(*, source: Source) -> None:
    """Drop the samples and the last calls of the source; the counts stay."""
    fold_arrivals()
    Rejection.objects.filter(source=source).exclude(sample="").update(sample="")
    Glimpse.objects.filter(source=source).delete()


# ---- reading -------------------------------------------------------------------------------------------------


def counted(*, since: datetime, source: Source | None = None) -> list[Count]:
    """Return what came by minute, source and wire, the oldest first: of one source, or of all.

    Minutes are kept for three days: `since` reaches no further back.
    """
    return _counts(_COUNTED, since, source)


def totals(*, since: datetime, source: Source | None = None) -> list[Count]:
    """Return what came since (at most three days ago) by source and wire: of one source, or of all."""
    return _counts(_TOTALS, since, source)


def _counts(sql: str, since: datetime, source: Source | None) -> list[Count]:
    with cursor() as c:
        c.row_factory = class_row(Count)
        return c.execute(sql, {"since": since, "source": source and source.pk}).fetchall()


def turned_away(*, source: Source | None, since: datetime) -> list[Turned]:
    """Return what was turned away since (by the hour), by reason, the most first; no source: of unknown senders."""
    with cursor() as c:
        c.row_factory = class_row(Turned)
        return c.execute(_TURNED_AWAY, {"since": since, "source": source and source.pk}).fetchall()


# One statement each: so a line is seen in the log or folded, never in both, never in neither.
_COUNTS = """
SELECT source_id AS source, {at} AS at, wire, sum(accepted)::bigint AS accepted,
       sum(duplicate)::bigint AS duplicate, sum(rejected)::bigint AS rejected,
       sum(without_company)::bigint AS without_company, sum(future)::bigint AS future, sum(past)::bigint AS past,
       (array_agg(skew ORDER BY at DESC) FILTER (WHERE skew IS NOT NULL))[1] AS skew,
       min(skew_low) AS skew_low, max(skew_high) AS skew_high, max(at) AS last_at
FROM (
    SELECT source_id, at, wire, accepted, duplicate, rejected, without_company, future, past, skew, skew_low, skew_high
    FROM scoring_traffic WHERE at >= %(since)s::timestamptz AND NOT is_hour
    UNION ALL
    SELECT source_id, at, wire, accepted, duplicate, rejected, without_company, future, past, skew, skew, skew
    FROM scoring_arrival WHERE at >= %(since)s::timestamptz AND source_id IS NOT NULL
) AS either
WHERE source_id = coalesce(%(source)s::bigint, source_id)
GROUP BY 1, 2, 3 ORDER BY 2, 1, 3
"""
_COUNTED = _COUNTS.format(at="date_trunc('minute', at, 'UTC')")
_TOTALS = _COUNTS.format(at="%(since)s::timestamptz")
_TURNED_AWAY = """
SELECT code, sum(count)::bigint AS count, max(last_at) AS last_at,
       (array_agg(message ORDER BY last_at DESC))[1] AS message,
       coalesce((array_agg(sample ORDER BY last_at DESC) FILTER (WHERE sample <> ''))[1], '') AS sample
FROM (
    SELECT source_id, at, code, count, last_at, message, sample FROM scoring_rejection
    UNION ALL
    SELECT g.source_id, date_trunc('hour', g.at, 'UTC'), w.code, w.count, g.at, w.message, w.sample
    FROM scoring_arrival AS g, jsonb_to_recordset(g.reasons) AS w(code text, message text, count bigint, sample text)
    WHERE g.reasons IS NOT NULL
) AS either
WHERE at >= date_trunc('hour', %(since)s::timestamptz, 'UTC') AND source_id IS NOT DISTINCT FROM %(source)s::bigint
GROUP BY code ORDER BY 2 DESC, code
"""
