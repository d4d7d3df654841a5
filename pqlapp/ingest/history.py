"""Import a whole file of calls: two threads read and record it, batch by batch."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from threading import Event, Lock

from django.db import connections
from django.utils import timezone

from pqlapp.ingest import door, lines
from pqlapp.parser import Rejected
from scoring.models import Source

BATCH = 2_000  # lines
WRITERS = 2  # each has a connection: while PostgreSQL works for one, the other reads


@dataclass(frozen=True, slots=True)
class Reason:
    """Why lines were rejected: how many, and the first of them."""

    count: int
    line: int
    message: str


@dataclass(slots=True)
class Import:
    """One run over a file. Not to be used twice."""

    source: Source
    reader: lines.Reader
    lines: Iterator[tuple[int, bytes]]
    tally: Counter[str] = field(default_factory=Counter)  # accepted, duplicate, rejected
    reasons: dict[str, Reason] = field(default_factory=dict)  # by code
    _reading: Lock = field(default_factory=Lock)
    _counting: Lock = field(default_factory=Lock)
    _stopped: Event = field(default_factory=Event)

    def run(self, *, on_progress: Callable[[int], object]) -> None:
        """Store all lines. `on_progress` is told how many more lines are done, by one thread at a time.

        Raises what a thread raised, when both have stopped; the tally is true even then.
        """
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="import") as pool:
            try:
                for thread in [pool.submit(self._work, on_progress) for _ in range(WRITERS)]:
                    thread.result()
            finally:
                self._stopped.set()

    def _work(self, on_progress: Callable[[int], object]) -> None:
        try:
            while (batch := self._next_batch()) and not self._stopped.is_set():
                self._store(batch, on_progress)
        except BaseException:
            self._stopped.set()
            raise
        finally:
            connections.close_all()

    def _next_batch(self) -> list[tuple[int, bytes]]:
        with self._reading:
            return list(islice(self.lines, BATCH))

    def _store(self, batch: list[tuple[int, bytes]], on_progress: Callable[[int], object]) -> None:
        received_at = timezone.now()
        read = [self.reader.read(text=text, received_at=received_at) for _, text in batch]
        # Scored every two seconds, not after each batch: the same accounts come again in the next one.
        results = door.take(source=self.source, read=read, received_at=received_at, wire="import", ring=False)
        with self._counting:
            for (number, _), result in zip(batch, results, strict=True):
                self._count(number, result)
            on_progress(len(batch))

    def _count(self, number: int, result: str | Rejected) -> None:
        if not isinstance(result, Rejected):
            self.tally[result] += 1
            return
        self.tally["rejected"] += 1
        known = self.reasons.get(result.code, Reason(0, number, result.message))
        first = min((known.line, known.message), (number, result.message))
        self.reasons[result.code] = Reason(known.count + 1, *first)
