"""The load that a version would add is the load that it adds."""

import pytest

from routing import forecast, leads, people
from routing.models import AE, Lead, Pool
from scoring import rules
from scoring.models import Account, RuleSet
from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, RULES

pytestmark = pytest.mark.django_db

LOOSER = RULES.replace("at_least: 2", "at_least: 1")


def world(**capacities: int | None) -> None:
    """Nobody qualifies yet; ten companies have invited one person each. The AEs are of one pool."""
    for name, capacity in capacities.items():
        people.create_ae(email=f"{name}@example.com", name=name.capitalize(), pool="West", capacity=capacity, at=NOW)
    api_world.send(*(api_world.use("invited", f"user{n}", into=f"company {n}") for n in range(10)))
    api_world.publish(RULES)
    api_world.rescore()


def load() -> list[forecast.Load]:
    diff = rules.diff(version=rules.draft(text=LOOSER, by=None, at=NOW), at=NOW)
    return forecast.load_of(diff=diff, at=NOW)


def go_live() -> dict[str, int]:
    """Publish it, and say who was given how many leads."""
    api_world.publish(LOOSER)
    api_world.rescore()
    leads.open_all(at=NOW, limit=100)
    return {ae.name: Lead.objects.filter(ae=ae).count() for ae in AE.objects.select_related("user")}


def test_the_leads_come_to_those_who_are_named() -> None:
    world(ann=None, ben=3, cleo=None)
    (told,) = load()
    assert told.pool == Pool.objects.get()
    assert (told.adds, told.waiting, told.not_dealt) == (10, 0, 0)
    expected = {seat.ae.name: seat.adds for seat in told.seats}
    assert go_live() == expected
    assert expected["Ben"] == 3


def test_what_nobody_can_take_waits() -> None:
    world(ann=2, ben=0)
    (told,) = load()
    assert (told.adds, told.waiting, [seat.adds for seat in told.seats]) == (10, 8, [2, 0])
    go_live()
    assert Lead.objects.filter(state="unassigned").count() == 8


def test_without_a_pool_says_why() -> None:
    world()
    (told,) = load()
    assert told.pool is None and "No pool takes leads" in told.reason
    assert (told.adds, told.waiting) == (10, 10)


def test_who_has_a_lead_or_is_not_for_sales_adds_none() -> None:
    world(ann=None)
    people.set_handling(rule_set=RuleSet.objects.get(), tier="hot", handling="nurture", at=NOW)
    assert load() == []


def test_a_colleague_who_works_the_account_gets_it() -> None:
    world(ann=None, ben=None)
    other = LOOSER.replace("slug: new-business", "slug: expansion").replace("motion: new_business", "motion: expansion")
    api_world.publish(other)
    api_world.rescore()
    leads.open_all(at=NOW, limit=100)
    have = dict(Lead.objects.values_list("account", "ae"))
    (told,) = load()
    assert {seat.ae.pk: seat.adds for seat in told.seats} == {
        ae: sum(1 for owner in have.values() if owner == ae) for ae in have.values()
    }


def test_too_many_are_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "MOST_TURNS", 4)
    world(ann=None)
    (told,) = load()
    assert (told.adds, told.not_dealt, [seat.adds for seat in told.seats]) == (10, 6, [4])
    assert Account.objects.filter(kind="group").count() == 10
