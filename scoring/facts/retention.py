"""Drop the events that their source keeps no longer. The tiles of their days stay as they are: they are frozen.

First the days are closed, in a moment in which nobody stores or folds: from then on older events of the source are
refused, no new signal is folded from them, and nobody compares tiles with them. Then they go, some blocks of a
partition in each transaction, each with its key; then the empty partitions. Killed anywhere, the job goes on there.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from scoring import jobs, tiles
from scoring.facts import partitions
from scoring.jobs import Progress
from scoring.models import KEPT_AT_LEAST, Job, Partition, Signal, Source
from scoring.models.raw import cursor

RETENTION = "retention"
BLOCKS = 200  # pages of 8 kB in one transaction: some thousand events


class KeptTooShort(ValueError):
    """Events must be kept for KEPT_AT_LEAST days: senders repeat what they could not deliver."""


def keep_events(*, source: Source, days: int | None) -> None:
    """Keep the source's events for so many days, from the next night on; None: for ever. Raises KeptTooShort.

    What is dropped does not come back: its days stay closed, even if the source keeps events for longer later.
    """
    if days is not None and days < KEPT_AT_LEAST:
        raise KeptTooShort(f"keep events for at least {KEPT_AT_LEAST} days; or for ever")
    Source.objects.filter(pk=source.pk).update(keep_events_days=days)
    source.keep_events_days = days


def drop_later(*, at: datetime) -> Job | None:
    """Return the job that drops what is not kept any longer; None if today's is made, or every source keeps all."""
    midnight = datetime.combine(at.astimezone(UTC), time(), UTC)
    if not Source.objects.filter(keep_events_days__isnull=False).exists():
        return None
    todays = Q(created_at__gte=midnight) | Q(state__in=jobs.OPEN)
    if Job.objects.filter(todays, kind=RETENTION).exists():
        return None
    return jobs.create(kind=RETENTION, arguments={"label": f"what is too old on {midnight:%Y-%m-%d}"}, by=None, at=at)


def run_retention(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Carry a claimed job on from where it stands to its end. Raises jobs.LeaseLost if somebody else took it over."""
    place = _Place(**job.cursor)
    if not place.closed:
        tiles.backfill(signals=_halfway())
        if not _close(clock()):
            jobs.finish(job=job, result={"postponed": "events are being folded; tomorrow again"}, at=clock())
            return
    closed = _closed_days()
    for partition in partitions.between(*_not_yet_dropped(closed)):
        if partition.name >= place.week:
            place = _drop(job, partition, place, clock)
    gone = sum(map(partitions.drop_if_empty, _long_past(clock())))
    result = {"events": place.events, "partitions": gone, "dropped_before": _as_text(closed)}
    jobs.finish(job=job, result=result, at=clock())


@dataclass(frozen=True, slots=True)
class _Place:
    """How far the job is: its cursor."""

    closed: bool = False
    week: str = ""  # the partition that is gone through now, most often of a week
    block: int = 0  # its first page that is left
    events: int = 0  # dropped so far


# ---- closing days -------------------------------------------------------------------------------------------


def _halfway() -> list[Signal]:
    return [signal for signal in Signal.objects.all() if not signal.is_ready]


def _close(at: datetime) -> bool:
    """Close the days that are not kept any longer; return False if somebody still has to read them."""
    today = at.astimezone(UTC).date()
    with cursor() as c:  # the long look for old events comes before the locks
        due = [source for (source,) in c.execute(_DUE, {"today": today})]
    with transaction.atomic(durable=True), cursor() as c:
        tiles.stop_senders(c)
        if _halfway() or jobs.left(kinds=[tiles.REFOLD]):
            return False
        c.execute(_CLOSE, {"sources": due, "today": today})
        return True


# A source of which nothing was dropped yet stays open until it has something to drop.
_DUE = """
SELECT s.id FROM scoring_source s CROSS JOIN LATERAL (SELECT %(today)s::date - s.keep_events_days AS day) k
WHERE s.keep_events_days IS NOT NULL AND coalesce(s.events_from < k.day, EXISTS (
    SELECT FROM scoring_event e WHERE e.source_id = s.id AND e.at < k.day::timestamp AT TIME ZONE 'UTC'))
ORDER BY s.id
"""
_CLOSE = """
UPDATE scoring_source SET events_from = greatest(events_from, %(today)s::date - keep_events_days)
WHERE id = ANY (%(sources)s::bigint[]) AND keep_events_days IS NOT NULL
"""


def _closed_days() -> dict[int, date]:
    """Return by source the first day that is open."""
    rows = Source.objects.filter(events_from__isnull=False).order_by("pk").values_list("pk", "events_from")
    return {source: day for source, day in rows if day}


def _not_yet_dropped(closed: dict[int, date]) -> tuple[date, date]:
    """Return (first day, end) of all that is closed, but for what the last job that came to its end has dropped."""
    done = Job.objects.filter(kind=RETENTION, state=Job.State.DONE, result__has_key="dropped_before").order_by("-id")
    before = done.values_list("result", flat=True).first() or {"dropped_before": {}}
    since = {source: before["dropped_before"].get(f"{source}") for source in closed}
    stretches = [(date.fromisoformat(since[s] or "0001-01-01"), day) for s, day in closed.items()]
    open_ones = [(first, end) for first, end in stretches if first < end]
    if not open_ones:
        return date.min, date.min
    return min(first for first, _ in open_ones), max(end for _, end in open_ones)


def _as_text(closed: dict[int, date]) -> dict[str, str]:
    return {f"{source}": day.isoformat() for source, day in closed.items()}


# ---- dropping events ----------------------------------------------------------------------------------------


def _drop(job: Job, partition: Partition, place: _Place, clock: Callable[[], datetime]) -> _Place:
    """Drop what is closed in one partition; return where the job stands then."""
    start = place.block if partition.name == place.week else 0
    for block in range(start, partition.blocks, BLOCKS):
        with transaction.atomic(durable=True), cursor() as c:
            (dropped,) = c.execute(_drop_sql(partition.name, block, block + BLOCKS)).fetchone() or (0,)
            place = _Place(True, partition.name, block + BLOCKS, place.events + dropped)
            cursor_: dict[str, Any] = {field: getattr(place, field) for field in _Place.__slots__}
            step = f"dropping events of {partition.first} and later ({place.events:,} so far)"
            jobs.report(job=job, progress=Progress(step, block + BLOCKS, partition.blocks, cursor_), at=clock())
    return place


def _drop_sql(partition: str, first: int, end: int) -> str:
    """The names of partitions and the numbers are our own."""
    return f"""
WITH old AS (
    DELETE FROM ONLY {partition} e USING scoring_source s
    WHERE e.ctid >= '({first},0)'::tid AND e.ctid < '({end},0)'::tid
      AND s.id = e.source_id AND e.at < s.events_from::timestamp AT TIME ZONE 'UTC'
    RETURNING e.source_id, substr(sha256(convert_to(e.message_id, 'UTF8')), 1, 16) AS digest
), keys AS (
    DELETE FROM scoring_event_key k USING old WHERE k.source_id = old.source_id AND k.digest = old.digest
)
SELECT count(*) FROM old"""  # noqa: S608


def _long_past(at: datetime) -> Iterator[Partition]:
    kept_from = at.astimezone(UTC).date() - timedelta(days=KEPT_AT_LEAST)
    return (partition for partition in partitions.between(date.min, kept_from) if partition.end <= kept_from)


def first_open_day(*, source: Source, times: Iterable[datetime], received_at: datetime) -> date | None:
    """Return the first day (UTC) of which the source still takes events, if any of the times may be before it."""
    if min(times, default=received_at) > received_at - timedelta(days=KEPT_AT_LEAST - 1):
        return None
    return Source.objects.filter(pk=source.pk).values_list("events_from", flat=True).first()
