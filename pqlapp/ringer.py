"""Rings the bell for the doors, from a thread of its own: no sender waits for Redis, and a crowd rings together.

While little comes, each ring goes out at once. While much comes, each shard is rung for once in a while: scoring
the same accounts again after every event would take the machine from those who send. All processes of a machine do so
at the same moments: what they ring for then is one ring. Nothing is lost by it: what is noted is rung for, and if the
process dies first the beat does it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

BUSY = 40  # rings asked for within a second, each shard by itself, from which on it is a crowd
PAUSE = 1.0  # seconds between two rings for one shard in a crowd: nobody may wait two


class Ringer:
    """Notes shards and rings for them. `ring` is called with a set of them, and must not raise."""

    def __init__(self, *, ring: Callable[[set[int]], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._ring = ring
        self._clock = clock
        self._noted: set[int] = set()
        self._rung_at: dict[int, float] = {}
        self._asked_at: deque[float] = deque(maxlen=BUSY)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def note(self, *, shards: Iterable[int]) -> None:
        """Have the shards rung for, now or soon. Returns at once."""
        asked = set(shards)
        with self._changed:
            self._noted |= asked
            self._asked_at.extend([self._clock()] * len(asked))  # one large batch asks for all of them
            self._changed.notify()
            if self._thread is None or not self._thread.is_alive():  # a fork does not take it along
                self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)
                self._thread.start()

    def due(self) -> tuple[set[int], float | None]:
        """Take the shards to ring for now; return them and in how many seconds the next ones are due (None: none)."""
        now = self._clock()
        is_crowd = len(self._asked_at) == BUSY and now - self._asked_at[0] < 1
        waits = {shard: self._next_turn(shard) - now if is_crowd else 0.0 for shard in self._noted}
        ready = {shard for shard, wait in waits.items() if wait <= 0}
        self._noted -= ready
        self._rung_at.update(dict.fromkeys(ready, now))
        return ready, min((wait for wait in waits.values() if wait > 0), default=None)

    def _next_turn(self, shard: int) -> float:
        """In a crowd: the first full multiple of PAUSE after the last ring, by the clock that all processes share."""
        return (self._rung_at.get(shard, -PAUSE) // PAUSE + 1) * PAUSE

    def _run(self) -> None:
        while True:
            with self._changed:
                ready, wait = self.due()
                if not ready:
                    self._changed.wait(wait)
                    continue
            self._ring(ready)
