"""Accounts, scores, outcomes and exclusions over the API."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scoring import facts
from scoring.models import Account, Outcome, Touched
from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, TODAY, World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> Iterator[World]:
    with time_machine.travel(NOW, tick=False):
        yield api_world.make()


def names(page: dict[str, Any]) -> list[str]:
    return sorted(row["external_id"] for row in page["results"])


class TestAccounts:
    def test_are_listed_with_their_scores(self, world: World) -> None:
        rows = {row["external_id"]: row for row in world.server_key.get("accounts")["results"]}
        assert sorted(rows) == ["acme", "globex", "initech"]
        (score,) = rows["acme"]["scores"]
        assert (score["rule_set"], score["version"], score["tier"], score["is_pql"]) == ("new-business", 1, "hot", True)
        assert (score["usage"], score["fit"]) == (52.5, 0)

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ("search=CM", ["acme"]),
            ("external_id=globex", ["globex"]),
            ("pql=true", ["acme"]),
            ("pql=false", ["globex", "initech"]),
            ("tier=warm", ["globex"]),
            ("rule_set=new-business&tier=hot", ["acme"]),
            ("rule_set=another&tier=hot", []),
            ("kind=domain", []),
        ],
    )
    def test_are_narrowed(self, world: World, asked: str, found: list[str]) -> None:
        assert names(world.server_key.get(f"accounts?{asked}")) == found

    def test_a_visitor_is_listed_only_when_asked_for(self, world: World) -> None:
        Account.objects.create(kind="visitor", external_id="a1", created_at=NOW)
        assert "a1" not in names(world.server_key.get("accounts"))
        assert names(world.server_key.get("accounts?kind=visitor")) == ["a1"]

    def test_are_found_by_either_id(self, world: World) -> None:
        twin = Account.objects.create(kind="group", external_id=f"{world.acme.pk}", created_at=NOW)
        assert world.server_key.get(f"accounts/{world.acme.pk}")["external_id"] == "acme"
        assert world.server_key.get("accounts/acme")["id"] == world.acme.pk
        assert world.server_key.get(f"accounts/external:{world.acme.pk}")["id"] == twin.pk

    @pytest.mark.parametrize("named", ["nobody", "a%00b", "9" * 18, "9" * 500, "%ff", "٣"])
    def test_that_are_not_there_are_not_found(self, world: World, named: str) -> None:
        assert world.server_key.ask("GET", f"accounts/{named}").status_code == 404

    def test_show_the_traits_that_count(self, world: World) -> None:
        traits: list[tuple[int, dict[str, Any]]] = [
            (3, {"plan": "free", "seats": 5}),
            (2, {"plan": "pro"}),
            (1, {"seats": None}),
        ]
        for days, stated in traits:
            fact = facts.Fact(
                message_id=f"g{days}",
                at=NOW - timedelta(days=days),
                name="$group",
                group_id="acme",
                account_traits=stated,
            )
            api_world.send(fact)
        assert world.server_key.get("accounts/acme")["traits"] == {"plan": "pro"}

    def test_of_others_are_hidden_from_an_ae(self, world: World) -> None:
        assert world.ben.get("accounts/acme/score")["account"]["external_id"] == "acme"
        assert world.ben.ask("GET", "accounts/globex").status_code == 404
        assert world.ann.ask("GET", "accounts/acme/history").status_code == 404

    def test_say_who_would_get_them_if_they_qualified_now(self, world: World) -> None:
        slug = world.server_key.get("rule-sets")["results"][0]["slug"]
        told = world.manager.get(f"accounts/globex/routing?rule_set={slug}")
        assert told["why"].startswith("Ben was chosen by turn among 1 of 2")
        assert world.manager.ask("GET", "accounts/globex/routing?rule_set=none").status_code == 422
        assert world.manager.ask("GET", f"accounts/globex/routing?rule_set={slug}&tier=x").status_code == 422
        assert world.ben.ask("GET", f"accounts/acme/routing?rule_set={slug}").status_code == 403

    def test_cost_the_same_queries_however_many_they_are(self, world: World) -> None:
        with CaptureQueriesContext(
            connection,
        ) as few:
            world.server_key.get("accounts?limit=1")
        with CaptureQueriesContext(connection) as many:
            world.server_key.get("accounts")
        assert len(many) == len(few) <= 4


class TestScore:
    def test_adds_up(self, world: World) -> None:
        (score,) = world.server_key.get("accounts/acme/score")["scores"]
        usage = [line["points"] for line in score["ledger"]["lines"] if line["score"] == "usage"]
        assert usage == [40, 12.5]
        assert sum(usage) == score["usage"] == score["ledger"]["usage"] == 52.5

    def test_says_when_silence_changes_it_and_what_then(self, world: World) -> None:
        (score,) = world.server_key.get("accounts/acme/score")["scores"]
        change = score["next_change"]
        # The last use was yesterday, so "in 7 days, today included" ends with the 7th day from then.
        assert change["on"] == f"{TODAY + timedelta(days=6)}"
        assert (change["usage"], change["tier"]) == (40, "warm")
        (rule,) = change["rules"]
        assert (rule["rule"], rule["met"], rule["met_then"], rule["points_then"]) == ("active", True, False, 0)

    def test_says_what_is_missing_to_the_next_tier(self, world: World) -> None:
        missing = world.server_key.get("accounts/globex/score")["scores"][0]["missing"]
        assert missing["tier"] == "hot"
        assert missing["is_shortest"]
        assert [step["rules"] for way in missing["ways"] for step in way["steps"]] != []

    def test_says_how_fresh_it_is(self, world: World) -> None:
        assert world.server_key.get("accounts/acme/score")["complete_as_of"] == "2026-03-09T12:00:00Z"
        earlier = NOW - timedelta(seconds=30)
        Touched.objects.create(account=world.acme, shard=0, lane="live", cause="event", at=earlier)
        assert world.server_key.get("accounts/acme/score")["complete_as_of"] == "2026-03-09T11:59:30Z"

    def test_has_a_history(self, world: World) -> None:
        api_world.send(api_world.use("invited", "gil", into="globex"), api_world.use("invited", "gus", into="globex"))
        api_world.rescore()
        changes = world.server_key.get("accounts/globex/history?rule_set=new-business")["results"]
        assert [(c["tier"], c["usage"], c["cause"]) for c in changes] == [
            ("hot", 52.5, "event"),
            ("warm", 12.5, "event"),
        ]
        assert world.server_key.get("accounts/globex/history?rule_set=another")["results"] == []


class TestOutcomes:
    SAID = {"message_id": "crm-1", "account": "acme", "kind": "won", "amount": "1200.50", "at": "2026-03-08T10:00:00Z"}

    def test_count_once(self, world: World) -> None:
        first = world.server_key.post("outcomes", self.SAID, status=201)
        again = world.server_key.post("outcomes", self.SAID | {"amount": 7}, status=200)
        assert first == again
        assert (first["account"]["external_id"], first["amount"], first["source"]) == ("acme", "1200.50", "app")
        assert Outcome.objects.filter(message_id="crm-1").count() == 1

    def test_touch_the_account(self, world: World) -> None:
        world.admin.post("outcomes", self.SAID, status=201)
        assert list(Touched.objects.values_list("account__external_id", "cause")) == [("acme", "outcome")]

    def test_happen_now_unless_said(self, world: World) -> None:
        said = {"message_id": "crm-2", "account": "globex", "kind": "paid"}
        assert world.server_key.post("outcomes", said, status=201)["at"] == "2026-03-09T12:00:00Z"

    def test_of_an_unknown_account_are_refused(self, world: World) -> None:
        problem = world.server_key.post("outcomes", self.SAID | {"account": "umbrella"}, status=422)
        assert problem["faults"] == [{"path": "account", "line": None, "message": "no account is known as 'umbrella'"}]

    def test_are_listed_by_account(self, world: World) -> None:
        assert [o["message_id"] for o in world.manager.get("outcomes?account=initech")["results"]] == ["initech-won"]
        assert world.manager.get("outcomes?account=acme")["results"] == []


class TestExclusions:
    SAID = {"kind": "account", "value": "acme", "why": "internal", "note": "our own"}

    def test_take_the_account_out_and_let_it_in_again(self, world: World) -> None:
        made = world.admin.post("exclusions", self.SAID, status=201)
        api_world.rescore()
        assert world.admin.get("accounts/acme/score")["scores"][0]["status"] == "excluded"
        answer = world.admin.ask("DELETE", f"exclusions/{made['id']}")
        assert (answer.status_code, answer.json()["ends_on"]) == (200, f"{TODAY}")
        api_world.rescore()
        assert world.admin.get("accounts/acme/score")["scores"][0]["tier"] == "hot"

    def test_that_end_before_they_start_are_refused(self, world: World) -> None:
        said = self.SAID | {"starts_on": "2026-03-02", "ends_on": "2026-03-02"}
        assert world.admin.post("exclusions", said, status=422)["faults"][0]["path"] == "ends_on"

    def test_are_listed(self, world: World) -> None:
        world.admin.post("exclusions", self.SAID, status=201)
        assert [e["value"] for e in world.manager.get("exclusions?why=internal")["results"]] == ["acme"]
        assert world.manager.get("exclusions?why=bot")["results"] == []


class TestMerge:
    def test_is_shown_first_then_done(self, world: World) -> None:
        seen = world.server_key.post("accounts/globex/merge", {"into": "acme", "dry_run": True})
        assert (seen["merged"], seen["other"]["external_id"], seen["into"]["external_id"]) == (False, "globex", "acme")
        assert seen["events"] == seen["other"]["events"] + seen["into"]["events"]
        assert seen["other"]["open_leads"] == []
        (lead,) = seen["into"]["open_leads"]
        assert (lead["tier"], lead["state"], lead["rule_set"]) == ("hot", "assigned", "new-business")
        assert world.server_key.get("accounts/globex")["merged_into"] is None
        assert world.server_key.post("accounts/globex/merge", {"into": "acme"})["merged"] is True
        assert world.server_key.get("accounts/globex")["merged_into"] == world.acme.pk

    def test_is_refused_with_a_reason(self, world: World) -> None:
        problem = world.server_key.post("accounts/acme/merge", {"into": "acme"}, status=409)
        assert "into itself" in problem["detail"]
        assert world.server_key.post("accounts/acme/merge", {"into": "nobody"}, status=422)
        assert world.server_key.post("accounts/acme/separate", status=409)
        world.manager.post("accounts/globex/merge", {"into": "acme"}, status=403)

    def test_can_be_taken_back(self, world: World) -> None:
        world.server_key.post("accounts/globex/merge", {"into": "acme"})
        assert world.server_key.post("accounts/globex/separate")["merged_into"] is None
