"""Leads, pools and AEs over the API."""

import csv
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
import time_machine

from routing import leads
from routing.models import AE, Assignment, Lead
from scoring.models import Account, Job, Outcome
from scoring.tasks import carry_on
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

    def test_are_lost_or_disqualified_for_a_reason_from_the_list(self, world: World) -> None:
        assert act(world, "lose", {"reason": "no budget"}, status=409)["type"] == "urn:pql:problem:illegal-move"
        assert act(world, "disqualify", {"reason": "  "}, status=422)["faults"][0]["path"] == "reason"
        assert "choose one of" in act(world, "disqualify", {"reason": "a student"}, status=422)["detail"]
        assert "students" in [r["name"].lower() for r in world.ben.get("close-reasons?kind=disqualify")["results"]]
        closed_lead = act(world, "disqualify", {"reason": "students", "words": "of a course"})
        assert closed_lead["close_reason"] == "Students: of a course"
        assert closed_lead["moves"][-1]["via"] == "api"
        closed = act(world, "accept", status=409)
        assert "is closed" in closed["detail"]

    def test_snooze_ends_in_the_future(self, world: World) -> None:
        refused = act(world, "snooze", {"until": "2026-03-01T09:00:00Z"}, status=422)
        assert "still to come" in refused["detail"]

    def test_snooze_waits_for_a_signal_and_is_woken(self, world: World) -> None:
        snoozed = act(world, "snooze", {"or_signal": True})
        assert (snoozed["snoozed_until"], snoozed["wakes_on_signal"]) == (None, True)
        assert act(world, "wake")["state"] == "assigned"
        assert act(world, "snooze", {}, status=422)["detail"].startswith("Say until when")

    def test_are_recycled_and_put_back(self, world: World) -> None:
        recycled = act(world, "recycle", {"until": "2026-05-01T00:00:00Z", "reason": "Budget next year"})
        assert (recycled["closed_as"], recycled["cool_until"]) == ("recycled", "2026-05-01T00:00:00Z")
        move = recycled["moves"][-1]["id"]
        assert act(world, "undo", {"move": move - 1}, status=409)["type"] == "urn:pql:problem:cannot-undo"
        back = act(world, "undo", {"move": move})
        assert (back["state"], back["cool_until"], back["moves"][-1]["undoes"]) == ("assigned", None, move)
        assert "undone already" in act(world, "undo", status=409)["detail"]

    def test_are_entered_by_hand_by_who_works_them(self, world: World) -> None:
        body = {"account": "globex", "rule_set": "new-business", "note": "met at a fair"}
        ann = AE.objects.get(user=world.ann.user)
        assert world.ben.post("leads", body | {"ae": ann.pk}, status=403)
        assert world.server_key.post("leads", body, status=422)["faults"][0]["path"] == "ae"
        lead = world.ben.post("leads", body, status=201)
        assert (lead["origin"], lead["stage"], lead["ae"]["name"]) == ("direct", "sql", "Ben")
        assert world.ben.post("leads", body, status=409)["type"] == "urn:pql:problem:has-lead"
        assert world.manager.post("leads", body | {"rule_set": "nope"}, status=422)["faults"][0]["path"] == "rule_set"
        assert world.manager.post("leads", body | {"account": "nope"}, status=422)["faults"][0]["path"] == "account"

    def test_are_reassigned_by_a_manager(self, world: World) -> None:
        ann = AE.objects.get(user=world.ann.user)
        assert act(world, "reassign", {"ae": ann.pk}, by="AE", status=403)["type"] == "urn:pql:problem:forbidden"
        assert act(world, "reassign", {"ae": ann.pk, "note": "knows them"}, by="manager")["ae"]["name"] == "Ann"
        assert act(world, "reassign", {"ae": ann.pk}, by="manager", status=409)["detail"].startswith("Ann has")
        assert act(world, "reassign", {"ae": 10**15}, by="manager", status=422)["faults"][0]["path"] == "ae"

    def test_go_back_to_the_pool_by_null(self, world: World) -> None:
        faults = act(world, "reassign", {"ae": None, "cause": "left"}, by="manager", status=422)["faults"]
        assert faults[0]["path"] == "cause"
        world_lead = act(world, "reassign", {"ae": None, "cause": "territory"}, by="manager")
        assert (world_lead["assignments"][0]["refunded"], world_lead["assignments"][0]["refunded_for"]) == (
            True,
            "territory",
        )
        assert Lead.objects.get().state in ("assigned", "unassigned")

    def test_reassign_has_to_say_to_whom(self, world: World) -> None:
        assert act(world, "reassign", {}, by="manager", status=422)["faults"][0]["path"] == "ae"


class TestMQLs:
    def test_are_told_once_by_marketing_systems(self, world: World) -> None:
        body = {"message_id": "hs-1", "account": "globex", "rule_set": "new-business", "note": "Webinar"}
        word = world.server_key.post("mqls", body, status=201)
        lead = world.manager.get(f"leads/{word['lead']}")
        assert (lead["stage"], lead["origin"], lead["mql_at"], lead["pql_at"]) == ("mql", "mql", word["at"], None)
        assert world.server_key.post("mqls", body, status=200)["id"] == word["id"]
        assert [w["message_id"] for w in world.manager.get("mqls?account=globex")["results"]] == ["hs-1"]
        assert world.manager.get(f"mqls/{word['id']}")["waits"] == ""

    def test_join_the_lead_that_is_open(self, world: World) -> None:
        body = {"message_id": "hs-2", "account": "acme", "rule_set": "new-business", "at": "2026-03-08T10:00:00Z"}
        assert world.server_key.post("mqls", body, status=201)["lead"] == world.lead.pk
        assert world.ben.get(f"leads/{world.lead.pk}")["mql_at"] == "2026-03-08T10:00:00Z"


class TestBreaches:
    def test_say_whose_and_why(self, world: World) -> None:
        leads.set_sla(rule_set=world.version.rule_set, tier="", hours=Decimal(4))
        act(world, "reassign", {"ae": AE.objects.get(user=world.ann.user).pk}, by="manager")
        assert world.manager.get(f"leads/{world.lead.pk}")["due_at"] == "2026-03-09T16:00:00Z"
        assert leads.keep_deadlines(at=NOW + timedelta(hours=4)) == 1
        (breach,) = world.manager.get("breaches?cause=capacity")["results"]
        assert (breach["lead"], breach["ae"]["name"], breach["did"]) == (world.lead.pk, "Ann", "escalated")
        assert breach["why"] == "Ann had 1 open leads of 0."


class TestCRM:
    def test_closes_an_accepted_lead_as_lost(self, world: World) -> None:
        act(world, "accept")
        world.server_key.post("outcomes", {"message_id": "sf-1", "account": "acme", "kind": "lost"}, status=201)
        lead = world.ben.get(f"leads/{world.lead.pk}")
        assert (lead["closed_as"], lead["moves"][-1]["via"]) == ("lost", "crm")


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


class TestRouteLog:
    def test_says_of_each_decision_what_it_was_based_on(self, world: World) -> None:
        made = world.manager.get(f"assignments?lead={world.lead.pk}&how=rotation&pool=west")["results"][0]
        assert (made["account"], made["lead"], made["ae"]["name"]) == ("acme", world.lead.pk, "Ben")
        assert made["decision"]["candidates"][0]["gates"]
        assert world.manager.get(f"assignments/{made['id']}") == made
        assert world.manager.get(f"assignments?ae={10**9}")["results"] == []

    def test_makes_a_decision_anew_and_says_whether_it_agrees(self, world: World) -> None:
        made = Assignment.objects.get()
        again: dict[str, Any] = {"by_rule": True, "chosen": made.ae_id, "agrees": True, "differences": []}
        assert world.manager.get(f"assignments/{made.pk}/replay") == again
        made.decision["chosen"] = 10**6
        made.save()
        assert "the record says 1000000" in world.manager.get(f"assignments/{made.pk}/replay")["differences"][0]
        made.decision = {"why": "Given to Ben by hand."}
        made.save()
        assert not world.manager.get(f"assignments/{made.pk}/replay")["by_rule"]

    def test_is_a_table_in_which_nothing_is_a_formula(self, world: World) -> None:
        Account.objects.filter(pk=world.acme.pk).update(external_id="=1+1")
        answer = world.manager.ask("GET", "assignments/csv")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        header, row = csv.reader(StringIO(answer.getvalue().decode()))
        told = dict(zip(header, row, strict=True))
        assert (told["account"], told["ae"], told["how"]) == ("'=1+1", "ben@example.com", "rotation")
        assert int(told["credit_after"]) == int(told["credit_before"]) - int(told["cost"]) + 10**9 // int(
            told["eligible"]
        )

    def test_is_not_for_aes(self, world: World) -> None:
        assert world.ben.ask("GET", "assignments").status_code == 403


class TestSimulations:
    def test_are_played_by_a_job(self, world: World) -> None:
        ben = AE.objects.get(user__first_name="Ben")
        asked = {"since": "2026-01-05", "until": "2026-04-06", "made_up": 10, "weights": {f"{ben.pk}": 3}}
        job = world.admin.post("simulations", asked, status=202)
        assert (job["kind"], job["arguments"]["scenario"]["weights"]) == ("simulate", {f"{ben.pk}": 3})
        carry_on(job=Job.objects.get(pk=job["id"]))
        assert world.admin.get(f"jobs/{job['id']}")["result"]["other"]["leads"] == 10

    @pytest.mark.parametrize(
        "wrong", [{"until": "2026-01-05"}, {"weights": {"ben": 1}}, {"without": [10**9]}, {"hours": {"1": "always"}}]
    )
    def test_are_refused_in_words(self, world: World, wrong: dict[str, Any]) -> None:
        asked = {"since": "2026-01-05", "until": "2026-04-06"} | wrong
        assert world.admin.post("simulations", asked, status=422)

    def test_are_for_owners(self, world: World) -> None:
        assert world.manager.ask("POST", "simulations", {}).status_code == 403
