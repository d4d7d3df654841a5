"""Leads that come many at once: each is given, or left waiting, and recorded as if it had come alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import leads, ruling
from routing.models import AE, Assignment, Lead, LeadMove, Membership, Pool
from scoring.models import Crossed, TraitChange
from tests.conftest import few
from tests.routing import world
from tests.routing.world import NOW, TODAY, later

pytestmark = pytest.mark.django_db

WORD: dict[str, Any] = {"precedence": 1, "day": TODAY, "message_id": "told"}

caps = st.none() | st.integers(0, 4)
members = st.fixed_dictionaries(
    {
        "weight": st.integers(1, 4),
        "capacity": caps,
        "daily_cap": caps,
        "weekly_cap": caps,
        "tier_caps": st.dictionaries(st.sampled_from(["hot", "warm"]), st.integers(0, 3)),
        "credit": st.integers(-(10**9), 10**9),
        "is_active": st.sampled_from([True, True, True, False]),
    }
)
# What is drawn of each account: its tier, where it is, whose it is, and of which other lead somebody works it.
accounts = st.tuples(
    st.sampled_from(["hot", "warm", "cold"]),
    st.sampled_from([None, "DE", "FR"]),
    st.sampled_from([None, "ann@example.com", "cleo@example.com"]),
    st.sampled_from([None, None, "same motion", "another"]),
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A world: two pools, a rule, what they are dealt out by, deadlines, a line, and the accounts that cross."""

    west: list[dict[str, Any]]
    east: list[dict[str, Any]]
    by_value: bool
    has_rule: bool
    sla: float
    line: list[str]  # tiers of leads that wait already, though since then somebody may have become free
    accounts: list[tuple[str, str | None, str | None, str | None]]


worlds = st.builds(
    Drawn,
    west=st.lists(members, min_size=1, max_size=4),
    east=st.lists(members, max_size=2),
    by_value=st.booleans(),
    has_rule=st.booleans(),
    sla=st.sampled_from([0.0, 4.0]),
    line=st.lists(st.sampled_from(["hot", "warm"]), max_size=2),
    accounts=st.lists(accounts, min_size=2, max_size=9),
)


def build(drawn: Drawn) -> None:
    """Make the world, with a hint of each account that has not been taken up."""
    west, east = world.pool(), world.pool("East", default=False)
    people = iter(("ann", "ben", "cleo", "dan", "eve", "fred"))
    places = [(pool, place) for pool, drawn_of in ((west, drawn.west), (east, drawn.east)) for place in drawn_of]
    made = [(world.ae(next(people)), pool, place) for pool, place in places]
    first = made[0][0]
    worked(first, drawn)
    for tier in drawn.line:
        look(f"{tier} in line {drawn.line.index(tier)}", tier)
    for ae, pool, place in made:
        Membership.objects.create(pool=pool, ae=ae, joined_at=NOW, **place)
    if drawn.by_value:
        Pool.objects.update(tier_values={"hot": 3, "warm": 1})
    if drawn.sla:
        leads.set_sla(rule_set=world.rule_set(), tier="hot", hours=Decimal(drawn.sla))
        leads.set_sla(rule_set=world.rule_set(), tier="", hours=Decimal(9), warn_hours=Decimal(1))
    if drawn.has_rule:
        ruling.set_rule(name="Germany", text="{trait: country, equals: DE}", pool=east, asks=["de"], at=NOW)
        ruling.set_rule(name="Elsewhere", text="{trait: country, exists: true}", pool=west, at=NOW)
        AE.objects.filter(user__first_name__in=["Ann", "Cleo", "Eve"]).update(tags=["de"])
    for number, (tier, country, owner, _) in enumerate(drawn.accounts):
        account = world.account(f"account {number}")
        for key, value in (("country", country), ("owner", owner)):
            if value:
                TraitChange.objects.create(account=account, key=key, value=value, at=NOW, received_at=NOW, **WORD)
        world.score(account, tier)
        world.hint(account)


def worked(ae: AE, drawn: Drawn) -> None:
    """Let somebody work other leads of some accounts, of this motion or of another."""
    growth = world.rule_set("growth", motion="expansion")
    for number, (*_, other) in enumerate(drawn.accounts):
        if other:
            by = world.rule_set() if other == "same motion" else growth
            leads.enter(account=world.account(f"account {number}"), rule_set=by, ae=ae, by=None, at=later(days=-1))


def look(name: str, tier: str) -> Lead | None:
    account = world.account(name)
    score = world.score(account, tier)
    return leads.consider(account_id=account.pk, rule_set_id=score.rule_set_id, cause="event", at=later(hours=-1))


def everything() -> dict[str, Any]:
    """Return all that was written, without the numbers of rows, which differ: leads are named by their accounts."""
    whose = {lead.pk: (lead.account.external_id, lead.motion) for lead in Lead.objects.select_related("account")}
    made = {row["id"]: row for row in Assignment.objects.order_by("id").values()}
    order = {pk: place for place, pk in enumerate(made)}

    def of(row: Any) -> dict[str, Any]:
        data = dict(row.get("data") or {})
        if "assignment" in data:
            data["assignment"] = order[data["assignment"]]
        return {**row, "id": None, "lead_id": whose[row["lead_id"]], "data": data}

    moves = [of(row) for row in LeadMove.objects.order_by("id").values()]
    return {
        "leads": {whose[row["id"]]: {**row, "id": None} for row in Lead.objects.order_by("id").values()},
        "in order": [whose[pk] for pk in Lead.objects.order_by("id").values_list("pk", flat=True)],
        "assignments": [of(row) for row in made.values()],
        "moves": {name: [move for move in moves if move["lead_id"] == name] for name in whose.values()},
        "members": list(Membership.objects.order_by("id").values()),
        "hints": Crossed.objects.count(),
    }


@contextmanager
def undone() -> Iterator[None]:
    """Undo at the end what is done within."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


class TestManyAtOnce:
    @given(drawn=worlds)
    @settings(max_examples=few(10), deadline=None)
    def test_are_recorded_as_one_after_the_other(self, drawn: Drawn) -> None:
        with undone():
            build(drawn)
            with undone():
                while leads.open_crossed(at=NOW):
                    pass
                singly = everything()
            leads.open_all(at=NOW, limit=99)
            together = everything()
            assert together["hints"] == 0
            assert together == singly
