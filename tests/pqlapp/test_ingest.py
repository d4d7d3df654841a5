import base64
import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Thread
from types import SimpleNamespace
from typing import Any

import orjson
import psycopg
import pytest
from django import db
from django.core.management import CommandError, call_command
from django.test import Client

from pqlapp.ingest import door
from pqlapp.parser import Rejected
from scoring import facts
from scoring.facts import Fact
from scoring.models import Account, Event, Key, Source, Touched
from tests.pqlapp.doors import AT, basic, send
from tests.pqlapp.test_parser import POISONS

NATIVE = "/api/v1/events"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]


def track(n: int = 1, **more: Any) -> dict[str, Any]:
    call = {"type": "track", "event": "File Uploaded", "userId": "ann", "messageId": f"m{n}"}
    return call | {"timestamp": "2026-11-20T12:00:00Z", "context": {"groupId": "acme"}} | more


@pytest.fixture
def post(secret: str) -> Callable[..., Any]:
    """Return a sender of JSON or of raw bytes with the write key in the header."""
    return lambda path, body, **headers: send(path, body, **({"Authorization": basic(secret)} | headers))


class TestBatch:
    def test_stores_calls_and_rings_for_their_account(self, post, source, rung):
        response = post("/v1/batch", {"batch": [track(1), track(2)], "sentAt": "2026-11-20T12:00:01Z"})
        assert (response.status_code, response.json()) == (200, {"success": True})
        assert Event.objects.filter(source=source).count() == 2
        acme = Account.objects.get(external_id="acme")
        assert acme.pk % 8 in rung[0]
        assert Touched.objects.filter(account=acme).exists()

    def test_sent_again_changes_nothing(self, post):
        for _ in range(2):
            assert post("/v1/batch", {"batch": [track(1), track(1), track(2)]}).json() == {"success": True}
        assert Event.objects.count() == 2

    def test_names_the_bad_calls_and_stores_the_good_ones(self, post):
        calls = [track(1), {"type": "purchase", "userId": "ann"}, track(2), track(3, timestamp="soon"), 7, track(4)]
        response = post("/v1/batch", {"batch": calls})
        assert response.status_code == 200
        assert response.json()["success"] is True
        assert [(bad["index"], bad["code"]) for bad in response.json()["rejected"]] == [
            (1, "unknown_type"),
            (3, "bad_time"),
            (4, "not_an_object"),
        ]
        assert all(bad["message"] for bad in response.json()["rejected"])
        assert sorted(Event.objects.values_list("message_id", flat=True)) == ["m1", "m2", "m4"]

    def test_names_the_calls_whose_every_id_is_none(self, post):
        calls = [track(1, userId="null", context={}), track(2, userId="null", anonymousId="phone", context={})]
        response = post("/v1/batch", {"batch": calls})
        assert [(bad["index"], bad["code"]) for bad in response.json()["rejected"]] == [(0, "broken_id")]
        assert Event.objects.get().message_id == "m2"

    def test_poison_among_good_calls_never_stops_them(self, post):
        poisons = list(POISONS.values())
        texts = []
        for n, (poison, _) in enumerate(poisons):
            texts += [orjson.dumps(track(n * 50 + i)) for i in range(50)] + [poison]
        body = b'{"batch":[' + b",".join(texts) + b"]}"
        response = post("/v1/batch", body)
        assert response.status_code == 200
        assert [bad["code"] for bad in response.json()["rejected"]] == [code for _, code in poisons]
        assert Event.objects.count() == 50 * len(poisons)

    def test_ids_and_names_of_all_lengths_and_scripts_are_stored(self, post):
        long = "\U0001f600" * 512
        calls = [
            track(1, userId=long, event=long, messageId=long, context={"groupId": long}),
            {"type": "identify", "userId": long, "traits": {"é" * 256: long, "email": "Ann@" + "x" * 400 + ".example"}},
            {"type": "group", "userId": long, "groupId": long, "traits": {"a": 1e-300, "b": -(2**53), "c": [None]}},
            track(2, timestamp="0001-01-01T00:00:00Z"),
            track(3, timestamp="9999-12-31T23:59:59Z"),
            track(4, properties={"": "", "x": {"y": [1.5, {"z": None}]}}),
        ]
        response = post("/v1/batch", {"batch": calls})
        assert response.json() == {"success": True}
        assert Event.objects.count() == len(calls)

    def test_an_empty_batch_is_taken(self, post, rung):
        assert post("/v1/batch", {"batch": []}).json() == {"success": True}
        assert rung == []

    def test_gzip_is_unpacked_whatever_the_headers_say(self, secret):
        body = gzip.compress(orjson.dumps({"batch": [track()]}))
        response = Client().post(
            "/v1/batch/",
            body,
            content_type="application/x-www-form-urlencoded",
            headers={"Authorization": basic(secret)},
        )
        assert response.json() == {"success": True}
        assert Event.objects.get().name == "File Uploaded"

    def test_a_lying_clock_is_put_right_by_the_batchs_sent_at(self, post):
        post("/v1/batch", {"batch": [track(timestamp="2001-01-01T00:00:00Z")], "sentAt": "2001-01-01T00:00:10Z"})
        event = Event.objects.get()
        assert (event.received_at - event.at).total_seconds() == 10

    def test_what_postgresql_cannot_hold_is_rejected_alone(self, post, monkeypatch):
        real = facts.record

        def record(*, source: Source, facts: list[Any], received_at: datetime, **more: Any) -> Any:
            if any(fact.message_id == "m5" for fact in facts):
                raise psycopg.DataError("some value is out of range")
            return real(source=source, facts=facts, received_at=received_at, **more)

        monkeypatch.setattr(door.facts, "record", record)
        response = post("/v1/batch", {"batch": [track(n) for n in range(9)]})
        assert [(bad["index"], bad["code"]) for bad in response.json()["rejected"]] == [(5, "not_storable")]
        assert Event.objects.count() == 8


class TestSingleCalls:
    @pytest.mark.parametrize("slash", ["", "/"])
    @pytest.mark.parametrize(
        ("kind", "call"),
        [
            ("track", {"event": "File Uploaded"}),
            ("identify", {"traits": {"email": "ann@acme.example"}}),
            ("group", {"groupId": "acme", "traits": {"plan": "free"}}),
            ("page", {"name": "Pricing"}),
            ("screen", {"name": "Home"}),
            ("alias", {"previousId": "anon-1"}),
        ],
    )
    def test_each_kind_has_its_address(self, post, kind, call, slash):
        response = post(f"/v1/{kind}{slash}", {"userId": "ann", "messageId": "m"} | call)
        assert (response.status_code, response.json()) == (200, {"success": True})
        assert Event.objects.get().name == ("File Uploaded" if kind == "track" else f"${kind}")

    def test_a_bad_call_is_refused_with_its_reason(self, post):
        response = post("/v1/track", {"userId": "ann"})
        assert (response.status_code, response.json()["code"]) == (400, "no_event_name")

    @pytest.mark.parametrize("name", POISONS)
    def test_poison_is_refused_with_its_reason(self, post, name):
        poison, code = POISONS[name]
        response = post("/v1/track", poison)
        assert response.status_code in (400, 413)
        assert response.json()["code"] == code


class TestKeys:
    def test_the_key_may_be_in_the_body(self, secret):
        for path, body in (("/v1/track", track(1)), ("/v1/batch", {"batch": [track(2)]})):
            sent = orjson.dumps(body | {"writeKey": secret})
            assert Client().post(path, sent, content_type="text/plain").json() == {"success": True}
        assert Event.objects.count() == 2

    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            "Basic",
            "Basic !",
            "Basic " + base64.b64encode(b"\xff:").decode(),
            basic(""),
            basic("nonsense"),
            basic("\0"),
            basic("x" * 10_000),
            "Digest x",
            "Bearer",
            "Bearer é",
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/batch", "/v1/track", NATIVE])
    def test_an_unknown_key_is_refused(self, secret, authorization, path):
        response = Client().post(
            path, b'{"batch":[],"events":[]}', "text/plain", headers={"Authorization": authorization}
        )
        assert response.status_code == 401
        assert response["Content-Type"] == "application/problem+json"
        assert not response["WWW-Authenticate"].startswith("Basic")
        problem = response.json()
        assert {"type", "title", "status", "detail", "code", "message", "error"} <= problem.keys()
        assert (problem["status"], problem["code"]) == (401, "unknown_key")

    @pytest.mark.parametrize("wrong", ["nonsense", 7, None, ["x"], "x\udcff".encode("utf-8", "ignore").decode()])
    def test_an_unknown_key_in_the_body_is_refused(self, secret, wrong):
        response = Client().post("/v1/batch", {"batch": [], "writeKey": wrong}, "application/json")
        assert response.status_code == 401

    def test_a_revoked_key_stops_within_ten_seconds(self, post, secret, monkeypatch):
        now = 1000.0
        monkeypatch.setattr(door, "time", SimpleNamespace(monotonic=lambda: now))
        assert post("/v1/track", track(1)).status_code == 200
        facts.revoke_key(key=Key.objects.get(), at=AT)
        now += 10
        assert post("/v1/track", track(2)).status_code == 401

    def test_a_known_key_is_not_looked_up_each_time(self, post, django_assert_max_num_queries):
        post("/v1/track", track(1))
        with django_assert_max_num_queries(20) as queries:
            post("/v1/track", track(2))
        assert not any("scoring_key" in query["sql"].split("WHERE")[0] for query in queries.captured_queries)

    def test_a_server_key_may_send_too(self, source):
        _, server = facts.create_key(source=source, kind=Key.Kind.SERVER, by=None, at=AT)
        response = Client().post(
            "/v1/track", orjson.dumps(track()), content_type="text/plain", headers={"Authorization": basic(server)}
        )
        assert response.status_code == 200


class TestAnswers:
    def test_a_body_that_is_too_large_is_refused(self, post):
        response = post("/v1/batch", b" " * 6_000_001)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    def test_a_bomb_is_refused(self, post):
        response = post("/v1/batch", gzip.compress(b" " * 20_000_001))
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    @pytest.mark.parametrize("body", [b"", b"{", b"\x1f\x8b\x00", b"\xff", b'{"batch":1}'])
    def test_a_malformed_body_is_refused(self, post, body):
        response = post("/v1/batch", body)
        assert response.status_code == 400
        assert response.json()["message"]

    @pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
    def test_only_post_is_allowed(self, method):
        response = getattr(Client(), method)("/v1/batch")
        assert (response.status_code, response["Allow"]) == (405, "POST, OPTIONS")

    @pytest.mark.parametrize("error", [db.OperationalError, db.InterfaceError, psycopg.OperationalError])
    def test_without_the_database_it_asks_to_come_again(self, post, monkeypatch, error):
        post("/v1/track", track(1))

        def record(**arguments: object) -> None:
            raise error("the connection is closed")

        monkeypatch.setattr(door.facts, "record", record)
        response = post("/v1/batch", {"batch": [track(2)]})
        assert (response.status_code, response["Retry-After"]) == (503, "5")
        assert response.json()["code"] == "database_away"
        assert response["Access-Control-Allow-Origin"] == "*"

    @pytest.mark.django_db(transaction=True)
    def test_a_connection_that_broke_is_replaced(self, transactional_db, post):
        assert post("/v1/track", track(1)).status_code == 200

        def end(pid: int) -> None:
            with db.connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])
            db.connection.close()

        backend = db.connection.connection.info.backend_pid
        other = Thread(target=end, args=[backend])
        other.start()
        other.join()
        assert post("/v1/track", track(2)).status_code == 503
        assert post("/v1/track", track(2)).status_code == 200
        assert Event.objects.count() == 2

    @pytest.mark.parametrize("path", ["/v1/batch", "/v1/track", NATIVE])
    def test_browsers_may_send_from_any_page(self, post, path):
        preflight = Client().options(
            path,
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-retry-count",
            },
        )
        assert preflight.status_code == 204
        for response in (preflight, post(path, b"{")):
            assert response["Access-Control-Allow-Origin"] == "*"
            assert response["Access-Control-Expose-Headers"] == "Retry-After"
        assert preflight["Access-Control-Allow-Headers"] == "authorization,content-type,x-retry-count"
        assert preflight["Access-Control-Allow-Methods"] == "POST, OPTIONS"


class TestNative:
    @pytest.fixture
    def send(self, post, secret) -> Callable[[Any], Any]:
        def send(body: Any) -> Any:
            return post(NATIVE, body, Authorization=f"Bearer {secret}")

        return send

    def test_answers_item_by_item(self, send):
        item = {"id": "e1", "event": "File Uploaded", "user": "ann", "account": "acme", "properties": {"size": 3}}
        unknown = {"id": "e2", "event": "x", "user": "ann", "propertes": {}}
        response = send({"events": [item, item, unknown, [], {"event": "x", "user": 7}]})
        assert response.status_code == 200
        first, second, third, fourth, fifth = response.json()["items"]
        assert first == {"index": 0, "id": "e1", "status": "accepted"}
        assert second == {"index": 1, "id": "e1", "status": "duplicate"}
        assert (third["id"], third["status"], third["code"]) == ("e2", "rejected", "unknown_field")
        assert "propertes" in third["reason"]
        assert (fourth["id"], fourth["code"]) == (None, "not_an_object")
        assert (fifth["index"], fifth["status"], len(fifth["id"])) == (4, "accepted", 36)
        assert Event.objects.count() == 2

    @pytest.mark.parametrize(
        ("item", "code"),
        [
            ({"user": "ann"}, "no_event_name"),
            ({"event": "x"}, "nobody"),
            ({"event": "x", "user": "ann", "at": 17}, "bad_time"),
            ({"event": "x", "user": {"id": 1}}, "bad_id"),
            ({"event": "x", "account": "acme", "traits": {"plan": "free"}}, "traits_of_nobody"),
            ({"event": "x", "user": "ann", "account_traits": {"plan": "free"}}, "traits_of_nobody"),
            ({"event": "x", "user": "ann", "properties": "x"}, "not_an_object"),
        ],
    )
    def test_rejects_with_a_code(self, send, item, code):
        assert send([item]).json()["items"][0]["code"] == code

    def test_keeps_the_time_and_the_account_it_is_given(self, send):
        at = "2026-05-01T12:00:00+02:00"
        send([{"event": "$group", "user": "ann", "account": "acme", "at": at, "account_traits": {"plan": "free"}}])
        event = Event.objects.get()
        assert event.at == datetime(2026, 5, 1, 10, tzinfo=UTC)
        assert event.account is not None and event.account.external_id == "acme"
        assert event.identity is not None and event.identity.user.home == event.account

    def test_does_not_look_for_the_key_in_the_body(self, secret):
        assert Client().post(NATIVE, {"events": [], "writeKey": secret}, "application/json").status_code == 401


class TestCreateKey:
    @pytest.mark.parametrize("kind", ["write", "server"])
    def test_prints_a_working_key_on_its_last_line(self, capsys, kind):
        call_command("create_key", "--source", "billing", "--kind", kind)
        secret = capsys.readouterr().out.rstrip("\n").splitlines()[-1]
        key = facts.key_for(secret=secret)
        assert key is not None
        assert (key.source.slug, key.kind) == ("billing", kind)

    @pytest.mark.parametrize("name", ["web app", "x" * 65, "", "naïve/path"])
    def test_refuses_a_name_that_is_none(self, name):
        with pytest.raises(CommandError, match="--source"):
            call_command("create_key", "--source", name, "--kind", "write")
        assert not Source.objects.exists()


class TestTakeItems:
    """Items that state several facts each."""

    def take(self, source, *items):
        return door.take_items(source=source, read=items, received_at=AT)

    def fact(self, message_id):
        return Fact(message_id=message_id, at=AT, name="$identify", user_id="ann")

    def test_answers_for_each_item(self, source):
        fault = Rejected("bad_time", "no")
        answer = self.take(source, [self.fact("a"), self.fact("a:1")], fault, [self.fact("b")])
        assert answer == ["accepted", fault, "accepted"]

    def test_an_item_is_a_duplicate_if_all_of_it_is(self, source):
        self.take(source, [self.fact("a")], [self.fact("b"), self.fact("b:1")])
        answer = self.take(source, [self.fact("a"), self.fact("a:1")], [self.fact("b"), self.fact("b:1")])
        assert answer == ["accepted", "duplicate"]

    def test_an_item_is_rejected_if_some_of_it_is(self, source):
        broken = Fact(message_id="c:1", at=AT, name="x", user_id="ann", properties={"x": "\0"})
        (answer,) = self.take(source, [self.fact("c"), broken])
        assert isinstance(answer, Rejected)
