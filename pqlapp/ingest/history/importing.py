"""One part of history from where it lies to its end: what it is, how far it was read before, and the rest of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from io import BufferedReader
from typing import BinaryIO

from django.utils import timezone

from pqlapp.ingest.history import formats
from pqlapp.ingest.history.files import Part, unpacked
from pqlapp.ingest.history.formats import Format
from pqlapp.ingest.history.reading import Reader, newest_day
from pqlapp.ingest.history.running import Import
from pqlapp.ingest.history.tables import Mapped
from scoring import imports
from scoring.imports import Tally
from scoring.models import ImportedFile, Job, Source


@dataclass(frozen=True, slots=True)
class How:
    """In what way files are to be read."""

    format: str = ""  # one of formats.NAMES; "": to be found out
    mapped: Mapped | None = None
    days: int = 0  # added to each time

    def known_as(self, part: Part, format: str, job: Job | None) -> bytes:
        """Return what a part read in this way is known by; each job counts by itself."""
        columns = sorted(self.mapped.columns.items()) if self.mapped else []
        read_as = repr((format, columns, self.days, job and job.pk))
        return hashlib.sha256(part.fingerprint() + read_as.encode()).digest()


@dataclass(slots=True)
class Outcome:
    """What became of the parts so far."""

    files: list[ImportedFile] = field(default_factory=list)
    now: Tally = field(default_factory=Tally)  # records of this run
    before: Tally = field(default_factory=Tally)  # records that earlier runs have noted

    @property
    def tally(self) -> Tally:
        """What this run found: what earlier ones had stored is there already."""
        return Tally(
            accepted=self.now.accepted,
            duplicate=self.now.duplicate + self.before.stored,
            rejected=self.now.rejected + self.before.rejected,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of work that is done."""

    records: int
    position: int | None  # bytes of the part that are read by now; None where that cannot be known


def import_part(
    *,
    source: Source,
    part: Part,
    how: How,
    outcome: Outcome,
    on_step: Callable[[Step], object],
    job: Job | None = None,
    again: bool = False,
) -> None:
    """Read a part into the source, from where an earlier run stopped, and add to the outcome.

    A part that was read to its end is left alone; with `again` it is read anew. What `on_step` raises stops the
    reading. Raises UnknownFormat, BadMapping, NothingFits, OSError and its like, and what the database raises.
    """
    with part.opened() as raw:
        format, stream = _understood(source, part, how, raw)
        known_as = how.known_as(part, format.name, job)
        file = imports.begin(
            source=source, fingerprint=known_as, name=part.name, at=timezone.now(), job=job, again=again
        )
        outcome.files.append(file)
        outcome.before += Tally(file.accepted, file.duplicate, file.rejected)
        if file.finished_at:
            on_step(Step(file.records, part.size))
            return
        reader = Reader(format, how.days)
        run = Import(source=source, file=file, reader=reader, stream=stream)
        tell = raw.tell if part.size is not None and format.name != "parquet" else lambda: None
        try:
            run.run(on_progress=lambda records: on_step(Step(records, tell())))
        finally:
            outcome.now += run.tally
            reader.ordinals.close()


def newest_day_in(*, source: Source, part: Part, how: How) -> date | None:
    """Return the UTC day of the newest fact of a part; None if none has a time. Raises as import_part() does."""
    with part.opened() as raw:
        format, stream = _understood(source, part, how, raw)
        return newest_day(format=format, records=format.records(stream))


def _understood(source: Source, part: Part, how: How, raw: BinaryIO) -> tuple[Format, BufferedReader]:
    """Return the part's format, and its stream as that is to be read."""
    stream = unpacked(raw=raw)
    name = how.format or formats.guess(name=part.name, stream=stream, has_mapping=how.mapped is not None)
    return formats.named(name=name, mapped=how.mapped, group_types=source.group_types), stream
