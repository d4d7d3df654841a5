"""What holds for the whole API: who calls, what is read, how errors look, how lists are paged."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.db import OperationalError

from scoring import facts
from scoring.models import Key
from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, Caller, World

pytestmark = pytest.mark.django_db

OUTCOME = {"message_id": "crm-1", "account": "acme", "kind": "won"}


@pytest.fixture
def world() -> Iterator[World]:
    with time_machine.travel(NOW, tick=False):
        yield api_world.make()


def problem(answer: Any, status: int, kind: str) -> Any:
    """Return the problem document, once it is one of that kind."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"urn:pql:problem:{kind}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


class TestCallers:
    def test_nobody_is_asked_for_a_key(self, world: World) -> None:
        answer = world.anonymous.ask("GET", "accounts")
        problem(answer, 401, "not-authenticated")
        assert answer["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize("key", ["", "wrong", "sk_1_2", "sk_\x00_2", "é" * 50, "x" * 10_000])
    def test_a_wrong_key_is_refused(self, world: World, key: str) -> None:
        answer = world.anonymous.client().get("/api/v1/accounts", headers={"authorization": f"Bearer {key}"})
        problem(answer, 401, "unknown-key")

    def test_a_revoked_key_is_refused_at_once(self, world: World) -> None:
        world.server_key.get("accounts")
        facts.revoke_key(key=Key.objects.get(kind="server"), at=NOW)
        problem(world.server_key.ask("GET", "accounts"), 401, "unknown-key")

    def test_a_write_key_reads_nothing(self, world: World) -> None:
        problem(world.write_key.ask("GET", "accounts"), 403, "forbidden")

    def test_a_key_counts_before_a_log_in(self, world: World) -> None:
        both = Caller(user=world.admin.user, key=world.write_key.key)
        problem(both.ask("GET", "accounts"), 403, "forbidden")

    def test_a_log_in_needs_the_csrf_token_to_write(self, world: World) -> None:
        client = world.admin.client(enforce_csrf_checks=True)
        answer = client.post("/api/v1/outcomes", OUTCOME, content_type="application/json")
        assert "CSRF" in problem(answer, 403, "forbidden")["detail"]

    def test_a_key_needs_no_csrf_token(self, world: World) -> None:
        client = world.server_key.client(enforce_csrf_checks=True)
        assert client.post("/api/v1/outcomes", OUTCOME, content_type="application/json").status_code == 201

    def test_events_take_a_key_of_either_kind(self, world: World) -> None:
        body = {"events": [{"id": "e1", "event": "invited", "user": "amy", "account": "acme"}, {"event": ""}]}
        for caller in (world.write_key, world.server_key):
            statuses = [item["status"] for item in caller.post("events", body)["items"]]
            assert statuses[1] == "rejected"
        assert statuses[0] == "duplicate"


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "status", "kind"),
        [
            ("{", 400, "bad-json"),
            (b"\xff\xfe", 400, "not-utf8"),
            ('{"kind": "\\ud800"}', 400, "lone-surrogate"),
            ('{"kind": "a\\u0000"}', 400, "nul-character"),
            ('{"amount": 1e400}', 400, "number-too-large"),
            ('{"amount": 99999999999999999999999}', 400, "number-too-large"),
            ('{"a":' * 50 + "1" + "}" * 50, 400, "too-deep"),
            ("[]", 400, "not-an-object"),
            ('{"a": "' + "x" * 1_000_000 + '"}', 413, "item-too-large"),
        ],
    )
    def test_that_no_database_could_hold_are_refused(
        self, world: World, body: str | bytes, status: int, kind: str
    ) -> None:
        problem(world.server_key.ask("POST", "outcomes", body), status, kind)

    def test_of_another_kind_are_refused(self, world: World) -> None:
        answer = world.server_key.client().post("/api/v1/outcomes", "a=1", content_type="text/plain")
        problem(answer, 415, "unsupported-media-type")

    @pytest.mark.parametrize(
        ("wrong", "path"),
        [
            ({"amout": 5}, "amout"),
            ({"account": None}, "account"),
            ({"account": 5}, "account"),
            ({"account": ["acme"]}, "account"),
            ({"account": "x" * 513}, "account"),
            ({"kind": ""}, "kind"),
            ({"at": "yesterday"}, "at"),
            ({"at": 5}, "at"),
            ({"at": "9999-12-31T23:59:59-14:00"}, "at"),
            ({"amount": "12.345"}, "amount"),
            ({"amount": "NaN"}, "amount"),
            ({"amount": 2**53}, "amount"),
        ],
    )
    def test_with_a_wrong_field_are_refused_by_its_path(self, world: World, wrong: dict[str, Any], path: str) -> None:
        document = problem(world.server_key.ask("POST", "outcomes", OUTCOME | wrong), 422, "invalid-request")
        assert [fault["path"] for fault in document["faults"]] == [path]

    def test_without_their_fields_are_told_all_that_is_missing(self, world: World) -> None:
        document = problem(world.server_key.ask("POST", "outcomes"), 422, "invalid-request")
        assert [fault["path"] for fault in document["faults"]] == ["message_id", "account", "kind"]


class TestProblems:
    @pytest.mark.parametrize("path", ["nowhere", "accounts/", "leads/0", "leads/99999999999999999999", "jobs/1e3"])
    def test_not_found(self, world: World, path: str) -> None:
        problem(world.server_key.ask("GET", path), 404, "not-found")

    def test_wrong_method(self, world: World) -> None:
        answer = world.server_key.ask("PUT", "accounts")
        problem(answer, 405, "method-not-allowed")

    @pytest.mark.parametrize("asked", ["tire=hot", "tier=hot&tire=1", "tier=%00", "pql=yes", "kind=group'", "ae=1"])
    def test_a_parameter_that_means_nothing_is_not_ignored(self, world: World, asked: str) -> None:
        document = problem(world.server_key.ask("GET", f"accounts?{asked}"), 422, "invalid-request")
        assert len(document["faults"]) == 1

    def test_an_absent_database_is_told_without_its_words(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(**named: object) -> None:
            raise OperationalError("connection to 10.0.0.7 refused")

        monkeypatch.setattr(facts, "key_for", away)
        answer = world.server_key.ask("GET", "accounts")
        document = problem(answer, 503, "database-away")
        assert answer["Retry-After"] == "5"
        assert "10.0.0.7" not in document["detail"]

    def test_a_fault_of_ours_is_one_too(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(**named: object) -> None:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(facts, "account_named", broken)
        client = world.server_key.client(raise_request_exception=False)
        document = problem(client.get("/api/v1/accounts/acme"), 500, "broken")
        assert "secret" not in str(document)


class TestPages:
    def test_follow_each_other_to_the_end(self, world: World) -> None:
        seen, path = [], "accounts?limit=2"
        while path:
            page = world.server_key.get(path)
            seen += [row["id"] for row in page["results"]]
            path = (page["next"] or "").partition("/api/v1/")[2]
        assert len(seen) == 3
        assert seen == sorted(set(seen), reverse=True)

    def test_are_of_200_rows_at_most(self, world: World) -> None:
        for number in range(205):
            api_world.Account.objects.create(kind="group", external_id=f"more {number}", created_at=NOW)
        assert len(world.server_key.get("accounts?limit=5000")["results"]) == 200
        assert len(world.server_key.get("accounts")["results"]) == 50

    @pytest.mark.parametrize("asked", ["limit=0", "limit=-1", "limit=a", "limit=", "cursor=²", "cursor=" + "9" * 5000])
    def test_that_are_none_are_refused(self, world: World, asked: str) -> None:
        problem(world.server_key.ask("GET", f"accounts?{asked}"), 422, "invalid-request")


class TestRoot:
    def test_lists_addresses_that_answer(self, world: World) -> None:
        for place, address in world.server_key.get("").items():
            answer = world.server_key.client().get(address)
            assert answer.status_code == 405 if place == "events" else answer.status_code == 200, place
