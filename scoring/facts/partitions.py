"""The partitions of the events' table, made when they are first needed, each from a Monday (UTC) to a Monday.

The years around the present are parted by week. Of any date there is room, but not a partition for each week of it:
else whoever has a broken clock, or means harm, would make thousands.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import psycopg
from django.db import transaction

from scoring import tiles
from scoring.models import Partition, event_partitions
from scoring.models.partitions import WEEK
from scoring.models.raw import cursor

PARTITIONS = 3  # the lock under which they are made; see tiles.LOCKS
PATIENCE = "200ms"  # for which senders may have to wait behind whoever drops a partition
MOST_AT_ONCE = 50  # in one transaction: each is a lock

BACK, AHEAD = timedelta(weeks=5 * 52), timedelta(weeks=13)  # from today; a week within has a partition of its own
EARLY, LATE = date(2000, 1, 3), date(2100, 1, 4)  # between these a year has, before and after there is one for all

_seen: set[date] = set()  # Mondays of weeks that there is room for
SEEN_AT_MOST = 10_000


def ensure(times: Iterable[datetime], *, at: datetime) -> None:
    """Make the partitions that are missing for events of these times, in transactions of their own; `at`: today."""
    days = {time.astimezone(UTC).date() for time in times}
    missing = sorted({day - timedelta(days=day.weekday()) for day in days} - _seen)
    for start in range(0, len(missing), MOST_AT_ONCE):
        some = missing[start : start + MOST_AT_ONCE]
        with transaction.atomic(durable=True), cursor() as c:
            c.execute(f"SELECT pg_advisory_xact_lock({tiles.LOCKS}, {PARTITIONS})")
            there = event_partitions()
            for monday in some:
                if not any(partition.holds(monday) for partition in there):
                    there.append(_room_for(monday, today=at.astimezone(UTC).date(), beside=there))
                    c.execute(_new_partition(there[-1]))
        if len(_seen) > SEEN_AT_MOST:
            _seen.clear()
        _seen.update(some)


def _room_for(monday: date, *, today: date, beside: Sequence[Partition]) -> Partition:
    """Return the partition to be made for a week: as large as its date allows, and as there is room."""
    first, end = _span(monday, today)
    before = [other.end for other in beside if other.end <= monday]
    after = [other.first for other in beside if other.first > monday]
    return Partition(max([first, *before]), min([end, *after]))


def _span(monday: date, today: date) -> tuple[date, date]:
    if today - BACK <= monday <= today + AHEAD:
        return monday, monday + WEEK
    if monday < EARLY:
        return date.min, EARLY
    if monday >= LATE:
        return LATE, date.max
    return _first_monday(monday.year), _first_monday(monday.year + 1)


def _first_monday(year: int) -> date:
    return date(year, 1, 7) - timedelta(days=date(year, 1, 7).weekday())


def between(first: date, end: date) -> list[Partition]:
    """Return the partitions that hold days from `first` up to `end` (which is left out), oldest first."""
    return [partition for partition in event_partitions() if partition.first < end and first < partition.end]


def drop_if_empty(partition: Partition) -> bool:
    """Drop the partition if nothing is in it; return whether it did. Senders wait for a moment at most.

    Who meanwhile sends an event of its days makes the partition anew.
    """
    is_there = f"SELECT FROM {partition.name} LIMIT 1"
    try:
        with transaction.atomic(durable=True), cursor() as c:
            if c.execute(is_there).fetchone() is not None:
                return False
            c.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
            c.execute(f"SELECT pg_advisory_xact_lock({tiles.LOCKS}, {PARTITIONS})")
            c.execute("LOCK TABLE scoring_event IN ACCESS EXCLUSIVE MODE")
            if c.execute(is_there).fetchone() is not None:
                return False
            c.execute(f"DROP TABLE {partition.name}")
    except psycopg.errors.LockNotAvailable:
        return False
    forget()
    return True


def prepare_partitions(*, at: datetime) -> None:
    """Make the partitions of this week and the next four, so that no batch has to. Commits."""
    ensure((at + n * WEEK for n in range(5)), at=at)


def forget() -> None:
    """Look again next time: what this process has seen may be gone."""
    _seen.clear()


def _new_partition(new: Partition) -> str:
    """The statements that make a partition. Attached, not created in place: that would lock all readers out."""
    first = "MINVALUE" if new.first == date.min else f"'{new.first} 00:00:00+00'"
    end = "MAXVALUE" if new.end == date.max else f"'{new.end} 00:00:00+00'"
    return f"""
CREATE TABLE {new.name} (LIKE scoring_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE scoring_event ATTACH PARTITION {new.name} FOR VALUES FROM ({first}) TO ({end})
"""
