"""Run a simulation's job: read the stream and the roster, play today's and the other one, keep the figures."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from routing import handling
from routing.hours import Hours, parse
from routing.models import AE, Handling, Membership
from routing.simulator import asking, playing
from routing.simulator.asking import Scenario
from routing.simulator.playing import Arrival, Habits, Seat
from scoring import jobs
from scoring.models import Backtest, Backtested, Job, RuleSet, RuleVersion
from scoring.models.raw import cursor

BEGINS, ENDS = time(7), time(19)  # UTC; between these, on weekdays, leads are made up

CROSSED = """
SELECT rule_set_id, account_id, version_id, tier, at, before, version_before
FROM (
    SELECT rule_set_id, account_id, version_id, tier, at,
        lag(tier) OVER history AS before, lag(version_id) OVER history AS version_before
    FROM scoring_scorechange
    WHERE at < %(until)s
    WINDOW history AS (PARTITION BY rule_set_id, account_id, user_id ORDER BY id)
) AS change
WHERE at >= %(since)s AND tier <> ''
ORDER BY at, account_id, rule_set_id
"""


def run(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Carry a claimed simulation from its beginning to its end. Writes nothing but the job's result.

    `clock` returns the present time. Raises jobs.LeaseLost if the job was stopped.
    """
    scenario = asking.of_plain(job.arguments["scenario"])

    def tell(step: str, done: int) -> None:
        jobs.report(job=job, progress=jobs.Progress(step=step, done=done, total=3, cursor={}), at=clock())

    tell("reading the leads", 0)
    result = simulate(scenario, tell=tell)
    jobs.finish(job=job, result=result, at=clock())


def simulate(scenario: Scenario, *, tell: Callable[[str, int], None] = lambda step, done: None) -> dict[str, Any]:
    """Return as JSON data what today's roster and the scenario's make of the same stream, `today` and `other`.

    Read-only. `tell` is told of each step, and how many are done.
    """
    since, until = _midnight(scenario.since), _midnight(scenario.until)
    plans = _Plans()
    leads, with_their_pools = (list(_stream(scenario, since, until, plans, pools)) for pools in ({}, scenario.pools))
    today = roster()
    other = {name: _changed(seats, scenario) for name, seats in today.items()}
    habits = Habits(scenario.touch_minutes, scenario.open_days, scenario.sla_hours)
    figures = {}
    for done, (name, arrivals, pools) in enumerate((("today", leads, today), ("other", with_their_pools, other)), 1):
        tell(f"playing {name}", done)
        played = playing.play(arrivals, pools=pools, habits=habits, until=until)
        figures[name] = asdict(playing.summarize(played, pools=pools, since=since, until=until))
    return {**figures, "crossings": len(leads), "weeks_from": since.date().isoformat()}


def roster() -> dict[str, list[Seat]]:
    """Return by pool the seats of those who take turns today."""
    members = Membership.objects.filter(is_active=True, ae__is_active=True, ae__user__is_active=True)
    seats: dict[str, list[Seat]] = {}
    for one in members.select_related("pool", "ae__user").order_by("pool__name", "pk"):
        seat = Seat(one.pk, one.ae_id, one.ae.name, one.weight, one.capacity, _hours(one.ae))
        seats.setdefault(one.pool.name, []).append(seat)
    return seats


def _hours(ae: AE) -> Hours:
    return Hours(zone=ae.time_zone)


def _changed(seats: Sequence[Seat], scenario: Scenario) -> list[Seat]:
    changes: dict[int, dict[str, Any]] = {}
    for seat in seats:
        changes[seat.ae] = {}
        if seat.ae in scenario.weights:
            changes[seat.ae]["weight"] = scenario.weights[seat.ae]
        if seat.ae in scenario.capacities:
            changes[seat.ae]["capacity"] = scenario.capacities[seat.ae]
        if seat.ae in scenario.hours:
            week = parse(scenario.hours[seat.ae])
            changes[seat.ae]["hours"] = Hours(seat.hours.zone, week, seat.hours.holidays, seat.hours.absences)
    return playing.with_seats(seats, without=scenario.without, changes=changes)


# ---- the stream ------------------------------------------------------------------------------------------------


class _Plans:
    """How each tier is handled, asked for once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], handling.Plan] = {}

    def arrival(
        self, version: RuleVersion, tier: str, *, at: datetime, account: int, pools: Mapping[str, str]
    ) -> Arrival | None:
        """Return the lead that sales get when an account comes into a tier; None if it is not for sales."""
        key = (version.rule_set_id, tier)
        if key not in self._known:
            self._known[key] = handling.plan_for(rule_set=version.rule_set, tier=tier, is_pql=True)
        plan = self._known[key]
        if plan.handling is not Handling.SALES:
            return None
        pool = pools.get(tier, plan.pool.name if plan.pool else "")
        rank = list(_tiers(version)).index(tier) + 1
        return Arrival(at, account, version.rule_set.motion, tier, rank, pool, "" if pool else plan.reason)


def _stream(
    scenario: Scenario, since: datetime, until: datetime, plans: _Plans, pools: Mapping[str, str]
) -> Iterator[Arrival]:
    if scenario.made_up is not None:
        came = _made_up(scenario.made_up, since, until)
    elif scenario.backtest is not None:
        came = _of_backtest(scenario.backtest, scenario.since, scenario.until)
    else:
        came = _crossings(since, until)
    for version, tier, at, account in came:
        arrival = plans.arrival(version, tier, at=at, account=account, pools=pools)
        if arrival is not None:
            yield arrival


Came = tuple[RuleVersion, str, datetime, int]  # of which version, into which tier, when, which account


def _crossings(since: datetime, until: datetime) -> Iterator[Came]:
    """Yield each time that an account became a PQL."""
    versions = {one.pk: one for one in RuleVersion.objects.select_related("rule_set").defer("text")}
    rows = cursor().execute(CROSSED, {"since": since, "until": until})
    for _, account, version, tier, at, before, version_before in rows:
        was_pql = bool(before) and _tiers(versions[version_before]).get(before, False)
        if not was_pql and _tiers(versions[version]).get(tier, False):
            yield versions[version], tier, at, account


def _of_backtest(number: int, since: date, until: date) -> Iterator[Came]:
    """Yield the PQLs that another version would have found, spread over the day on which each qualified."""
    version = Backtest.objects.select_related("version__rule_set").get(pk=number).version
    found = Backtested.objects.filter(backtest=number, qualified_on__gte=since, qualified_on__lt=until)
    best = [tier for tier, is_pql in _tiers(version).items() if is_pql]
    for account, on, tiers in found.order_by("qualified_on", "account").values_list("account", "qualified_on", "tiers"):
        tier = next((tier for tier in best if tier in tiers), "")
        if on is not None and tier:
            yield version, tier, datetime.combine(on, BEGINS, UTC) + timedelta(minutes=account % 720), account


def _made_up(number: int, since: datetime, until: datetime) -> Iterator[Came]:
    """Yield so many, alike each time: on weekdays by day, of the PQL tiers of the live versions."""
    live = RuleSet.objects.filter(live_version__isnull=False).select_related("live_version__rule_set").order_by("slug")
    versions = [one.live_version for one in live if one.live_version is not None]
    kinds = [(version, tier) for version in versions for tier, is_pql in _tiers(version).items() if is_pql]
    days = [since + timedelta(days=n) for n in range((until - since).days)]
    weekdays = [day for day in days if day.weekday() < 5] or days
    dice = random.Random(number)  # noqa: S311
    open_minutes = (ENDS.hour - BEGINS.hour) * 60
    for account in range(1, number + 1 if kinds else 1):
        version, tier = dice.choice(kinds)
        minute = BEGINS.hour * 60 + dice.randrange(open_minutes)
        yield version, tier, dice.choice(weekdays) + timedelta(minutes=minute), account


def _tiers(version: RuleVersion) -> dict[str, bool]:
    """Return the version's tiers, best first, and whether each is a PQL tier."""
    return {tier["name"]: tier["pql"] for tier in version.document["tiers"]}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
