from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqlapp.ingest import segment
from pqlapp.parser import Rejected
from scoring.facts import Fact

RECEIVED = datetime(2026, 11, 22, 9, 10, 0, tzinfo=UTC)
SEGMENT_PYTHON_TRACK = {
    "integrations": {},
    "anonymousId": None,
    "properties": {"file_type": "text/csv"},
    "timestamp": "2026-11-22T09:07:21.821+00:00",
    "context": {"groupId": "acme", "library": {"name": "analytics-python", "version": "2.4.0"}},
    "userId": "ann",
    "type": "track",
    "event": "File Uploaded",
    "messageId": "18df1f0e",
}
RUDDER_NODE_GROUP = {
    "userId": "ann",
    "groupId": "acme",
    "traits": {"plan": "free"},
    "type": "group",
    "context": {"library": {"name": "@rudderstack/rudder-sdk-node"}},
    "channel": "server",
    "_metadata": {"nodeVersion": "20"},
    "originalTimestamp": "2026-11-22T09:09:34.584Z",
    "messageId": "a20cfe08",
    "sentAt": "2026-11-22T09:09:34.655Z",
}
RUDDER_PYTHON_IDENTIFY = {
    "type": "identify",
    "channel": "server",
    "userId": "ann",
    "anonymousId": None,
    "context": {"traits": {"email": "ann@acme.example", "seats": 4}, "library": {"name": "rudder-python"}},
    "timestamp": "2026-11-22T09:08:00+00:00",
    "messageId": "m1",
}
BROWSER_ALIAS = {
    "timestamp": "2026-11-22T09:09:59.000Z",
    "userId": "ann",
    "type": "alias",
    "previousId": "anon-1",
    "anonymousId": "2524b220",
    "messageId": "ajs-next-1",
    "writeKey": "k",
    "sentAt": "2026-11-22T09:09:59.100Z",
    "context": {"page": {"path": "/"}},
}


def read(call: Mapping[str, object], **more: Any) -> Fact:
    fact = segment.read(call=call, received_at=RECEIVED, **more)
    assert isinstance(fact, Fact), fact
    return fact


def code(call: Mapping[str, object], **more: Any) -> str:
    rejected = segment.read(call=call, received_at=RECEIVED, **more)
    assert isinstance(rejected, Rejected), rejected
    return rejected.code


def track(**more: object) -> dict[str, object]:
    return {"type": "track", "event": "File Uploaded", "userId": "ann", "messageId": "m"} | more


class TestShapes:
    def test_track_of_segment_python(self):
        assert read(SEGMENT_PYTHON_TRACK) == Fact(
            message_id="18df1f0e",
            at=datetime(2026, 11, 22, 9, 7, 21, 821000, tzinfo=UTC),
            name="File Uploaded",
            user_id="ann",
            anonymous_id=None,
            group_id="acme",
            properties={"file_type": "text/csv"},
            user_traits={},
            account_traits={},
        )

    def test_group_of_rudder_node(self):
        assert read(RUDDER_NODE_GROUP) == Fact(
            message_id="a20cfe08",
            at=datetime(2026, 11, 22, 9, 9, 34, 584000, tzinfo=UTC),
            name="$group",
            user_id="ann",
            anonymous_id=None,
            group_id="acme",
            joins=True,
            properties={"plan": "free"},
            user_traits={},
            account_traits={"plan": "free"},
        )

    def test_identify_of_rudder_python_has_its_traits_in_the_context(self):
        fact = read(RUDDER_PYTHON_IDENTIFY)
        assert fact.name == "$identify"
        assert fact.user_traits == fact.properties == {"email": "ann@acme.example", "seats": 4}
        assert fact.account_traits == {}

    def test_identify_prefers_its_own_traits(self):
        call = RUDDER_PYTHON_IDENTIFY | {"traits": {"seats": 5}}
        assert read(call).user_traits == {"email": "ann@acme.example", "seats": 5}

    def test_alias_of_the_browser_links_three_ids(self):
        fact = read(BROWSER_ALIAS)
        assert (fact.name, fact.user_id, fact.anonymous_id, fact.aliases) == (
            "$alias",
            "ann",
            "2524b220",
            ("anon-1",),
        )

    @pytest.mark.parametrize("kind", ["page", "screen"])
    def test_page_keeps_its_name_and_category(self, kind):
        fact = read(
            {
                "type": kind,
                "anonymousId": "anon-1",
                "name": "Pricing",
                "category": "Docs",
                "properties": {"path": "/pricing", "category": "Docs"},
            }
        )
        assert fact.name == f"${kind}"
        assert fact.properties == {"path": "/pricing", "name": "Pricing", "category": "Docs"}

    def test_page_without_anything_but_a_visitor(self):
        fact = read({"type": "page", "anonymousId": "anon-1"})
        assert (fact.user_id, fact.anonymous_id, fact.group_id, fact.properties) == (None, "anon-1", None, {})

    def test_traits_in_the_context_of_other_calls_are_not_traits(self):
        assert read(track(context={"traits": {"plan": "free"}})).user_traits == {}
        assert read(track(traits={"plan": "free"})).user_traits == {}

    def test_the_door_names_the_kind(self):
        assert read({"userId": "ann", "traits": {}}, kind="identify").name == "$identify"
        assert read(track(), kind="page").name == "$page"

    def test_a_group_call_without_a_user_joins_nobody(self):
        fact = read({"type": "group", "groupId": "acme", "traits": {"plan": "free"}})
        assert (fact.joins, fact.group_id, fact.account_traits) == (False, "acme", {"plan": "free"})

    def test_a_server_may_track_for_an_account_alone(self):
        assert read(track(userId=None, context={"groupId": "acme"})).group_id == "acme"

    def test_null_objects_are_empty(self):
        fact = read(track(properties=None, context=None))
        assert fact.properties == {}


class TestIds:
    @pytest.mark.parametrize(("sent", "kept"), [(17, "17"), (17.0, "17"), ("17", "17"), ("  x ", "  x "), (0, "0")])
    def test_numbers_become_text(self, sent, kept):
        assert read(track(userId=sent)).user_id == kept

    @pytest.mark.parametrize("nothing", [None, ""])
    def test_null_and_empty_are_no_id(self, nothing):
        assert read(track(userId=nothing, anonymousId="anon-1")).user_id is None
        assert read(track(context={"groupId": nothing})).group_id is None
        assert code(track(userId=nothing)) == "nobody"

    @pytest.mark.parametrize("name", ["userId", "anonymousId", "messageId"])
    @pytest.mark.parametrize("value", [True, 1.5, [], {}, ["ann"]])
    def test_anything_else_is_rejected(self, name, value):
        assert code(track(**{name: value})) == "bad_id"

    @pytest.mark.parametrize("name", ["userId", "anonymousId", "messageId"])
    def test_an_id_has_at_most_512_characters(self, name):
        read(track(**{name: "x" * 512}))
        assert code(track(**{name: "x" * 513})) == "id_too_long"

    def test_long_ids_are_rejected_wherever_they_are(self):
        long = "x" * 513
        assert code(track(context={"groupId": long})) == "id_too_long"
        assert code({"type": "group", "userId": "ann", "groupId": long}) == "id_too_long"
        assert code({"type": "alias", "userId": "ann", "previousId": long}) == "id_too_long"

    def test_a_call_without_a_message_id_gets_its_own(self):
        first, second = (read({"type": "page", "userId": "ann"}) for _ in range(2))
        assert first.message_id != second.message_id
        assert len(first.message_id) == 36


class TestRejections:
    @pytest.mark.parametrize(
        ("call", "expected"),
        [
            ({"userId": "ann"}, "unknown_type"),
            (track(type="purchase"), "unknown_type"),
            (track(type=["track"]), "unknown_type"),
            (track(type=None), "unknown_type"),
            (track(event=None), "no_event_name"),
            (track(event=" "), "no_event_name"),
            (track(event=7), "no_event_name"),
            (track(event="x" * 513), "event_name_too_long"),
            (track(properties=[1]), "not_an_object"),
            (track(context="x"), "not_an_object"),
            ({"type": "identify", "userId": "ann", "traits": "x"}, "not_an_object"),
            ({"type": "identify", "userId": "ann", "context": {"traits": [1]}}, "not_an_object"),
            ({"type": "identify", "userId": "ann", "traits": {"x" * 257: 1}}, "trait_name_too_long"),
            ({"type": "group", "groupId": "acme", "traits": {str(n): n for n in range(201)}}, "too_many_traits"),
            ({"type": "group", "userId": "ann"}, "no_group"),
            ({"type": "alias", "userId": "ann"}, "no_previous_id"),
            ({"type": "page"}, "nobody"),
        ],
    )
    def test_each_has_its_code(self, call, expected):
        assert code(call) == expected

    @given(
        st.dictionaries(
            st.sampled_from(
                ["type", "userId", "anonymousId", "groupId", "previousId", "event", "messageId", "timestamp", "sentAt"]
            )
            | st.sampled_from(["originalTimestamp", "properties", "traits", "context", "name"]),
            st.none()
            | st.booleans()
            | st.integers(-(2**53), 2**53)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text()
            | st.sampled_from([*segment.TYPES, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "2026-11-22"])
            | st.dictionaries(
                st.sampled_from(["traits", "groupId"]), st.text() | st.dictionaries(st.text(), st.none())
            ),
        ),
        st.none() | st.text() | st.sampled_from(["0001-01-01", "9999-12-31T23:59:59-14:00"]),
    )
    def test_any_object_is_a_fact_or_rejected(self, call, sent_at):
        result = segment.read(call=call, received_at=RECEIVED, sent_at=sent_at)
        assert isinstance(result, (Fact, Rejected))
        if isinstance(result, Fact):
            assert result.at.utcoffset() == timedelta(0)


class TestTimes:
    def at(self, sent_at: object = None, **more: object) -> datetime:
        return read(track(**more), sent_at=sent_at).at

    def test_without_any_time_it_is_when_we_got_it(self):
        assert self.at() == RECEIVED
        assert self.at(sent_at="2026-11-22T08:00:00Z") == RECEIVED

    def test_a_time_alone_is_kept(self):
        assert self.at(timestamp="2024-02-29T23:59:59.999Z") == datetime(2024, 2, 29, 23, 59, 59, 999000, tzinfo=UTC)

    @pytest.mark.parametrize("name", ["timestamp", "originalTimestamp"])
    @pytest.mark.parametrize("own", [True, False])
    def test_a_clock_that_is_an_hour_slow_is_put_right(self, name, own):
        times = {name: "2026-11-22T08:05:00Z"}
        sent = "2026-11-22T08:10:00Z"  # received at 09:10 by our clock
        at = self.at(**times, sentAt=sent) if own else self.at(**times, sent_at=sent)
        assert at == datetime(2026, 11, 22, 9, 5, tzinfo=UTC)

    def test_a_clock_that_is_a_year_fast_is_put_right(self):
        at = self.at(timestamp="2027-11-22T09:09:00Z", sentAt="2027-11-22T09:10:00Z")
        assert at == datetime(2026, 11, 22, 9, 9, tzinfo=UTC)

    def test_the_time_of_an_honest_clock_is_kept_to_the_millisecond(self):
        at = self.at(timestamp="2026-11-21T23:59:59.999Z", sentAt="2026-11-22T09:09:58.500Z")
        assert at == datetime(2026, 11, 21, 23, 59, 59, 999000, tzinfo=UTC)

    def test_the_calls_own_sent_at_counts_before_the_batchs(self):
        at = self.at(timestamp="2026-11-22T09:00:00Z", sentAt="2026-11-22T09:10:00Z", sent_at="2026-11-22T08:00:00Z")
        assert at == datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def test_a_time_beside_the_original_one_was_put_right_before(self):
        at = self.at(
            timestamp="2020-01-01T00:00:00Z",
            originalTimestamp="2026-11-22T08:00:00Z",
            sentAt="2026-11-22T08:00:01Z",
        )
        assert at == datetime(2020, 1, 1, tzinfo=UTC)

    @pytest.mark.parametrize("nonsense", ["yesterday", 17, {}, ""])
    def test_a_sent_at_that_says_nothing_costs_no_call(self, nonsense):
        assert self.at(timestamp="2026-11-22T09:00:00Z", sentAt=nonsense) == datetime(2026, 11, 22, 9, tzinfo=UTC)

    @pytest.mark.parametrize(
        "stated",
        [
            "2026-11-22T11:00:00+02:00",
            "2026-11-22T09:00:00",
            "2026-11-22 09:00:00.000000",
            "20261122T090000Z",
            "2026-11-22T09:00:00.000000000Z",
        ],
    )
    def test_all_of_iso_8601_is_read_as_utc(self, stated):
        assert self.at(timestamp=stated) == datetime(2026, 11, 22, 9, tzinfo=UTC)

    @pytest.mark.parametrize("years", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
    def test_all_years_are_taken(self, years):
        assert self.at(timestamp=years) == datetime.fromisoformat(years)

    @pytest.mark.parametrize(
        "bad",
        [
            "yesterday",
            "",
            "2026-02-30",
            1795338821,
            1795338821.6,
            True,
            [],
            "0001-01-01T00:00:00+14:00",
            "10000-01-01T00:00:00Z",
            "2026-11-22T25:00:00Z",
        ],
    )
    @pytest.mark.parametrize("name", ["timestamp", "originalTimestamp"])
    def test_a_time_that_is_none_is_rejected(self, name, bad):
        assert code(track(**{name: bad})) == "bad_time"

    def test_a_time_that_leaves_the_calendar_when_put_right_is_rejected(self):
        assert code(track(timestamp="0001-01-01", sentAt="2027-01-01T00:00:00Z")) == "bad_time"
