import base64
import gzip
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqlapp.ingest import door, mixpanel
from pqlapp.parser import Rejected
from scoring import facts
from scoring.facts import Fact
from scoring.models import Event, Identity, Key, ProductUser
from tests.pqlapp.doors import send
from tests.pqlapp.test_fields import JSON_VALUES
from tests.pqlapp.test_parser import POISONS

RECEIVED = datetime(2026, 11, 22, 9, 10, 0, tzinfo=UTC)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECONDS = 1795176000  # NOON

PYTHON_TRACK = {
    "event": "File Uploaded",
    "properties": {
        "token": "mp_token",
        "distinct_id": "ann",
        "time": SECONDS + 0.1815782,
        "$insert_id": "f088758382984d85bebabb15243604d8",
        "mp_lib": "python",
        "$lib_version": "5.4.1",
        "size": 17,
        "company": ["acme"],
    },
}
PYTHON_PEOPLE = {
    "$token": "mp_token",
    "$time": SECONDS + 0.0052,
    "$distinct_id": "ann",
    "$set": {"$email": "ann@acme.example", "plan": "free", "$created": "2026-05-03T10:00:00"},
    "$ip": "203.0.113.7",
}
PYTHON_GROUP = {
    "$token": "mp_token",
    "$time": SECONDS,
    "$group_key": "company",
    "$group_id": "acme",
    "$set": {"$name": "Acme", "seats": 9},
}


def event(name: Any = "File Uploaded", **properties: Any) -> dict[str, Any]:
    known = {"token": "mp_token", "distinct_id": "ann", "time": SECONDS, "$insert_id": "i1"} | properties
    return {"event": name, "properties": {key: value for key, value in known.items() if value is not None}}


def profile(**operations: Any) -> dict[str, Any]:
    return {"$token": "mp_token", "$time": SECONDS, "$distinct_id": "ann"} | {
        f"${name}": value for name, value in operations.items()
    }


def read(item: Mapping[str, Any], **more: Any) -> Fact:
    facts = mixpanel.read(item=item, received_at=RECEIVED, **more)
    assert not isinstance(facts, Rejected), facts
    (fact,) = facts
    return fact


def read_all(reader: Callable[..., Any], item: Mapping[str, Any], **more: Any) -> list[Fact]:
    facts = reader(item=item, received_at=RECEIVED, **more)
    assert not isinstance(facts, Rejected), facts
    return list(facts)


def code(reader: Callable[..., Any], item: Mapping[str, Any]) -> str:
    rejected = reader(item=item, received_at=RECEIVED)
    assert isinstance(rejected, Rejected), rejected
    return rejected.code


def people(fact: Fact) -> tuple[str | None, str | None, tuple[str, ...]]:
    return fact.user_id, fact.anonymous_id, fact.aliases


class TestReadEvent:
    def test_pythons_track(self):
        fact = read(PYTHON_TRACK)
        assert fact == Fact(
            message_id="f088758382984d85bebabb15243604d8",
            at=NOON + timedelta(microseconds=181578),
            name="File Uploaded",
            user_id="ann",
            group_id="acme",
            joins=True,
            properties={"mp_lib": "python", "$lib_version": "5.4.1", "size": 17, "company": ["acme"]},
        )

    @pytest.mark.parametrize("time", [SECONDS, SECONDS * 1000, float(SECONDS), str(SECONDS)])
    def test_takes_seconds_and_milliseconds(self, time):
        assert read(event(time=time)).at == NOON

    def test_an_event_without_a_time_happens_when_it_comes(self):
        assert read(event(time=None)).at == RECEIVED

    def test_moves_the_time_of_a_browser_whose_clock_is_wrong(self):
        sent = NOON + timedelta(minutes=1)
        assert read(event(), sent=sent).at == RECEIVED - timedelta(minutes=1)

    def test_makes_an_id_of_the_content_if_there_is_a_time(self):
        one, again, other = (read(event(n=n, **{"$insert_id": None})).message_id for n in (1, 1, 2))
        assert one == again != other

    def test_two_equal_events_without_a_time_are_two(self):
        call = event(time=None, **{"$insert_id": None})
        assert read(call).message_id != read(call).message_id

    @pytest.mark.parametrize("name", ["$mp_web_page_view", "mp_page_view"])
    def test_a_page_view_is_a_page_with_the_properties_that_rules_know(self, name):
        fact = read(event(name, **{"$current_url": "https://x.example/a", "current_page_title": "A"}))
        assert fact.name == "$page"
        assert fact.properties == {
            "$current_url": "https://x.example/a",
            "current_page_title": "A",
            "url": "https://x.example/a",
            "title": "A",
        }

    @pytest.mark.parametrize(
        ("item", "reason"),
        [
            ({}, "no_event_name"),
            ({"event": "x", "properties": []}, "not_an_object"),
            (event(distinct_id=None), "nobody"),
            (event(distinct_id=""), "nobody"),
            (event(distinct_id="$device:"), "nobody"),
            (event(distinct_id={"a": 1}), "bad_id"),
            (event(distinct_id="x" * 513), "id_too_long"),
            (event(time="yesterday"), "bad_time"),
            (event(time=True), "bad_time"),
            (event(time=1e300), "bad_time"),
            (event(""), "no_event_name"),
            (event("$merge", **{"$distinct_ids": [f"u{n}" for n in range(11)]}), "too_many_ids"),
        ],
    )
    def test_says_why_not(self, item, reason):
        assert code(mixpanel.read, item) == reason


class TestPeople:
    @pytest.mark.parametrize(
        ("properties", "expected"),
        [
            ({"distinct_id": "ann"}, ("ann", None, ())),
            ({"distinct_id": "$device:d1", "$device_id": "d1"}, (None, "d1", ())),
            ({"distinct_id": "$device:d1"}, (None, "d1", ())),
            ({"distinct_id": None, "$device_id": "d1"}, (None, "d1", ())),
            ({"distinct_id": "d1", "$device_id": "d1"}, (None, "d1", ())),  # before 2.49 it had no prefix
            ({"distinct_id": "ann", "$device_id": "d1", "$user_id": "ann"}, ("ann", "d1", ())),
            ({"distinct_id": "ann", "$device_id": "ann", "$user_id": "ann"}, ("ann", None, ())),
            ({"distinct_id": "$device:d1", "$device_id": "d1", "$user_id": "ann"}, ("ann", "d1", ())),
            ({"distinct_id": "ann@acme.example", "$user_id": "ann"}, ("ann", None, ("ann@acme.example",))),
            ({"distinct_id": 42}, ("42", None, ())),
            # A library on a device says who a visitor was by $identify, and only there.
            ({"distinct_id": "ann", "$device_id": "d1", "$user_id": "ann", "mp_lib": "web"}, ("ann", None, ())),
            ({"distinct_id": "$device:d1", "$device_id": "d1", "mp_lib": "web"}, (None, "d1", ())),
        ],
    )
    def test_of_an_event(self, properties, expected):
        assert people(read(event(**properties))) == expected

    @pytest.mark.parametrize(
        ("name", "properties", "ours", "expected"),
        [
            ("$identify", {"$anon_distinct_id": "$device:d1", "$device_id": "d1"}, "$identify", ("ann", "d1", ())),
            (
                "$identify",
                {"distinct_id": None, "$identified_id": "ann", "$anon_id": "d1"},
                "$identify",
                ("ann", "d1", ()),
            ),
            # Ben on Ann's device, without a log-out: two people.
            (
                "$identify",
                {"distinct_id": "ben", "$anon_distinct_id": "ann", "$device_id": "d1"},
                "$identify",
                ("ben", None, ()),
            ),
            ("$identify", {"$anon_distinct_id": "cookie"}, "$identify", ("ann", "cookie", ())),
            ("$create_alias", {"distinct_id": "$device:d1", "alias": "ann"}, "$alias", (None, "d1", ("ann",))),
            ("$create_alias", {"distinct_id": "d1", "alias": "ann"}, "$alias", (None, "d1", ("ann",))),
            ("$merge", {"distinct_id": None, "$distinct_ids": ["d1", "ann"]}, "$alias", (None, "d1", ("ann",))),
        ],
    )
    def test_of_events_that_say_who_is_who(self, name, properties, ours, expected):
        fact = read(event(name, mp_lib="web", **properties))
        assert (fact.name, people(fact), fact.properties) == (ours, expected, {"mp_lib": "web"})

    def test_an_alias_is_a_property_of_other_events(self):
        assert read(event(alias="dev")).properties == {"alias": "dev"}


class TestAccounts:
    @pytest.mark.parametrize(
        ("types", "properties", "account"),
        [
            ((), {"company": ["acme"]}, "acme"),
            ((), {"company": ["acme", "globex"], "team": ["red"]}, "acme"),
            ((), {"company": "acme"}, None),
            ((), {"team": [{"color": "red"}]}, None),
            ((), {"company": []}, None),
            ((), {"customer": ["acme"]}, None),
            (("customer",), {"customer": ["acme"]}, "acme"),
            (("customer",), {"customer": "acme"}, "acme"),
            (("customer",), {"customer": 7, "company": ["globex"]}, "7"),
            (("customer",), {"company": ["globex"]}, None),
        ],
    )
    def test_of_an_event(self, types, properties, account):
        fact = read(event(**properties), types=types)
        assert (fact.group_id, fact.joins) == (account, account is not None)
        assert fact.properties == properties

    def test_an_event_of_an_account_alone(self):
        fact = read(event(distinct_id=None, company=["acme"]))
        assert (people(fact), fact.group_id, fact.joins) == ((None, None, ()), "acme", False)


class TestReadPerson:
    def test_set(self):
        (fact,) = read_all(mixpanel.read_person, PYTHON_PEOPLE)
        known = {"email": "ann@acme.example", "plan": "free", "created_at": "2026-05-03T10:00:00"}
        assert (fact.name, fact.at, fact.user_traits) == ("$identify", NOON + timedelta(microseconds=5200), known)
        assert people(fact) == ("ann", None, ())

    def test_of_a_visitor(self):
        item = profile(set={"plan": "free"}) | {"$distinct_id": "$device:d1", "$device_id": "d1"}
        assert people(read_all(mixpanel.read_person, item)[0]) == (None, "d1", ())
        assert people(read_all(mixpanel.read_person, item | {"$user_id": "ann"})[0]) == ("ann", None, ())

    def test_set_once_and_unset(self):
        (fact,) = read_all(mixpanel.read_person, profile(set_once={"utm": "x"}, unset=["plan", "$email"]))
        assert (fact.user_traits, fact.user_traits_once) == ({"plan": None, "email": None}, {"utm": "x"})

    def test_a_name_given_on_purpose_beats_mixpanels_own(self):
        (fact,) = read_all(mixpanel.read_person, profile(set={"email": "a@acme.example", "$email": "b@acme.example"}))
        assert fact.user_traits == {"email": "a@acme.example"}

    @pytest.mark.parametrize(
        ("operation", "operands"),
        [
            ("add", {"logins": 1}),
            ("append", {"items": "hat"}),
            ("union", {"items": ["hat"]}),
            ("remove", {"items": "hat"}),
        ],
    )
    def test_what_changes_a_trait_is_an_event(self, operation, operands):
        (fact,) = read_all(mixpanel.read_person, profile(**{operation: operands}))
        assert (fact.name, fact.properties, fact.user_traits) == (f"${operation}", operands, {})

    def test_a_deletion_is_an_event_too(self):
        (fact,) = read_all(mixpanel.read_person, profile(delete=""))
        assert (fact.name, fact.properties) == ("$delete", {})

    def test_several_operations_are_several_facts_with_an_id_each(self):
        facts = read_all(
            mixpanel.read_person, profile(set={"plan": "pro"}, add={"logins": 1}, union={"items": ["hat"]})
        )
        assert [fact.name for fact in facts] == ["$identify", "$add", "$union"]
        assert len({fact.message_id for fact in facts}) == 3

    @pytest.mark.parametrize("operation", ["set", "union"])
    def test_set_group_and_add_group_join_the_account(self, operation):
        (fact,) = read_all(mixpanel.read_person, profile(**{operation: {"company": ["acme"]}}))
        assert (fact.group_id, fact.joins) == ("acme", True)

    def test_repeats_are_known_by_an_id_that_a_page_gives_them(self):
        said = {"$token": "mp_token", "$distinct_id": "ann", "$add": {"logins": 1}}
        ids = [
            read_all(mixpanel.read_person, said | more)[0].message_id
            for more in ({"$insert_id": "a"}, {"$insert_id": "a"}, {"$insert_id": "b"}, {"$insert_id": "b" * 512}, {})
        ]
        assert ids[0] == ids[1]
        assert len(set(ids)) == 4
        assert all(len(each) <= 512 for each in ids)

    def test_repeats_are_known_by_their_time(self):
        once, again = (read_all(mixpanel.read_person, PYTHON_PEOPLE)[0].message_id for _ in range(2))
        untimed = PYTHON_PEOPLE | {"$time": None}
        assert once == again
        assert len({read_all(mixpanel.read_person, untimed)[0].message_id for _ in range(2)}) == 2

    @pytest.mark.parametrize(
        ("item", "reason"),
        [
            (profile(), "no_operation"),
            (profile(set={"a": 1}) | {"$distinct_id": ""}, "nobody"),
            (profile(set=[1]), "not_an_object"),
            (profile(add=3), "not_an_object"),
            (profile(unset=3), "bad_unset"),
            (profile(unset=[{}]), "bad_unset"),
            (profile(set={f"t{n}": n for n in range(201)}), "too_many_traits"),
            (profile(set={"a": 1}) | {"$time": "soon"}, "bad_time"),
        ],
    )
    def test_says_why_not(self, item, reason):
        assert code(mixpanel.read_person, item) == reason


class TestReadGroup:
    def test_set(self):
        (fact,) = read_all(mixpanel.read_group, PYTHON_GROUP)
        assert (fact.name, fact.group_id, fact.at) == ("$group", "acme", NOON)
        assert (fact.account_traits, fact.user_traits, people(fact)) == (
            {"name": "Acme", "seats": 9},
            {},
            (None, None, ()),
        )

    def test_the_other_operations(self):
        base = {key: value for key, value in PYTHON_GROUP.items() if key != "$set"}
        facts = read_all(mixpanel.read_group, base | {"$set_once": {"a": 1}, "$unset": ["b"], "$add": {"seats": 1}})
        assert [fact.name for fact in facts] == ["$group", "$add"]
        assert (facts[0].account_traits, facts[0].account_traits_once) == ({"b": None}, {"a": 1})
        assert (facts[1].group_id, facts[1].properties) == ("acme", {"seats": 1})

    def test_a_group_that_is_no_account_is_no_reason_to_trouble_the_sender(self):
        assert code(mixpanel.read_group, PYTHON_GROUP | {"$group_key": "building"}) == mixpanel.OTHER_GROUP

    def test_the_source_says_which_groups_are_accounts(self):
        item = PYTHON_GROUP | {"$group_key": "building"}
        assert read_all(mixpanel.read_group, item, types=["building"])[0].group_id == "acme"
        assert isinstance(mixpanel.read_group(item=PYTHON_GROUP, received_at=RECEIVED, types=["building"]), Rejected)

    @pytest.mark.parametrize(
        ("item", "reason"),
        [
            (PYTHON_GROUP | {"$group_id": None}, "no_group"),
            (PYTHON_GROUP | {"$group_key": ["company"]}, "bad_id"),
            ({key: value for key, value in PYTHON_GROUP.items() if key != "$set"}, "no_operation"),
        ],
    )
    def test_says_why_not(self, item, reason):
        assert code(mixpanel.read_group, item) == reason


ITEM_NAMES = st.sampled_from(
    ["event", "properties", "$token", "$distinct_id", "$device_id", "$user_id", "$time", "$group_key", "$group_id"]
) | st.sampled_from([*sorted(mixpanel.SETTING), *mixpanel.CHANGING])
PROPERTY_NAMES = st.sampled_from(
    ["token", "time", "distinct_id", "$device_id", "$user_id", "$insert_id", "alias", "$distinct_ids", "company"]
) | st.sampled_from(["$anon_distinct_id", "$current_url"])
EVENT_NAMES = st.sampled_from(["x", "$identify", "$create_alias", "$merge", "$mp_web_page_view"])
ITEMS = st.dictionaries(ITEM_NAMES, JSON_VALUES, max_size=6) | st.fixed_dictionaries(
    {"event": EVENT_NAMES | JSON_VALUES, "properties": st.dictionaries(PROPERTY_NAMES, JSON_VALUES, max_size=6)}
)


class TestAnything:
    @pytest.mark.parametrize("reader", [mixpanel.read, mixpanel.read_person, mixpanel.read_group])
    @given(item=ITEMS, types=st.sampled_from([(), ("company",)]))
    def test_becomes_facts_or_a_reason(self, reader, item, types):
        facts = reader(item=item, received_at=RECEIVED, types=types)
        if isinstance(facts, Rejected):
            assert facts.code
            assert facts.message
        else:
            assert facts
            for fact in facts:
                assert fact.at.tzinfo is UTC
                assert fact.user_id or fact.anonymous_id or fact.group_id
                assert fact.user_id != fact.anonymous_id or fact.user_id is None


# ---- the doors


@pytest.fixture
def token(secret: str) -> str:
    return secret


def b64(value: Any) -> str:
    return base64.b64encode(orjson.dumps(value)).decode()


def post_form(path: str, **form: str) -> Any:
    return Client().post(path, urlencode(form), content_type="application/x-www-form-urlencoded")


def mine(token: str, item: Mapping[str, Any]) -> dict[str, Any]:
    if "properties" in item:
        return {**item, "properties": {**item["properties"], "token": token}}
    return {**item, "$token": token}


class TestTrack:
    def test_pythons_form(self, token, source):
        answer = post_form("/track", data=orjson.dumps(mine(token, PYTHON_TRACK)).decode(), verbose="1", ip="0")
        assert (answer.status_code, answer.json()) == (200, {"status": 1, "error": None})
        stored = Event.objects.get(source=source)
        assert (stored.name, stored.at) == ("File Uploaded", NOON + timedelta(microseconds=181578))

    def test_nodes_get(self, token, source):
        answer = Client().get(f"/track?ip=0&verbose=0&data={quote(b64(mine(token, event())), safe='')}")
        assert (answer.status_code, answer.content) == (200, b"1")
        assert Event.objects.get(source=source).at == NOON

    def test_nodes_post_of_unquoted_base64(self, token, source):
        body = b"data=" + b64([mine(token, event(text="?>~ß")), mine(token, event(**{"$insert_id": "i2"}))]).encode()
        answer = send("/track?ip=0&verbose=0", body)
        assert (answer.status_code, answer.content) == (200, b"1")
        assert {e.properties.get("text") for e in Event.objects.filter(source=source)} == {None, "?>~ß"}

    def test_the_browsers_form_with_an_emoji_in_halves(self, token, source):
        sent = orjson.dumps(mine(token, event(mood="😀"))).replace("😀".encode(), b"\xed\xa0\xbd\xed\xb8\x80")
        body = b"data=" + quote(base64.b64encode(sent)).encode()
        answer = send("/track/?verbose=1&ip=1&_=1795338600000", body, Origin="https://shop.example")
        assert answer.json() == {"status": 1, "error": None}
        assert answer["Access-Control-Allow-Origin"] == "https://shop.example"
        assert answer["Access-Control-Allow-Credentials"] == "true"
        assert Event.objects.get(source=source).properties == {"mood": "😀"}

    def test_plain_json_and_gzip(self, token, source):
        assert send("/track", gzip.compress(orjson.dumps([mine(token, event())]))).content == b"1"
        assert send("/track", mine(token, event(**{"$insert_id": "i2"}))).content == b"1"
        assert Event.objects.filter(source=source).count() == 2

    def test_a_picture(self, token):
        answer = Client().get(f"/track/?img=1&data={quote(b64(mine(token, event())), safe='')}")
        assert (answer.status_code, answer["Content-Type"], answer.content[:6]) == (200, "image/gif", b"GIF89a")

    def test_a_repeat_is_a_success_and_stored_once(self, token, source):
        for _ in range(2):
            assert send("/track?verbose=1", [mine(token, event())]).json() == {"status": 1, "error": None}
        assert Event.objects.filter(source=source).count() == 1

    def test_no_item_is_a_success(self):
        assert send("/track", []).content == b"1"

    def test_an_unknown_token_is_told_in_words_that_python_understands(self, db):
        answer = send("/track", event())
        assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (401, 0, "unknown_key")
        assert answer["WWW-Authenticate"].startswith("WriteKey")

    @pytest.mark.parametrize("body", [b"", b"data=%%%", b"data=", b"{", b"17", b'"x"', b"data=bm8=", b"\x1f\x8bxx"])
    def test_a_body_that_is_none_is_told_too(self, body, db):
        answer = send("/track", body)
        assert (answer.status_code, answer.json()["status"]) == (400, 0)
        assert answer.json()["error"]

    def test_the_database_being_away_is_told_too(self, token, monkeypatch):
        def away(**_: Any) -> None:
            raise door.DATABASE_AWAY[0]

        monkeypatch.setattr(door, "take", away)
        answer = send("/track", mine(token, event()))
        assert (answer.status_code, answer.json()["status"], answer["Retry-After"]) == (503, 0, "5")

    def test_one_consumer_may_send_for_several_projects(self, token, source):
        other = facts.create_source(slug="other", at=RECEIVED)
        theirs = facts.create_key(source=other, kind=Key.Kind.WRITE, by=None, at=RECEIVED)[1]
        items = [mine(token, event()), mine(theirs, event()), event(), mine(token, event(**{"$insert_id": "i2"}))]
        answer = send("/track?verbose=1", items)
        assert answer.json()["status"] == 1
        assert answer.json()["error"].startswith("1 of 4 were not taken: send a live write key")
        assert (Event.objects.filter(source=source).count(), Event.objects.filter(source=other).count()) == (2, 1)

    def test_more_projects_than_a_consumer_has_are_refused(self, db):
        assert send("/track", [mine(f"t{n}", event()) for n in range(11)]).json()["reason"] == "too_many_tokens"

    def test_the_source_says_which_property_is_the_account(self, token, source):
        source.group_types = ["customer"]
        source.save()
        send("/track", mine(token, event(customer="globex", company=["acme"])))
        assert Event.objects.get(source=source, account__external_id="globex")


class TestBadItems:
    def test_a_bad_item_does_not_trouble_the_good_ones(self, token, source):
        answer = send("/track?verbose=1", [mine(token, event()), mine(token, event(time="soon")), 17])
        assert (answer.status_code, answer.json()["status"]) == (200, 1)
        assert answer.json()["error"].startswith("2 of 3 were not taken: ")
        assert Event.objects.filter(source=source).count() == 1

    def test_alone_it_is_told_with_a_status_at_which_no_telephone_sends_it_again(self, token):
        bad = [mine(token, event(time="soon"))]
        answer = send("/track?verbose=1", bad)
        assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (200, 0, "bad_time")
        assert answer.json()["error"].startswith('1 of 1 were not taken: "time" is a number of seconds')
        answer = send("/track", bad)
        assert (answer.status_code, answer.content) == (200, b"0")

    def test_alone_in_an_address_it_is_refused(self, token):
        answer = Client().get("/track", {"data": orjson.dumps(mine(token, event(time="soon"))).decode()})
        assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (400, 0, "bad_time")

    def test_poison_among_fifty_is_rejected_alone(self, token, source):
        good = [orjson.dumps(mine(token, event(**{"$insert_id": f"g{n}"}))) for n in range(50)]
        for number, (poison, reason) in enumerate(POISONS.values()):
            fresh = [line.replace(b'"g', f'"{number}-g'.encode()) for line in good]
            answer = send("/import?strict=1", b"[" + b",".join([*fresh[:25], poison, *fresh[25:]]) + b"]")
            assert (answer.status_code, answer.json()["num_records_imported"]) == (400, 50), poison[:50]
            assert [(line["index"], line["field"]) for line in answer.json()["failed_records"]] == [(25, reason)]
        assert Event.objects.filter(source=source).count() == 50 * len(POISONS)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(items=st.lists(ITEMS, min_size=1, max_size=4))
    def test_no_json_whatever_is_a_fault_of_ours(self, items, token):
        for path in ("/track", "/engage", "/groups", "/import"):
            answer = send(f"{path}?token={token}", items)
            assert answer.status_code in (200, 400), answer.content


class TestProfiles:
    def test_a_person_and_the_account(self, token, source):
        answer = post_form("/engage", data=orjson.dumps([mine(token, PYTHON_PEOPLE)]).decode(), verbose="1", ip="0")
        assert answer.json() == {"status": 1, "error": None}
        answer = post_form("/groups", data=orjson.dumps(mine(token, PYTHON_GROUP)).decode(), verbose="1", ip="0")
        assert answer.json() == {"status": 1, "error": None}
        assert Identity.objects.get(value="ann").user.home.external_id == "acme.example"
        assert set(Event.objects.filter(source=source).values_list("name", flat=True)) == {"$identify", "$group"}

    def test_another_group_type_is_no_error_to_the_library(self, token, source):
        answer = send("/groups?verbose=1", mine(token, PYTHON_GROUP | {"$group_key": "building"}))
        assert (answer.status_code, answer.json()) == (200, {"status": 1, "error": None})
        assert not Event.objects.filter(source=source).exists()


class TestOrder:
    CALLS = (
        event("Docs Read", **{"distinct_id": "$device:d1", "$device_id": "d1", "mp_lib": "web", "$insert_id": "o1"}),
        event(
            "$identify", **{"$anon_distinct_id": "$device:d1", "$device_id": "d1", "mp_lib": "web", "$insert_id": "o2"}
        ),
        event("Invited", **{"$device_id": "d1", "$user_id": "ann", "mp_lib": "web", "$insert_id": "o3"}),
        event("$create_alias", **{"distinct_id": "cookie", "alias": "ann", "$insert_id": "o4"}),
    )

    @pytest.mark.parametrize("order", list(permutations(range(4))))
    def test_of_calls_does_not_show_in_who_is_who(self, order, token):
        for i in order:
            assert send("/track", mine(token, self.CALLS[i])).content == b"1"
        (user,) = ProductUser.objects.filter(merged_into=None)
        assert user.known
        ids = Identity.objects.filter(user=user).values_list("value", "known")
        assert set(ids) == {("ann", True), ("d1", False), ("cookie", False)}


class TestImport:
    @pytest.mark.parametrize("by", ["header", "api_key", "token"])
    def test_knows_the_sender_in_three_ways(self, by, token, source):
        headers = (
            {"Authorization": "Basic " + base64.b64encode(f"{token}:".encode()).decode()} if by == "header" else {}
        )
        path = f"/import?strict=1{f'&api_key={token}' if by == 'api_key' else ''}"
        answer = send(path, [mine(token, event()) if by == "token" else event(token=None)], **headers)
        assert answer.json() == {"code": 200, "num_records_imported": 1, "status": "OK"}
        assert Event.objects.filter(source=source).count() == 1

    def test_an_old_secret_of_mixpanels_does_no_harm(self, token, source):
        headers = {"Authorization": "Basic " + base64.b64encode(b"old-secret:").decode()}
        assert send("/import", [mine(token, event())], **headers).json()["num_records_imported"] == 1

    def test_takes_one_object_a_line(self, token, source):
        lines = [orjson.dumps(mine(token, event(**{"$insert_id": f"l{n}"}))) for n in range(3)]
        answer = send("/import?strict=1", gzip.compress(b"\n".join(lines) + b"\n"))
        assert answer.json() == {"code": 200, "num_records_imported": 3, "status": "OK"}

    def test_names_what_was_not_taken(self, token, source):
        items = [mine(token, event()), mine(token, event(time=None, **{"$insert_id": "late"}))]
        answer = send("/import?strict=1", items)
        assert (answer.status_code, answer.json()["code"], answer.json()["num_records_imported"]) == (400, 400, 1)
        (failed,) = answer.json()["failed_records"]
        assert (failed["index"], failed["$insert_id"], failed["field"]) == (1, "late", "no_time")

    def test_is_not_strict_if_told_so(self, token):
        answer = send("/import?strict=0", [mine(token, event()), mine(token, event(time=None))])
        assert (answer.status_code, answer.json()) == (200, {"code": 200, "num_records_imported": 1, "status": "OK"})

    def test_answers_the_libraries_form_as_they_expect(self, token):
        data = orjson.dumps(mine(token, event())).decode()
        assert post_form("/import", data=data, verbose="1", ip="0").json() == {"status": 1, "error": None}
        assert Client().get(f"/import?ip=0&verbose=0&data={quote(b64(mine(token, event())), safe='')}").content == b"1"


class TestNothing:
    @pytest.mark.parametrize("path", ["/settings/?$lib_version=2", "/record/?format=body"])
    def test_needs_no_key_and_does_no_harm(self, path):
        answer = Client().get(path, headers={"Origin": "https://shop.example"})
        assert (answer.status_code, answer.json()["sdk_config"]) == (200, {"config": {}})
        assert answer["Access-Control-Allow-Origin"] == "https://shop.example"
        assert Client().post(path, b"\x1f\x8b", content_type="text/plain").status_code == 200
