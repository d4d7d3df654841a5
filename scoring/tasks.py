"""What the upper storey does when the bell rings. Reads the clock, and calls one verb after another."""

import time
from datetime import timedelta

import psycopg
import structlog
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from django.utils.module_loading import import_string

from scoring import backtest, bulk, facts, handoffs, jobs, rules, scores, tiles
from scoring.models import SHARDS, Job

log = structlog.get_logger(__name__)

LONG_STEP = 0.15  # seconds under the fold lock after which a step of compaction was too long
FIRST_STEP, SMALLEST_STEP = 1_000, 250  # tile ids
# While a file comes in, its accounts are touched again and again: one look in so long is enough.
BULK_WAITS = timedelta(seconds=10)

# Kinds of jobs, and who carries them on. Those of the doors, further up, are named in settings.JOB_RUNNERS.
RUNNERS = {
    rules.PUBLISH: rules.run_publish,
    rules.PREPARE: rules.run_prepare,
    tiles.REFOLD: tiles.run_refold,
    facts.MERGE: facts.run_merge,
    facts.CONVERSIONS: facts.run_conversions,
    facts.RETENTION: facts.run_retention,
}
# Without these something stored stays wrong, whoever stopped them and whatever they failed by.
MUST_BE_DONE = (tiles.REFOLD, facts.MERGE, facts.CONVERSIONS)


def rescore(*, shard: int) -> scores.Rescored:
    """Rescore one batch of the shard's touched accounts, as of today (UTC)."""
    now = timezone.now()
    return scores.rescore_touched(shard=shard, as_of=now.date(), at=now)


def sweep() -> list[int]:
    """Touch what silence or a due retry may change; return the shards that have work which is due."""
    now = timezone.now()
    for shard in range(SHARDS):
        scores.sweep(shard=shard, as_of=now.date(), at=now)
    return handoffs.shards_with_touches(bulk_until=now - BULK_WAITS)


def waiting_shards() -> list[int]:
    """Return the shards in which an account waits to be rescored, in whatever lane."""
    return handoffs.shards_with_touches(bulk_until=timezone.now())


def prepare_partitions() -> None:
    """Make the event partitions of the coming weeks, so that no batch has to."""
    facts.prepare_partitions(at=timezone.now())


def fold_arrivals() -> None:
    """Fold the log of what came to the doors; in the first minute of an hour also what is old."""
    facts.fold_arrivals()
    now = timezone.now()
    if now.minute == 0:
        facts.thin_arrivals(at=now)


def drop_old_events() -> None:
    """Once a day, have the events dropped that no source keeps any longer."""
    facts.drop_later(at=timezone.now())


def drop_old_backtests() -> None:
    """In the first minute of an hour, drop some of the backtests that are not kept any longer."""
    now = timezone.now()
    if now.minute == 0:
        backtest.drop_old(at=now)


def mirror_is_due() -> bool:
    """Return whether the columnar mirror is to be brought up to date; where none is kept, nothing is noted for it."""
    if not settings.MIRROR_EVERY:
        bulk.forget()
        return False
    is_due = bulk.is_due(at=timezone.now(), every=timedelta(seconds=settings.MIRROR_EVERY))
    if is_due:
        bulk.give_up_endless()
    return is_due


def refresh_mirror() -> None:
    """Bring the columnar mirror up to date, unless somebody is at it."""
    try:
        mirror = bulk.refresh(at=timezone.now())
    except bulk.Overtaken as overtaken:
        log.warning("mirror_not_refreshed", reason=str(overtaken))
        return
    if mirror:
        log.debug("mirror_refreshed", complete_at=mirror.complete_at.isoformat())


def compact(*, seconds: float) -> bool:
    """Put partial tiles together for about so long; return whether work is left.

    The steps are sized by how long they take: each keeps those waiting who move users.
    """
    ends, size = time.monotonic() + seconds, FIRST_STEP
    while time.monotonic() < ends:
        began = time.monotonic()
        if not tiles.compact(size=size).ids:
            return False
        took = time.monotonic() - began
        size = max(size // 2, SMALLEST_STEP) if took > LONG_STEP else size * 2 if took < LONG_STEP / 4 else size
    return True


def waiting_jobs() -> list[Job]:
    """Return the jobs that wait for somebody to carry them on; those that must be done begin again if they ended."""
    now = timezone.now()
    jobs.begin_again(kinds=MUST_BE_DONE, at=now)
    rules.publish_again(at=now)
    return jobs.waiting(at=now)


def carry_on(*, job: Job) -> Job:
    """Run a waiting job to its end, and return it as it is then. Somebody else's job is left alone."""
    claimed = jobs.claim(job=job, at=timezone.now())
    if claimed is not None:
        _run(claimed)
    return Job.objects.get(pk=job.pk)


def _run(job: Job) -> None:
    try:
        runner = RUNNERS.get(job.kind) or import_string(settings.JOB_RUNNERS[job.kind])
        runner(job=job, clock=timezone.now)
    except jobs.LeaseLost as lost:
        log.warning("job_lost", job=job.pk, reason=str(lost))
    except (DatabaseError, psycopg.Error) as error:
        log.warning("job_interrupted", job=job.pk, reason=str(error))
        jobs.release(job=job, error=f"{type(error).__name__}: {error}", at=timezone.now())
    except Exception as error:
        log.exception("job_failed", job=job.pk)
        jobs.fail(job=job, error=f"{type(error).__name__}: {error}", at=timezone.now())
