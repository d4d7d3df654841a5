"""The lift of a rule that says nothing is about 1, in worlds where other denominators praise or damn it."""

from datetime import date, timedelta
from math import log
from random import Random
from statistics import fmean

import pytest

from scoring.backtest import asking
from scoring.backtest.measuring import Tally, tally
from scoring.backtest.watching import Course, Span, Watched
from scoring.language import parse

FIRST = date(2026, 1, 1)
DAYS, HORIZON = 240, 60
SPAN = Span(asking.moments(first=FIRST, last=FIRST + timedelta(days=DAYS - 1), every=1), HORIZON)
DOCUMENT = parse("""
slug: one
name: One
motion: one
signals: {used: {event: used}}
groups: {all: {score: usage}}
rules: [{id: used, name: Used, group: all, points: 10, when: {ever: used}}]
tiers: [{name: hot, pql: true, enter: {usage: 10}}]
""")


def world(seed: int, *, fades: bool, meaning: float = 1.0, accounts: int = 1500) -> Watched:
    """Accounts that become PQLs at a random age; their readiness to buy is multiplied by `meaning` from then on."""
    dice, courses = Random(seed), {}
    for number in range(1, accounts + 1):
        born, qualifies = dice.randrange(DAYS - 30), dice.expovariate(1 / 90)
        spans = [(15, 0.02), (DAYS, 0.002)] if fades else [(DAYS, 0.005)]
        bought_at = _age(dice, spans, changes=int(qualifies) + 1, by=meaning)
        goal = born + bought_at if bought_at < DAYS - born else None
        inside = (1 << (DAYS if goal is None else goal)) - (1 << born)
        sign_up = FIRST + timedelta(days=born)
        course = Course(number, sign_up, None if goal is None else FIRST + timedelta(days=goal), inside)
        if (place := born + int(qualifies)) < DAYS and inside >> place & 1:
            course.peaks, course.qualified_on = [(place, 0)], SPAN.moments[place]
        courses[number] = course
    return Watched(DOCUMENT, SPAN, courses, [1], [1])


def _age(dice: Random, spans: list[tuple[int, float]], *, changes: int, by: float) -> int:
    """Draw the age of the first success: each day up to an age has a chance, which changes by a factor at one age."""
    age = 0
    for end, chance in spans:
        for until, now in ((min(end, changes), chance), (end, chance * by)):
            waits = int(log(1 - dice.random()) / log(1 - now))
            if age + waits < until:
                return age + waits
            age = max(age, until)
    return age


def value(done: Tally) -> float:
    found = done.lift.value
    assert found is not None
    return found


def against_those_who_never_were(watched: Watched, done: Tally) -> float:
    """The lift over accounts that were never PQLs, from their sign-up on."""
    converted, pqls, _, _ = done.table()
    never = [c for c in watched.courses.values() if c.account not in done.as_pql and c.sign_up]
    known = [c for c in never if c.sign_up and not SPAN.is_young(c.sign_up)]
    bought = sum(bool(c.goal_on and c.sign_up and (c.goal_on - c.sign_up).days <= HORIZON) for c in known)
    return converted / pqls / (bought / len(known))


class TestLift:
    @pytest.mark.parametrize("fades", [False, True])
    def test_of_a_rule_that_says_nothing_is_about_one(self, fades: bool) -> None:
        worlds = [world(seed, fades=fades) for seed in range(5)]
        tallies = [tally(watched) for watched in worlds]
        assert 0.9 < fmean(map(value, tallies)) < 1.1
        naive = fmean(against_those_who_never_were(*pair) for pair in zip(worlds, tallies, strict=True))
        assert not 0.8 < naive < 1.25

    def test_holds_what_its_interval_promises(self) -> None:
        lifts = [tally(world(seed, fades=True, accounts=600)).lift for seed in range(30)]
        assert sum(lift.is_above_one or lift.is_below_one for lift in lifts) <= 4

    def test_of_a_rule_that_says_something_is_found(self) -> None:
        done = tally(world(1, fades=False, meaning=3))
        assert done.lift.is_above_one
        # Less than the meaning: some of the others become PQLs later, and buy then.
        assert 1.2 < value(done) < 3
