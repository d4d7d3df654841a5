"""Rings go out at once while little comes, together while much comes, and never get lost."""

import threading

import pytest

from pqlapp.ringer import BUSY, PAUSE, Ringer
from tests.serving import PATIENCE


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def quiet(clock: Clock) -> Ringer:
    """A ringer whose thread is not started: the test asks what is due."""
    ringer = Ringer(ring=lambda shards: None, clock=clock)
    ringer._run = lambda: None  # type: ignore[method-assign]
    return ringer


class TestPace:
    def test_a_lone_ring_goes_out_at_once_and_once(self) -> None:
        ringer = quiet(Clock())
        ringer.note(shards=[1, 2])
        assert ringer.due() == ({1, 2}, None)
        assert ringer.due() == (set(), None)

    def test_a_shard_is_rung_for_again_at_once_while_little_comes(self) -> None:
        ringer, clock = quiet(Clock()), Clock()
        for _ in range(BUSY - 1):
            clock.now += 0.001
            ringer.note(shards=[1])
            assert ringer.due() == ({1}, None)

    def test_in_a_crowd_each_shard_is_rung_for_once_in_a_while(self) -> None:
        clock = Clock()
        ringer = quiet(clock)
        rung: list[int] = []
        for _ in range(1000):  # two seconds
            clock.now += 0.002
            ringer.note(shards=[1, 2])
            rung += ringer.due()[0]
        assert BUSY <= len(rung) <= 2 * (BUSY + 2 / PAUSE)

    def test_a_few_batches_of_many_accounts_are_a_crowd(self) -> None:
        ringer = quiet(Clock())
        everyone = range(8)
        for _ in range(BUSY // 8):
            ringer.note(shards=everyone)
            ringer.due()
        ringer.note(shards=everyone)
        assert ringer.due() == (set(), PAUSE)

    def test_in_a_crowd_all_processes_ring_at_the_same_moments(self) -> None:
        clock = Clock()
        both = quiet(clock), quiet(clock)
        rung: tuple[list[float], list[float]] = [], []
        for step in range(3000):  # three seconds; the second process begins a third of one later
            clock.now = 100 + step / 1000
            for ringer, moments in zip(both[: 1 + (step > 333)], rung, strict=False):
                ringer.note(shards=[1])
                moments += [clock.now] * len(ringer.due()[0])
        assert [moments[-2:] for moments in rung] == [[101.0, 102.0]] * 2

    def test_what_was_noted_last_is_due_when_the_pause_is_over(self) -> None:
        clock = Clock()
        ringer = quiet(clock)
        for _ in range(BUSY):
            ringer.note(shards=[1])
            ringer.due()
        ringer.note(shards=[1])
        ready, wait = ringer.due()
        assert not ready and wait is not None and 0 < wait <= PAUSE
        clock.now += wait
        assert ringer.due() == ({1}, None)


class TestThread:
    def test_rings_for_all_that_is_noted_whoever_notes_it(self) -> None:
        rung: set[int] = set()
        everything = threading.Event()

        def ring(shards: set[int]) -> None:
            rung.update(shards)
            if rung == set(range(200)):
                everything.set()

        ringer = Ringer(ring=ring)
        threads = [threading.Thread(target=ringer.note, kwargs={"shards": [n]}) for n in range(200)]
        for thread in threads:
            thread.start()
        assert everything.wait(PATIENCE)

    def test_a_thread_that_ended_is_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rung: list[set[int]] = []
        ringer = Ringer(ring=rung.append)
        monkeypatch.setattr(ringer, "_run", lambda: rung.append(ringer.due()[0]))  # once, as if a fork had ended it
        for number in (1, 2):
            ringer.note(shards=[number])
            assert ringer._thread is not None
            ringer._thread.join(PATIENCE)
        assert rung == [{1}, {2}]
