"""Long work as rows: claim by lease, report progress, finish. A killed worker's job is carried on from its cursor."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Case, F, IntegerField, Q, Value, When

from scoring.models import Job

LEASE = timedelta(seconds=60)
MOST_ATTEMPTS = 5
OPEN = (Job.State.QUEUED, Job.State.RUNNING)


class LeaseLost(Exception):
    """Somebody else carries this job on: stop, and write nothing more for it."""


def create(
    *,
    kind: str,
    arguments: Mapping[str, Any],
    by: AbstractBaseUser | None,
    at: datetime,
    not_before: datetime | None = None,
) -> Job:
    """Return a new job that waits for a worker; nobody takes it up before `not_before`."""
    return Job.objects.create(
        kind=kind,
        arguments=dict(arguments),
        created_by_id=by.pk if by else None,
        created_at=at,
        lease_until=not_before,  # as if somebody had it until then
    )


def waiting(*, at: datetime) -> list[Job]:
    """Return the jobs that nobody carries on, oldest first."""
    return list(Job.objects.filter(_free(at), state__in=OPEN).order_by("id"))


def claim(*, job: Job, at: datetime) -> Job | None:
    """Take the job's lease and return it with its new attempt number; None if somebody else has it, or it is over.

    A job that was claimed too often without getting further is failed instead: something in it kills its workers.
    """
    claimed = Job.objects.filter(_free(at), pk=job.pk, state__in=OPEN)
    if claimed.filter(tries__gte=MOST_ATTEMPTS).update(
        state=Job.State.FAILED, error=f"given up after {MOST_ATTEMPTS} attempts", finished_at=at
    ):
        return None
    won = claimed.update(
        state=Job.State.RUNNING, attempt=F("attempt") + 1, tries=F("tries") + 1, lease_until=at + LEASE
    )
    return Job.objects.get(pk=job.pk) if won else None


def _free(at: datetime) -> Q:
    return Q(lease_until__isnull=True) | Q(lease_until__lt=at)


@dataclass(frozen=True, slots=True)
class Progress:
    """What to tell about a running job."""

    step: str
    done: int
    total: int | None
    cursor: Mapping[str, Any]


def report(*, job: Job, progress: Progress, at: datetime) -> None:
    """Write the progress and prolong the lease. Raises LeaseLost."""
    _write(
        job,
        step=progress.step,
        done=progress.done,
        total=progress.total,
        cursor=dict(progress.cursor),
        tries=Case(When(done__lt=progress.done, then=Value(0)), default=F("tries"), output_field=IntegerField()),
        lease_until=at + LEASE,
    )


def finish(*, job: Job, result: Mapping[str, Any], at: datetime) -> None:
    """Mark the job as done with its result. Raises LeaseLost."""
    _write(job, state=Job.State.DONE, step="", result=dict(result), finished_at=at, lease_until=None)


def fail(*, job: Job, error: str, at: datetime) -> None:
    """Mark the job as failed, with the reason. Raises LeaseLost."""
    _write(job, state=Job.State.FAILED, error=error, finished_at=at, lease_until=None)


def stop(*, job: Job, by: AbstractBaseUser | None, at: datetime) -> bool:
    """End an open job for good; whoever carries it on notices at its next report. Says whether it was open."""
    error = f"stopped by {by.get_username() if by else 'a program'}"
    ended = {"state": Job.State.STOPPED, "error": error, "lease_until": None}
    return bool(Job.objects.filter(pk=job.pk, state__in=OPEN).update(**ended, finished_at=at))


def release(*, job: Job, error: str, at: datetime) -> None:
    """Give the job back after a passing fault, to be carried on in a few seconds. Raises LeaseLost."""
    _write(job, state=Job.State.QUEUED, error=error, lease_until=at + timedelta(seconds=5))


def _write(job: Job, **fields: Any) -> None:
    """Write only while the attempt number is still ours: a zombie's writes must not land."""
    if not Job.objects.filter(pk=job.pk, attempt=job.attempt, state=Job.State.RUNNING).update(**fields):
        raise LeaseLost(f"job {job.pk} is carried on by somebody else")
