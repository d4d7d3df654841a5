"""Who is here when: one person's present state, and the calendar of people and days. Read-only.

Days are those of each person's own calendar: on 25 December somebody in Sydney and somebody in Boston are both judged
by their own 25th.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from django.db.models import Count, Q

from routing import eligibility, hours, roster, seats
from routing.eligibility import Verdict
from routing.hours import Hours
from routing.models import AE, Absence, Lead, Membership, Pool, State

DAY = timedelta(days=1)
HOLIDAYS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Away:
    """An absence, in whole days of the person's own calendar."""

    absence: Absence  # with its AE and the stand-in's log-in
    first: date
    last: date | None  # None: until further notice


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether somebody works at a moment, and when that changes."""

    works: bool
    until: datetime | None  # the end of the present stretch; None: not at work, or it has no end in a fortnight
    next_at: datetime | None  # when work begins again; None: not within three years
    why: str  # what keeps the person away now; empty if at work


@dataclass(frozen=True, slots=True)
class Place:
    """A person's place in a pool: what they hold, and which gates are shut."""

    membership: Membership  # with the pool
    open_leads: int
    given_today: int
    given_this_week: int
    verdicts: Sequence[Verdict]
    free_at: datetime | None  # when the clock alone opens every gate; None: it takes more than time

    @property
    def shut(self) -> Sequence[Verdict]:
        """The gates that keep leads of this pool away; empty: the next turn may come."""
        return [verdict for verdict in self.verdicts if not verdict.passed]


class Kind(StrEnum):
    """What a day is to somebody."""

    WORKS = "works"
    AWAY = "away"
    HOLIDAY = "holiday"
    OFF = "off"  # no hours on this day of the week


@dataclass(frozen=True, slots=True)
class Day:
    """A person's day in the calendar."""

    on: date
    kind: Kind
    words: str  # "9:00-17:00", "holiday: Christmas Day", "away, Ben stands in"


@dataclass(frozen=True, slots=True)
class Line:
    """A person's line in the calendar of a pool."""

    membership: Membership  # with the AE and the log-in
    open_leads: int  # of this pool, now
    presence: Presence
    days: Sequence[Day]


@dataclass(frozen=True, slots=True)
class Gap:
    """A day on which a pool has nobody, though somebody would work on that day of the week."""

    on: date
    out: Sequence[tuple[AE, str]]  # everybody, with what keeps them away


@dataclass(frozen=True, slots=True)
class Team:
    """A pool in the calendar."""

    pool: Pool
    lines: Sequence[Line]  # who may be given leads at all
    gaps: Sequence[Gap]


def presence(*, works: Hours, at: datetime) -> Presence:
    """Return whether a person with these hours works at a moment, until when, and from when again."""
    if works.is_working(at):
        until = works.working_until(at)
        return Presence(True, until, works.next_working(until) if until else None, "")
    return Presence(False, None, works.next_working(at), _why_out(works, at))


def absences(*, ae: AE, at: datetime) -> list[Away]:
    """Return the person's absences that are not over, in order; one query."""
    ahead = Absence.objects.filter(Q(ends_at=None) | Q(ends_at__gt=at), ae=ae)
    return [away(absence=one, ae=ae) for one in ahead.select_related("stand_in__user").order_by("starts_at", "pk")]


def holidays_ahead(*, works: Hours, at: datetime) -> list[tuple[date, str]]:
    """Return the next holidays that a person has, with their names, in order."""
    today = at.astimezone(ZoneInfo(works.zone)).date()
    return sorted(held for held in works.holidays.items() if held[0] >= today)[:HOLIDAYS_SHOWN]


def places(*, ae: AE, works: Hours, at: datetime) -> list[Place]:
    """Return the person's places in pools, each with the verdict of every gate now; five queries a pool."""
    mine = Membership.objects.filter(ae=ae).select_related("pool").order_by("pool__name", "pk")
    return [_place(member, works, at) for member in list(mine)]


def calendar(*, first: date, days: int, at: datetime) -> list[Team]:
    """Return each pool with its people and their days, from a first one on; four queries, however many people."""
    found = Membership.objects.filter(is_active=True, ae__is_active=True, ae__user__is_active=True)
    members = list(found.select_related("pool", "ae__user").order_by("pool__name", "ae__user__first_name", "pk"))
    aes = {member.ae_id: member.ae for member in members}
    works = roster.hours_of(aes.values(), at=at)
    gone = _absences_of(aes, first, first + days * DAY)
    loads = _loads()
    dates = [first + number * DAY for number in range(days)]
    plans = {pk: [_day(works[pk], day, gone.get(pk, ())) for day in dates] for pk in aes}
    present = {pk: presence(works=works[pk], at=at) for pk in aes}
    lines: dict[int, list[Line]] = {}
    for one in members:
        load = loads.get((one.pool_id, one.ae_id), 0)
        lines.setdefault(one.pool_id, []).append(Line(one, load, present[one.ae_id], plans[one.ae_id]))
    pools = Pool.objects.order_by("name", "pk")
    return [Team(pool, mine := lines.get(pool.pk, []), _gaps(mine, works)) for pool in pools]


def away(*, absence: Absence, ae: AE) -> Away:
    """Return an absence of a person in whole days."""
    zone = ZoneInfo(ae.time_zone)
    # The end is half open: an absence until midnight has its last day before it.
    last = absence.ends_at and (absence.ends_at - timedelta.resolution).astimezone(zone).date()
    return Away(absence, absence.starts_at.astimezone(zone).date(), last)


def hours_by_day(*, week: str) -> list[str]:
    """Return the hours of each day of a week, from Monday: "9:00-17:00", empty on a day off."""
    shifts = hours.parse(week)
    return [_said([shift for shift in shifts if shift.weekday == day]) for day in range(7)]


def _why_out(works: Hours, at: datetime) -> str:
    if works.absence(at):
        return "away"
    holiday = works.holiday(at)
    return f"holiday: {holiday}" if holiday else "outside the working hours"


def _place(member: Membership, works: Hours, at: datetime) -> Place:
    facts = seats.table(pool=member.pool, at=at).seats[member.pk].facts
    return Place(
        membership=member,
        open_leads=facts.open_leads,
        given_today=facts.given_today,
        given_this_week=facts.given_this_week,
        verdicts=eligibility.verdicts(facts),
        free_at=eligibility.free_by_clock(facts, works),
    )


def _absences_of(aes: Iterable[int], first: date, end: date) -> dict[int, list[Absence]]:
    """Return by AE the absences that touch the days; a day more on each side, for people far from UTC."""
    utc = ZoneInfo("UTC")
    begin, stop = datetime.combine(first - DAY, time(), utc), datetime.combine(end + DAY, time(), utc)
    touching = Absence.objects.filter(Q(ends_at=None) | Q(ends_at__gt=begin), ae__in=list(aes), starts_at__lt=stop)
    found: dict[int, list[Absence]] = {}
    for one in touching.select_related("stand_in__user").order_by("starts_at", "pk"):
        found.setdefault(one.ae_id, []).append(one)
    return found


def _loads() -> Mapping[tuple[int | None, int | None], int]:
    held = Lead.objects.filter(state__in=[State.ASSIGNED, State.SNOOZED]).order_by()
    return {(pool, ae): number for pool, ae, number in held.values_list("pool", "ae").annotate(Count("pk"))}


def _day(works: Hours, day: date, gone: Sequence[Absence]) -> Day:
    worked = works.worked_on(day)
    zone = ZoneInfo(works.zone)
    if worked:
        spans = ", ".join(f"{_clock(begin, zone, day)}-{_clock(end, zone, day)}" for begin, end in worked)
        return Day(day, Kind.WORKS, "all day" if spans == "0:00-24:00" else spans)
    begins, ends = (datetime.combine(each, time(), zone) for each in (day, day + DAY))
    covering = [one for one in gone if one.starts_at < ends and (one.ends_at is None or one.ends_at > begins)]
    if covering:
        return Day(day, Kind.AWAY, _away_in_words(covering[0]))
    if works.works_weekday(day) and day in works.holidays:
        return Day(day, Kind.HOLIDAY, f"holiday: {works.holidays[day]}")
    return Day(day, Kind.OFF, "day off")


def _clock(when: datetime, zone: ZoneInfo, day: date) -> str:
    local = when.astimezone(zone)
    return f"{local:%-H:%M}" if local.date() == day else "24:00"


def _away_in_words(absence: Absence) -> str:
    stands_in = absence.stand_in
    said = ["away", f"{stands_in.name} stands in" if stands_in else "", absence.note]
    return ", ".join(part for part in said if part)


def _gaps(lines: Sequence[Line], works: Mapping[int, Hours]) -> list[Gap]:
    """Return the days on which nobody works, but for those on which nobody's week has hours."""
    found = []
    for held in zip(*(line.days for line in lines), strict=True):
        day = held[0].on
        would = any(works[line.membership.ae_id].works_weekday(day) for line in lines)
        if would and all(one.kind is not Kind.WORKS for one in held):
            out = [(line.membership.ae, one.words) for line, one in zip(lines, held, strict=True)]
            found.append(Gap(day, out))
    return found


def _said(shifts: Sequence[hours.Shift]) -> str:
    return hours.say(shifts).partition(" ")[2] if shifts else ""
