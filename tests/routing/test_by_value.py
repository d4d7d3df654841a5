"""A pool that deals out value: who got one lead of much value has had as much as who got many of little."""

from collections import Counter
from dataclasses import replace
from datetime import date

import pytest

from routing import audit, decision, leads, people, simulator
from routing.models import Assignment, Lead, Membership, Pool
from routing.simulator import Scenario
from tests.routing import world
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db

TURN = 1_000_000_000


@pytest.fixture
def west() -> Pool:
    """Ann and Ben; a hot lead is worth four warm ones."""
    pool = world.pool()
    for name in ("ann", "ben"):
        world.ae(name, into=pool)
    return people.set_fairness(pool=pool, tier_values={"hot": 12_000, "warm": 3_000}, credit_days=7)


def come(*tiers: str) -> None:
    for number, tier in enumerate(tiers, Lead.objects.count()):
        world.score(world.account(f"account {number}"), tier)
        world.hint(world.account(f"account {number}"))
        leads.open_all(at=NOW, limit=5)


def held() -> dict[str, int]:
    """Return how many leads everybody has."""
    return dict(Counter(Lead.objects.filter(state="assigned").values_list("ae__user__first_name", flat=True)))


class TestByValue:
    def test_deals_out_value(self, west: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        come("hot", "warm", "warm", "warm", "warm")
        assert held() == {"Ann": 1, "Ben": 4}
        assert {member: cost / TURN for member, cost in audit.dealt(pool=west).items()} == {
            ae: 1.0 for ae in west.memberships.values_list("ae", flat=True)
        }
        assert set(Membership.objects.values_list("credit", flat=True)) == {0}
        assert all(decision.replay(made.decision).agrees for made in Assignment.objects.all())
        monkeypatch.setattr(audit, "SNAPSHOT", "SELECT 1")
        assert audit.verify() is None

    def test_deals_out_leads_without_values(self, west: Pool) -> None:
        people.set_fairness(pool=west, tier_values={}, credit_days=7)
        come("hot", "warm", "warm", "warm")
        assert held() == {"Ann": 2, "Ben": 2}

    def test_a_refund_gives_the_value_back(self, west: Pool) -> None:
        come("warm")
        leads.disqualify(lead=Lead.objects.get(), reason="Students", by=None, at=later(days=1))
        assert audit.dealt(pool=west) == {}
        assert set(Membership.objects.values_list("credit", "served")) == {(0, 0)}

    def test_the_preview_counts_it_too(self, west: Pool) -> None:
        come("hot", "warm", "warm")
        told = leads.preview(
            account_id=world.account("new").pk, rule_set=world.rule_set(), tier="warm", at=later(hours=1)
        )
        assert (told["turn"]["cost"], told["why"].split()[0]) == (TURN // 4, "Ben")

    def test_the_simulator_plays_it_and_other_values(self, west: Pool) -> None:
        world.rule_set()
        week = Scenario(date(2026, 3, 2), date(2026, 3, 9), made_up=60)
        by_value = simulator.simulate(week)
        assert by_value["today"] == by_value["other"]
        ann, ben = by_value["today"]["loads"]
        assert ann["leads"] + ben["leads"] == 60
        assert abs(ann["value"] - ben["value"]) <= 1
        other = simulator.simulate(replace(week, values={"West": {}}))["other"]
        assert {load["value"] for load in other["loads"]} == {30.0}, "each of 60 costs a turn"

    @pytest.mark.parametrize(
        ("values", "days", "words"), [({"hot": 0}, 7, "whole number from 1"), ({}, -1, "within 0 to 366 days")]
    )
    def test_refuses_impossible_numbers(self, west: Pool, values: dict[str, int], days: int, words: str) -> None:
        with pytest.raises(people.PeopleError, match=words):
            people.set_fairness(pool=west, tier_values=values, credit_days=days)

    def test_the_simulator_refuses_values_of_nothing(self, west: Pool) -> None:
        scenario = Scenario(date(2026, 3, 2), date(2026, 3, 9), values={"West": {"hot": 0}})
        with pytest.raises(simulator.SimulationError, match="from 1 up"):
            simulator.start(scenario=scenario, by=None, at=NOW)
