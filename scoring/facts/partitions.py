"""The partitions of the events' table: one for each week, from Monday (UTC) on, made when it is first needed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
from django.db import transaction

from scoring import tiles
from scoring.models.raw import cursor

PARTITIONS = 3  # the lock under which they are made; see tiles.LOCKS
DAYS = 7  # in a partition
PATIENCE = "200ms"  # for which senders may have to wait behind whoever drops a partition
MOST_AT_ONCE = 50  # in one transaction: each is a lock

_seen: set[date] = set()  # Mondays whose partitions were there or were made


def ensure(times: Iterable[datetime]) -> None:
    """Make the missing partitions for events at these times, in transactions of their own."""
    days = {at.astimezone(UTC).date() for at in times}
    missing = sorted({day - timedelta(days=day.weekday()) for day in days} - _seen)
    for start in range(0, len(missing), MOST_AT_ONCE):
        some = missing[start : start + MOST_AT_ONCE]
        with transaction.atomic(durable=True), cursor() as c:
            c.execute(f"SELECT pg_advisory_xact_lock({tiles.LOCKS}, {PARTITIONS})")
            there = {name for (name,) in c.execute(_PARTITIONS)}
            for monday in some:
                if _partition(monday) not in there:
                    c.execute(_new_partition(monday))
        _seen.update(some)


@dataclass(frozen=True, slots=True)
class Week:
    """A partition."""

    monday: date
    name: str
    blocks: int  # pages of 8 kB


def between(first: date, end: date) -> list[Week]:
    """Return the partitions that hold days from `first` up to `end` (which is left out), oldest first."""
    with cursor() as c:
        rows = c.execute(_WEEKS)
        weeks = [Week(datetime.strptime(name[-8:], "%Y%m%d").date(), name, blocks) for name, blocks in rows]
    return [week for week in weeks if week.monday < end and (week.monday - first).days > -DAYS]


def drop_if_empty(week: Week) -> bool:
    """Drop the partition if nothing is in it; return whether it did. Senders wait for a moment at most.

    Who meanwhile sends an event of that week makes the partition anew.
    """
    try:
        with transaction.atomic(durable=True), cursor() as c:
            if c.execute(f"SELECT FROM {week.name} LIMIT 1").fetchone() is not None:
                return False
            c.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
            c.execute(f"SELECT pg_advisory_xact_lock({tiles.LOCKS}, {PARTITIONS})")
            c.execute("LOCK TABLE scoring_event IN ACCESS EXCLUSIVE MODE")
            if c.execute(f"SELECT FROM {week.name} LIMIT 1").fetchone() is not None:
                return False
            c.execute(f"DROP TABLE {week.name}")
    except psycopg.errors.LockNotAvailable:
        return False
    forget()
    return True


def prepare_partitions(*, at: datetime) -> None:
    """Make the partitions of this week and the next four, so that no batch has to. Commits."""
    ensure(at + timedelta(weeks=n) for n in range(5))


def forget() -> None:
    """Look again next time: what this process has seen may be gone."""
    _seen.clear()


def _partition(monday: date) -> str:
    return f"scoring_event_{monday:%Y%m%d}" if monday.year > 999 else f"scoring_event_{monday.year:04}{monday:%m%d}"


_PARTITIONS = """
SELECT k.relname::text FROM pg_inherits h JOIN pg_class k ON k.oid = h.inhrelid
WHERE h.inhparent = 'scoring_event'::regclass
"""


_WEEKS = """
SELECT k.relname::text, (pg_relation_size(k.oid) / current_setting('block_size')::int)::int
FROM pg_inherits h JOIN pg_class k ON k.oid = h.inhrelid
WHERE h.inhparent = 'scoring_event'::regclass ORDER BY k.relname
"""


def _new_partition(monday: date) -> str:
    """The statements that make a partition. Attached, not created in place: that would lock all readers out."""
    last = date.max - timedelta(days=6)
    end = f"'{monday + timedelta(days=7)} 00:00:00+00'" if monday <= last else "MAXVALUE"
    name = _partition(monday)
    return f"""
CREATE TABLE {name} (LIKE scoring_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE scoring_event ATTACH PARTITION {name} FOR VALUES FROM ('{monday} 00:00:00+00') TO ({end})
"""
