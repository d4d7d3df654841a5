"""Shares, ratios, paces and waiting times, each with its interval of 95 %. Pure.

The formulas are those of statsmodels and SciPy: Wilson for a share, Miettinen and Nurminen for a ratio of two shares,
the score interval for a pace, Kaplan and Meier for times of which some are still running.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import CensoredData, ecdf
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from statsmodels.stats.rates import confint_poisson

LEVEL = 0.95
ERROR = 1 - LEVEL


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many. Without any there is no value, and the interval is everything."""

    part: int
    whole: int
    value: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times larger one share is than another. None: nobody can say; a `high` of None has no bound."""

    value: float | None
    low: float
    high: float | None

    @property
    def is_above_one(self) -> bool:
        """Whether the whole interval is above 1."""
        return self.low > 1

    @property
    def is_below_one(self) -> bool:
        """Whether the whole interval is below 1."""
        return self.high is not None and self.high < 1


@dataclass(frozen=True, slots=True)
class Pace:
    """So many in each unit of time."""

    count: int
    value: float | None
    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """From this day on, so large a share has happened."""

    day: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """After how many days something happened, of some for whom it has not happened yet."""

    cases: int
    happened: int
    steps: tuple[Step, ...]  # in the order of days; without a step at 0, where the share is 0
    median: int | None  # the day on which half have; None: fewer have, as far as anybody was watched
    median_low: int | None
    median_high: int | None  # None: no bound is known


@lru_cache(maxsize=100_000)
def share(part: int, whole: int) -> Share:
    """Return the share with Wilson's interval."""
    if not whole:
        return Share(part, whole, None, 0.0, 1.0)
    low, high = proportion_confint(part, whole, alpha=ERROR, method="wilson")
    return Share(part, whole, part / whole, max(0.0, float(low)), min(1.0, float(high)))


@lru_cache(maxsize=100_000)
def ratio(part: int, whole: int, other_part: int, other_whole: int) -> Ratio:
    """Return how many times larger part/whole is than the other share, with Miettinen and Nurminen's interval."""
    if not whole or not other_whole or not part + other_part:
        return Ratio(None, 0.0, None)
    value = (part / whole) / (other_part / other_whole) if other_part else None
    low, high = _score_interval(part, whole, other_part, other_whole)
    if value is not None:
        low, high = min(low, value), max(high, value)
    return Ratio(value, low, _finite(high) if other_part else None)


def _score_interval(part: int, whole: int, other_part: int, other_whole: int) -> tuple[float, float]:
    """Miettinen and Nurminen's interval of a ratio.

    statsmodels finds no lower bound, or a wrong one, where a share is 1: there one more is thought of, who did not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at the edges it divides by zero, and its bound is 0 or has no end
        low, high = confint_proportions_2indep(
            part,
            whole + (part == whole),
            other_part,
            other_whole + (other_part == other_whole),
            method="score",
            compare="ratio",
            alpha=ERROR,
            correction=True,
        )
    low, high = float(np.real(low)), float(np.real(high))
    return max(0.0, low) if part and math.isfinite(low) else 0.0, math.inf if math.isnan(high) else high


@lru_cache(maxsize=100_000)
def pace(count: int, time: float) -> Pace:
    """Return how many there are in each unit of time, with the score interval of a Poisson rate."""
    if time <= 0:
        return Pace(count, None, 0.0, None)
    low, high = confint_poisson(count, time, method="score", alpha=ERROR)
    return Pace(count, count / time, max(0.0, float(low)), float(high))


def same_odds(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> float | None:
    """Return the p-value of the odds ratio being the same in two tables, by Breslow and Day with Tarone's correction.

    A table is (part, whole, other part, other whole). None: the tables are too thin to tell.
    """
    tables = [
        np.array([[part, whole - part], [other, all_others - other]], dtype=float)
        for part, whole, other, all_others in (first, second)
    ]
    if any((table.sum(axis=0) == 0).any() or (table.sum(axis=1) == 0).any() for table in tables):
        return None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        p = float(StratifiedTable(tables).test_equal_odds(adjust=True).pvalue)
    return _finite(p)


def waiting(*, happened: Sequence[int], running: Sequence[int]) -> Waiting:
    """Return after how many days it happened, by Kaplan and Meier with log-log intervals.

    `happened` has the days until it happened, `running` those for which one has waited in vain so far.
    """
    cases = len(happened) + len(running)
    if not happened:
        return Waiting(cases, 0, (), None, None, None)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # where all or nobody is left, the interval is not defined
        left = ecdf(CensoredData(uncensored=list(happened), right=list(running))).sf
        band = left.confidence_interval(confidence_level=LEVEL, method="log-log")
    steps = [
        Step(int(day), 1 - float(share), _or(1 - float(high), 0.0), _or(1 - float(low), 1.0))
        for day, share, low, high in zip(
            left.quantiles, left.probabilities, band.low.probabilities, band.high.probabilities, strict=True
        )
    ]
    steps = [step for step in steps if step.share > 0]  # before the first one there is no interval
    return Waiting(
        cases,
        len(happened),
        tuple(steps),
        median=next((step.day for step in steps if step.share >= 0.5), None),
        median_low=next((step.day for step in steps if step.high >= 0.5), None),
        median_high=next((step.day for step in steps if step.low >= 0.5), None),
    )


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _or(number: float, otherwise: float) -> float:
    return number if math.isfinite(number) else otherwise
