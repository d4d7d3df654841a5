"""Long work as rows: claim by lease, report progress, finish. A killed worker's job is carried on from its cursor."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When

from scoring.models import Job

LEASE = timedelta(seconds=60)
MOST_ATTEMPTS = 5
OPEN = (Job.State.QUEUED, Job.State.RUNNING)
UNDONE = (Job.State.FAILED, Job.State.STOPPED)
AGAIN_AFTER = timedelta(
    minutes=10
)  # after its first end a job that must be done begins again; twice as long after each
AGAIN_WITHIN = timedelta(days=1)


class LeaseLost(Exception):
    """Somebody else carries this job on: stop, and write nothing more for it."""


def create(
    *,
    kind: str,
    arguments: Mapping[str, Any],
    by: AbstractBaseUser | None,
    at: datetime,
    not_before: datetime | None = None,
    cursor: Mapping[str, Any] | None = None,
) -> Job:
    """Return a new job that waits for a worker; nobody takes it up before `not_before`. It begins at its cursor."""
    return Job.objects.create(
        kind=kind,
        arguments=dict(arguments),
        created_by_id=by.pk if by else None,
        created_at=at,
        cursor=dict(cursor or {}),
        lease_until=not_before,  # as if somebody had it until then
    )


def waiting(*, at: datetime) -> list[Job]:
    """Return the jobs that nobody carries on, oldest first."""
    return list(Job.objects.filter(_free(at), state__in=OPEN).order_by("id"))


def begin_again(*, kinds: Iterable[str], at: datetime, beyond: str | None = None) -> list[Job]:
    """Return new jobs for those of these kinds that were stopped or failed a while ago: their work must be done.

    With `beyond`, it is so of those only whose cursor names it, and the new ones go on from there.
    """
    ended = Job.objects.filter(_not_replaced(), kind__in=kinds, finished_at__lte=at - AGAIN_AFTER).order_by("id")
    if beyond is not None:
        ended = ended.filter(cursor__has_key=beyond)
    due = [job for job in ended if begins_again_at(job) <= at]
    return [again for job in due if (again := _replace(job, at, cursor=job.cursor if beyond else {}))]


def begins_again_at(job: Job) -> datetime:
    """Return when a job that must be done, but was stopped or failed, is replaced by a new one."""
    ends: int = job.arguments.get("again", 0)
    wait = min(AGAIN_AFTER * (1 << min(ends, 10)), AGAIN_WITHIN)
    return (job.finished_at or job.created_at) + wait


def _replace(job: Job, at: datetime, *, cursor: Mapping[str, Any]) -> Job | None:
    """Make the job that takes this one's place; None if somebody else did."""
    with transaction.atomic():
        if not Job.objects.filter(_not_replaced(), pk=job.pk).select_for_update(skip_locked=True).exists():
            return None
        arguments = {**job.arguments, "again": job.arguments.get("again", 0) + 1}
        again = create(kind=job.kind, arguments=arguments, by=job.created_by, at=at, cursor=cursor)
        Job.objects.filter(pk=job.pk).update(result={**job.result, "replaced_by": again.pk})
        return again


def _not_replaced() -> Q:
    return Q(state__in=UNDONE) & ~Q(result__has_key="replaced_by")


def left(*, kinds: Iterable[str]) -> Job | None:
    """Return the oldest job of these kinds, which must be done, whose work is not; None if all is done."""
    return undone(kinds=kinds).first()


def undone(*, kinds: Iterable[str]) -> QuerySet[Job]:
    """Return the jobs of these kinds whose work is not done and that no other replaces, the oldest first."""
    return Job.objects.filter(Q(state__in=OPEN) | _not_replaced(), kind__in=kinds).order_by("id")


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
