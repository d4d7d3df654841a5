"""Watch each account over the moments of a backtest: when it was in the population, and how near to being a PQL."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from scoring.backtest.asking import HAND_RAISED
from scoring.backtest.judging import judge_many, judge_pairs
from scoring.backtest.knowing import Knowledge
from scoring.bulk import NEVER, NOTHING, Flags, Numbers, Said, day_of
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

    @cached_property
    def accounts(self) -> list[int]:
        """The accounts in the order of `inside` and `sign_ups`."""
        return list(self.courses)

    @cached_property
    def inside(self) -> Flags:
        """By account and moment what `Course.inside` says."""
        width = len(self.span.moments) // 8 + 1
        bits = b"".join(course.inside.to_bytes(width, "little") for course in self.courses.values())
        rows = np.frombuffer(bits, np.uint8).reshape(len(self.courses), width)
        return np.unpackbits(rows, axis=1, bitorder="little").astype(np.bool_)

    @cached_property
    def sign_ups(self) -> Numbers:
        """By account the ordinal of its sign-up, or NEVER."""
        days = (course.sign_up.toordinal() if course.sign_up else NEVER for course in self.courses.values())
        return np.fromiter(days, np.int64, len(self.courses))


def watch(
    document: Document,
    *,
    span: Span,
    knowledge: Knowledge,
    among: Collection[int] | None = None,
    since: datetime | None = None,
    on_moment: Callable[[date], object] = lambda day: None,
) -> Watched:
    """Judge the accounts (all, if None) on each moment, and note what is seen.

    All that was stored by `since` is looked at. Raises engine.SignalsMissing.
    """
    said = judge_many(document, days=span.moments, since=since, on_day=on_moment).among(among)
    now = said.goal_on[-1], said.sign_up[-1]  # with all that is known today
    said = _as_known(said, knowledge)
    line, seen = Line(document), _Seen(said, *now)
    rows = zip(said.subjects, now[0].tolist(), now[1].tolist(), _bits(seen.counts), strict=True)
    courses = [Course(account, day_of(sign_up), day_of(goal_on), bits) for (account, _), goal_on, sign_up, bits in rows]
    new = _note_peaks(said, seen, line, courses)
    _note_tiers(said, seen, courses)
    for rule in range(len(document.rules)):
        for course, bits in zip(courses, _bits(seen.of(said.kinds.met[:, rule])), strict=True):
            if bits:
                course.fired[rule] = bits
    _find_the_days(document, line, new, knowledge, since)
    met, given = seen.often(said.kinds.met), seen.often(_given(said, seen, line))
    return Watched(document, span, {course.account: course for course in courses}, given, met)


def _as_known(said: Said, knowledge: Knowledge) -> Said:
    """Return what was said by what was known at the end of each day (UTC)."""
    place = {account: s for s, (account, _) in enumerate(said.subjects)}
    instead: dict[tuple[int, int], Judgement | None] = {}
    for i, day in enumerate(said.days):
        short = [s for account in knowledge.short_of(day) if (s := place.get(account)) is not None]
        judged = [said.judgement(i, s) for s in short if said.kind[i, s] != NOTHING]
        known = {j.account_id: j for j in knowledge.corrected(said.document, day=day, judged=judged)}
        instead |= {(i, place[j.account_id]): known.get(j.account_id) for j in judged}
    return said.instead(instead)


class _Seen:
    """Where an account could be a PQL: it was there, in the population, and had not converted."""

    def __init__(self, said: Said, goal_on: Numbers, sign_up: Numbers) -> None:
        """`goal_on` and `sign_up` are by account, as is known today."""
        self.kind, self.kinds = said.kind, len(said.kinds)
        days = np.array([day.toordinal() for day in said.days])[:, None]
        was_there = (said.sign_up != NEVER) | (sign_up == NEVER)
        is_customer = (goal_on != NEVER) & (goal_on <= days)
        self.counts = np.ones_like(self.kind, np.bool_)
        self.counts = self.of(np.array([status in IN_POPULATION for status in said.kinds.status], np.bool_))
        self.counts &= was_there & ~is_customer

    def of(self, kinds: Flags) -> Flags:
        """Return by moment and account whether it counts, and what was said is one of these kinds."""
        found: Flags = np.append(kinds, False)[self.kind] & self.counts  # NOTHING is the last place
        return found

    def often(self, table: npt.NDArray[Any]) -> list[int]:
        """Return, of a table with a row for each kind, the sum of the rows of all that counts."""
        times = np.bincount(self.kind[self.counts], minlength=self.kinds)
        total: list[int] = (times @ table.astype(np.int64)).tolist()
        return total

    def present(self) -> list[int]:
        """Return the kinds that count anywhere."""
        found: list[int] = np.unique(self.kind[self.counts]).tolist()
        return found


def _bits(flags: Flags) -> Iterator[int]:
    """Yield for each column a number with the bits of its rows."""
    packed = np.ascontiguousarray(np.packbits(flags, axis=0, bitorder="little").T)
    for row in packed:
        yield int.from_bytes(row.tobytes(), "little")


def _given(said: Said, seen: _Seen, line: "Line") -> npt.NDArray[np.int64]:
    """Return by kind and rule how often it gave a point that no cap took: rules without points, when they are met."""
    kinds, rules = said.kinds, said.document.rules
    is_points = np.array([isinstance(rule, Points) for rule in rules], np.bool_)
    given = (kinds.met & (~is_points | (kinds.raw < 0))).astype(np.int64)
    for n in seen.present():
        for rule in line.giving(tuple(kinds.raw[n].tolist())):
            given[n, rule] += 1
    return given


def _note_tiers(said: Said, seen: _Seen, courses: Sequence[Course]) -> None:
    tiers = np.array(said.kinds.tier, dtype=np.str_)
    for tier in {tier for tier in said.kinds.tier if tier}:
        for place in np.flatnonzero(seen.of(tiers == tier).any(axis=0)).tolist():
            courses[place].tiers.add(tier)


NO_MARGIN = np.iinfo(np.int64).min


def _note_peaks(said: Said, seen: _Seen, line: "Line", courses: Sequence[Course]) -> list[tuple[Course, date]]:
    """Note when each came nearest to the line; return who qualified after the first moment, with the one before."""
    margins = np.full(len(said.kinds) + 1, NO_MARGIN)
    for n in seen.present():
        margin = line.margin(said.kinds.example(n))
        margins[n] = NO_MARGIN if margin is None else margin
    found = np.where(seen.counts, margins[said.kind], NO_MARGIN)
    best = np.maximum.accumulate(found, axis=0)
    before = np.vstack((np.full((1, found.shape[1]), NO_MARGIN), best[:-1]))
    later = []
    for place, i in np.argwhere((found > before).T).tolist():
        course, margin = courses[place], int(found[i, place])
        course.peaks.append((i, margin))
        if margin >= 0 and course.qualified_on is None:
            course.qualified_on, course.alone = said.days[i], tuple(line.alone(said.judgement(i, place)))
            later += [(course, said.days[i - 1])] if i else []
    return later


def _counts(course: Course, judgement: Judgement, day: date) -> bool:
    """Whether the account could be a PQL that day, as _Seen has it."""
    was_there = judgement.sign_up is not None or course.sign_up is None
    is_customer = course.goal_on is not None and course.goal_on <= day
    return was_there and not is_customer and judgement.status in IN_POPULATION


def _find_the_days(
    document: Document,
    line: "Line",
    new: Sequence[tuple[Course, date]],
    knowledge: Knowledge,
    since: datetime | None,
) -> None:
    """Look at the days between two moments for the first one on which an account was a PQL."""
    courses = {course.account: course for course, _ in new}
    pairs = [
        (course.account, before + timedelta(days=n))
        for course, before in new
        if course.qualified_on
        for n in range(1, (course.qualified_on - before).days)
    ]
    by_day: dict[date, list[Judgement]] = {}
    for judgement in judge_pairs(document, pairs=pairs, since=since):
        by_day.setdefault(judgement.as_of, []).append(judgement)
    for day, judged in sorted(by_day.items()):
        for judgement in knowledge.corrected(document, day=day, judged=judged):
            course = courses.get(judgement.account_id)
            if course and judgement.is_pql and _counts(course, judgement, day):
                course.qualified_on, course.alone = day, tuple(line.alone(judgement))
                del courses[judgement.account_id]


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
