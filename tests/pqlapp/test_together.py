"""Requests that are stored together are answered as if each had been stored alone."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from pqlapp.ingest import together
from pqlapp.ingest.together import ENOUGH, HANDS, Crew
from pqlapp.processes import wait_until
from scoring.facts import Envelope, Fact, Recorded
from scoring.models import Source
from tests.serving import PATIENCE

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
APP, SITE = Source(pk=1, slug="app"), Source(pk=2, slug="site")
BAD = "bad"  # a fact that PostgreSQL cannot hold


class Facts:
    """Stands for scoring.facts: remembers what is recorded with what, and can be held up."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.known: set[str] = set()
        self.may_go = threading.Event()
        self.may_go.set()
        self.inside = threading.Semaphore(0)
        self._lock = threading.Lock()

    def record(self, *, source: Source, facts: Sequence[Fact], received_at: datetime, envelope: Envelope) -> Recorded:
        self.inside.release()
        assert self.may_go.wait(PATIENCE)
        with self._lock:
            self.calls.append([fact.message_id for fact in facts])
            if any(fact.name == BAD for fact in facts):
                raise psycopg.DataError("cannot hold this")
            statuses: list[Any] = []
            for fact in facts:
                statuses.append("duplicate" if fact.message_id in self.known else "accepted")
                self.known.add(fact.message_id)
        return Recorded(statuses, {len(facts)})


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Facts:
    stand_in = Facts()
    monkeypatch.setattr(together.facts, "record", stand_in.record)
    return stand_in


class Callers:
    """Threads that record facts, each like a request of its own."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.crew = Crew()
        self.threads = threads

    def send(self, *ids: str, source: Source = APP, library: str = "", name: str = "used") -> "Future[Recorded]":
        some = [Fact(message_id=one, at=NOW, name=name, user_id="ann") for one in ids]
        envelope = Envelope(wire="segment", library=library)
        return self.threads.submit(self.crew.record, source=source, facts=some, received_at=NOW, envelope=envelope)

    def occupy(self, stand_in: Facts) -> list["Future[Recorded]"]:
        """Have all hands busy with a request each, which do not end yet."""
        stand_in.may_go.clear()
        first = []
        for number in range(HANDS):
            first.append(self.send(f"first-{number}", library=f"library {number}" if number else ""))
            assert stand_in.inside.acquire(timeout=PATIENCE)
        return first

    def are_waiting(self, many: int) -> None:
        assert wait_until(lambda: len(self.crew._waiting) == many, within=PATIENCE)


@pytest.fixture
def callers() -> Iterator[Callers]:
    with ThreadPoolExecutor(40) as threads:
        yield Callers(threads)


class TestCrew:
    def test_a_request_alone_is_stored_alone(self, stand_in: Facts, callers: Callers) -> None:
        recorded = callers.send("m1", "m2", "m1").result(PATIENCE)
        assert recorded.statuses == ["accepted", "accepted", "duplicate"]
        assert stand_in.calls == [["m1", "m2", "m1"]]

    def test_what_comes_meanwhile_is_stored_together(self, stand_in: Facts, callers: Callers) -> None:
        first = callers.occupy(stand_in)
        later = [callers.send(f"m{number}", "same") for number in range(10)]
        callers.are_waiting(10)
        stand_in.may_go.set()
        assert all(one.result(PATIENCE).statuses == ["accepted"] for one in first)
        answers = [one.result(PATIENCE) for one in later]
        assert [answer.statuses[0] for answer in answers] == ["accepted"] * 10
        assert sorted(answer.statuses[1] for answer in answers) == ["accepted"] + ["duplicate"] * 9
        assert [answer.accepted + answer.duplicate for answer in answers] == [2] * 10
        assert len(stand_in.calls) <= HANDS + 2

    def test_few_wait_for_the_transaction_before_them_until_there_are_enough(
        self, stand_in: Facts, callers: Callers
    ) -> None:
        stand_in.may_go.clear()
        first = callers.send("m1")
        assert stand_in.inside.acquire(timeout=PATIENCE)
        few = callers.send("m2")
        callers.are_waiting(1)
        many = callers.send(*(f"n{number}" for number in range(ENOUGH - 1)))
        assert stand_in.inside.acquire(timeout=PATIENCE)
        callers.are_waiting(0)
        stand_in.may_go.set()
        for one in (first, few, many):
            one.result(PATIENCE)
        assert sorted(map(len, stand_in.calls)) == [1, ENOUGH]

    def test_sources_and_libraries_are_kept_apart(self, stand_in: Facts, callers: Callers) -> None:
        first = callers.occupy(stand_in)
        later = [
            callers.send("a1"),
            callers.send("b1", source=SITE),
            callers.send("c1", library="x"),
            callers.send("a2"),
        ]
        callers.are_waiting(4)
        stand_in.may_go.set()
        for one in [*first, *later]:
            one.result(PATIENCE)
        together = [sorted(call) for call in stand_in.calls if not call[0].startswith("first")]
        assert sorted(together) == [["a1", "a2"], ["b1"], ["c1"]]

    def test_no_transaction_grows_beyond_its_bound(self, stand_in: Facts, callers: Callers, monkeypatch: Any) -> None:
        monkeypatch.setattr(together, "MOST", 4)
        first = callers.occupy(stand_in)
        later = [callers.send(f"{number}-a", f"{number}-b", f"{number}-c") for number in range(6)]
        callers.are_waiting(6)
        stand_in.may_go.set()
        for one in [*first, *later]:
            one.result(PATIENCE)
        assert max(map(len, stand_in.calls)) == 3

    def test_a_bad_fact_is_the_fault_of_its_own_request_only(self, stand_in: Facts, callers: Callers) -> None:
        first = callers.occupy(stand_in)
        good, bad = [callers.send("g1"), callers.send("g2")], callers.send("b1", name=BAD)
        callers.are_waiting(3)
        stand_in.may_go.set()
        for one in [*first, *good]:
            assert one.result(PATIENCE).statuses == ["accepted"]
        with pytest.raises(psycopg.DataError):
            bad.result(PATIENCE)

    def test_a_thread_that_ends_leaves_nobody_waiting(
        self, stand_in: Facts, callers: Callers, monkeypatch: Any
    ) -> None:
        def end(**arguments: Any) -> Recorded:
            raise SystemExit

        first = callers.occupy(stand_in)
        later = [callers.send("m1"), callers.send("m2")]
        callers.are_waiting(2)
        monkeypatch.setattr(together.facts, "record", end)
        stand_in.may_go.set()
        for one in first:
            one.result(PATIENCE)
        for one in later:
            with pytest.raises((RuntimeError, SystemExit)):
                one.result(PATIENCE)
