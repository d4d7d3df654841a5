"""What to simulate: which stream of leads, through which roster, worked how. A job plays it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from routing import hours
from routing.models import AE, Pool
from scoring import jobs
from scoring.models import Backtest, Job

KIND = "simulate"
MOST_DAYS = 400
MOST_LEADS = 50_000
EARLIEST, LATEST = date(2000, 1, 1), date(2200, 1, 1)  # far enough from where dates and zones end
BY_AE = ("weights", "capacities", "hours")


class SimulationError(ValueError):
    """Something that cannot be simulated; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question: what if. Everything that is not named stays as it is today."""

    since: date
    until: date  # the first day after
    # Which leads come: empty, those that came; a number, so many made up; a backtest, the PQLs of its version.
    made_up: int | None = None
    backtest: int | None = None
    without: tuple[int, ...] = ()  # AEs who are not there
    weights: Mapping[int, int] = field(default_factory=dict)  # by AE
    capacities: Mapping[int, int | None] = field(default_factory=dict)  # by AE; None: no limit
    hours: Mapping[int, str] = field(default_factory=dict)  # by AE, as in "Mon-Fri 9-17"
    pools: Mapping[str, str] = field(default_factory=dict)  # by tier, the name of the pool that gets it
    # By pool, what a lead of each tier is worth there: its turns deal out value; none: leads, one like the other.
    values: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    touch_minutes: float = 20
    open_days: float = 14
    sla_hours: float = 8

    def plain(self) -> dict[str, Any]:
        """Return it as JSON data; see `of_plain`."""
        return asdict(self) | {"since": self.since.isoformat(), "until": self.until.isoformat()}


def of_plain(told: Mapping[str, Any]) -> Scenario:
    """Return the scenario that was told as JSON data."""
    days = {name: date.fromisoformat(told[name]) for name in ("since", "until")}
    by_ae = {name: {int(ae): value for ae, value in told[name].items()} for name in BY_AE}
    given: dict[str, Any] = {**told, **days, **by_ae, "without": tuple(told["without"])}
    return Scenario(**given)


def start(*, scenario: Scenario, by: AbstractBaseUser | None, at: datetime) -> Job:
    """Return a new job that plays the scenario beside today's roster, and writes nothing but its result.

    Raises SimulationError.
    """
    _check(scenario)
    label = f"{scenario.since:%-d %b %Y} to {scenario.until - timedelta(days=1):%-d %b %Y}"
    return jobs.create(kind=KIND, arguments={"scenario": scenario.plain(), "label": label}, by=by, at=at)


def _check(scenario: Scenario) -> None:
    if not timedelta(0) < scenario.until - scenario.since <= timedelta(days=MOST_DAYS):
        raise SimulationError(f"Simulate from 1 to {MOST_DAYS} days; the end is the first day after.")
    if scenario.since < EARLIEST or scenario.until > LATEST:
        raise SimulationError(f"Simulate days of the years {EARLIEST.year} to {LATEST.year - 1}.")
    if scenario.made_up is not None and not 1 <= scenario.made_up <= MOST_LEADS:
        raise SimulationError(f"Make up from 1 to {MOST_LEADS:,} leads.")
    if scenario.made_up is not None and scenario.backtest is not None:
        raise SimulationError("Either make leads up, or take those of a backtest.")
    if scenario.backtest is not None and not Backtest.objects.filter(pk=scenario.backtest, finished_at__isnull=False):
        raise SimulationError(f"There is no backtest {scenario.backtest} that has ended.")
    if scenario.touch_minutes <= 0 or scenario.open_days < 0 or scenario.sla_hours <= 0:
        raise SimulationError("A first touch takes some minutes, a lead stays open for days, and is due in some hours.")
    _check_roster(scenario)


def _check_roster(scenario: Scenario) -> None:
    named = {*scenario.without, *scenario.weights, *scenario.capacities, *scenario.hours}
    if unknown := named - set(AE.objects.filter(pk__in=named).values_list("pk", flat=True)):
        raise SimulationError(f"There is no AE {min(unknown)}.")
    if nowhere := {*scenario.pools.values(), *scenario.values} - set(Pool.objects.values_list("name", flat=True)):
        raise SimulationError(f"There is no pool {min(nowhere)}.")
    if not all(1 <= weight <= 1000 for weight in scenario.weights.values()):
        raise SimulationError("A weight is a whole number from 1 to 1000.")
    if any(value < 1 for values in scenario.values.values() for value in values.values()):
        raise SimulationError("A value is a whole number from 1 up; leave a tier out that is worth the most.")
    for text in scenario.hours.values():
        try:
            hours.parse(text)
        except hours.HoursError as error:
            raise SimulationError(f"{error}") from error
