"""Watch each account over the moments of a backtest: when it was in the population, and how near to being a PQL."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Literal

from scoring.backtest.asking import HAND_RAISED
from scoring.backtest.judging import judge_many
from scoring.backtest.knowing import Knowledge
from scoring.engine import Judgement
from scoring.language import Document, Points, Qualify, Tier
from scoring.ledger import counted, totals
from scoring.models import Status

IN_POPULATION = (Status.SCORED, Status.DISQUALIFIED)


@dataclass(frozen=True)
class Span:
    """The days of a backtest. Conversions are known up to the last moment."""

    moments: tuple[date, ...]
    horizon: int  # days after a moment within which a conversion counts

    @property
    def first(self) -> date:
        """The first day that is judged."""
        return self.moments[0]

    @property
    def last(self) -> date:
        """The last day of which anything is known."""
        return self.moments[-1]

    @property
    def weeks(self) -> float:
        """How long it is."""
        return ((self.last - self.first).days + 1) / 7

    @cached_property
    def _places(self) -> dict[date, int]:
        return {day: i for i, day in enumerate(self.moments)}

    def place(self, day: date) -> int | None:
        """Return the number of the first moment on the day or after it; None if the day is outside the span."""
        if not self.first <= day <= self.last:
            return None
        while day not in self._places:
            day += timedelta(days=1)
        return self._places[day]

    def is_young(self, day: date) -> bool:
        """Whether what was found on the day cannot be known to its end yet."""
        return day + timedelta(days=self.horizon) > self.last


@dataclass(slots=True)
class Course:
    """What was said of one account."""

    account: int
    sign_up: date | None  # as is known now
    goal_on: date | None
    inside: int = 0  # bits by moment: it was known, in the population, not excluded, and had not converted
    # Each moment at which it came nearer to the line of a PQL than ever before, with the margin in hundredths.
    peaks: list[tuple[int, int]] = field(default_factory=list)
    qualified_on: date | None = None  # the very day, also where moments are further apart
    tiers: set[str] = field(default_factory=set)
    fired: dict[int, int] = field(default_factory=dict)  # bits by moment, by the number of the rule
    alone: tuple[int, ...] = ()  # rules each of which would have been enough when it qualified

    def nearest(self) -> int | None:
        """Return the greatest margin in hundredths; None if there never was one."""
        return self.peaks[-1][1] if self.peaks else None

    def first_at(self, shift: int) -> int | None:
        """Return the number of the first moment at which it was a PQL, if the line were `shift` hundredths higher."""
        return next((i for i, margin in self.peaks if margin >= shift), None)


@dataclass
class Watched:
    """All accounts over all moments."""

    document: Document
    span: Span
    courses: dict[int, Course]
    given: list[int]  # by rule: how often it gave a point that no cap took
    met: list[int]  # by rule: how often it was met


def watch(
    document: Document,
    *,
    span: Span,
    knowledge: Knowledge,
    last: Sequence[Judgement],
    since: datetime | None = None,
    on_moment: Callable[[date], object] = lambda day: None,
) -> Watched:
    """Judge the accounts of the `last` judgements, made with all that is known, on each moment, and note what is seen.

    All that was stored by `since` is looked at. Raises engine.SignalsMissing.
    """
    courses = {j.account_id: Course(j.account_id, j.sign_up, j.goal_on) for j in last}
    watched = Watched(document, span, courses, [0] * len(document.rules), [0] * len(document.rules))
    line = Line(document)
    for i, (day, judged) in enumerate(judge_many(document, days=span.moments, since=since)):
        new = [
            course
            for judgement in knowledge.corrected(document, day=day, judged=judged)
            if (course := courses.get(judgement.account_id)) and _note(watched, line, course, judgement, i)
        ]
        if new and i:
            _find_the_days(document, line, new, knowledge, span.moments[i - 1], day)
        on_moment(day)
    return watched


def _note(watched: Watched, line: "Line", course: Course, judgement: Judgement, i: int) -> bool:
    """Note what was said at a moment; return whether it was said for the first time that the account is a PQL."""
    day = watched.span.moments[i]
    if not _counts(course, judgement, day):
        return False
    bit = 1 << i
    course.inside |= bit
    for rule, (met, raw) in enumerate(zip(judgement.met, judgement.raw, strict=True)):
        if met:
            course.fired[rule] = course.fired.get(rule, 0) | bit
            watched.met[rule] += 1
            watched.given[rule] += not isinstance(watched.document.rules[rule], Points) or raw < 0
    for rule in line.giving(judgement.raw):
        watched.given[rule] += 1
    course.tiers.update([judgement.tier] if judgement.tier else [])
    margin = line.margin(judgement)
    if margin is None or (course.peaks and margin <= course.peaks[-1][1]):
        return False
    course.peaks.append((i, margin))
    if margin < 0 or course.qualified_on:
        return False
    course.qualified_on, course.alone = day, tuple(line.alone(judgement))
    return True


def _counts(course: Course, judgement: Judgement, day: date) -> bool:
    """Whether the account could be a PQL that day: it was there, in the population, and had not converted."""
    was_there = judgement.sign_up is not None or course.sign_up is None
    is_customer = course.goal_on is not None and course.goal_on <= day
    return was_there and not is_customer and judgement.status in IN_POPULATION


def _find_the_days(
    document: Document, line: "Line", new: Sequence[Course], knowledge: Knowledge, before: date, day: date
) -> None:
    """Look at the days between two moments for the first one on which an account was a PQL."""
    open_ = {course.account: course for course in new}
    days = [before + timedelta(days=n) for n in range(1, (day - before).days)]
    for between, judged in judge_many(document, days=days, accounts=sorted(open_)):
        for judgement in knowledge.corrected(document, day=between, judged=judged):
            course = open_.get(judgement.account_id)
            if course and judgement.is_pql and _counts(course, judgement, between):
                course.qualified_on, course.alone = between, tuple(line.alone(judgement))
                del open_[judgement.account_id]


class Line:
    """Where a document's PQLs begin: how far a judgement is above or below it.

    The distance is in usage, or in fit where no PQL tier asks for usage; the other side must be as the tier asks.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        names = [tier.name for tier in document.tiers]
        self.lifts = [(i, names.index(r.tier)) for i, r in enumerate(document.rules) if isinstance(r, Qualify)]
        asked = any(tier.enter.usage for tier in document.tiers if tier.pql)
        self.side: Literal["usage", "fit"] = "usage" if asked else "fit"
        self._sides = {group.name: group.score for group in document.groups}
        self._giving: dict[tuple[int, ...], tuple[int, ...]] = {}

    @property
    def tier(self) -> Tier | None:
        """The lowest tier of PQLs: its line is the one that a threshold is told by."""
        return next((tier for tier in reversed(self.document.tiers) if tier.pql), None)

    def margin(self, judgement: Judgement) -> int | None:
        """Return by how many hundredths the account is above the nearest PQL line, below it negative.

        None: no line is in reach by this side alone.
        """
        if judgement.status != Status.SCORED:
            return None
        lifted = {tier for rule, tier in self.lifts if judgement.met[rule]}
        return self._margin(judgement.usage, judgement.fit, lifted)

    def _margin(self, usage: int, fit: int, lifted: set[int]) -> int | None:
        found: int | None = None
        for number, tier in enumerate(self.document.tiers):
            if not tier.pql:
                if number in lifted or (usage >= tier.enter.usage and fit >= tier.enter.fit):
                    break  # the first tier that is entered counts, and this is none of a PQL
                continue
            above, ahead = usage - tier.enter.usage, fit - tier.enter.fit
            own, other = (above, ahead) if self.side == "usage" else (ahead, above)
            margin = HAND_RAISED if number in lifted else own if other >= 0 else None
            found = margin if found is None else found if margin is None else max(found, margin)
        return found

    def giving(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """Return the rules whose gains were not wholly taken by a cap."""
        if raw not in self._giving:
            given = counted(self.document, raw)
            self._giving[raw] = tuple(i for i, points in enumerate(given) if points > 0)
        return self._giving[raw]

    def alone(self, judgement: Judgement) -> Iterator[int]:
        """Yield the rules each of which would have been enough by itself, with the other side as it is."""
        for rule, met in enumerate(judgement.met):
            of = self.document.rules[rule]
            if not met:
                continue
            if isinstance(of, Qualify):
                lifted = {tier for lift, tier in self.lifts if lift == rule}
                if self._margin(0, 0, lifted) == HAND_RAISED:
                    yield rule
            elif isinstance(of, Points) and self._sides[of.group] == self.side:
                usage, fit = totals(self.document, self._without_others(judgement.raw, rule))
                margin = self._margin(usage, fit, set())
                if margin is not None and margin >= 0:
                    yield rule

    def _without_others(self, raw: Sequence[int], rule: int) -> list[int]:
        """The points before clipping, without those of other rules on the same side."""
        return [
            points if i == rule or (isinstance(of, Points) and self._sides[of.group] != self.side) else 0
            for i, (of, points) in enumerate(zip(self.document.rules, raw, strict=True))
        ]
