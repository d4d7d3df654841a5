"""The gates that a member of a pool must pass to be given a lead. Pure: facts in, verdicts in words out.

A candidate is plain data, with times as ISO texts, so that a record of it can be judged again word for word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from routing import hours
from routing.hours import Hours, Span

TIMED = ("hours", "absence", "daily cap", "weekly cap")  # the clock alone can open these gates
MOST_STEPS = 60  # from one obstacle to the next, when looking for the next time


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the gates need to know of a member of the pool."""

    membership_active: bool
    ae_active: bool
    log_in_active: bool
    open_leads: int  # of this pool, in the AE's hands
    capacity: int | None  # None: no limit
    had_it: bool = False  # this very lead was with the AE before, and was taken or given back
    at: str = ""  # the moment; empty: no gate asks for the time
    zone: str = "UTC"  # the AE's
    hours: str = ""  # as `hours.say` says the week
    holiday: str = ""  # the name of today's, where the AE is
    absence: Sequence[str | None] = ()  # start and end of that which is now or comes next
    stop_days: int = 0  # before an absence of at least
    long_absence_days: int = 0  # so many days
    given_today: int = 0
    daily_cap: int | None = None
    given_this_week: int = 0
    weekly_cap: int | None = None
    tier: str = ""  # of the lead
    open_of_tier: int = 0
    tier_cap: int | None = None
    tags: Sequence[str] = ()  # what the AE speaks and knows
    asked: Sequence[str] = ()  # what the routing rule asks for


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate says of one candidate, with what it saw."""

    name: str
    passed: bool
    detail: str


def verdicts(candidate: Candidate) -> tuple[Verdict, ...]:
    """Return the verdict of every gate, in a fixed order; all of them, so that a record tells everything.

    A gate that nobody set up for the candidate (hours, caps, tags) is not there.
    """
    always = [_membership(candidate), _ae(candidate)]
    set_up = [_hours(candidate), _absence(candidate), _capacity(candidate), *_caps(candidate), _tags(candidate)]
    return (*always, *(verdict for verdict in set_up if verdict), _new_to_it(candidate))


def is_free(candidate: Candidate) -> bool:
    """Return whether the candidate could take a lead at all, were it not this very one."""
    return is_eligible(verdicts(replace(candidate, had_it=False, asked=())))


def is_eligible(all_verdicts: Sequence[Verdict]) -> bool:
    """Return whether every gate was passed."""
    return all(verdict.passed for verdict in all_verdicts)


def free_by_clock(candidate: Candidate, works: Hours) -> datetime | None:
    """Return the first moment, from now on, at which the candidate passes every gate if only time goes by.

    None if it takes more than time (capacity, another person, another rule), or is not within three years. `works`
    says when the AE works beyond what the candidate holds: the holidays and absences to come.
    """
    if not candidate.at or any(not v.passed and v.name not in TIMED for v in verdicts(candidate)):
        return None
    at: datetime | None = datetime.fromisoformat(candidate.at)
    for _ in range(MOST_STEPS):
        if at is None:
            return None
        then = _as_of(candidate, works, at)
        shut = next((verdict.name for verdict in verdicts(then) if not verdict.passed), None)
        if shut is None:
            return at
        at = _opens(shut, then, works, at)
    return None


def absence_ahead(works: Hours, at: datetime) -> Span | None:
    """Return the absence that covers a moment, else the next one; None if none is known."""
    coming = sorted(span for span in works.absences if span.start > at)
    return works.absence(at) or (works.absence(coming[0].start) if coming else None)


def day_begins(zone: str, at: datetime) -> datetime:
    """Return when the day began, where the person is."""
    return at.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


def week_begins(zone: str, at: datetime) -> datetime:
    """Return when the week began, on Monday, where the person is."""
    local = at.astimezone(ZoneInfo(zone))
    monday = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) - timedelta(days=local.weekday())
    return monday.astimezone(UTC)


def said(span: Span | None) -> Sequence[str | None]:
    """Return an absence as a candidate holds it."""
    return (span.start.isoformat(), span.end.isoformat() if span.end else None) if span else ()


# ---- the gates -------------------------------------------------------------------------------------------------


def _membership(candidate: Candidate) -> Verdict:
    return Verdict(
        name="membership",
        passed=candidate.membership_active,
        detail="in the rotation" if candidate.membership_active else "taken out of the pool's rotation",
    )


def _ae(candidate: Candidate) -> Verdict:
    if not candidate.ae_active:
        return Verdict("active", False, "no longer works leads")
    if not candidate.log_in_active:
        return Verdict("active", False, "cannot log in")
    return Verdict("active", True, "active")


def _hours(candidate: Candidate) -> Verdict | None:
    if not candidate.at or not (candidate.hours or candidate.holiday):
        return None
    if candidate.holiday:
        return Verdict("hours", False, f"on holiday: {candidate.holiday}")
    week = _week(candidate.zone, candidate.hours)
    if week.is_working(datetime.fromisoformat(candidate.at)):
        return Verdict("hours", True, "at work")
    return Verdict("hours", False, f"outside working hours: {candidate.hours}, {candidate.zone}")


def _absence(candidate: Candidate) -> Verdict | None:
    if not candidate.at or not candidate.absence:
        return None
    at, (start, end) = datetime.fromisoformat(candidate.at), _span(candidate)
    if start <= at and (end is None or at < end):
        until = f"until {_day(candidate, end)}" if end else "until further notice"
        return Verdict("absence", False, f"absent {until}")
    if end is not None and end <= at:
        return Verdict("absence", True, "present")
    is_long = end is None or end - start >= timedelta(days=candidate.long_absence_days)
    leaves = _day(candidate, start)
    if is_long and candidate.stop_days and at >= start - timedelta(days=candidate.stop_days):
        return Verdict("absence", False, f"leaves on {leaves}: no new leads in the {candidate.stop_days} days before")
    return Verdict("absence", True, f"present until {leaves}")


def _capacity(candidate: Candidate) -> Verdict:
    if candidate.capacity is None:
        return Verdict("capacity", True, f"{candidate.open_leads} open, no limit")
    return _limit("capacity", candidate.open_leads, candidate.capacity, "open")


def _caps(candidate: Candidate) -> Sequence[Verdict]:
    caps = (
        ("daily cap", candidate.given_today, candidate.daily_cap, "given today"),
        ("weekly cap", candidate.given_this_week, candidate.weekly_cap, "given this week"),
        ("tier cap", candidate.open_of_tier, candidate.tier_cap, f"open of tier {candidate.tier}"),
    )
    return [_limit(name, used, cap, words) for name, used, cap, words in caps if cap is not None]


def _limit(name: str, used: int, most: int, words: str) -> Verdict:
    detail = f"{used} of {most} {words}"
    return Verdict(name, used < most, detail if used < most else f"{detail}: full")


def _tags(candidate: Candidate) -> Verdict | None:
    if not candidate.asked:
        return None
    missing = [tag for tag in candidate.asked if tag not in candidate.tags]
    if missing:
        return Verdict("skills", False, f"lacks {', '.join(missing)}")
    return Verdict("skills", True, f"has {', '.join(candidate.asked)}")


def _new_to_it(candidate: Candidate) -> Verdict:
    return Verdict(
        name="new to it",
        passed=not candidate.had_it,
        detail="had this lead before" if candidate.had_it else "never had this lead",
    )


# ---- the next time ---------------------------------------------------------------------------------------------


def _as_of(candidate: Candidate, works: Hours, at: datetime) -> Candidate:
    """Return the candidate as it will be then if nothing happens but that time goes by."""
    was = datetime.fromisoformat(candidate.at)
    return replace(
        candidate,
        at=at.isoformat(),
        holiday=works.holiday(at),
        absence=said(absence_ahead(works, at)),
        given_today=0 if day_begins(candidate.zone, at) > was else candidate.given_today,
        given_this_week=0 if week_begins(candidate.zone, at) > was else candidate.given_this_week,
    )


def _opens(gate: str, candidate: Candidate, works: Hours, at: datetime) -> datetime | None:
    """Return when a gate that time has shut opens again, or may do so."""
    local = at.astimezone(ZoneInfo(candidate.zone))
    if gate == "daily cap":
        return day_begins(candidate.zone, local + timedelta(days=1))
    if gate == "weekly cap":
        return week_begins(candidate.zone, local + timedelta(days=7))
    if gate == "absence":
        return _span(candidate)[1]
    return works.next_working(at)


def _span(candidate: Candidate) -> tuple[datetime, datetime | None]:
    start, end = candidate.absence
    return datetime.fromisoformat(start or candidate.at), datetime.fromisoformat(end) if end else None


def _day(candidate: Candidate, at: datetime) -> str:
    return f"{at.astimezone(ZoneInfo(candidate.zone)):%-d %B %Y}"


@lru_cache(maxsize=1024)
def _week(zone: str, text: str) -> Hours:
    return Hours(zone=zone, week=hours.parse(text))


GATES: Mapping[str, str] = {
    "membership": "taken out of the rotation",
    "active": "gone",
    "hours": "outside their working hours",
    "absence": "absent, or about to leave",
    "capacity": "at capacity",
    "daily cap": "at their daily cap",
    "weekly cap": "at their weekly cap",
    "tier cap": "at their cap for the tier",
    "skills": "without what is asked for",
    "new to it": "among those who had it before",
}


def why_nobody(pool: str, told: Sequence[tuple[str, Sequence[Verdict]]]) -> str:
    """Return in a sentence why no member of a pool can take the lead: name and verdicts of each are given."""
    if not told:
        return f"The pool {pool} has no members: add an AE to it."
    shut = [[verdict for verdict in each if not verdict.passed] for _, each in told]
    listed = ", ".join(
        f"{name} ({'; '.join(v.detail for v in why)})" for (name, _), why in zip(told, shut, strict=True)
    )
    common = {why[0].name for why in shut if why}
    if len(told) > 1 and len(common) == 1:
        all_of_them = "Both" if len(told) == 2 else f"All {len(told)}"
        return f"{all_of_them} members of {pool} are {GATES[common.pop()]}: {listed}."
    return f"Nobody in {pool} can take it: {listed}."
