"""When somebody works: hours by the week in their own time zone, less holidays and absences. Pure.

Hours are said in words, `Mon-Fri 9:00-12:30, 13:00-17:00; Sat 10-14`. A moment is worked if the clock on the wall
then shows a time within that day's hours, the day is no holiday, and no absence covers it. So an hour that the clock
leaves out in spring is not worked by anybody, and one that it shows twice in autumn is worked twice. All stretches
are half open: at 17:00 the day is over.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = timedelta(days=1)
FORTNIGHT = timedelta(days=14)
MINUTES = 24 * 60
LOOK_AHEAD = timedelta(days=3 * 366)  # nobody plans further: then the answer is None

CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?")


class HoursError(ValueError):
    """Hours that cannot be read; the text says what to write instead."""


class Shift(NamedTuple):
    """A stretch of one day of the week, in minutes after midnight on the clock."""

    weekday: int  # 0 is Monday
    start: int
    end: int  # up to 1440, which is midnight at the day's end


class Span(NamedTuple):
    """A stretch of time, half open."""

    start: datetime
    end: datetime | None  # None: until further notice


ALWAYS = tuple(Shift(weekday, 0, MINUTES) for weekday in range(7))


@dataclass(frozen=True)
class Hours:
    """When one person works."""

    zone: str = "UTC"  # an IANA name
    week: Sequence[Shift] = ALWAYS  # none: never
    holidays: Mapping[date, str] = field(default_factory=dict)  # by day, with the name
    absences: Sequence[Span] = ()

    def is_working(self, at: datetime) -> bool:
        """Return whether the moment is worked."""
        local = at.astimezone(_zone(self.zone))
        minute = local.hour * 60 + local.minute
        on_shift = any(shift.start <= minute < shift.end for shift in self._by_weekday[local.weekday()])
        return on_shift and local.date() not in self.holidays and self.absence(at) is None

    def absence(self, at: datetime) -> Span | None:
        """Return the absence that covers a moment, joined with those that follow without a break; None if present."""
        return next((span for span in self._away if span.start <= at and (span.end is None or at < span.end)), None)

    def holiday(self, at: datetime) -> str:
        """Return the name of the holiday that it is then where the person is; empty if none."""
        return self.holidays.get(at.astimezone(_zone(self.zone)).date(), "")

    def next_working(self, at: datetime) -> datetime | None:
        """Return the first worked moment from then on; None if there is none within three years."""
        return next((begin for begin, _ in self._worked(at)), None)

    def working_until(self, at: datetime) -> datetime | None:
        """Return when the stretch worked at a moment ends; None if it is not worked, or goes on for a fortnight."""
        stop = at + FORTNIGHT
        end = at
        for begin, finish in self._worked(at, until=stop):
            if begin > end:
                break
            end = finish
        return end if at < end < stop else None

    def worked_on(self, day: date) -> Sequence[tuple[datetime, datetime]]:
        """Return the stretches worked on a day of the person's own calendar, in UTC and in order."""
        zone = _zone(self.zone)
        begin, end = (datetime.combine(each, time(), zone) for each in (day, day + DAY))
        worked: list[tuple[datetime, datetime]] = []
        for start, stop in self._worked(begin, until=end):
            # The clock may have been set in between: that parts no stretch.
            touches = bool(worked) and worked[-1][1] == start
            worked[-1:] = [(worked[-1][0], stop)] if touches else [*worked[-1:], (start, stop)]
        return worked

    def works_weekday(self, day: date) -> bool:
        """Return whether the week has hours on that day, be it a holiday or not, and whoever is away."""
        return bool(self._by_weekday[day.weekday()])

    def add_business_time(self, start: datetime, seconds: float) -> datetime | None:
        """Return the earliest moment by which so many seconds were worked since the start.

        None if that is not within three years. Nought seconds are over at once.
        """
        left = timedelta(seconds=seconds)
        if left <= timedelta(0):
            return start
        for begin, end in self._worked(start):
            if end - begin >= left:
                return begin + left
            left -= end - begin
        return None

    def business_seconds(self, a: datetime, b: datetime) -> float:
        """Return how many seconds are worked from `a` until `b`, to the microsecond; minus, if b is before a."""
        if b < a:
            return -self.business_seconds(b, a)
        worked = timedelta(0)
        for begin, end in self._worked(a, until=b):
            worked += end - begin
        return worked.total_seconds()

    @cached_property
    def _by_weekday(self) -> Sequence[Sequence[Shift]]:
        return [tuple(shift for shift in self.week if shift.weekday == weekday) for weekday in range(7)]

    @cached_property
    def _away(self) -> Sequence[Span]:
        """The absences in order, those that touch or overlap joined."""
        joined: list[Span] = []
        for span in sorted(self.absences, key=lambda span: span.start):
            last = joined[-1] if joined else None
            if last is None or (last.end is not None and last.end < span.start):
                joined.append(span)
            elif last.end is not None:
                joined[-1] = Span(last.start, None if span.end is None else max(last.end, span.end))
        return joined

    def _worked(self, start: datetime, *, until: datetime | None = None) -> Iterator[tuple[datetime, datetime]]:
        """Yield in order the stretches worked between two moments, three years at most where there is no second."""
        start, stop = start.astimezone(UTC), (until or start + LOOK_AHEAD).astimezone(UTC)
        if self._away and self._away[-1].end is None:
            stop = min(stop, self._away[-1].start)
        zone = _zone(self.zone)
        day = start.astimezone(zone).date() if self.week and start < stop else date.max
        while day <= stop.astimezone(zone).date():
            if day not in self.holidays:
                for begin, end in _stretches(self.zone, day, self._by_weekday[day.weekday()]):
                    yield from self._present(max(begin, start), min(end, stop))
            day += DAY

    def _present(self, begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield what the absences leave of a stretch."""
        for span in self._away:
            if span.end is None or begin >= end or span.start >= end:
                break
            if span.end > begin:
                if begin < span.start:
                    yield begin, span.start
                begin = max(begin, span.end)
        if begin < end:
            yield begin, end


def parse(text: str) -> tuple[Shift, ...]:
    """Return the week that a text such as `Mon-Fri 9-17; Sat 10:00-14:00` says, in order; empty text means always.

    Hours past midnight, `Fri 22-6`, go on in the morning of the next day; `never` means no hours at all.
    Raises HoursError, which says what is wrong and what to write.
    """
    words = text.strip()
    if not words:
        return ALWAYS
    if words.lower() == "never":
        return ()
    shifts = [shift for entry in words.split(";") if entry.strip() for shift in _entry(entry.strip())]
    return _joined(shifts)


def check_zone(name: str) -> None:
    """Raise HoursError, with what to write instead, if there is no time zone of this name."""
    try:
        _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise HoursError(f"{name!r} is not a time zone: give one such as Europe/Berlin.") from error


def say(week: Sequence[Shift]) -> str:
    """Return the week as a text that `parse` reads as the same week: `Mon-Fri 09:00-17:00; Sat 10:00-14:00`."""
    if tuple(week) == ALWAYS:
        return ""
    by_day = [", ".join(f"{_clock(s.start)}-{_clock(s.end)}" for s in week if s.weekday == day) for day in range(7)]
    said, day = [], 0
    while day < 7:
        last = day
        while last < 6 and by_day[last + 1] == by_day[day]:
            last += 1
        if by_day[day]:
            days = DAY_NAMES[day] if last == day else f"{DAY_NAMES[day]}-{DAY_NAMES[last]}"
            said.append(f"{days} {by_day[day]}")
        day = last + 1
    return "; ".join(said) or "never"


def _entry(entry: str) -> Iterator[Shift]:
    """Yield the shifts of one entry: days, then times."""
    found = re.fullmatch(r"([^\d]+?)\s*(\d.*)", entry.replace("–", "-"))
    if not found:
        raise HoursError(f"{entry!r} names no days with hours: write for example Mon-Fri 9:00-17:00.")
    days = [day for part in found[1].rstrip(" :").split(",") for day in _days(part.strip())]
    for part in found[2].split(","):
        start, end = _times(part.strip())
        for day in days:
            yield Shift(day, start, end if end > start else MINUTES)
            if end < start and end > 0:
                yield Shift((day + 1) % 7, 0, end)


def _days(part: str) -> list[int]:
    first, dash, last = (word.strip() for word in part.partition("-"))
    begin, end = _day(first), _day(last if dash else first)
    return [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]


def _day(word: str) -> int:
    name = word[:3].capitalize()
    if name not in DAY_NAMES:
        raise HoursError(f"{word!r} is not a day: write {', '.join(DAY_NAMES)}.")
    return DAY_NAMES.index(name)


def _times(part: str) -> tuple[int, int]:
    start, dash, end = (word.strip() for word in part.partition("-"))
    if not dash:
        raise HoursError(f"{part!r} has no end: write for example 9:00-17:00.")
    minutes = _minute(start), _minute(end)
    if minutes[0] == minutes[1] or minutes[0] == MINUTES:
        raise HoursError(f"{part!r} is no stretch of time: write for example 9:00-17:00, or 0-24 for the whole day.")
    return minutes


def _minute(word: str) -> int:
    found = CLOCK.fullmatch(word)
    minute = int(found[1]) * 60 + int(found[2] or 0) if found else -1
    if not 0 <= minute <= MINUTES or (found and int(found[2] or 0) > 59):
        raise HoursError(f"{word!r} is not a time of the day: write it from 0:00 to 24:00.")
    return minute


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _joined(shifts: Sequence[Shift]) -> tuple[Shift, ...]:
    """Return the shifts in order, those of a day that touch or overlap joined."""
    joined: list[Shift] = []
    for shift in sorted(shifts):
        if joined and joined[-1].weekday == shift.weekday and shift.start <= joined[-1].end:
            joined[-1] = joined[-1]._replace(end=max(joined[-1].end, shift.end))
        else:
            joined.append(shift)
    return tuple(joined)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=1 << 15)
def _stretches(zone: str, day: date, shifts: Sequence[Shift]) -> Sequence[tuple[datetime, datetime]]:
    """Return when the clock on the wall shows a time of the shifts on that day, in UTC and in order."""
    midnight = datetime.combine(day, time(), UTC)
    found = []
    for begin, end, offset in _even(zone, day):
        for shift in shifts:
            start = max(begin, midnight + timedelta(minutes=shift.start) - offset)
            stop = min(end, midnight + timedelta(minutes=shift.end) - offset)
            if start < stop:
                found.append((start, stop))
    return sorted(found)


def _even(zone: str, day: date) -> list[tuple[datetime, datetime, timedelta]]:
    """Return the stretches around a day in which the clock goes evenly, each with its distance from UTC."""
    where, midnight = _zone(zone), datetime.combine(day, time(), UTC)
    # No place is further from UTC than this, and no clock was set twice within six hours.
    marks = [midnight + timedelta(hours=hours) for hours in range(-18, 48, 6)]
    cuts = [marks[0], *(cut for a, b in pairwise(marks) if (cut := _change(where, a, b))), marks[-1]]
    return [(a, b, _offset(where, a)) for a, b in pairwise(cuts)]


def _change(where: ZoneInfo, a: datetime, b: datetime) -> datetime | None:
    """Return the second at which the clock is set between two moments; None if it is not."""
    before = _offset(where, a)
    if _offset(where, b) == before:
        return None
    low, high = 0, int((b - a).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(where, a + timedelta(seconds=middle)) == before else (low, middle)
    return a + timedelta(seconds=high)


def _offset(where: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(where).utcoffset() or timedelta(0)
