import base64
import gzip
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import psycopg
import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from pqlapp.ingest import door, posthog
from pqlapp.parser import Rejected
from scoring.facts import Fact
from scoring.models import Account, Event, ProductUser, TraitChange
from tests.examples import few
from tests.pqlapp.doors import send
from tests.pqlapp.test_parser import POISONS

RECEIVED = datetime(2026, 11, 22, 9, 10, 0, tzinfo=UTC)
AT = datetime(2026, 11, 22, 9, 7, 21, 821000, tzinfo=UTC)
UUID4 = "7f1f4a0e-6f0b-4a3c-9a51-1d0c8f1a2b3c"
VISITOR = "019a8c1e-7f3a-7c55-8d11-0a1b2c3d4e5f"

# As the libraries sent them, shortened.
PYTHON_CAPTURE: dict[str, Any] = {
    "properties": {
        "file_type": "text/csv",
        "$groups": {"company": "acme"},
        "$lib": "posthog-python",
        "$is_server": True,
    },
    "timestamp": "2026-11-22T09:07:21.821000+00:00",
    "distinct_id": "ann",
    "event": "File Uploaded",
    "uuid": "0a866e81",
}
PYTHON_SET = {
    "timestamp": "2026-11-22T09:07:21.821000+00:00",
    "distinct_id": "ann",
    "$set": {"email": "ann@acme.example", "seats": 4},
    "event": "$set",
    "uuid": "0a866e82",
    "properties": {"$lib": "posthog-python"},
}
PYTHON_GROUP: dict[str, Any] = {
    "event": "$groupidentify",
    "properties": {
        "$group_type": "company",
        "$group_key": "acme",
        "$group_set": {"plan": "free"},
        "$lib": "posthog-python",
    },
    "distinct_id": "ann",
    "timestamp": "2026-11-22T09:07:21.821000+00:00",
    "uuid": "0a866e83",
}
PYTHON_ALIAS = {
    "properties": {"distinct_id": "anon-1", "alias": "ann", "$lib": "posthog-python"},
    "timestamp": "2026-11-22T09:07:21.821000+00:00",
    "event": "$create_alias",
    "distinct_id": "anon-1",
    "uuid": "0a866e84",
}
NODE_V1_IDENTIFY = {
    "event": "$identify",
    "uuid": "01a20288",
    "distinct_id": "ann",
    "timestamp": "2026-11-22T09:07:21.821Z",
    "session_id": "s1",
    "options": {"process_person_profile": True},
    "properties": {"$set": {"plan": "pro"}, "$set_once": {"source": "ad"}, "$anon_distinct_id": VISITOR},
}
BROWSER_IDENTIFY = {
    "uuid": "01a20289",
    "event": "$identify",
    "$set": {"email": "ann@acme.example"},
    "$set_once": {"$initial_referrer": "$direct"},
    "timestamp": "2026-11-22T09:07:21.821Z",
    "properties": {
        "token": "phc_test",
        "distinct_id": "ann",
        "$anon_distinct_id": VISITOR,
        "$device_id": VISITOR,
        "$insert_id": "hjntcc6doxsoxtyx",
        "$time": 1795338821.674,
        "$is_identified": True,
        "$process_person_profile": True,
    },
}
BROWSER_PAGE = {
    "uuid": "01a20290",
    "event": "$pageview",
    "timestamp": "2026-11-22T09:07:21.821Z",
    "properties": {
        "token": "phc_test",
        "distinct_id": VISITOR,
        "$device_id": VISITOR,
        "$is_identified": False,
        "$process_person_profile": False,
        "$current_url": "https://acme.example/pricing?x=1",
        "$pathname": "/pricing",
        "$referrer": "$direct",
        "title": "Pricing",
        "$session_id": "s1",
    },
}


DEFAULTS: dict[str, Any] = {"group_types": (), "received_at": RECEIVED}


def read(event: dict[str, Any], **more: Any) -> Fact:
    fact = posthog.read(event=event, **{**DEFAULTS, **more})
    assert isinstance(fact, Fact), fact
    return fact


def code(event: dict[str, Any], **more: Any) -> str:
    rejected = posthog.read(event=event, **{**DEFAULTS, **more})
    assert isinstance(rejected, Rejected), rejected
    return rejected.code


def event(name: Any = "File Uploaded", *, of: Any = "ann", **more: Any) -> dict[str, Any]:
    """An event with these properties, unless they stand at the top."""
    top = {key: more.pop(key) for key in ("uuid", "timestamp", "options", "$set", "offset") if key in more}
    return {"event": name, "distinct_id": of, "uuid": "u1", "properties": more} | top


class TestShapes:
    def test_capture_of_a_server(self):
        assert read(PYTHON_CAPTURE) == Fact(
            message_id="0a866e81",
            at=AT,
            name="File Uploaded",
            user_id="ann",
            group_id="acme",
            joins=True,
            properties=PYTHON_CAPTURE["properties"],
        )

    def test_set_of_a_server(self):
        fact = read(PYTHON_SET)
        assert (fact.name, fact.user_id) == ("$identify", "ann")
        assert fact.user_traits == {"email": "ann@acme.example", "seats": 4}

    def test_group_of_a_server(self):
        fact = read(PYTHON_GROUP)
        assert (fact.name, fact.user_id, fact.group_id, fact.joins) == ("$group", "ann", "acme", True)
        assert fact.account_traits == {"plan": "free"}

    def test_alias_takes_both_ids_alike(self):
        fact = read(PYTHON_ALIAS)
        assert (fact.name, fact.user_id, fact.anonymous_id, fact.aliases) == ("$alias", None, "anon-1", ("ann",))
        node = read({**PYTHON_ALIAS, "distinct_id": "ann", "properties": {"distinct_id": "ann", "alias": "anon-1"}})
        assert (node.user_id, node.anonymous_id, node.aliases) == (None, "ann", ("anon-1",))

    def test_identify_of_v1(self):
        fact = read(NODE_V1_IDENTIFY)
        assert (fact.name, fact.user_id, fact.anonymous_id) == ("$identify", "ann", VISITOR)
        assert (fact.user_traits, fact.user_traits_once) == ({"plan": "pro"}, {"source": "ad"})
        assert fact.properties == {
            "$anon_distinct_id": VISITOR,
            "$session_id": "s1",
            "$process_person_profile": True,
        }

    def test_identify_of_a_browser(self):
        fact = read(BROWSER_IDENTIFY)
        assert (fact.message_id, fact.user_id, fact.anonymous_id, fact.aliases) == ("01a20289", "ann", VISITOR, ())
        assert fact.user_traits == {"email": "ann@acme.example"}
        assert fact.user_traits_once == {"$initial_referrer": "$direct"}
        assert not {"token", "distinct_id"} & fact.properties.keys()

    def test_a_page_view_has_the_names_of_all_wires(self):
        fact = read(BROWSER_PAGE)
        assert (fact.name, fact.user_id, fact.anonymous_id) == ("$page", None, VISITOR)
        names = ("url", "path", "referrer", "title", "$current_url", "$session_id")
        assert [fact.properties[name] for name in names] == [
            "https://acme.example/pricing?x=1",
            "/pricing",
            "$direct",
            "Pricing",
            "https://acme.example/pricing?x=1",
            "s1",
        ]

    def test_a_screen_has_its_name(self):
        fact = read(event("$screen", **{"$screen_name": "Home"}))
        assert (fact.name, fact.properties["name"]) == ("$screen", "Home")

    @pytest.mark.parametrize("name", ["$autocapture", "$pageleave", "$exception", "$feature_flag_called", "$ai_trace"])
    def test_all_other_events_keep_their_names(self, name):
        assert read(event(name)).name == name

    def test_a_bots_event_says_so(self):
        assert read(event(**{"$browser_type": "bot"})).properties == {"$browser_type": "bot"}


class TestWho:
    @pytest.mark.parametrize(
        ("properties", "is_user"),
        [
            ({}, True),  # a server
            ({"$lib": "posthog-python"}, True),
            ({"$is_identified": True, "$device_id": VISITOR, "$process_person_profile": False}, True),
            ({"$is_identified": False}, False),
            ({"$process_person_profile": False}, False),
            ({"$process_person_profile": "false"}, False),
            ({"$process_person_profile": True}, True),
            # What browsers sent before they said $is_identified.
            ({"$device_id": "ann"}, False),
            ({"$device_id": VISITOR}, False),  # after a reset
            ({"$device_id": VISITOR, "$user_id": "ann"}, True),
        ],
    )
    def test_an_event_says_whose_its_id_is(self, properties, is_user):
        fact = read(event(**properties))
        assert (fact.user_id, fact.anonymous_id) == (("ann", None) if is_user else (None, "ann"))

    def test_v1_says_it_in_its_options(self):
        fact = read(event(options={"process_person_profile": False}))
        assert (fact.user_id, fact.anonymous_id) == (None, "ann")
        assert fact.properties == {"$process_person_profile": False}

    def test_who_is_identified_is_a_user_whatever_else_is_said(self):
        fact = read(event("$identify", **{"$is_identified": False, "$process_person_profile": False}))
        assert (fact.user_id, fact.anonymous_id) == ("ann", None)

    def test_a_device_links_nobody(self):
        fact = read(event(**{"$device_id": "shared", "$is_identified": True}))
        assert (fact.user_id, fact.anonymous_id, fact.aliases) == ("ann", None, ())

    def test_the_id_may_be_a_number_and_among_the_properties(self):
        assert read(event(of=None, distinct_id=17)).user_id == "17"

    def test_a_personless_event_of_a_server_counts_for_its_account_alone(self):
        personless = {"$process_person_profile": False}
        named = read(event(of=UUID4, **personless, **{"$groups": {"company": "acme"}}))
        assert (named.user_id, named.anonymous_id, named.group_id, named.joins) == (None, None, "acme", False)
        assert read(event(of=UUID4, **personless)).anonymous_id == UUID4
        device = read(event(of=UUID4, **personless, **{"$device_id": UUID4, "$groups": {"company": "acme"}}))
        assert (device.anonymous_id, device.group_id, device.joins) == (UUID4, "acme", True)
        stated = read(event(of="ann", **personless, **{"$groups": {"company": "acme"}}))
        assert (stated.anonymous_id, stated.joins) == ("ann", True)

    def test_all_who_want_no_cookies_are_nobody(self):
        assert code(event(of="$posthog_cookieless")) == "nobody"
        fact = read(event(of="$posthog_cookieless", **{"$groups": {"company": "acme"}}))
        assert (fact.user_id, fact.anonymous_id, fact.group_id) == (None, None, "acme")
        assert read(event("$identify", **{"$anon_distinct_id": "$posthog_cookieless"})).anonymous_id is None


class TestAccount:
    def test_the_sources_own_group_types_count(self):
        groups = {"$groups": {"company": "acme", "project": "p1"}}
        assert read(event(**groups)).group_id == "acme"
        assert read(event(**groups), group_types=["project"]).group_id == "p1"
        assert read(event(**groups), group_types=["team"]).group_id is None

    @pytest.mark.parametrize("of", [UUID4, "$company_acme"])
    def test_an_id_made_up_to_describe_an_account_is_nobody(self, of):
        fact = read({**PYTHON_GROUP, "distinct_id": of})
        assert (fact.user_id, fact.anonymous_id, fact.group_id, fact.joins) == (None, None, "acme", False)
        assert fact.account_traits == {"plan": "free"}

    def test_a_browser_describes_the_account_of_its_visitor(self):
        properties = {**PYTHON_GROUP["properties"], "$groups": {"company": "acme"}, "$device_id": VISITOR}
        fact = read({**PYTHON_GROUP, "distinct_id": VISITOR, "properties": properties})
        assert (fact.anonymous_id, fact.group_id, fact.joins) == (VISITOR, "acme", True)

    def test_a_group_of_another_type_is_an_event_of_whose_it_is(self):
        project = {"$group_type": "project", "$group_key": "p1", "$group_set": {"stars": 5}}
        beside = read(event("$groupidentify", **project, **{"$groups": {"company": "acme", "project": "p1"}}))
        assert (beside.group_id, beside.joins, beside.account_traits) == ("acme", True, {})
        assert beside.properties["$group_set"] == {"stars": 5}
        alone = read(event("$groupidentify", **project), group_types=["company"])
        assert (alone.user_id, alone.group_id, alone.account_traits) == ("ann", None, {})
        assert code(event("$groupidentify", of=UUID4, **project), group_types=["company"]) == "not_an_account"

    def test_who_describes_a_group_of_an_unknown_type_does_not_join_it(self):
        project = {"$group_type": "project", "$group_key": "p1", "$group_set": {"stars": 5}}
        fact = read(event("$groupidentify", **project))
        assert (fact.user_id, fact.group_id, fact.joins) == ("ann", "p1", False)
        assert read(event("$groupidentify", **project), group_types=["project"]).joins


class TestTraits:
    def test_a_set_may_stand_at_the_top_and_among_the_properties(self):
        fact = read({**event(**{"$set": {}}), "$set": {"a": 1, "b": 1}, "properties": {"$set": {"b": 2}}})
        assert (fact.name, fact.user_traits, fact.properties) == ("File Uploaded", {"a": 1, "b": 2}, {})

    @pytest.mark.parametrize("names", [["plan", "seats"], {"plan": "", "seats": 1}, ["plan", 7, "seats", None]])
    def test_an_unset_takes_traits_back(self, names):
        fact = read(event("$unset", **{"$unset": names}))
        assert (fact.name, fact.user_traits) == ("$identify", {"plan": None, "seats": None})

    def test_an_unset_comes_after_a_set(self):
        assert read(event(**{"$set": {"plan": "pro"}, "$unset": ["plan"]})).user_traits == {"plan": None}


class TestTimes:
    def test_a_lying_clock_is_put_right(self):
        at = "2001-01-01T00:00:00Z"
        sent = datetime(2001, 1, 1, 0, 0, 10, tzinfo=UTC)
        assert read(event(timestamp=at), sent_at=sent).at == RECEIVED - timedelta(seconds=10)
        for plain in ({"$ignore_sent_at": True}, {"options": {"disable_skew_correction": True}}):
            assert read(event(timestamp=at, **plain), sent_at=sent).at == datetime(2001, 1, 1, tzinfo=UTC)

    def test_an_honest_clock_leaves_old_events_where_they_are(self):
        fact = read(event(timestamp="2025-01-01T00:00:00+01:00"), sent_at=RECEIVED - timedelta(seconds=2))
        assert fact.at == datetime(2024, 12, 31, 23, tzinfo=UTC)

    def test_an_event_without_a_time_happened_when_it_came(self):
        assert read(event()).at == RECEIVED
        assert read(event(offset=5000)).at == RECEIVED - timedelta(seconds=5)


class TestIds:
    def test_the_uuid_counts_then_the_insert_id(self):
        assert read(event(**{"$insert_id": "i1"})).message_id == "u1"
        assert read(event(uuid=None, **{"$insert_id": "i1"})).message_id == "i1"

    def test_without_both_a_repetition_has_the_same_id(self):
        first, again = (event(uuid=None, timestamp="2026-11-22T09:00:00Z", a=1, b=2) for _ in range(2))
        again = dict(reversed(again.items())) | {"sent_at": "2026-11-22T09:00:07Z"}
        assert read(first).message_id == read(again).message_id
        assert read(first).message_id != read(first | {"timestamp": "2026-11-22T09:00:01Z"}).message_id

    def test_without_a_time_too_each_counts(self):
        assert read(event(uuid=None)).message_id != read(event(uuid=None)).message_id


class TestRejections:
    @pytest.mark.parametrize(
        ("broken", "expected"),
        [
            ({"distinct_id": "ann"}, "no_event_name"),
            ({"event": "", "distinct_id": "ann"}, "no_event_name"),
            ({"event": 7, "distinct_id": "ann"}, "no_event_name"),
            ({"event": "x" * 513, "distinct_id": "ann"}, "event_name_too_long"),
            ({"event": "x"}, "nobody"),
            ({"event": "x", "distinct_id": ""}, "nobody"),
            ({"event": "x", "distinct_id": {"id": 1}}, "bad_id"),
            ({"event": "x", "distinct_id": "a" * 513}, "id_too_long"),
            ({"event": "x", "distinct_id": "ann", "uuid": ["u"]}, "bad_id"),
            ({"event": "x", "distinct_id": "ann", "timestamp": "soon"}, "bad_time"),
            ({"event": "x", "distinct_id": "ann", "timestamp": 1795338821}, "bad_time"),
            ({"event": "x", "distinct_id": "ann", "offset": "5"}, "bad_time"),
            ({"event": "x", "distinct_id": "ann", "offset": -1}, "bad_time"),
            ({"event": "x", "distinct_id": "ann", "offset": 2**53}, "bad_time"),
            ({"event": "x", "distinct_id": "ann", "properties": [1]}, "not_an_object"),
            ({"event": "x", "distinct_id": "ann", "options": True}, "not_an_object"),
            ({"event": "x", "distinct_id": "ann", "$set": "x"}, "not_an_object"),
            ({"event": "x", "distinct_id": "ann", "$unset": "plan"}, "bad_unset"),
            ({"event": "x", "distinct_id": "ann", "$set": {str(n): n for n in range(201)}}, "too_many_traits"),
            ({"event": "x", "distinct_id": "ann", "properties": {"$groups": "acme"}}, "not_an_object"),
            ({"event": "x", "distinct_id": "ann", "properties": {"$groups": {"company": {}}}}, "bad_id"),
            ({"event": "$groupidentify", "distinct_id": "ann"}, "no_group"),
            ({"event": "$groupidentify", "distinct_id": "ann", "properties": {"$group_type": "company"}}, "no_group"),
            ({"event": "$create_alias", "distinct_id": "ann"}, "no_alias"),
            ({"event": "$create_alias", "properties": {"alias": "ann", "$groups": {"company": "a"}}}, "no_alias"),
        ],
    )
    def test_each_has_its_reason(self, broken, expected):
        assert code(broken) == expected

    @given(
        st.dictionaries(
            st.sampled_from(
                ["event", "distinct_id", "uuid", "timestamp", "offset", "properties", "options", "$set", "$unset"]
            ),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-(2**53), 2**53)
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.sampled_from(["$groupidentify", "$create_alias", "$pageview", "$identify", "ann", ""]),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(
                            ["$groups", "company", "$group_type", "$group_key", "$group_set", "alias", "$set"]
                        ),
                        inner,
                        max_size=4,
                    )
                ),
                max_leaves=8,
            ),
        )
    )
    def test_no_event_whatever_raises(self, stated):
        sent = datetime(2001, 1, 1, tzinfo=UTC)
        fact = posthog.read(event=stated, group_types=(), received_at=RECEIVED, sent_at=sent)
        assert isinstance(fact, Fact | Rejected)
        if isinstance(fact, Fact):
            assert fact.user_id or fact.anonymous_id or fact.aliases or fact.group_id


@pytest.fixture
def post(secret: str) -> Callable[..., Any]:
    """Return a sender of JSON or raw bytes, for whose key the test cares."""
    return send


def names() -> list[str]:
    return sorted(Event.objects.values_list("name", flat=True))


@pytest.mark.django_db
class TestCapture:
    @pytest.mark.parametrize(
        "path", ["/batch/", "/capture/", "/capture", "/e/", "/e", "/i/v0/e/", "/i/v0/e", "/i/v0/ai/batch/"]
    )
    def test_every_address_takes_a_batch_and_says_ok(self, post, secret, path):
        response = post(path, {"api_key": secret, "batch": [event()], "sent_at": "2026-11-22T09:10:00Z"})
        assert (response.status_code, response.json()) == (200, {"status": "Ok"})
        assert names() == ["File Uploaded"]

    def test_an_address_that_amplitude_has_too_takes_a_batch(self, post, secret):
        batch = {"api_key": secret, "historical_migration": False, "n": 1.5, "batch": [event(), {}], "sent_at": None}
        for body in (orjson.dumps(batch), gzip.compress(json.dumps(batch, indent=1).encode())):
            response = post("/batch", body)
            assert (response.status_code, response.json()["status"]) == (200, "Ok")
            assert [bad["code"] for bad in response.json()["rejected"]] == ["no_event_name"]
        assert names() == ["File Uploaded"]
        assert post("/batch", {"api_key": "wk_wrong", "batch": [event()]}).status_code == 401
        assert not posthog.is_batch(body=b'{"api_key":"k","events":[{"batch":[]}]}')

    @pytest.mark.parametrize(
        "body",
        [
            lambda key: {"api_key": key, "batch": [event()]},
            lambda key: {"token": key, "batch": [event()]},
            lambda key: {"api_key": key, **event()},
            lambda key: {"token": key, **event()},
            lambda key: event(token=key),
            lambda key: [event(token=key)],
            lambda key: [event(), event(uuid="u2", token=key)],
            lambda key: {"batch": [event(token=key)]},
        ],
    )
    def test_the_key_is_where_a_library_puts_it(self, post, secret, body):
        assert post("/e/", body(secret)).status_code == 200
        assert Event.objects.exists()
        assert not Event.objects.filter(properties__has_key="token").exists()

    @pytest.mark.parametrize(
        ("path", "pack"),
        [
            ("/e/", gzip.compress),
            ("/e/?compression=gzip-js&ver=1.449.2", gzip.compress),
            ("/e/", zlib.compress),
            ("/i/v0/e/?compression=base64", lambda body: b"data=" + quote(base64.b64encode(body)).encode()),
            ("/i/v0/e/?compression=base64", lambda body: b"data=" + base64.b64encode(body)),
            ("/e/?compression=base64", base64.b64encode),
            ("/e/", lambda body: urlencode({"data": body.decode()}).encode()),
        ],
    )
    def test_bodies_are_unpacked_as_they_come(self, post, secret, path, pack):
        body = orjson.dumps([event(token=secret, text="naïve \U0001f600")])
        assert post(path, pack(body)).json() == {"status": "Ok"}
        assert Event.objects.get().properties == {"text": "naïve \U0001f600"}

    def test_an_address_may_carry_the_event(self, secret):
        data = base64.b64encode(orjson.dumps(event(token=secret))).decode()
        assert Client().get("/e/", {"data": data, "ip": "0", "_": "1795338821674"}).json() == {"status": "Ok"}
        assert names() == ["File Uploaded"]

    def test_the_times_of_a_lying_clock_are_put_right(self, post, secret):
        at, sent = "2001-01-01T00:00:00Z", "2001-01-01T00:00:10Z"
        post("/batch/", {"api_key": secret, "sent_at": sent, "batch": [event(uuid="a", timestamp=at)]})
        post("/e/", {"api_key": secret, "sent_at": sent, **event(uuid="b", timestamp=at)})
        post("/e/?_=978307210000", [event(uuid="c", timestamp=at, token=secret)])
        post("/e/?sent_at=978307210000", event(uuid="d", timestamp=at, token=secret))
        post("/e/", [{"sent_at": sent, **event(uuid="e", timestamp=at, token=secret)}])
        ages = [(stored.received_at - stored.at).total_seconds() for stored in Event.objects.all()]
        assert ages == [10] * 5

    @pytest.mark.parametrize("sent", ["soon", 7, None, {"a": 1}])
    def test_a_time_of_sending_that_says_nothing_is_no_reason_to_lose_events(self, post, secret, sent):
        assert post("/e/?_=x", {"api_key": secret, "batch": [event()], "sent_at": sent}).status_code == 200
        assert Event.objects.exists()

    def test_sent_again_changes_nothing(self, post, secret):
        for n in range(2):
            body = {"api_key": secret, "batch": [event(), event(), event(uuid="u2")], "sent_at": f"2026-11-2{n}"}
            assert post("/batch/", body).json() == {"status": "Ok"}
        assert Event.objects.count() == 2

    def test_bad_events_are_named_and_the_good_ones_stored(self, post, secret):
        batch = [event(), {"event": "x"}, 7, event(uuid="u2")]
        response = post("/batch/", {"api_key": secret, "batch": batch})
        assert response.status_code == 200
        assert [(bad["index"], bad["code"]) for bad in response.json()["rejected"]] == [
            (1, "nobody"),
            (2, "not_an_object"),
        ]
        assert Event.objects.count() == 2

    def test_poison_among_good_events_never_stops_them(self, post, secret):
        texts = []
        for n, (poison, _) in enumerate(POISONS.values()):
            texts += [orjson.dumps(event(uuid=f"{n}-{i}")) for i in range(50)] + [poison]
        body = b'{"api_key":"%s","batch":[%s]}' % (secret.encode(), b",".join(texts))
        response = post("/batch/", body)
        assert response.status_code == 200
        assert [bad["code"] for bad in response.json()["rejected"]] == [code for _, code in POISONS.values()]
        assert Event.objects.count() == 50 * len(POISONS)

    @pytest.mark.parametrize("body", [b"", b"{", b"null", b"7", b'{"batch":1}', b"\x1f\x8b\x00", b"data=%%%"])
    def test_a_body_that_is_none_is_refused(self, post, body):
        response = post("/e/", body)
        assert response.status_code == 400
        assert response.json()["error"]

    @pytest.mark.parametrize("key", ["nonsense", "", None, 7, ["k"]])
    @pytest.mark.parametrize("path", ["/batch/", "/i/v1/analytics/events"])
    def test_an_unknown_key_is_refused(self, post, source, path, key):
        response = post(path, {"api_key": key, "batch": [event()]}, Authorization="Bearer nonsense")
        assert (response.status_code, response.json()["code"]) == (401, "unknown_key")
        assert response.json()["detail"] and response["Access-Control-Allow-Origin"] == "*"

    def test_without_the_database_it_asks_to_come_again(self, post, secret, monkeypatch):
        def record(**arguments: object) -> None:
            raise psycopg.OperationalError("the connection is closed")

        monkeypatch.setattr(door.facts, "record", record)
        for path in ("/batch/", "/i/v1/analytics/events"):
            response = post(path, {"api_key": secret, "batch": [event()]})
            assert (response.status_code, response["Retry-After"]) == (503, "5")

    @settings(max_examples=few(20))
    @given(
        body=st.recursive(st.none() | st.text() | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
    )
    def test_no_json_whatever_breaks_it(self, body):
        for path in ("/batch/", "/i/v1/analytics/events", "/flags/?v=2"):
            data = json.dumps(body).encode()
            assert Client().post(path, data, content_type="application/json").status_code < 500


@pytest.mark.django_db
class TestAnalytics:
    @pytest.fixture
    def send(self, post, secret) -> Callable[..., Any]:
        def send(body: Any, **headers: str) -> Any:
            return post("/i/v1/analytics/events", body, **({"Authorization": f"Bearer {secret}"} | headers))

        return send

    def test_says_of_each_uuid_what_became_of_its_event(self, send):
        batch = [event(uuid="a"), event(uuid="a"), {"event": "x", "uuid": "b"}, event(uuid="c")]
        for _ in range(2):
            response = send({"created_at": "2026-11-22T09:10:00Z", "batch": batch})
            assert response.status_code == 200
            results = response.json()["results"]
            assert results["a"] == results["c"] == {"result": "ok"}
            assert results["b"]["result"] == "drop" and "distinct_id" in results["b"]["details"]
        assert Event.objects.count() == 2

    def test_what_cannot_be_stored_is_dropped_by_its_uuid(self, send):
        texts = [
            b'{"event":"a\\u0000b","distinct_id":"ann","uuid":"nul"}',
            b'{"event":"\\ud800","distinct_id":"ann","uuid":"half"}',
            b'{"event":"x","distinct_id":"ann","uuid":"big","properties":{"n":9007199254740993}}',
            orjson.dumps(event(uuid="good")),
        ]
        results = send(b'{"batch":[%s]}' % b",".join(texts)).json()["results"]
        assert {uuid: result["result"] for uuid, result in results.items()} == {
            "nul": "drop",
            "half": "drop",
            "big": "drop",
            "good": "ok",
        }

    def test_poison_without_a_readable_uuid_is_still_named(self, send):
        for poison, expected in POISONS.values():
            response = send(b'{"batch":[%s,%s]}' % (poison, orjson.dumps(event(uuid="good"))))
            assert response.status_code == 200
            assert response.json()["rejected"][0]["code"] == expected
            assert response.json()["results"]["good"] == {"result": "ok"}

    @pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
    def test_takes_compressed_bodies(self, send, pack):
        assert send(pack(orjson.dumps({"batch": [event()]}))).json() == {"results": {"u1": {"result": "ok"}}}

    def test_the_time_of_the_request_puts_a_lying_clock_right(self, send):
        batch = [event(timestamp="2001-01-01T00:00:00Z")]
        send({"batch": batch}, **{"PostHog-Request-Timestamp": "2001-01-01T00:00:10+00:00"})
        stored = Event.objects.get()
        assert (stored.received_at - stored.at).total_seconds() == 10

    def test_an_empty_batch_has_no_results(self, send):
        assert send({"batch": []}).json() == {"results": {}}


@pytest.mark.django_db
class TestWhatIsStored:
    def test_a_visitor_becomes_a_user_of_an_account_in_any_order(self, post, secret):
        calls = [
            BROWSER_PAGE,
            BROWSER_IDENTIFY,
            PYTHON_CAPTURE,
            PYTHON_GROUP | {"distinct_id": UUID4},
            {**PYTHON_ALIAS, "properties": {"distinct_id": "anon-1", "alias": "ann"}},
        ]
        for call in reversed(calls):
            post("/e/", {"api_key": secret, "batch": [call]})
        user = ProductUser.objects.get(merged_into=None)
        assert set(user.identities.values_list("value", "known")) == {
            (VISITOR, False),
            ("ann", True),
            ("anon-1", False),
        }
        assert user.known and user.home == Account.objects.get(external_id="acme")
        traits = TraitChange.objects.exclude(account=None).values_list("key", "value")
        assert list(traits) == [("plan", "free")]
        assert names() == ["$alias", "$group", "$identify", "$page", "File Uploaded"]

    def test_two_people_on_one_device_stay_two(self, post, secret):
        for uuid, who in (("a", "ann"), ("b", "bob")):
            properties = {"$device_id": VISITOR, "$is_identified": True}
            post("/e/", {"api_key": secret, "batch": [event(of=who, uuid=uuid, **properties)]})
        assert ProductUser.objects.filter(merged_into=None).count() == 2


class TestHarmlessRoutes:
    @pytest.mark.parametrize("path", ["/flags/?v=2&config=true", "/flags", "/decide/?v=3"])
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_there_are_no_flags(self, path, method):
        response = getattr(Client(), method)(path, headers={"Origin": "https://acme.example"})
        document = response.json()
        assert response.status_code == 200
        assert document["flags"] == document["featureFlags"] == {}
        assert (document["quotaLimited"], document["errorsWhileComputingFlags"]) == ([], False)
        assert response["Access-Control-Allow-Origin"] == "https://acme.example"

    def test_settings_turn_off_what_needs_another_server(self):
        response = Client().get("/array/phc_any-key/config")
        document = response.json()
        assert document["analytics"] == {"endpoint": "/i/v0/e/"}
        assert "gzip-js" in document["supportedCompression"]
        assert not any(document[name] for name in ("sessionRecording", "heatmaps", "siteApps"))
        assert "surveys" not in document  # even switched off the library would load a script for them
        assert response["Access-Control-Allow-Origin"] == "*"

    def test_settings_come_as_a_script_too(self):
        response = Client().get("/array/phc_any-key/config.js")
        assert response["Content-Type"] == "application/javascript"
        assert b'["phc_any-key"]={"config": {' in response.content

    @pytest.mark.parametrize("path", ["/array/a%22b/config.js", "/array//config", "/array/a/b"])
    def test_what_is_no_key_has_no_settings(self, path):
        assert Client().get(path).status_code == 404

    @pytest.mark.parametrize("path", ["/static/array.js", "/static/1.449.2/array.js", "/array/phc/array.js"])
    def test_the_library_is_not_here(self, path):
        response = Client().get(path)
        assert (response.status_code, response.json()["code"]) == (404, "no_library_here")
        assert response["Access-Control-Allow-Origin"] == "*"

    @pytest.mark.parametrize("path", ["/batch/", "/e/", "/i/v0/e/", "/i/v1/analytics/events", "/flags/"])
    def test_browsers_may_send_from_any_page(self, path):
        wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        response = Client().options(path, headers={"Origin": "https://app.example"} | wanted)
        assert response.status_code == 204
        assert response["Access-Control-Allow-Headers"] == "content-type"
        assert "POST" in response["Access-Control-Allow-Methods"]
