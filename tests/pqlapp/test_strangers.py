"""Calls with a key that opens nothing cost the database next to nothing, and are counted all the same."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import psycopg
import pytest

from pqlapp.ingest import strangers
from pqlapp.ingest.strangers import Strangers
from scoring import facts
from scoring.facts import Reason
from scoring.models import Arrival
from tests.serving import PATIENCE

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SINCE = datetime(2026, 11, 1, tzinfo=UTC)
Written = list[tuple[str, dict[str, tuple[int, str]]]]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Book:
    """Where counts are written to; it fails as often as told."""

    def __init__(self) -> None:
        self.written: Written = []
        self.failures = 0
        self.news = threading.Event()

    def write(self, wire: str, reasons: Sequence[Reason], at: datetime) -> None:
        assert at == AT
        if self.failures:
            self.failures -= 1
            raise psycopg.OperationalError("the connection is closed")
        self.written.append((wire, {reason.code: (reason.count, reason.sample) for reason in reasons}))
        self.news.set()


def reason(code: str = "unknown_key", sample: str = "wk_0…", count: int = 1) -> Reason:
    return Reason(code, "send a live key", count, sample)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counted(book: Book, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Strangers:
    """Return a counter whose timer is not started: the test says when its time has come."""
    monkeypatch.setattr(strangers, "PAUSE", 5.0)
    monkeypatch.setattr(threading.Timer, "start", lambda self: None)
    return Strangers(write=book.write, clock=clock)


class TestPace:
    def test_the_first_is_written_at_once(self, counted: Strangers, book: Book) -> None:
        counted.note(wire="segment", reason=reason(), at=AT)
        assert book.written == [("segment", {"unknown_key": (1, "wk_0…")})]

    def test_a_flood_is_written_once_in_a_while_with_one_sample(
        self, counted: Strangers, book: Book, clock: Clock
    ) -> None:
        for n in range(10_000):  # ten seconds
            clock.now += 0.001
            counted.note(wire="segment", reason=reason(sample=f"{n}…"), at=AT)
        counted.write()
        assert len(book.written) <= 4
        assert sum(reasons["unknown_key"][0] for _, reasons in book.written) == 10_000

    def test_wires_and_reasons_are_told_apart(self, counted: Strangers, book: Book) -> None:
        counted.note(wire="segment", reason=reason(), at=AT)
        for wire, code in (("segment", "bad_json"), ("mixpanel", "unknown_key"), ("segment", "unknown_key")) * 2:
            counted.note(wire=wire, reason=reason(code), at=AT)
        counted.write()
        later = dict(book.written[1:])
        assert {wire: {code: count for code, (count, _) in of.items()} for wire, of in later.items()} == {
            "segment": {"bad_json": 2, "unknown_key": 2},
            "mixpanel": {"unknown_key": 2},
        }

    def test_nothing_is_written_twice(self, counted: Strangers, book: Book) -> None:
        counted.note(wire="segment", reason=reason(), at=AT)
        counted.write()
        assert len(book.written) == 1


class TestFailing:
    def test_what_could_not_be_written_is_written_later(self, counted: Strangers, book: Book, clock: Clock) -> None:
        book.failures = 1
        with pytest.raises(psycopg.OperationalError):
            counted.note(wire="segment", reason=reason(), at=AT)
        counted.note(wire="segment", reason=reason(count=2), at=AT)
        counted.note(wire="native", reason=reason(), at=AT)
        clock.now += 5
        book.failures = 1
        with pytest.raises(psycopg.OperationalError):
            counted.write()
        counted.write()
        assert dict(book.written) == {"segment": {"unknown_key": (3, "wk_0…")}, "native": {"unknown_key": (1, "wk_0…")}}


class TestTimer:
    def test_what_waits_is_written_though_nobody_comes_any_more(
        self, book: Book, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(strangers, "PAUSE", 0.05)
        monkeypatch.setattr(strangers.db.connections, "close_all", lambda: None)
        start: Callable[[threading.Timer], None] = threading.Timer.start
        waiting: list[threading.Timer] = []
        monkeypatch.setattr(threading.Timer, "start", lambda timer: waiting.append(timer))
        monkeypatch.setattr(threading.Timer, "is_alive", lambda timer: timer in waiting)
        counted = Strangers(write=book.write, clock=clock)
        for _ in range(3):
            counted.note(wire="segment", reason=reason(), at=AT)
        book.news.clear()
        (timer,) = waiting
        start(timer)  # not before all three came, however busy the machine is
        assert book.news.wait(PATIENCE)
        assert [reasons["unknown_key"][0] for _, reasons in book.written] == [1, 2]

    def test_another_one_is_started_when_the_last_has_run(
        self, counted: Strangers, book: Book, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(threading.Timer, "start", lambda self: self.function())
        monkeypatch.setattr(counted, "write", lambda: None)
        started: list[threading.Timer | None] = []
        for _ in range(3):
            counted._written_at = clock.now
            counted.note(wire="segment", reason=reason(), at=AT)
            started.append(counted._timer)
        assert len({id(timer) for timer in started}) == 3


@pytest.mark.django_db
class TestInTheDatabase:
    def test_a_flood_is_few_rows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(strangers, "PAUSE", 5.0)
        monkeypatch.setattr(threading.Timer, "start", lambda self: None)
        counted = Strangers(write=strangers.counted._write, clock=Clock())
        for _ in range(1000):
            counted.note(wire="segment", reason=reason(), at=AT)
        counted.write()
        assert Arrival.objects.count() == 2
        (turned,) = facts.turned_away(source=None, since=SINCE)
        assert (turned.code, turned.count, turned.sample) == ("unknown_key", 1000, "wk_0…")
