"""Files of history: imports as jobs, and how far each file has been read. No event depends on what is noted here."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Count, F, Min, QuerySet, Sum

from scoring import jobs
from scoring.models import ImportedFile, Job, RejectedLine, Source

IMPORT = "import"  # the kind of its jobs
KEPT = timedelta(days=30)  # how long a file is known after it was last read; its rejected lines hold people's data
TEXT_LIMIT = 100_000  # bytes that are kept of a rejected line


@dataclass(slots=True)
class Tally:
    """What became of some records."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.accepted + other.accepted, self.duplicate + other.duplicate, self.rejected + other.rejected)

    @property
    def stored(self) -> int:
        """How many are in the database."""
        return self.accepted + self.duplicate


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that is not taken, and why."""

    line: int
    code: str
    message: str
    text: bytes


@dataclass(slots=True)
class Settled:
    """What became of the next records of a file."""

    records: int
    tally: Tally
    rejections: list[Rejection] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why lines were rejected: how many, and the first of them."""

    code: str
    count: int
    file: str
    line: int
    message: str


class ImportRunning(Exception):
    """A source reads one uploaded file at a time."""


def start(
    *, source: Source, name: str, stored_as: str, format: str, mapping: str, by: AbstractBaseUser, at: datetime
) -> Job:
    """Return a new job that will read an uploaded file into the source.

    `name` is what people call the file, `stored_as` its name among the uploads; `format` and `mapping` say how to read
    it ("": to be found out). Raises ImportRunning while the source has another one.
    """
    with transaction.atomic():
        Source.objects.select_for_update().get(pk=source.pk)
        if other := jobs_of(source=source).filter(state__in=jobs.OPEN).first():
            raise ImportRunning(f"{other.arguments['name']} is being imported; wait for its end, or stop it")
        arguments = {
            "source": source.pk,
            "label": f"{name} into {source.slug}",
            "name": name,
            "stored_as": stored_as,
            "format": format,
            "mapping": mapping,
        }
        return jobs.create(kind=IMPORT, arguments=arguments, by=by, at=at)


def jobs_of(*, source: Source) -> QuerySet[Job]:
    """Return the imports of the source, the newest first."""
    return Job.objects.filter(kind=IMPORT, arguments__source=source.pk).order_by("-id")


def begin(
    *, source: Source, fingerprint: bytes, name: str, at: datetime, job: Job | None = None, again: bool = False
) -> ImportedFile:
    """Return the row of a file that is to be read into the source, old or new; with `again` as if it were new."""
    with transaction.atomic():
        if again:
            ImportedFile.objects.filter(source=source, fingerprint=fingerprint).delete()
        file, _ = ImportedFile.objects.update_or_create(
            source=source,
            fingerprint=fingerprint,
            defaults={"changed_at": at, "name": name, "job": job},
            create_defaults={"changed_at": at, "name": name, "job": job, "began_at": at},
        )
    return file


def note(*, file: ImportedFile, settled: Settled, at: datetime) -> None:
    """Note that the next records of the file are settled, and which lines among them were rejected."""
    tally = settled.tally
    with transaction.atomic():
        RejectedLine.objects.bulk_create(
            [
                RejectedLine(file=file, line=r.line, code=r.code, message=r.message, text=r.text[:TEXT_LIMIT])
                for r in settled.rejections
            ],
            ignore_conflicts=True,  # a line may be rejected in two ways, and two may read the same file
        )
        ImportedFile.objects.filter(pk=file.pk).update(
            records=F("records") + settled.records,
            accepted=F("accepted") + tally.accepted,
            duplicate=F("duplicate") + tally.duplicate,
            rejected=F("rejected") + tally.rejected,
            changed_at=at,
        )
        Source.objects.filter(pk=file.source_id).update(imported_to=at)


def finish(*, file: ImportedFile, at: datetime) -> None:
    """Note that the file has been read to its end."""
    ImportedFile.objects.filter(pk=file.pk).update(finished_at=at, changed_at=at)


def tally_of(*, files: Iterable[ImportedFile]) -> Tally:
    """Return what became of all settled records of the files."""
    sums = ImportedFile.objects.filter(pk__in=[file.pk for file in files]).aggregate(
        accepted=Sum("accepted", default=0), duplicate=Sum("duplicate", default=0), rejected=Sum("rejected", default=0)
    )
    return Tally(**sums)


def reasons(*, files: Iterable[ImportedFile]) -> list[Reason]:
    """Return why lines of the files were rejected, one entry for each code, in the order of the codes."""
    among = RejectedLine.objects.filter(file__in=list(files))
    found = []
    for code in among.values("code").annotate(count=Count("id"), first_file=Min("file")).order_by("code"):
        first = among.filter(code=code["code"], file=code["first_file"]).select_related("file").order_by("line")[0]
        found.append(Reason(code["code"], code["count"], first.file.name, first.line, first.message))
    return found


def rejections(*, files: Sequence[ImportedFile]) -> Iterator[RejectedLine]:
    """Yield the rejected lines of the files, each with its file loaded, in the order of files and lines."""
    among = RejectedLine.objects.filter(file__in=list(files)).select_related("file")
    yield from among.order_by("file", "line").iterator(chunk_size=500)


def forget(*, at: datetime) -> int:
    """Forget files that were last read long ago, with their rejected lines; return how many."""
    _, counts = ImportedFile.objects.filter(changed_at__lt=at - KEPT).delete()
    return counts.get("scoring.ImportedFile", 0)
