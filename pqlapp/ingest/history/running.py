"""Import a whole file: two threads read and record it, batch by batch, and note how far they have come.

A batch is stored first and noted afterwards, in the order of the file: what is noted is certainly stored. After a kill
the next run passes over what is noted, and what was stored besides is found to be there already.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from io import BufferedReader
from itertools import islice
from threading import Event, Lock

from django.db import connections
from django.utils import timezone

from pqlapp.ingest import door
from pqlapp.ingest.history.lines import Record
from pqlapp.ingest.history.reading import Reader
from pqlapp.parser import Rejected
from scoring import imports
from scoring.facts import Fact
from scoring.imports import Rejection, Settled, Tally
from scoring.models import ImportedFile, Source

BATCH = 2_000  # records
WRITERS = 2  # each has a connection: while PostgreSQL works for one, the other reads
PROBED = 10_000  # records of which one at least must be good

Progress = Callable[[int], object]


class NothingFits(Exception):
    """Not one of the first records could be taken: this is not the file, or not the format, that was meant."""


@dataclass(frozen=True, slots=True)
class _Batch:
    number: int  # in the order of the file
    records: list[Record]
    read: list[Sequence[Fact] | Rejected]  # of each record
    received_at: datetime


@dataclass(slots=True)
class Import:
    """One run over a file. Not to be used twice."""

    source: Source
    file: ImportedFile
    reader: Reader
    stream: BufferedReader
    tally: Tally = field(default_factory=Tally)  # of this run; complete even when it breaks off
    _next: int = 0  # number of the batch that is read next
    _settled: int = 0  # all batches before this one are noted
    _stored: dict[int, Settled] = field(default_factory=dict)  # batches that wait for an earlier one
    _reading: Lock = field(default_factory=Lock)
    _counting: Lock = field(default_factory=Lock)
    _stopped: Event = field(default_factory=Event)

    def run(self, *, on_progress: Progress) -> None:
        """Store all records behind those that are noted. `on_progress` is told how many more are done, by one thread
        at a time; what it raises stops the run.

        Raises what a thread raised, when both have stopped, and NothingFits.
        """
        records = self.reader.format.records(self.stream)
        self._pass_over(records, on_progress)
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="import") as pool:
            try:
                for thread in [pool.submit(self._work, records, on_progress) for _ in range(WRITERS)]:
                    thread.result()
            finally:
                self._stopped.set()
        imports.finish(file=self.file, at=timezone.now())

    def _pass_over(self, records: Iterator[Record], on_progress: Progress) -> None:
        left = self.file.records
        while batch := list(islice(records, min(BATCH, left))):
            for record in batch:
                self.reader.skip(record=record)
            left -= len(batch)
            on_progress(len(batch))

    def _work(self, records: Iterator[Record], on_progress: Progress) -> None:
        try:
            while not self._stopped.is_set() and (batch := self._next_batch(records)):
                self._store(batch, on_progress)
        except BaseException:
            self._stopped.set()
            raise
        finally:
            connections.close_all()

    def _next_batch(self, records: Iterator[Record]) -> _Batch | None:
        """Return the next batch, read; None behind the last one.

        Read under the lock: equal records get their ordinals in the order of the file, as a later run will count them.
        """
        with self._reading:
            batch = list(islice(records, BATCH))
            received_at = timezone.now()
            read = [self.reader.read(record=record, received_at=received_at) for record in batch]
            self._next += 1
            return _Batch(self._next - 1, batch, read, received_at) if batch else None

    def _store(self, batch: _Batch, on_progress: Progress) -> None:
        # Scored now and then, not after each batch: the same accounts come again in the next one.
        results = door.take_items(
            source=self.source, read=batch.read, received_at=batch.received_at, wire="import", ring=False
        )
        stored = _settled(batch.records, results)
        with self._counting:
            self.tally += stored.tally
            self._stored[batch.number] = stored
            self._note()
            on_progress(len(batch.records))
            self._check_fit()

    def _note(self) -> None:
        """Note all batches up to the first that is not stored yet."""
        while settled := self._stored.pop(self._settled, None):
            imports.note(file=self.file, settled=settled, at=timezone.now())
            self._settled += 1

    def _check_fit(self) -> None:
        if self.tally.rejected >= PROBED and not self.tally.stored and not self.file.accepted + self.file.duplicate:
            why = "; ".join(f"{reason.code}: {reason.message}" for reason in imports.reasons(files=[self.file])[:3])
            raise NothingFits(f"not one of the first {PROBED:,} records can be taken ({why}); is it {self.format}?")

    @property
    def format(self) -> str:
        """The name of the format that the file is read as."""
        return self.reader.format.name


def _settled(batch: list[Record], results: list[str | Rejected]) -> Settled:
    rejections = [
        Rejection(record.number, result.code, result.message, record.text)
        for record, result in zip(batch, results, strict=True)
        if isinstance(result, Rejected)
    ]
    tally = Tally(results.count("accepted"), results.count("duplicate"), len(rejections))
    return Settled(len(batch), tally, rejections)
