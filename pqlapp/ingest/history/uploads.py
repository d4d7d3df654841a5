"""Files that an admin has uploaded, read by a job: it may be killed, carried on and stopped."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from pqlapp.ingest.history import files, tables
from pqlapp.ingest.history.files import Part
from pqlapp.ingest.history.formats import UnknownFormat
from pqlapp.ingest.history.importing import How, Outcome, Step, import_part
from pqlapp.ingest.history.running import NothingFits
from pqlapp.ingest.history.tables import BadMapping
from scoring import imports, jobs
from scoring.jobs import Progress
from scoring.models import Job, Source

UPLOAD_TAKES = timedelta(days=1)  # at most
UNFIT = (UnknownFormat, BadMapping, NothingFits, *files.UNREADABLE)


def run(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Carry a claimed import on from where it stands to its end, or fail it with what is wrong with its file.

    Raises jobs.LeaseLost if somebody else took the job over or stopped it, and what the database raises.
    """
    imports.forget(at=clock())
    try:
        outcome = _read(job, settings.UPLOADS / job.arguments["stored_as"], clock)
    except UNFIT as error:
        jobs.fail(job=job, error=f"{error}", at=clock())
    else:
        tally = imports.tally_of(files=outcome.files)
        result = {"accepted": tally.accepted, "duplicate": tally.duplicate, "rejected": tally.rejected}
        jobs.finish(job=job, result=result, at=clock())
    remove_read(at=clock())


def remove_read(*, at: datetime) -> None:
    """Remove the uploads whose jobs are over, and those of a day ago that never got a job."""
    with suppress(FileNotFoundError):
        paths = {path.name: path for path in settings.UPLOADS.iterdir()}
        own = Job.objects.filter(kind=imports.IMPORT, arguments__stored_as__in=list(paths))
        states = {job.arguments["stored_as"]: job.state for job in own}
        for name, path in paths.items():
            is_abandoned = name not in states and path.stat().st_mtime < (at - UPLOAD_TAKES).timestamp()
            if is_abandoned or states.get(name, Job.State.RUNNING) not in jobs.OPEN:
                path.unlink(missing_ok=True)


def _read(job: Job, path: Path, clock: Callable[[], datetime]) -> Outcome:
    arguments, outcome = job.arguments, Outcome()
    source = Source.objects.get(pk=arguments["source"])
    mapping = arguments["mapping"]
    how = How(format=arguments["format"], mapped=tables.mapping(document=mapping) if mapping.strip() else None)
    parts = files.named(path=path, name=arguments["name"])
    total = sum(part.size or 0 for part in parts)
    before = 0  # bytes of the parts that are done
    for part in parts:
        import_part(
            source=source,
            part=part,
            how=how,
            outcome=outcome,
            on_step=_reporting(job, part, before, total, clock),
            job=job,
        )
        before += part.size or 0
    return outcome


def _reporting(
    job: Job, part: Part, before: int, total: int, clock: Callable[[], datetime]
) -> Callable[[Step], object]:
    """Return what reports each step; on the way back to where the job was it never goes backwards."""
    furthest = max(job.done, before)

    def report(step: Step) -> None:
        nonlocal furthest
        furthest = max(furthest, before + (step.position or 0))
        progress = Progress(step=f"reading {part.name}"[:100], done=furthest, total=total, cursor={})
        jobs.report(job=job, progress=progress, at=clock())

    return report
