import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from pqlapp.ingest import cloudevents
from pqlapp.parser import Rejected
from scoring.facts import Fact
from scoring.models import Account, Event, Identity
from tests.pqlapp.doors import send
from tests.pqlapp.test_parser import POISONS

RECEIVED = datetime(2026, 11, 22, 9, 10, 0, tzinfo=UTC)
INVITED: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/app",
    "type": "com.example.teammate.invited",
    "time": "2026-11-22T09:00:00Z",
    "subject": "user:ann",
    "datacontenttype": "application/json",
    "data": {"role": "editor", "account_id": "acme"},
}


def event(**more: Any) -> dict[str, Any]:
    return {key: value for key, value in (INVITED | more).items() if value is not ...}


def read(stated: Mapping[str, Any]) -> Fact:
    fact = cloudevents.read(event=stated, received_at=RECEIVED)
    assert isinstance(fact, Fact), fact
    return fact


def code(stated: Mapping[str, Any]) -> str:
    rejected = cloudevents.read(event=stated, received_at=RECEIVED)
    assert isinstance(rejected, Rejected), rejected
    return rejected.code


class TestRead:
    def test_an_event_of_a_user_in_an_account(self):
        assert read(INVITED) == Fact(
            message_id="/app e-1",
            at=datetime(2026, 11, 22, 9, tzinfo=UTC),
            name="com.example.teammate.invited",
            user_id="ann",
            group_id="acme",
            joins=True,
            properties={"source": "/app", "role": "editor"},
        )

    @pytest.mark.parametrize(
        ("stated", "user", "anonymous", "account"),
        [
            (event(subject=..., userid="bob", anonymousid="v1", accountid="globex"), "bob", "v1", "globex"),
            (event(userid="bob"), "bob", None, "acme"),
            (event(subject="anonymous:v1"), None, "v1", "acme"),
            (event(subject="account:globex"), None, None, "globex"),
            (event(subject="account:globex", data={"user_id": 17}), "17", None, "globex"),
            (event(subject="user:", data={"user_id": "bob"}), "bob", None, None),
            (event(subject="user:a:b", data=None), "a:b", None, None),
            (event(subject=..., data={"anonymous_id": "v1"}), None, "v1", None),
        ],
    )
    def test_who_it_was_is_an_attribute_the_subject_or_in_the_data(self, stated, user, anonymous, account):
        fact = read(stated)
        assert (fact.user_id, fact.anonymous_id, fact.group_id) == (user, anonymous, account)
        assert fact.joins is ((user or anonymous) is not None and account is not None)

    def test_what_was_not_needed_to_know_who_it_was_is_a_property(self):
        fact = read(event(userid="bob", plan="pro", subject="orders/7", data={"user_id": "cleo", "n": 1}))
        assert fact.user_id == "bob"
        assert fact.properties == {"source": "/app", "plan": "pro", "subject": "orders/7", "user_id": "cleo", "n": 1}

    def test_traits_of_both_are_taken_out_of_the_data(self):
        traits, account_traits = {"email": "ann@acme.example"}, {"plan": "free"}
        fact = read(event(data={"account_id": "acme", "traits": traits, "account_traits": account_traits, "x": 1}))
        assert (fact.user_traits, fact.account_traits) == (traits, account_traits)
        assert fact.properties == {"source": "/app", "x": 1}

    def test_traits_of_nobody_stay_properties(self):
        fact = read(event(subject="account:acme", data={"traits": {"email": "x"}, "account_traits": ["y"]}))
        assert (fact.user_traits, fact.account_traits) == ({}, {})
        assert fact.properties == {"source": "/app", "traits": {"email": "x"}, "account_traits": ["y"]}

    @pytest.mark.parametrize(
        ("data", "kept"), [(None, {}), (..., {}), (7, {"data": 7}), ("x", {"data": "x"}), ([1], {"data": [1]})]
    )
    def test_data_of_any_kind_is_kept(self, data, kept):
        assert read(event(data=data)).properties == {"source": "/app"} | kept

    @pytest.mark.parametrize("kind", ["application/json", "application/vnd.example+json; charset=utf-8", "text/json"])
    def test_packed_json_is_unpacked(self, kind):
        packed = base64.b64encode(b'{"role": "editor", "account_id": "acme"}').decode()
        fact = read(event(data=..., data_base64=packed, datacontenttype=kind))
        assert (fact.group_id, fact.properties) == ("acme", {"source": "/app", "role": "editor"})

    def test_without_a_time_it_is_when_we_got_it(self):
        assert read(event(time=...)).at == RECEIVED
        assert read(event(time="2026-11-22T11:00:00+02:00")).at == datetime(2026, 11, 22, 9, tzinfo=UTC)

    def test_the_message_id_is_source_and_id_together(self):
        assert read(event(source="/other")).message_id != read(INVITED).message_id
        long = [read(event(source=source, id="x" * 300)).message_id for source in ("/a" * 150, "/b" * 150, "/b" * 150)]
        assert len(set(long)) == 2
        assert read(event(source="/a b", id="c")).message_id != read(event(source="/a", id="b c")).message_id

    @pytest.mark.parametrize(
        ("stated", "expected"),
        [
            (event(specversion="2.0"), "unknown_specversion"),
            (event(specversion=...), "unknown_specversion"),
            (event(specversion=1.0), "unknown_specversion"),
            (event(id=...), "no_id"),
            (event(id=""), "no_id"),
            (event(source=None), "no_id"),
            (event(id=[]), "bad_id"),
            (event(type=...), "no_event_name"),
            (event(type="x" * 513), "event_name_too_long"),
            (event(time="soon"), "bad_time"),
            (event(subject=..., data={}), "nobody"),
            (event(subject="orders/7", data={}), "nobody"),
            (event(subject="user:" + "x" * 513), "id_too_long"),
            (event(userid={}), "bad_id"),
            (event(data={"traits": {"x" * 257: 1}}), "trait_name_too_long"),
            (event(data_base64="AAEC"), "bad_json"),
            (event(data_base64="AAEC", datacontenttype=...), "not_json"),
            (event(data_base64="AAEC", datacontenttype="image/png"), "not_json"),
            (event(data_base64="!"), "bad_base64"),
            (event(data_base64="é"), "bad_base64"),
            (event(data_base64=7), "not_json"),
            (event(data_base64=base64.b64encode(b"[1]").decode()), "not_an_object"),
            (event(data_base64=base64.b64encode(rb'{"x":"\u0000"}').decode()), "nul_character"),
        ],
    )
    def test_each_rejection_has_its_code(self, stated, expected):
        assert code(stated) == expected

    @given(
        st.dictionaries(
            st.sampled_from(["id", "source", "type", "time", "subject", "userid", "accountid", "data", "data_base64"]),
            st.none()
            | st.booleans()
            | st.integers(-(2**53), 2**53)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text()
            | st.sampled_from(["user:ann", "account:acme", "0001-01-01T00:00:00+14:00", "e30="])
            | st.dictionaries(
                st.sampled_from(["user_id", "account_id", "traits"]), st.text() | st.dictionaries(st.text(), st.none())
            ),
        )
    )
    def test_any_object_is_a_fact_or_rejected(self, more):
        result = cloudevents.read(event=INVITED | more, received_at=RECEIVED)
        assert isinstance(result, (Fact, Rejected))
        if isinstance(result, Fact):
            assert result.at.utcoffset() == timedelta(0)


@pytest.fixture
def post(secret: str) -> Callable[..., Any]:
    """Return a sender of JSON, or of raw bytes, with a write key."""

    def posted(body: Any, *, path: str = "/v1/cloudevents", key: str = secret, **headers: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Authorization": f"Bearer {key}"} | headers if key else headers
        return send(path.replace("KEY", secret), body, **headers)

    return posted


@pytest.mark.django_db
class TestDoor:
    @pytest.mark.parametrize("path", ["/v1/cloudevents", "/v1/cloudevents/"])
    @pytest.mark.parametrize("sent", [INVITED, [INVITED]], ids=["one", "a list"])
    def test_stores_an_event_once_however_often_it_comes(self, post, sent, path):
        for _ in range(2):
            response = post(sent, path=path)
            assert (response.status_code, response.json()) == (200, {"success": True})
        assert list(Event.objects.values_list("name", "account__external_id")) == [(INVITED["type"], "acme")]
        assert Identity.objects.get(value="ann").user.home == Account.objects.get(external_id="acme")

    def test_an_event_in_headers_is_the_same_event(self, post):
        post(INVITED)
        headers = {f"ce_{name}": value for name, value in INVITED.items() if isinstance(value, str)}
        response = post(INVITED["data"], **headers)
        assert (response.status_code, response.json()) == (200, {"success": True})
        assert Event.objects.count() == 1

    def test_headers_are_unquoted(self, post):
        attributes = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/app", "ce_type": "Caf%C3%A9 opened"}
        assert post(b"", **attributes, ce_subject="user:%F0%9F%98%80").status_code == 200
        stored = Event.objects.values_list("name", "identity__value", "properties")
        assert list(stored) == [("Café opened", "😀", {"source": "/app"})]

    def test_data_in_the_body_may_be_of_any_kind(self, post):
        attributes = {"ce_specversion": "1.0", "ce_source": "/app", "ce_type": "x", "ce_subject": "user:ann"}
        for n, (body, status) in enumerate([(b"[1, 2]", 200), (b" 7", 200), (b"\x89PNG", 400), (b'"\\u0000"', 400)]):
            assert post(body, **attributes, ce_id=str(n)).status_code == status, body
        assert {stored.message_id: stored.properties["data"] for stored in Event.objects.all()} == {
            "/app 0": [1, 2],
            "/app 1": 7,
        }

    @pytest.mark.parametrize("name", POISONS)
    def test_poison_alone_is_refused_with_its_reason(self, post, name):
        poison, expected = POISONS[name]
        response = post(poison)
        if expected != "not_an_object" or not poison.startswith(b"["):
            assert response.status_code in (400, 413)
            assert response.json()["code"] == expected

    def test_poison_in_a_list_takes_no_good_event_along(self, post):
        texts, poisons = [], list(POISONS.values())
        for n, (poison, _) in enumerate(poisons):
            texts += [orjson.dumps(event(id=f"{n}-{i}")) for i in range(50)] + [poison]
        response = post(b"[" + b",".join(texts) + b"]")
        assert response.status_code == 200
        assert [bad["code"] for bad in response.json()["rejected"]] == [code for _, code in poisons]
        assert Event.objects.count() == 50 * len(poisons)

    def test_a_bad_event_alone_is_refused(self, post):
        response = post(event(subject=..., data={}))
        assert (response.status_code, response.json()["code"]) == (400, "nobody")
        assert "user:ID" in response.json()["message"]

    def test_the_key_may_be_in_the_address(self, post):
        assert post(INVITED, key="", path="/v1/cloudevents?access_token=KEY").status_code == 200
        assert post(INVITED, key="", path="/v1/cloudevents?access_token=no").status_code == 401
        assert post(INVITED, key="").status_code == 401

    def test_a_web_hook_that_asks_may_send(self):
        asked = {"WebHook-Request-Origin": "events.example", "WebHook-Request-Rate": "120"}
        response = Client().options("/v1/cloudevents", headers=asked)
        assert response["WebHook-Allowed-Origin"] == "events.example"
        assert response["WebHook-Allowed-Rate"] == "*"
        assert "WebHook-Allowed-Origin" not in Client().options("/v1/cloudevents")
