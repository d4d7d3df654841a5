"""Count who was a PQL and what became of them, beside others of the same age; and say how sure the figures are.

The lift compares two groups with one time zero. A PQL is followed for the horizon from its first qualifying day, and
others are followed as long, from a day on which they were as old (days since sign-up) as PQLs that qualified.
Whoever was not in the population on that day (a customer by then, excluded, not there yet), or was a PQL already, is
no comparison; whoever became a PQL later is one, since nobody knew it that day. An account that cannot be followed to
the end is in neither group.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from scoring import statistics
from scoring.backtest.asking import HAND_RAISED
from scoring.backtest.watching import Course, Line, Span, Watched
from scoring.bulk import NEVER, Numbers
from scoring.models import AsOther, AsPql, Won

MOST_THRESHOLDS = 24
SAMPLE = 4_000  # accounts by which it is told how many are left to compare with at an age
RARE = 50  # where fewer than one in so many are left, a PQL of that age has nobody to be compared with
ENOUGH = 0.8  # of the PQLs must find somebody to be compared with
Plain = dict[str, Any]


@dataclass
class Tally:
    """Who was a PQL with the line at one height, and what became of everybody, by account."""

    qualified_on: dict[int, date] = field(default_factory=dict)
    as_pql: dict[int, AsPql] = field(default_factory=dict)
    as_other: dict[int, AsOther] = field(default_factory=dict)
    compared_on: dict[int, date] = field(default_factory=dict)
    won: dict[int, Won] = field(default_factory=dict)
    alone: int = 0  # PQLs that can be known, and found nobody of their age to be compared with

    @property
    def pqls(self) -> int:
        """Accounts that became PQLs within the span."""
        return sum(code != AsPql.BEFORE for code in self.as_pql.values())

    def table(self, among: range | None = None) -> tuple[int, int, int, int]:
        """Return PQLs that converted, PQLs, others that converted, others; of days (ordinals) in the range only."""

        def chosen(days: Mapping[int, date], account: int) -> bool:
            return among is None or days[account].toordinal() in among

        pqls = Counter(code for account, code in self.as_pql.items() if chosen(self.qualified_on, account))
        others = Counter(code for account, code in self.as_other.items() if chosen(self.compared_on, account))
        converted, other_converted = pqls[AsPql.CONVERTED], others[AsOther.CONVERTED]
        return converted, converted + pqls[AsPql.NOT], other_converted, other_converted + others[AsOther.NOT]

    @property
    def precision(self) -> statistics.Share:
        """Of the PQLs that can be known, those that converted in time."""
        converted, pqls, _, _ = self.table()
        return statistics.share(converted, pqls)

    @property
    def recall(self) -> statistics.Share:
        """Of the conversions by accounts that were seen in the population, those that a PQL foretold."""
        counts = Counter(self.won.values())
        seen = counts[Won.FORETOLD] + counts[Won.LATE] + counts[Won.MISSED]
        return statistics.share(counts[Won.FORETOLD], seen)

    @property
    def lift(self) -> statistics.Ratio:
        """How many times more often PQLs convert than the others; unknown if too many have nobody to compare with."""
        table = self.table()
        return statistics.ratio(*table) if self.alone <= (1 - ENOUGH) * table[1] else statistics.ratio(0, 0, 0, 0)


def tally(watched: Watched, *, shift: int = 0) -> Tally:
    """Return who was a PQL and what became of all, if the line of a PQL were `shift` hundredths higher."""
    span, done = watched.span, Tally()
    for course in watched.courses.values():
        place = course.first_at(shift)
        if place is not None:
            day = course.qualified_on if shift == 0 and course.qualified_on else span.moments[place]
            done.qualified_on[course.account] = day
            done.as_pql[course.account] = _as_pql(span, course, day, place)
        if won := _won(span, course, done):
            done.won[course.account] = won
    _compare(watched, done)
    return done


def _as_pql(span: Span, course: Course, day: date, place: int) -> AsPql:
    if place == 0 and (course.sign_up is None or course.sign_up < span.first):
        return AsPql.BEFORE
    if span.is_young(day):
        return AsPql.YOUNG
    return AsPql.CONVERTED if _converts(span, course, day) else AsPql.NOT


def _converts(span: Span, course: Course, day: date) -> bool:
    return course.goal_on is not None and day < course.goal_on <= day + timedelta(days=span.horizon)


def _won(span: Span, course: Course, done: Tally) -> Won | None:
    if course.goal_on is None or not span.first < course.goal_on <= span.last:
        return None
    code = done.as_pql.get(course.account)
    if code is None:
        return Won.MISSED if course.inside else Won.UNSEEN
    if code == AsPql.BEFORE:
        return None  # since when, nobody can tell
    return Won.FORETOLD if _converts(span, course, done.qualified_on[course.account]) else Won.LATE


def _compare(watched: Watched, done: Tally) -> None:
    """Look at everybody once at an age at which PQLs qualified, so that the others are as old as the PQLs.

    Which age is dealt by the account's number, whatever becomes of it: an age more often the more PQLs were so old,
    and the fewer accounts are left to compare with at that age.
    """
    span, courses = watched.span, watched.courses
    known = [courses[a] for a, code in done.as_pql.items() if code in (AsPql.CONVERTED, AsPql.NOT)]
    wanted = Counter((done.qualified_on[course.account] - course.sign_up).days for course in known if course.sign_up)
    lots = np.array([_lot(account) for account in watched.accounts])
    sample = np.argsort(lots, kind="stable")[:SAMPLE]
    days = _Days(watched, done)
    left = {age: int((days.at(age, sample) != NEVER).sum()) for age in wanted}
    ages = sorted(age for age in wanted if left[age] * RARE >= len(sample))
    done.alone = len(known) - sum(wanted[age] for age in ages)
    if not ages:
        return
    dealt = np.array(list(accumulate(wanted[age] / left[age] for age in ages)))
    places = np.searchsorted(dealt, lots * dealt[-1], side="right")
    found = days.at(np.array(ages)[places], np.arange(len(lots)))
    for n in np.flatnonzero(found != NEVER).tolist():
        course, day = courses[watched.accounts[n]], date.fromordinal(int(found[n]))
        done.compared_on[course.account] = day
        done.as_other[course.account] = AsOther.CONVERTED if _converts(span, course, day) else AsOther.NOT


class _Days:
    """The days on which accounts are looked at as no PQLs."""

    def __init__(self, watched: Watched, done: Tally) -> None:
        self.watched, span = watched, watched.span
        self.moments = np.array([day.toordinal() for day in span.moments])
        self.young = np.array([span.is_young(day) for day in span.moments])
        never = date.max
        self.qualified_on = np.array([done.qualified_on.get(a, never).toordinal() for a in watched.accounts])

    def at(self, age: int | Numbers, which: Numbers) -> Numbers:
        """Return of these accounts, by their places, the day on which each was so old; NEVER if it is no comparison.

        It is one if the account could have been a PQL then, was none yet, and can be followed.
        """
        day = self.watched.sign_ups[which] + age
        is_within = (self.watched.sign_ups[which] != NEVER) & (day >= self.moments[0]) & (day <= self.moments[-1])
        place = np.where(is_within, np.searchsorted(self.moments, day), 0)
        moment = self.moments[place]
        is_other = is_within & self.watched.inside[which, place] & ~self.young[place]
        found: Numbers = np.where(is_other & (self.qualified_on[which] > moment), moment, NEVER)
        return found


@lru_cache(maxsize=1_000_000)
def _lot(account: int) -> float:
    """A number from 0 to 1 (never 1) that has nothing to do with the account, and is always the same."""
    return int.from_bytes(hashlib.blake2b(b"%d" % account, digest_size=6).digest()) / 2**48


# ---- the figures


def figures(watched: Watched, done: Tally, *, capacity: int | None) -> Plain:
    """Return everything that is shown, as JSON; each figure beside its `behind`, the accounts that it counts."""
    counts, others = Counter(done.as_pql.values()), Counter(done.as_other.values())
    converted, pqls, other_converted, other = done.table()
    span = watched.span
    return {
        "accounts": len(watched.courses),
        "weeks": round(span.weeks, 1),
        "moments": len(span.moments),
        "pqls": {
            "all": done.pqls,
            **{code.value: counts[code] for code in AsPql},
        },
        "others": {"all": other, "missing": done.alone, **{code.value: others[code] for code in AsOther}},
        "won": {code.value: Counter(done.won.values())[code] for code in Won},
        "volume": _volume(span, done),
        "capacity": capacity,
        "precision": asdict(statistics.share(converted, pqls)),
        "other_rate": asdict(statistics.share(other_converted, other)),
        "recall": asdict(done.recall),
        "lift": asdict(done.lift),
        "verdict": verdict(done),
        "waiting": {
            "pqls": _waiting(watched, {a: done.qualified_on[a] for a, c in done.as_pql.items() if c != AsPql.BEFORE}),
            "others": _waiting(watched, done.compared_on),
        },
        "curve": list(_curve(watched)),
    }


def verdict(done: Tally) -> Plain:
    """Return what can be said of the lift: `state` more, less or unknown, and the same in words."""
    lift = done.lift
    converted, pqls, other_converted, others = done.table()
    rates = f"{converted} of {pqls} PQLs and {other_converted} of {others} others of the same age converted"
    if not pqls or not others or (lift.value is None and not lift.is_above_one):
        nobody = f"; {done.alone} PQLs have nobody of their age to be compared with" if done.alone else ""
        return {"state": "unknown", "words": f"Not enough evidence: {rates}{nobody}."}
    if lift.is_above_one:
        most = "" if lift.high is None else f" to {lift.high:.1f}"
        often = "more often than" if lift.value is None else f"{lift.value:.1f} times as often as"
        words = f"PQLs convert {often} others of the same age (95 %: {lift.low:.1f}{most} times): {rates}."
        return {"state": "more", "words": words}
    if lift.is_below_one:
        words = f"PQLs convert less often than others of the same age (95 %: at most {lift.high:.2f} times): {rates}."
        return {"state": "less", "words": words}
    words = f"Not enough evidence that PQLs convert more often than others: {rates}; the lift may be {_span(lift)}."
    return {"state": "unknown", "words": words}


def _span(lift: statistics.Ratio) -> str:
    return f"{lift.low:.1f} or more" if lift.high is None else f"anything from {lift.low:.1f} to {lift.high:.1f}"


def _volume(span: Span, done: Tally) -> Plain:
    new = [done.qualified_on[a] for a, code in done.as_pql.items() if code != AsPql.BEFORE]
    weeks = Counter(day - timedelta(days=day.weekday()) for day in new)
    monday = span.first - timedelta(days=span.first.weekday())
    mondays = [monday + timedelta(days=7 * n) for n in range((span.last - monday).days // 7 + 1)]
    return {
        "per_week": asdict(statistics.pace(len(new), span.weeks)),
        "weeks": [{"monday": day.isoformat(), "pqls": weeks[day]} for day in mondays],
    }


def _waiting(watched: Watched, since: Mapping[int, date]) -> Plain:
    """After how many days they converted, of those watched since these days."""
    happened, running = [], []
    for account, day in since.items():
        goal = watched.courses[account].goal_on
        if goal is not None and day < goal <= watched.span.last:
            happened.append((goal - day).days)
        else:
            running.append((watched.span.last - day).days)
    found = asdict(statistics.waiting(happened=happened, running=running))
    return {**found, "steps": [[s["day"], s["share"], s["low"], s["high"]] for s in found["steps"]]}


def _curve(watched: Watched) -> Iterator[Plain]:
    """The same figures with the line of a PQL lower and higher."""
    line = Line(watched.document)
    if line.tier is None:
        return
    present = getattr(line.tier.enter, line.side)
    for shift in _shifts(watched, present):
        done = tally(watched, shift=shift)
        yield {
            "shift": shift,
            "threshold": present + shift,
            "reached": len(done.as_pql),
            "pqls": done.pqls,
            "volume": asdict(statistics.pace(done.pqls, watched.span.weeks)),
            "precision": asdict(done.precision),
            "recall": asdict(done.recall),
            "lift": asdict(done.lift),
        }


def _shifts(watched: Watched, present: int) -> list[int]:
    """Where the line is tried: at margins that accounts really reached, and where it is now."""
    reached = {margin for course in watched.courses.values() for _, margin in course.peaks if margin < HAND_RAISED}
    found = sorted(shift for shift in reached if present + shift > 0)
    if len(found) > MOST_THRESHOLDS:
        step = (found[-1] - found[0]) / (MOST_THRESHOLDS - 1)
        wanted = [found[0] + step * n for n in range(MOST_THRESHOLDS)]
        found = sorted({_nearest(found, want) for want in wanted})
    return sorted({*found, 0})


def _nearest(among: list[int], wanted: float) -> int:
    return min(among, key=lambda one: abs(one - wanted))
