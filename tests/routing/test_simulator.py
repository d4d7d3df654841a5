"""The simulator decides like the live path, plays time and capacity, and writes nothing but its result."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from routing import leads, simulator
from routing.hours import Hours, parse
from routing.models import Assignment, Lead, Membership
from routing.simulator import Scenario, SimulationError
from routing.simulator.playing import Arrival, Habits, Played, SimulatedSeat, Summary, play, summarize
from scoring import jobs
from scoring.models import Job, ProductUser, ScoreChange
from tests.routing import world
from tests.routing.world import NOW, later

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
OFFICE = Hours(week=parse("Mon-Fri 9-17"))
ANN, BEN = SimulatedSeat(1, 11, "Ann", works=OFFICE), SimulatedSeat(2, 12, "Ben", works=OFFICE)
QUICK = Habits(touch_minutes=30, open_days=1, sla_hours=2)
WEEK = MONDAY + timedelta(days=7)


def full(seat: SimulatedSeat, capacity: int) -> SimulatedSeat:
    return replace(seat, facts=replace(seat.facts, capacity=capacity))


def arrivals(number: int, *, every: float = 0, **some: Any) -> list[Arrival]:
    """Return so many leads for West, so many minutes apart from Monday 9:00 on."""
    told: dict[str, Any] = {"motion": "new", "tier": "hot", "rank": 1, "pool": "West"} | some
    return [Arrival(at=MONDAY + timedelta(minutes=n * every), account=n, **told) for n in range(number)]


def played(those: list[Arrival], *seats: SimulatedSeat, habits: Habits = QUICK, until: datetime = WEEK) -> list[Played]:
    return play(those, pools={"West": seats}, habits=habits, until=until)


def summary(those: list[Arrival], *seats: SimulatedSeat, habits: Habits = QUICK) -> Summary:
    done = played(those, *seats, habits=habits)
    return summarize(done, pools={"West": seats}, since=MONDAY, until=WEEK)


class TestPlay:
    def test_gives_leads_out_in_turn_by_weight(self) -> None:
        given = Counter(one.ae for one in played(arrivals(30), replace(ANN, weight=2), BEN))
        assert given == {11: 20, 12: 10}

    def test_touches_one_lead_after_the_other_in_business_time(self) -> None:
        last = played(arrivals(20), ANN)[-1]
        assert last.touched_at == MONDAY + timedelta(days=1, hours=2), "ten hours of work: eight on Monday"

    def test_keeps_to_the_capacity_and_gives_out_what_waits_when_a_lead_is_closed(self) -> None:
        first, second = played(arrivals(2), full(ANN, 1))
        assert first.touched_at == MONDAY + timedelta(minutes=30)
        assert second.assigned_at == first.touched_at + timedelta(days=1)

    def test_of_those_that_wait_the_best_tier_goes_first_then_the_oldest(self) -> None:
        warm = arrivals(3, every=1, tier="warm", rank=2)
        hot = [replace(one, account=9 + one.account) for one in arrivals(2, every=2)]
        done = played([*warm, *hot], full(ANN, 1), habits=replace(QUICK, open_days=0.01))
        order = sorted(done, key=lambda one: one.assigned_at or WEEK)
        assert [one.arrival.account for one in order] == [0, 9, 10, 1, 2]

    def test_says_why_a_lead_was_left_over(self) -> None:
        done = summary(arrivals(3), full(ANN, 0))
        assert done.unassigned == {"Nobody in West can take it: Ann (0 of 0 open: full).": 3}
        assert summary(arrivals(2, pool="", reason="No pool takes it."), ANN).unassigned == {"No pool takes it.": 2}

    def test_keeps_to_working_hours_daily_caps_and_skills_as_the_gates_do(self) -> None:
        office = replace(ANN, facts=replace(ANN.facts, hours="Mon-Fri 9-17", daily_cap=1))
        night = [replace(one, at=MONDAY - timedelta(hours=3)) for one in arrivals(2)]
        assert [one.assigned_at for one in played(night, office)] == [MONDAY, MONDAY + timedelta(hours=24)]
        speaks = replace(BEN, facts=replace(BEN.facts, tags=("french",)))
        assert {one.ae for one in played(arrivals(4, asks=("french",)), ANN, speaks)} == {12}

    def test_one_that_nobody_can_take_is_no_obstacle_to_others(self) -> None:
        both = [*arrivals(1, asks=("french",)), replace(arrivals(1, tier="warm", rank=2)[0], account=7)]
        assert [one.ae for one in played(both, ANN)] == [None, 11]

    def test_an_account_joins_its_open_lead(self) -> None:
        again = [replace(one, account=1) for one in arrivals(3, every=60)]
        assert len(played(again, ANN)) == 1

    def test_a_second_motion_goes_to_the_same_ae(self) -> None:
        both = [replace(one, account=5, motion=f"m{n}") for n, one in enumerate(arrivals(4, every=1))]
        assert len({one.ae for one in played(both, ANN, BEN)}) == 1

    def test_counts_breaches_loads_by_week_and_waits(self) -> None:
        done = summary(arrivals(8), ANN)
        assert (done.leads, done.assigned, done.waited, done.breaches) == (8, 8, 0, 4)
        assert (done.loads[0].name, done.loads[0].weeks, done.loads[0].breaches) == ("Ann", [8], 4)
        assert (done.median_minutes, done.slowest_tenth_minutes) == (150.0, 240.0)

    def test_the_same_stream_gives_the_same(self) -> None:
        assert played(arrivals(40, every=7), ANN, BEN) == played(arrivals(40, every=7), ANN, BEN)


def crossed(account: Any, at: datetime, tier: str = "hot", *, user: ProductUser | None = None) -> None:
    rule_set = world.rule_set()
    assert rule_set.live_version is not None
    ScoreChange.objects.create(
        rule_set=rule_set,
        account=account,
        user=user,
        version=rule_set.live_version,
        at=at,
        as_of=at.date(),
        cause="event",
        usage=6000,
        fit=0,
        status="scored",
        tier=tier,
        held=[tier],
        ledger={},
    )


QUARTER = Scenario(since=date(2026, 3, 2), until=date(2026, 3, 9))


@pytest.mark.django_db
class TestSimulate:
    def test_plays_past_crossings_as_the_live_path_gave_them_out(self) -> None:
        west = world.pool()
        for name, weight in (("ann", 1), ("ben", 2), ("cleo", 3)):
            world.ae(name, into=west, weight=weight)
        for n in range(24):
            account = world.account(f"account {n}")
            crossed(account, later(minutes=n))
            world.score(account)
            world.hint(account)
            leads.open_crossed(at=later(minutes=n))
        given = Counter(Assignment.objects.values_list("ae__user__first_name", flat=True))
        today = simulator.simulate(QUARTER)["today"]
        assert {load["name"]: load["leads"] for load in today["loads"]} == given
        assert given == {"Ann": 4, "Ben": 8, "Cleo": 12}

    def test_counts_only_who_became_a_pql_in_those_days(self) -> None:
        world.ae("ann", into=world.pool())
        acme, globex = world.account("acme"), world.account("globex")
        crossed(acme, later(days=-2))
        crossed(acme, later(hours=1), "warm")
        crossed(globex, later(hours=1), "cold")
        assert simulator.simulate(QUARTER)["crossings"] == 0
        crossed(globex, later(hours=2), "warm")
        assert simulator.simulate(QUARTER)["crossings"] == 1

    def test_users_who_qualify_while_it_is_open_share_the_lead_of_their_account(self) -> None:
        world.ae("ann", into=world.pool())
        acme = world.account("acme")
        for hour in (1, 2):
            crossed(acme, later(hours=hour), user=ProductUser.objects.create(home=acme, created_at=NOW))
        assert simulator.simulate(QUARTER)["today"]["leads"] == 1

    def test_another_roster_changes_only_the_other_side(self) -> None:
        world.rule_set()
        west = world.pool()
        ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
        asked = replace(QUARTER, made_up=20, without=(ann.pk,), hours={ben.pk: "Mon-Fri 9-10"})
        result = simulator.simulate(asked)
        assert [load["leads"] for load in result["today"]["loads"]] == [10, 10]
        assert [(load["name"], load["leads"]) for load in result["other"]["loads"]] == [("Ben", 19)]
        (reason,) = result["other"]["unassigned"]
        assert "outside working hours: Mon-Fri 9-10" in reason
        assert result["other"]["median_minutes"] > result["today"]["median_minutes"]

    def test_the_job_writes_nothing_but_its_result(self) -> None:
        world.ae("ann", into=world.pool())
        world.rule_set()
        job = simulator.start(scenario=replace(QUARTER, made_up=5), by=None, at=NOW)
        claimed = jobs.claim(job=job, at=NOW)
        assert claimed is not None
        simulator.run(job=claimed, clock=lambda: NOW)
        done = Job.objects.get()
        assert (done.state, done.result["today"]["assigned"]) == ("done", 5)
        assert not Lead.objects.exists() and not Assignment.objects.exists()
        assert set(Membership.objects.values_list("credit", "served")) == {(0, 0)}

    def test_a_scenario_comes_back_from_its_job_as_it_was(self) -> None:
        asked = replace(QUARTER, weights={3: 2}, capacities={4: None}, hours={5: "Mon 9-10"}, without=(1, 2))
        assert simulator.of_plain(asked.plain()) == asked

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"until": date(2026, 3, 2)}, "the end is the first day after"),
            ({"since": date(1, 1, 1), "until": date(1, 2, 1)}, "years 2000 to 2199"),
            ({"since": date(9999, 12, 1), "until": date(9999, 12, 31)}, "years 2000 to 2199"),
            ({"made_up": 0}, "Make up from 1"),
            ({"backtest": 7}, "no backtest 7"),
            ({"without": (99,)}, "no AE 99"),
            ({"pools": {"hot": "Nowhere"}}, "no pool Nowhere"),
            ({"touch_minutes": 0}, "takes some minutes"),
        ],
    )
    def test_refuses_in_words_what_cannot_be(self, change: dict[str, Any], words: str) -> None:
        with pytest.raises(SimulationError, match=words):
            simulator.start(scenario=replace(QUARTER, **change), by=None, at=NOW)
