"""Leads, pools and AEs over the API."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine

from routing.models import AE, Lead
from scoring.models import Outcome
from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> Iterator[World]:
    with time_machine.travel(NOW, tick=False):
        yield api_world.make()


def act(world: World, verb: str, body: Any = None, *, status: int = 200, by: str = "AE") -> Any:
    return world.callers[by].post(f"leads/{world.lead.pk}/{verb}", body, status=status)


class TestLeads:
    def test_an_ae_sees_the_own_ones(self, world: World) -> None:
        assert [lead["account"]["external_id"] for lead in world.ben.get("leads")["results"]] == ["acme"]
        assert world.ann.get("leads")["results"] == []
        assert world.ann.ask("GET", f"leads/{world.lead.pk}").status_code == 404
        assert world.ann.ask("POST", f"leads/{world.lead.pk}/accept", {}).status_code == 404

    @pytest.mark.parametrize(
        ("asked", "found"),
        [("state=assigned", 1), ("state=closed", 0), ("stage=pql&pool=west", 1), ("account=acme&tier=hot", 1)],
    )
    def test_are_narrowed(self, world: World, asked: str, found: int) -> None:
        assert len(world.manager.get(f"leads?{asked}")["results"]) == found

    def test_say_why_and_who_got_them_why(self, world: World) -> None:
        lead = world.ben.get(f"leads/{world.lead.pk}")
        assert (lead["stage"], lead["state"], lead["tier"], lead["ae"]["name"]) == ("pql", "assigned", "hot", "Ben")
        assert lead["opening"]["usage"] == lead["reasons"][0]["usage"] == 52.5
        assert [move["verb"] for move in lead["moves"]] == ["open", "assign"]
        assert lead["assignments"][0]["how"] == "rotation"
        assert "accept" in lead["allowed"]
        assert "lose" not in lead["allowed"]

    def test_are_accepted_snoozed_and_won(self, world: World) -> None:
        assert act(world, "accept")["stage"] == "sql"
        assert act(world, "snooze", {"until": "2026-03-16T09:00:00Z"})["snoozed_until"] == "2026-03-16T09:00:00Z"
        won = act(world, "win", {"amount": "900"})
        assert (won["state"], won["closed_as"], won["allowed"]) == ("closed", "won", [])
        assert won["moves"][-1]["by"] == "ben@example.com"
        assert Outcome.objects.get(account=world.acme).amount == 900

    def test_are_lost_or_disqualified_with_a_reason(self, world: World) -> None:
        assert act(world, "lose", {"reason": "price"}, status=409)["type"] == "urn:pql:problem:illegal-move"
        assert act(world, "disqualify", {"reason": "  "}, status=422)["faults"][0]["path"] == "reason"
        assert act(world, "disqualify", {"reason": "a student"})["close_reason"] == "a student"
        closed = act(world, "accept", status=409)
        assert "is closed" in closed["detail"]

    def test_snooze_ends_in_the_future(self, world: World) -> None:
        refused = act(world, "snooze", {"until": "2026-03-01T09:00:00Z"}, status=422)
        assert "still to come" in refused["detail"]

    def test_are_reassigned_by_a_manager(self, world: World) -> None:
        ann = AE.objects.get(user=world.ann.user)
        assert act(world, "reassign", {"ae": ann.pk}, by="AE", status=403)["type"] == "urn:pql:problem:forbidden"
        assert act(world, "reassign", {"ae": ann.pk, "note": "knows them"}, by="manager")["ae"]["name"] == "Ann"
        assert act(world, "reassign", {"ae": ann.pk}, by="manager", status=409)["detail"].startswith("Ann has")
        assert act(world, "reassign", {"ae": 10**15}, by="manager", status=422)["faults"][0]["path"] == "ae"

    def test_go_back_to_the_pool_by_null(self, world: World) -> None:
        world_lead = act(world, "reassign", {"ae": None}, by="manager")
        assert world_lead["assignments"][0]["refunded"] is True
        assert Lead.objects.get().state in ("assigned", "unassigned")

    def test_reassign_has_to_say_to_whom(self, world: World) -> None:
        assert act(world, "reassign", {}, by="manager", status=422)["faults"][0]["path"] == "ae"


class TestPeople:
    def test_pools_show_their_members(self, world: World) -> None:
        (pool,) = world.manager.get("pools")["results"]
        assert (pool["slug"], pool["is_default"]) == ("west", True)
        members = {member["ae"]["name"]: member for member in pool["members"]}
        assert (members["Ann"]["capacity"], members["Ben"]["served"]) == (0, 1)

    def test_aes_show_their_pools(self, world: World) -> None:
        rows = world.manager.get("aes")["results"]
        assert [(row["name"], row["email"], row["pools"]) for row in rows] == [
            ("Ann", "ann@example.com", ["west"]),
            ("Ben", "ben@example.com", ["west"]),
        ]
