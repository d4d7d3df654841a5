"""What comes to the doors is counted once: as it is stored, whoever folds the counts meanwhile."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from threading import Thread
from typing import Any

import psycopg
import pytest
from django import db
from django.db import connection

from scoring import facts
from scoring.facts import Envelope, Reason, recording
from scoring.models import Arrival, Event, Glimpse, Library, Rejection, Source, Traffic
from tests.scoring.world import NOW, call, identify, join, send, source

pytestmark = pytest.mark.django_db

SINCE = NOW - timedelta(hours=1)


def record(*calls: facts.Fact, at: Any = NOW, **envelope: Any) -> facts.Recorded:
    return facts.record(source=source(), facts=calls, received_at=at, envelope=Envelope(**envelope))


def totals() -> Counter[str]:
    """What the pages would show, added up."""
    names = ("accepted", "duplicate", "rejected", "without_company", "future", "past")
    found = Counter[str]()
    for count in facts.counted(since=SINCE):
        found.update({name: getattr(count, name) for name in names})
    return +found


def by_minute() -> list[facts.Count]:
    """What came; of a minute that is folded the last second is not known any more."""
    return [replace(count, last_at=count.at) for count in facts.counted(since=SINCE)]


class TestCount:
    def test_accepted_is_what_is_stored_and_the_rest_was_known(self) -> None:
        record(join("ann", "acme", message_id="1"), call(by="ann", message_id="2"), call(by="ann", message_id="2"))
        record(call(by="ann", message_id="2"), call(by="ann", message_id="3"))
        record(call(by="ann", message_id="3"))  # nothing of it is new
        assert totals() == {"accepted": 3, "duplicate": 3}
        assert Event.objects.count() == 3

    def test_known_calls_of_somebody_new_are_counted_too(self) -> None:
        record(call(by="ann", into="acme", message_id="1"))
        record(call(by="ben", into="acme", message_id="1"))  # left out before anything is stored
        assert totals() == {"accepted": 1, "duplicate": 1}

    def test_calls_that_count_for_no_company_are_told_apart(self) -> None:
        record(call(device="a phone"), call(by="cleo"), call(by="ann", into="acme"))
        record(identify("ben", email="ben@initech.example"))
        assert totals() == {"accepted": 4, "without_company": 2}

    def test_dates_ahead_and_long_ago_are_flagged_and_stored(self) -> None:
        ahead, old, soon = timedelta(hours=2), timedelta(days=31), timedelta(minutes=5)
        record(*(call(by="ann", into="acme", at=NOW + by) for by in (ahead, -old, soon, -soon)))
        assert totals() == {"accepted": 4, "future": 1, "past": 1}

    def test_a_batch_that_is_not_stored_is_not_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any) -> None:
            raise psycopg.DataError("it cannot be held")

        monkeypatch.setattr(recording, "_store_traits", fail)
        with pytest.raises(psycopg.DataError):
            record(call(by="ann", into="acme"))
        assert totals() == Counter()

    def test_each_request_is_of_its_wire_and_library_and_tells_the_clients_clock(self) -> None:
        record(call(by="ann"), wire="segment", library="analytics-python 2.4.0", skew=timedelta(seconds=90))
        record(call(by="ann"), wire="segment", library="analytics-python 2.4.0", skew=timedelta(seconds=-3))
        record(call(by="ann"), wire="native")
        facts.fold_arrivals()
        assert list(Library.objects.order_by("name").values_list("wire", "name", "calls")) == [
            ("native", "", 1),
            ("segment", "analytics-python 2.4.0", 2),
        ]
        by_wire = {count.wire: count for count in facts.counted(since=SINCE)}
        assert (by_wire["segment"].skew_low, by_wire["segment"].skew_high) == (-3000, 90_000)
        assert by_wire["native"].skew is None


class TestNote:
    def reject(self, *reasons: Reason, of: Source | None, at: Any = NOW) -> None:
        facts.note(source=of, envelope=Envelope(wire="segment"), reasons=reasons, at=at)

    def test_counts_by_reason_and_keeps_the_newest_sample(self) -> None:
        self.reject(Reason("bad_time", "no time", 2, '{"a":1}'), Reason("nobody", "who?", 1, "{}"), of=source())
        facts.fold_arrivals()
        self.reject(Reason("bad_time", "no time either", 1, '{"a":2}'), of=source(), at=NOW + timedelta(seconds=1))
        for _ in range(2):  # in the log, then folded
            found = {turned.code: turned for turned in facts.turned_away(source=source(), since=SINCE)}
            assert {code: turned.count for code, turned in found.items()} == {"bad_time": 3, "nobody": 1}
            assert (found["bad_time"].message, found["bad_time"].sample) == ("no time either", '{"a":2}')
            assert totals() == {"rejected": 4}
            facts.fold_arrivals()

    def test_calls_of_nobody_that_we_know_are_kept_apart(self) -> None:
        for n in range(3):
            self.reject(Reason("unknown_key", "send a live key", 1, f"wk_{n}"), of=None)
            facts.fold_arrivals()
        (turned,) = facts.turned_away(source=None, since=SINCE)
        assert (turned.count, turned.sample) == (3, "wk_2")
        assert facts.turned_away(source=source(), since=SINCE) == []
        assert totals() == Counter()

    def test_samples_are_forgotten_and_the_counts_stay(self) -> None:
        self.reject(Reason("bad_time", "no time", 2, "ann's secret"), of=source())
        facts.show(glimpses=[Glimpse(source=source(), at=NOW, wire="", event="x", result="accepted")])
        facts.forget_samples(source=source())
        (turned,) = facts.turned_away(source=source(), since=SINCE)
        assert (turned.count, turned.sample) == (2, "")
        assert not Glimpse.objects.exists()


class TestFold:
    def test_adds_up_by_minute_and_empties_the_log(self) -> None:
        for seconds in (0, 20, 59, 60, 61):
            record(call(by="ann", into="acme"), at=NOW + timedelta(seconds=seconds), wire="segment")
        before = by_minute()
        assert facts.fold_arrivals() == 5
        assert by_minute() == before
        assert [count.accepted for count in before] == [3, 2]
        assert not Arrival.objects.exists()
        assert facts.fold_arrivals() == 0
        assert source().last_call_at == NOW + timedelta(seconds=61)

    def test_of_a_minute_that_was_folded_before_adds_to_it(self) -> None:
        for _ in range(2):
            record(call(by="ann", into="acme"))
            facts.fold_arrivals()
        assert Traffic.objects.get().accepted == 2

    def test_goes_on_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(facts.arrivals, "FOLDED_AT_ONCE", 2)
        for _ in range(5):
            record(call(by="ann", into="acme"))
        assert facts.fold_arrivals() == 5
        assert totals() == {"accepted": 5}

    def test_lists_the_newest_libraries_only(self) -> None:
        for n in range(facts.arrivals.LIBRARIES_LISTED + 5):
            record(call(by="ann"), at=NOW + timedelta(seconds=n), library=f"made up {n}")
        facts.fold_arrivals()
        names = set(Library.objects.values_list("name", flat=True))
        assert len(names) == facts.arrivals.LIBRARIES_LISTED
        assert "made up 24" in names
        assert "made up 0" not in names

    def test_minutes_become_hours_and_samples_go(self) -> None:
        for minutes in (0, 1, 61):
            record(call(by="ann", into="acme"), at=NOW + timedelta(minutes=minutes))
        facts.note(source=source(), envelope=Envelope(), reasons=[Reason("bad_time", "no", 1, "{}")], at=NOW)
        facts.fold_arrivals()
        facts.thin_arrivals(at=NOW + timedelta(days=8))
        assert list(Traffic.objects.order_by("at").values_list("is_hour", "accepted")) == [(True, 2), (True, 1)]
        assert (Rejection.objects.get().count, Rejection.objects.get().sample) == (1, "")
        facts.thin_arrivals(at=NOW + timedelta(days=100))
        assert not Rejection.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestBesideEachOther:
    def test_counts_are_whole_while_others_fold(self) -> None:
        ours, rounds = source(), 25

        def ingest(who: str) -> None:
            for n in range(rounds):
                calls = [
                    call(by=who, into="acme", message_id=f"{who} {n}"),
                    call(by=who, into="acme", message_id="shared"),
                ]
                facts.record(source=ours, facts=calls, received_at=NOW)
                if n % 5 == 0:
                    facts.note(source=ours, envelope=Envelope(), reasons=[Reason("bad", "bad")], at=NOW)
            db.connections.close_all()

        def fold() -> None:
            while any(thread.is_alive() for thread in writers):
                facts.fold_arrivals()
            db.connections.close_all()

        writers = [Thread(target=ingest, args=(who,)) for who in ("ann", "ben", "cleo")]
        others = [Thread(target=fold) for _ in range(2)]
        for thread in (*writers, *others):
            thread.start()
        for thread in (*writers, *others):
            thread.join()
        for _ in range(2):
            assert totals() == {"accepted": 76, "duplicate": 74, "rejected": 15}
            facts.fold_arrivals()
        assert Event.objects.count() == 76
        assert not Arrival.objects.exists()

    def test_a_fold_that_is_killed_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(call(by="ann", into="acme"))
        monkeypatch.setattr(facts.arrivals, "_TRIM_LIBRARIES", "SELECT pg_terminate_backend(pg_backend_pid())")
        with pytest.raises((db.OperationalError, psycopg.OperationalError)):
            facts.fold_arrivals()
        connection.close()
        monkeypatch.undo()
        assert totals() == {"accepted": 1}
        facts.fold_arrivals()
        assert totals() == {"accepted": 1}


class TestLooks:
    def test_are_for_whoever_watches_or_waits_for_the_first_call(self) -> None:
        ours = source()
        assert facts.is_watched(source=ours, at=NOW)
        send(call(by="ann"))
        facts.fold_arrivals()
        assert not facts.is_watched(source=source(), at=NOW)
        facts.watch(source=ours, until=NOW + timedelta(minutes=1))
        assert facts.is_watched(source=source(), at=NOW)
        assert not facts.is_watched(source=source(), at=NOW + timedelta(minutes=2))

    def test_are_the_last_fifty_of_each_source(self) -> None:
        for slug in ("app", "billing"):
            looks = [Glimpse(source=source(slug), at=NOW, wire="", event=f"{n}", result="accepted") for n in range(70)]
            facts.show(glimpses=looks)
        facts.show(glimpses=[Glimpse(source=source(), at=NOW, wire="", event="last", result="accepted")])
        send(call(by="ann"))
        facts.fold_arrivals()
        assert Glimpse.objects.filter(source=source()).count() == 50
        assert Glimpse.objects.filter(source=source()).latest("id").event == "last"
