"""Run a simulation's job: read the stream and the roster, play today's and the other one, keep the figures."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from routing import handling, rotation, seats
from routing.eligibility import Candidate
from routing.hours import parse
from routing.models import AE, Handling, Pool
from routing.simulator import asking, playing
from routing.simulator.asking import Scenario
from routing.simulator.playing import Arrival, Habits, SimulatedSeat
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
    leads = _stream(scenario, since, until)
    values = dict(Pool.objects.values_list("name", "tier_values")) | dict(scenario.values)
    with_their_pools = [_rerouted(lead, scenario, values) for lead in leads]
    today = roster(at=since)
    other = {name: _changed(seats, scenario) for name, seats in today.items()}
    habits = Habits(scenario.touch_minutes, scenario.open_days, scenario.sla_hours)
    figures = {}
    for done, (name, arrivals, pools) in enumerate((("today", leads, today), ("other", with_their_pools, other)), 1):
        tell(f"playing {name}", done)
        played = playing.play(arrivals, pools=pools, habits=habits, until=until)
        figures[name] = asdict(playing.summarize(played, pools=pools, since=since, until=until))
    return {**figures, "crossings": len(leads), "weeks_from": since.date().isoformat()}


def roster(*, at: datetime) -> dict[str, list[SimulatedSeat]]:
    """Return by pool the seats of those who take turns, with the hours, holidays and absences around a time."""
    return {
        pool.name: [_seat(one) for one in seats.table(pool=pool, at=at).seats.values() if _takes_turns(one.facts)]
        for pool in Pool.objects.order_by("name")
    }


def _takes_turns(facts: Candidate) -> bool:
    return facts.membership_active and facts.ae_active and facts.log_in_active


def _seat(one: seats.Seat) -> SimulatedSeat:
    who = one.contender
    facts = replace(one.facts, open_leads=0, given_today=0, given_this_week=0)
    return SimulatedSeat(who.membership, who.ae, who.name, who.weight, facts, one.membership.tier_caps, one.works)


def _changed(there: Sequence[SimulatedSeat], scenario: Scenario) -> list[SimulatedSeat]:
    """Return a pool's seats as the scenario has them."""
    return [_with(seat, scenario) for seat in there if seat.ae not in scenario.without]


def _with(seat: SimulatedSeat, scenario: Scenario) -> SimulatedSeat:
    capacity = scenario.capacities.get(seat.ae, seat.facts.capacity)
    facts, works = replace(seat.facts, capacity=capacity), seat.works
    if seat.ae in scenario.hours:
        text = scenario.hours[seat.ae]
        facts, works = replace(facts, hours=text), replace(works, week=parse(text))
    return replace(seat, weight=scenario.weights.get(seat.ae, seat.weight), facts=facts, works=works)


# ---- the stream ------------------------------------------------------------------------------------------------


def _stream(scenario: Scenario, since: datetime, until: datetime) -> list[Arrival]:
    """Return the leads that sales get, in today's pools."""
    if scenario.made_up is not None:
        came = list(_made_up(scenario.made_up, since, until))
    elif scenario.backtest is not None:
        came = list(_of_backtest(scenario.backtest, scenario.since, scenario.until))
    else:
        came = list(_crossings(since, until))
    plans = handling.Plans(() if scenario.made_up is not None else (account for _, _, _, account in came))
    owners = {ae.user.get_username().casefold(): ae.pk for ae in AE.objects.select_related("user")}
    leads = []
    for version, tier, at, account in came:
        plan = plans.of(rule_set=version.rule_set, tier=tier, is_pql=True, account=account)
        if plan.handling is Handling.SALES:
            leads.append(_arrival(version, tier, at, account, plan, owners.get(plan.owner.strip().casefold())))
    return leads


def _arrival(
    version: RuleVersion, tier: str, at: datetime, account: int, plan: handling.Plan, owner: int | None
) -> Arrival:
    return Arrival(
        at=at,
        account=account,
        motion=version.rule_set.motion,
        tier=tier,
        rank=list(_tiers(version)).index(tier) + 1,
        pool=plan.pool.name if plan.pool else "",
        reason=plan.reason,
        cost=rotation.cost_of(plan.pool.tier_values if plan.pool else {}, tier),
        asks=tuple(plan.asks),
        owner=owner,
    )


def _rerouted(lead: Arrival, scenario: Scenario, values: Mapping[str, Mapping[str, int]]) -> Arrival:
    """Return the lead in the pool that the scenario has it in, at the cost that it has there by the pools' values."""
    pool = scenario.pools.get(lead.tier)
    moved = replace(lead, pool=pool, reason="", asks=()) if pool else lead
    return replace(moved, cost=rotation.cost_of(values.get(moved.pool, {}), moved.tier))


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
