"""Each answer of a door is counted once, with a sample of what was turned away, and shown to whoever watches."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pqlapp.ingest import door, samples
from pqlapp.parser import Rejected
from scoring import facts
from scoring.models import Arrival, Event, Glimpse, Source
from tests.pqlapp.doors import AT, basic, send
from tests.pqlapp.test_parser import POISONS

SINCE = datetime(2020, 1, 1, tzinfo=UTC)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]


def track(n: int = 1, **more: Any) -> dict[str, Any]:
    call = {"type": "track", "event": "File Uploaded", "userId": "ann", "messageId": f"m{n}"}
    return call | {"context": {"groupId": "acme", "library": {"name": "analytics-node", "version": "3.1.0"}}} | more


@pytest.fixture
def post(secret: str) -> Callable[..., Any]:
    """Return a sender of JSON or of raw bytes with the write key in the header, or with another."""
    return lambda body, *, path="/v1/batch", key=secret: send(path, body, Authorization=basic(key))


def totals() -> Counter[str]:
    found = Counter[str]()
    for count in facts.counted(since=SINCE):
        found.update({name: getattr(count, name) for name in ("accepted", "duplicate", "rejected")})
    return +found


def turned_away(source: Source | None) -> dict[str, tuple[int, str]]:
    return {turned.code: (turned.count, turned.sample) for turned in facts.turned_away(source=source, since=SINCE)}


class TestEachAnswer:
    def test_is_counted_once_as_accepted_duplicate_or_rejected(self, post, source):
        post({"batch": [track(1), track(2), track(1), track(3, timestamp="soon"), track(4, timestamp="later"), 7]})
        post({"batch": [track(2)]})
        assert totals() == {"accepted": 2, "duplicate": 2, "rejected": 3}
        assert Event.objects.count() == 2
        assert {code: count for code, (count, _) in turned_away(source).items()} == {"bad_time": 2, "not_an_object": 1}

    def test_of_a_single_call_is_counted_once_though_it_is_refused(self, post, source):
        assert post(track(1, timestamp="soon"), path="/v1/track").status_code == 400
        assert totals() == {"rejected": 1}
        assert turned_away(source)["bad_time"][0] == 1

    def test_that_refuses_the_whole_body_is_counted(self, post, source):
        assert post(b'{"batch": [', path="/v1/batch").status_code == 400
        count, sample = turned_away(source)["bad_json"]
        assert (count, sample) == (1, '{"batch": [')

    def test_with_something_that_nobody_could_store_is_whole(self, post, source, monkeypatch):
        real = facts.record

        def record(*, facts: list[Any], **more: Any) -> Any:
            if any(fact.message_id in ("m3", "m5") for fact in facts):
                raise psycopg.DataError("some value is out of range")
            return real(facts=facts, **more)

        monkeypatch.setattr(door.facts, "record", record)
        post({"batch": [track(n) for n in range(9)] + [track(10, userId="null", context={})]})
        assert totals() == {"accepted": 7, "rejected": 3}
        assert {code: count for code, (count, _) in turned_away(source).items()} == {"not_storable": 2, "broken_id": 1}

    def test_that_asks_to_come_again_is_not_counted(self, post, monkeypatch):
        def record(**arguments: object) -> None:
            raise psycopg.OperationalError("the connection is closed")

        monkeypatch.setattr(door.facts, "record", record)
        monkeypatch.setattr(door, "_drop_dead_connection", lambda: None)  # it is the test's own
        assert post({"batch": [track(1), 7]}).status_code == 503
        assert not Arrival.objects.exists()

    def test_to_an_unknown_key_is_kept_apart_with_its_first_characters(self, post, source):
        for key in ("wk_0123456789ab_wrong", "phc_x", ""):
            assert post({"batch": [track(1)]}, key=key).status_code == 401
        assert turned_away(None)["unknown_key"][0] == 3
        assert turned_away(source) == {}
        assert not any("wrong" in str(row) for row in Arrival.objects.values_list("reasons", flat=True))
        facts.fold_arrivals()
        assert turned_away(None)["unknown_key"][1] == "phc_x"

    def test_to_every_poison_has_a_sample_that_can_be_kept(self, post, source):
        poisons = [poison for poison, _ in POISONS.values()]
        post(b'{"batch":[' + b",".join([*poisons, orjson.dumps(track(1))]) + b"]}")
        assert totals() == {"accepted": 1, "rejected": len(poisons)}
        facts.fold_arrivals()
        found = turned_away(source)
        assert set(found) == {code for _, code in POISONS.values()}
        assert all(0 < len(sample) <= samples.SAMPLE_LIMIT + 1 for _, sample in found.values())

    def test_tells_who_sends_and_how_its_clock_goes(self, post, source):
        sent_at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        post({"batch": [track(1)], "sentAt": sent_at})
        facts.fold_arrivals()
        (count,) = facts.counted(since=SINCE)
        assert count.skew is not None
        assert 3_600_000 <= count.skew < 3_700_000
        (library,) = source.libraries.all()
        assert (library.wire, library.name, library.calls) == ("segment", "analytics-node 3.1.0", 1)


class TestTheLastCalls:
    def test_are_shown_while_the_first_one_is_waited_for(self, post, source):
        post({"batch": [track(1), track(1), track(2, timestamp="soon", event="Bad One")]})
        assert list(Glimpse.objects.order_by("id").values_list("event", "user", "account", "result")) == [
            ("File Uploaded", "ann", "acme", "accepted"),
            ("File Uploaded", "ann", "acme", "duplicate"),
            ("Bad One", "", "", "bad_time"),
        ]

    def test_show_a_body_that_cannot_be_read(self, post, source):
        post(b"\0\xff")
        assert Glimpse.objects.get().reason

    def test_cost_nothing_when_nobody_watches(self, post, source):
        post({"batch": [track(1)]})
        facts.fold_arrivals()
        Glimpse.objects.all().delete()
        door._known_keys.clear()
        post({"batch": [track(2)]})
        with CaptureQueriesContext(connection) as queries:
            post({"batch": [track(3)]})
        assert not Glimpse.objects.exists()
        assert not any("glimpse" in query["sql"] for query in queries)

    def test_are_not_those_of_a_file(self, source):
        fact = facts.Fact(message_id="1", at=AT, name="a", user_id="ann")
        read: list[facts.Fact | Rejected] = [fact, Rejected("bad_json", "no", b"{")]
        door.take(source=source, read=read, received_at=datetime.now(UTC), wire="import", ring=False)
        assert totals() == {"accepted": 1, "rejected": 1}
        assert not Glimpse.objects.exists()

    def test_are_shown_to_whoever_watches(self, post, source):
        post({"batch": [track(1)]})
        facts.fold_arrivals()
        facts.watch(source=source, until=datetime.now(UTC) + timedelta(minutes=1))
        door._known_keys.clear()
        Glimpse.objects.all().delete()
        post({"batch": [track(n) for n in range(2, 80)]})
        assert Glimpse.objects.count() == facts.LOOKS


class TestSamples:
    def test_hide_what_looks_secret(self):
        item = {"writeKey": "abc", "properties": {"Password": "hunter2", "plan": "pro", "list": [{"api_key": "k"}]}}
        assert orjson.loads(samples.sample(item=item)) == {
            "writeKey": "…",
            "properties": {"Password": "…", "plan": "pro", "list": [{"api_key": "…"}]},
        }
        text = samples.sample(item=Rejected("bad_json", "no", b'{"token": "abc\\", "x": wk_0123456789ab_abcdef}'))
        assert "abc" not in text
        assert samples.sample(item={"event": "sk_0123456789ab_very-secret"}) == '{"event":"sk_…"}'

    def test_are_cut_and_hold_no_nul(self):
        assert len(samples.sample(item={"x": "y" * 9000})) == samples.SAMPLE_LIMIT + 1
        assert "\0" not in samples.sample(item=Rejected("x", "y", b"\0\xff"))

    @pytest.mark.parametrize(
        ("item", "name"),
        [
            ({"context": {"library": {"name": "analytics-python", "version": "2.4.0"}}}, "analytics-python 2.4.0"),
            ({"properties": {"$lib": "posthog-python", "$lib_version": "7.91.1"}}, "posthog-python 7.91.1"),
            ({"properties": {"mp_lib": "python", "$lib_version": "5.4.1"}}, "python 5.4.1"),
            ({"library": "amplitude-python/1.3.0"}, "amplitude-python/1.3.0"),
            ({"context": 7, "properties": [], "library": {"name": 1}}, ""),
            (7, ""),
        ],
    )
    def test_name_the_library(self, item, name):
        assert samples.library(items=[Rejected("x", "y"), item]) == name
