"""How the partitions of the events' table are named, and which there are."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from scoring.models.raw import cursor

WEEK = timedelta(days=7)
_PREFIX = "scoring_event_"


@dataclass(frozen=True, slots=True)
class Partition:
    """Days (UTC) that are stored together: from a Monday to a Monday."""

    first: date
    end: date  # the first day that is not in it; date.max: there is none
    blocks: int = 0  # pages of 8 kB

    @property
    def name(self) -> str:
        """The table's name; by it they are in order. One of a week bears only its Monday."""
        only_a_week = self.end == _week_after(self.first)
        return _PREFIX + _plain(self.first) + ("" if only_a_week else f"_{_plain(self.end)}")

    def holds(self, day: date) -> bool:
        """Whether events of the day are in it."""
        return self.first <= day and (day < self.end or self.end == date.max)


def event_partitions() -> list[Partition]:
    """Return the partitions that there are, oldest first."""
    with cursor() as c:
        return [_named(name, blocks) for name, blocks in c.execute(_PARTITIONS)]


_PARTITIONS = """
SELECT k.relname::text, (pg_relation_size(k.oid) / current_setting('block_size')::int)::int
FROM pg_inherits h JOIN pg_class k ON k.oid = h.inhrelid
WHERE h.inhparent = 'scoring_event'::regclass ORDER BY k.relname
"""


def _named(name: str, blocks: int) -> Partition:
    first, _, end = name.removeprefix(_PREFIX).partition("_")
    return Partition(_day(first), _day(end) if end else _week_after(_day(first)), blocks)


def _week_after(monday: date) -> date:
    return monday + WEEK if monday <= date.max - WEEK else date.max


def _plain(day: date) -> str:
    return f"{day.year:04}{day:%m%d}"


def _day(text: str) -> date:
    return datetime.strptime(text, "%Y%m%d").date()
