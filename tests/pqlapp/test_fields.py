from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqlapp.ingest import fields
from pqlapp.ingest.fields import Unusable

RECEIVED = datetime(2026, 11, 22, 9, 10, 0, tzinfo=UTC)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.integers(-(2**53), 2**53),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class TestUnixTime:
    @pytest.mark.parametrize("value", [1795338600, 1795338600.0, 1795338600000, "1795338600", "1795338600000.0"])
    def test_takes_seconds_and_milliseconds(self, value):
        assert fields.unix_time("time", value) == datetime(2026, 11, 22, 9, 10, tzinfo=UTC)

    def test_keeps_the_microseconds_of_float_seconds(self):
        assert fields.unix_time("time", 1795338600.181578) == RECEIVED + timedelta(microseconds=181578)

    @pytest.mark.parametrize("value", [True, "now", "nan", "inf", [], {}, 1e300, 9e15, -1e18])
    def test_refuses_what_is_no_time(self, value):
        with pytest.raises(Unusable, match="since 1970"):
            fields.unix_time("time", value)

    @given(value=JSON_VALUES)
    def test_returns_a_time_or_nothing_or_says_why_not(self, value):
        try:
            at = fields.unix_time("time", value)
        except Unusable:
            return
        assert (at is None) == (value is None)


class TestByOurClock:
    def test_moves_the_time_by_what_the_clock_is_wrong(self):
        sent, at = RECEIVED + timedelta(days=1), RECEIVED + timedelta(days=1, minutes=-5)
        assert fields.by_our_clock(at=at, sent=sent, received_at=RECEIVED) == RECEIVED - timedelta(minutes=5)

    @pytest.mark.parametrize("sent", [None, RECEIVED - timedelta(seconds=30), RECEIVED + timedelta(seconds=30)])
    def test_leaves_an_honest_clock_alone(self, sent):
        at = RECEIVED - timedelta(hours=2)
        assert fields.by_our_clock(at=at, sent=sent, received_at=RECEIVED) == at


class TestContentId:
    def test_does_not_ask_for_the_order_of_the_names(self):
        assert fields.content_id({"a": 1, "b": {"c": 2, "d": 3}}) == fields.content_id({"b": {"d": 3, "c": 2}, "a": 1})

    def test_differs_where_the_content_does(self):
        assert fields.content_id({"a": 1}) != fields.content_id({"a": "1"})


class TestPage:
    def test_gives_a_view_the_names_that_rules_know(self):
        seen = fields.page(
            {"$current_url": "https://x/", "title": "mine", "$t": "its"}, {"url": "$current_url", "title": "$t"}
        )
        assert seen == {"$current_url": "https://x/", "title": "mine", "$t": "its", "url": "https://x/"}
