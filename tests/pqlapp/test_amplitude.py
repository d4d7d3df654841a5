import gzip
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqlapp.ingest import amplitude
from pqlapp.parser import Rejected
from scoring import facts
from scoring.facts import Fact
from scoring.models import Account, Event
from tests.pqlapp.doors import send
from tests.pqlapp.test_fields import JSON_VALUES
from tests.pqlapp.test_parser import POISONS

RECEIVED = datetime(2026, 11, 22, 9, 10, 0, tzinfo=UTC)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MILLISECONDS = 1795176000000  # NOON
UPLOAD = "/2/httpapi"

pytestmark = pytest.mark.django_db


def event(name: Any = "File Uploaded", **more: Any) -> dict[str, Any]:
    known = {"event_type": name, "user_id": "ann", "device_id": "d1", "time": MILLISECONDS, "insert_id": "i1"} | more
    return {key: value for key, value in known.items() if value is not None}


def identify(**operations: Any) -> dict[str, Any]:
    return event("$identify", user_properties={f"${name}": value for name, value in operations.items()})


def group(groups: Any, **operations: Any) -> dict[str, Any]:
    properties = {f"${name}": value for name, value in operations.items()}
    return event("$groupidentify", user_id=None, device_id=None, groups=groups, group_properties=properties)


def read_all(item: Mapping[str, Any], **more: Any) -> list[Fact]:
    facts = amplitude.read(item=item, received_at=RECEIVED, **more)
    assert not isinstance(facts, Rejected), facts
    return facts


def read(item: Mapping[str, Any], **more: Any) -> Fact:
    (fact,) = read_all(item, **more)
    return fact


def code(item: Mapping[str, Any], **more: Any) -> str:
    rejected = amplitude.read(item=item, received_at=RECEIVED, **more)
    assert isinstance(rejected, Rejected), rejected
    return rejected.code


class TestRead:
    def test_an_event(self):
        item = event(
            event_properties={"size": 17}, groups={"company": ["acme"]}, session_id=5, library="amplitude-python/1.3.0"
        )
        assert read(item) == Fact(
            message_id="i1:d1",
            at=NOON,
            name="File Uploaded",
            user_id="ann",
            anonymous_id="d1",
            group_id="acme",
            joins=True,
            properties={"size": 17, "session_id": 5, "library": "amplitude-python/1.3.0"},
        )

    def test_is_known_by_its_insert_id_on_its_device(self):
        assert read(event(device_id="d2")).message_id != read(event()).message_id
        assert read(event(device_id=None)).message_id == "i1"
        assert len(read(event(insert_id="i" * 300, device_id="d" * 300)).message_id) < 512

    def test_its_further_facts_have_ids_that_can_be_stored(self):
        _, add = read_all(identify(add={"n": 1}) | {"insert_id": "i" * 512, "device_id": None})
        assert len(add.message_id) <= 512

    def test_without_an_insert_id_by_its_content_if_it_has_a_time(self):
        assert read(event(insert_id=None)).message_id == read(event(insert_id=None)).message_id
        untimed = event(insert_id=None, time=None)
        assert read(untimed).message_id != read(untimed).message_id
        assert read(untimed).at == RECEIVED

    def test_moves_the_time_of_a_device_whose_clock_is_wrong(self):
        assert read(event(), sent=NOON + timedelta(minutes=1)).at == RECEIVED - timedelta(minutes=1)

    def test_a_page_view_is_a_page_with_the_properties_that_rules_know(self):
        fact = read(event("[Amplitude] Page Viewed", event_properties={"[Amplitude] Page Path": "/a"}))
        assert (fact.name, fact.properties["path"]) == ("$page", "/a")

    @pytest.mark.parametrize(
        ("more", "revenue"),
        [
            ({"revenue": 20.5}, 20.5),
            ({"price": 0.1, "quantity": 3}, 0.3),
            ({"price": 7}, 7.0),
            ({"event_properties": {"$price": 0.1, "$quantity": 3}}, 0.3),
            ({"event_properties": {"$revenue": 5, "$price": 1}}, 5),
            ({"event_properties": {"price": 9}}, None),
            ({"price": "9"}, None),
        ],
    )
    def test_revenue_is_a_property(self, more, revenue):
        assert read(event(**more)).properties.get("revenue") == revenue

    @pytest.mark.parametrize(
        ("types", "groups", "account"),
        [
            ((), {"company": ["acme", "globex"]}, "acme"),
            ((), {"company": "acme", "building": "b"}, "acme"),
            ((), {"building": 7}, "7"),
            (("building",), {"company": "acme", "building": "b"}, "b"),
            (("customer",), {"company": "acme"}, None),
            ((), {"company": []}, None),
        ],
    )
    def test_names_its_account(self, types, groups, account):
        fact = read(event(groups=groups), types=types)
        assert (fact.group_id, fact.joins) == (account, account is not None)

    def test_identify(self):
        fact, add, clear = read_all(
            identify(set={"plan": "pro"}, setOnce={"utm": "x"}, unset={"trial": "-"}, add={"logins": 1}, clearAll="-")
        )
        assert (fact.name, fact.user_traits, fact.user_traits_once) == (
            "$identify",
            {"plan": "pro", "trial": None},
            {"utm": "x"},
        )
        assert (add.name, add.properties, add.message_id, add.user_id) == ("$add", {"logins": 1}, "i1:d1:$add", "ann")
        assert (clear.name, clear.properties) == ("$clearAll", {})

    def test_plain_properties_of_a_user_are_set_by_any_event(self):
        fact = read(event(user_properties={"plan": "pro"}))
        assert (fact.name, fact.user_traits) == ("File Uploaded", {"plan": "pro"})

    def test_set_group_joins(self):
        fact = read(event("$identify", groups={"company": "acme"}, user_properties={"$set": {"company": "acme"}}))
        assert (fact.name, fact.group_id, fact.joins) == ("$identify", "acme", True)

    def test_group_identify(self):
        first, add, second, _ = read_all(group({"company": ["acme", "globex"]}, set={"seats": 9}, add={"seats": 1}))
        assert (first.name, first.group_id, first.account_traits, first.user_id) == (
            "$group",
            "acme",
            {"seats": 9},
            None,
        )
        assert (add.name, add.group_id, add.properties) == ("$add", "acme", {"seats": 1})
        assert second.group_id == "globex"

    def test_a_group_that_is_no_account_is_no_reason_to_trouble_the_sender(self):
        assert code(group({"building": "b"}, set={"a": 1}), types=["company"]) == amplitude.OTHER_GROUP

    @pytest.mark.parametrize(
        ("item", "reason"),
        [
            ({}, "no_event_name"),
            (event(user_id=None, device_id=None), "nobody"),
            (event(user_id={}), "bad_id"),
            (event(time="soon"), "bad_time"),
            (event(groups=["acme"]), "not_an_object"),
            (event(event_properties=3), "not_an_object"),
            (event(user_properties={"$set": 3}), "not_an_object"),
            (event(user_properties={f"t{n}": n for n in range(201)}), "too_many_traits"),
            (group({"company": [f"c{n}" for n in range(21)]}), "too_many_groups"),
            (group({"company": [""]}), "no_group"),
        ],
    )
    def test_says_why_not(self, item, reason):
        assert code(item) == reason

    def test_ids_are_as_long_as_the_request_says(self):
        assert code(event(), shortest_id=5) == "id_too_short"
        assert read(event()).user_id == "ann"


NAMES = st.sampled_from(["x", "$identify", "$groupidentify", "[Amplitude] Page Viewed"]) | JSON_VALUES
OPERATIONS = st.dictionaries(st.sampled_from(sorted(amplitude.OPERATIONS)), JSON_VALUES, max_size=3) | JSON_VALUES
ITEMS = st.fixed_dictionaries(
    {"event_type": NAMES},
    optional={
        **{name: JSON_VALUES for name in ("user_id", "device_id", "time", "insert_id", "price", "event_properties")},
        "groups": st.dictionaries(st.sampled_from(["company", "building"]), JSON_VALUES) | JSON_VALUES,
        "user_properties": OPERATIONS,
        "group_properties": OPERATIONS,
    },
)


class TestAnything:
    @given(item=ITEMS, types=st.sampled_from([(), ("company",)]))
    def test_becomes_facts_or_a_reason(self, item, types):
        facts = amplitude.read(item=item, received_at=RECEIVED, types=types)
        if isinstance(facts, Rejected):
            assert facts.code
            assert facts.message
        else:
            assert facts
            for fact in facts:
                assert fact.at.tzinfo is UTC
                assert fact.user_id or fact.anonymous_id or fact.group_id
                assert len(fact.message_id) <= 512


# ---- the doors


@pytest.fixture
def key(secret: str) -> str:
    return secret


class TestUpload:
    @pytest.mark.parametrize("path", [UPLOAD, "/batch"])
    def test_stores_events(self, path, key, source):
        body = {"api_key": key, "events": [event(), event(insert_id="i2")], "options": {"min_id_length": None}}
        answer = send(path, body)
        assert answer.status_code == 200
        assert answer.json() == {
            "code": 200,
            "events_ingested": 2,
            "payload_size_bytes": len(orjson.dumps(body)),
            "server_upload_time": answer.json()["server_upload_time"],
        }
        assert Event.objects.filter(source=source).count() == 2

    def test_takes_gzip(self, key, source):
        body = gzip.compress(orjson.dumps({"api_key": key, "events": [event()]}))
        assert send(UPLOAD, body).json()["events_ingested"] == 1

    def test_a_repeat_is_a_success_and_stored_once(self, key, source):
        for _ in range(2):
            assert send(UPLOAD, {"api_key": key, "events": [event()]}).json()["code"] == 200
        assert Event.objects.filter(source=source).count() == 1

    def test_puts_the_clock_of_a_device_right(self, key, source):
        send(UPLOAD, {"api_key": key, "events": [event()], "client_upload_time": "2026-11-20T12:00:00Z"})
        stored = Event.objects.get(source=source)
        assert abs(stored.at - stored.received_at) < timedelta(seconds=1)

    def test_a_bad_event_does_not_trouble_the_good_ones(self, key, source):
        events = [event(), event(time="soon"), 17, event(""), event(insert_id="i2")]
        answer = send(UPLOAD, {"api_key": key, "events": events})
        assert (answer.status_code, answer.json()["code"], answer.json()["events_ingested"]) == (200, 200, 2)
        assert answer.json()["events_with_invalid_fields"] == {"time": [1], "not_an_object": [2]}
        assert answer.json()["events_with_missing_fields"] == {"event_type": [3]}

    def test_alone_it_is_named(self, key):
        answer = send(UPLOAD, {"api_key": key, "events": [event(user_id=None, device_id=None)]})
        assert (answer.status_code, answer.json()["code"]) == (400, 400)
        assert answer.json()["events_with_missing_fields"] == {"user_id": [0]}

    def test_minds_the_length_that_the_request_asks_for(self, key):
        answer = send(UPLOAD, {"api_key": key, "events": [event()], "options": {"min_id_length": 5}})
        assert answer.json()["events_with_invalid_id_lengths"] == {"user_id": [0]}

    def test_another_group_type_is_no_error_to_the_library(self, key, source):
        source.group_types = ["company"]
        source.save()
        answer = send(UPLOAD, {"api_key": key, "events": [group({"building": "b"}, set={"a": 1})]})
        assert (answer.status_code, answer.json()["code"]) == (200, 200)

    def test_an_unknown_key_is_told_so_that_libraries_give_up(self):
        answer = send(UPLOAD, {"api_key": "nobody", "events": [event()]})
        assert (answer.status_code, answer.json()["code"]) == (401, 401)
        assert answer.json()["error"].startswith("Invalid API key:")

    @pytest.mark.parametrize("body", [b"", b"{", b"17", b'{"batch":[]}', b"\x1f\x8bxx"])
    def test_a_body_that_is_none_is_told_so_that_libraries_give_up(self, body):
        answer = send(UPLOAD, body)
        assert (answer.status_code, answer.json()["code"]) == (400, 400)
        assert answer.json()["missing_field"]

    def test_too_large_a_body_is_told_so_that_libraries_halve_it(self, key):
        answer = send(UPLOAD, {"api_key": key, "events": [event(insert_id=f"i{n}") for n in range(2001)]})
        assert (answer.status_code, answer.json()["code"]) == (413, 413)
        assert "missing_field" not in answer.json()

    def test_poison_among_fifty_is_rejected_alone(self, key, source):
        good = [orjson.dumps(event(insert_id=f"g{n}")) for n in range(50)]
        for number, (poison, _) in enumerate(POISONS.values()):
            fresh = [line.replace(b'"g', f'"{number}-g'.encode()) for line in good]
            lines = b",".join([*fresh[:25], poison, *fresh[25:]])
            answer = send(UPLOAD, b'{"api_key":"' + key.encode() + b'","events":[' + lines + b"]}")
            assert (answer.status_code, answer.json()["events_ingested"]) == (200, 50), poison[:50]
            assert list(answer.json()["events_with_invalid_fields"].values()) == [[25]]
        assert Event.objects.filter(source=source).count() == 50 * len(POISONS)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(items=st.lists(ITEMS, min_size=1, max_size=4))
    def test_no_json_whatever_is_a_fault_of_ours(self, items, key):
        answer = send(UPLOAD, {"api_key": key, "events": items})
        assert answer.status_code in (200, 400), answer.content


class TestOldForm:
    """As amplitude-js, and the libraries for telephones before those of today, send events."""

    def send(self, key, *events):
        form = {"client": key, "e": orjson.dumps(events).decode(), "v": "2"}
        return send(UPLOAD, urlencode(form).encode())

    def test_stores_events(self, key, source):
        said = {
            "event_type": "File Uploaded",
            "timestamp": MILLISECONDS,
            "uuid": "u1",
            "user_id": "ann",
            "device_id": "d",
        }
        said |= {"event_properties": {"size": 3}, "groups": {"company": "acme"}, "user_properties": {"plan": "free"}}
        said |= {"library": {"name": "amplitude-js", "version": "8.21.9"}, "version_name": "7"}
        for _ in range(2):
            answer = self.send(key, said)
            assert (answer.status_code, answer.content) == (200, b"success")
        event = Event.objects.get(source=source)
        assert (event.message_id, event.at) == ("u1:d", NOON)
        assert event.properties == {"size": 3, "library": "amplitude-js/8.21.9", "app_version": "7"}
        assert event.account is not None and event.account.external_id == "acme"

    def test_a_bad_event_is_not_asked_for_again(self, key, source):
        good = {"event_type": "Invited", "user_id": "ann", "uuid": "u2"}
        answer = self.send(key, good, {"event_type": "Invited"}, 17)
        assert (answer.status_code, answer.content) == (200, b"success")
        assert Event.objects.filter(source=source).count() == 1
        turned = facts.turned_away(source=source, since=NOON)
        assert {each.code: each.count for each in turned} == {"nobody": 1, "not_an_object": 1}

    def test_an_unknown_key_is_told(self):
        assert self.send("nobody", {"event_type": "x", "user_id": "ann"}).status_code == 401


class TestForms:
    def test_identify(self, key, source):
        said = {"user_id": "ann", "user_properties": {"$set": {"email": "ann@acme.example"}}}
        form = urlencode({"api_key": key, "identification": orjson.dumps([said]).decode()})
        assert send("/identify", form.encode()).json()["events_ingested"] == 1
        assert Event.objects.get(source=source).name == "$identify"

    def test_group_identify(self, key, source):
        said = {"group_type": "company", "group_value": "acme", "group_properties": {"seats": 9}}
        form = urlencode({"api_key": key, "identification": orjson.dumps(said).decode()})
        assert send("/groupidentify", form.encode()).json()["events_ingested"] == 1
        assert Account.objects.filter(external_id="acme").exists()

    @pytest.mark.parametrize("path", ["/identify", "/groupidentify"])
    def test_without_a_key_or_without_words_they_are_refused(self, path, key):
        assert send(path, b"identification=%5B%5D").status_code == 401
        assert send(path, f"api_key={key}".encode()).status_code == 400
        assert send(path, f"api_key={key}&identification=%5B17%5D".encode()).status_code == 400
