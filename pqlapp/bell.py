"""The bell: wakes the workers when there is work in PostgreSQL. It carries no work itself.

A ring that is lost (Redis is down, a worker dies) costs seconds: the beat's tick rings for whatever still waits.
"""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import redis
import structlog
from celery import Signature, shared_task
from django.conf import settings
from django.db import connections
from kombu.exceptions import OperationalError

from pqlapp.ringer import Ringer
from routing import tasks as routing_tasks
from scoring import scores
from scoring import tasks as scoring_tasks
from scoring.models import Job

log = structlog.get_logger(__name__)

MARK = "pql:bell:rung:{}"  # an unstarted ring for this shard, or for LEADS, TILES or MIRROR, is queued
LEADS = "leads"
JOB = "job-{}"
TILES = "tiles"
MIRROR = "mirror"
MARK_LIVES = 5  # seconds; a mark whose message was lost is forgotten then, and the next tick rings again
BEAT_SEEN = "pql:bell:beat"
SILENCE = 1.0  # seconds without a try after Redis failed: an ingest must not wait for it again and again
TURN = 20.0  # seconds of work before a worker lets others have a turn
TILES_TURN = 0.5  # seconds of each two that a worker may spend on compaction: scores come first

ringer = Ringer(ring=lambda shards: ring(shards=shards))
_client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.3)
_quiet_until = 0.0


def ring(*, shards: Iterable[int]) -> None:
    """Wake a worker for each shard that has no unstarted ring yet. Never raises and never waits long."""
    _ring({str(shard): answer.s(shard) for shard in sorted(shards)})


def ring_for_bulk() -> None:
    """Wake the workers for all that waits, now that what touched it is done. Never waits long."""
    ring(shards=scoring_tasks.waiting_shards())


def ring_soon(*, shards: Iterable[int]) -> None:
    """Have a worker woken for each shard, by a thread: for the doors, whose senders need not wait for it."""
    ringer.note(shards=shards)


def _ring(wanted: Mapping[str, Signature]) -> None:
    """Send each task for whose name no unstarted ring is queued."""
    global _quiet_until
    if not wanted or time.monotonic() < _quiet_until:
        return
    try:
        with _client.pipeline(transaction=False) as pipe:
            for name in wanted:
                pipe.set(MARK.format(name), 1, nx=True, ex=MARK_LIVES)
            for task, fresh in zip(wanted.values(), pipe.execute(), strict=True):
                if fresh:
                    task.apply_async(retry=False)
    except (redis.RedisError, OperationalError, OSError) as error:
        _quiet_until = time.monotonic() + SILENCE
        log.warning("bell_not_rung", reason=str(error))


def ring_for_job(*, job: Job) -> None:
    """Wake a worker for a job that has no unstarted ring yet. Never raises."""
    _ring({JOB.format(job.pk): carry_on.s(job.pk)})


def beat_seen_at() -> datetime | None:
    """Return when a worker last heard the beat; None if never, or if Redis cannot tell."""
    try:
        seen = _client.get(BEAT_SEEN)
    except redis.RedisError:
        return None
    return datetime.fromtimestamp(float(seen), UTC) if isinstance(seen, bytes) else None


def _started(name: str) -> None:
    """Let others ring again. Comes before the claim: what is added from now on may come after it."""
    try:
        _client.delete(MARK.format(name))
    except redis.RedisError as error:
        log.warning("bell_mark_kept", reason=str(error))


def _look_after_connection() -> None:
    """Drop a broken connection, and let the one that stays be tried at its next use; inside a transaction leave it."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


@shared_task(name="pqlapp.bell.answer")
def answer(shard: int) -> None:
    """Rescore the accounts of the shard that are touched by now, and ring for the leads that follow."""
    _look_after_connection()
    _started(str(shard))
    ends = time.monotonic() + TURN
    while True:
        done = scoring_tasks.rescore(shard=shard)
        if done.crossed:
            _ring({LEADS: open_leads.s()})
        if done.accounts < scores.BATCH:
            return  # whoever touched an account after this claim has rung for it
        if time.monotonic() > ends:
            ring(shards=[shard])
            return


@shared_task(name="pqlapp.bell.open_leads")
def open_leads() -> None:
    """Take up some of the crossings that wait; ring again if there may be more, so that scoring has its turn."""
    _look_after_connection()
    _started(LEADS)
    if routing_tasks.open_leads() == routing_tasks.HINTS_AT_ONCE:
        _ring({LEADS: open_leads.s()})


@shared_task(name="pqlapp.bell.compact")
def compact() -> None:
    """Put partial tiles together for a moment. What is left waits for the next tick."""
    _look_after_connection()
    _started(TILES)
    scoring_tasks.compact(seconds=TILES_TURN)


@shared_task(name="pqlapp.bell.mirror")
def mirror() -> None:
    """Bring the mirror for bulk work up to date; it may take a minute, and only one at a time does."""
    _look_after_connection()
    _started(MIRROR)
    scoring_tasks.refresh_mirror()


@shared_task(name="pqlapp.bell.tick")
def tick() -> None:
    """The beat: look for all work that waits, whoever forgot to ring for it."""
    _look_after_connection()
    try:
        _client.set(BEAT_SEEN, time.time())
    except redis.RedisError as error:
        log.warning("beat_not_noted", reason=str(error))
    ring(shards=scoring_tasks.sweep())
    _ring({LEADS: open_leads.s()})
    routing_tasks.tend_leads()
    routing_tasks.keep_deadlines()
    scoring_tasks.drop_old_events()
    scoring_tasks.drop_old_backtests()
    for job in scoring_tasks.waiting_jobs():
        ring_for_job(job=job)
    scoring_tasks.prepare_partitions()
    scoring_tasks.fold_arrivals()
    _ring({TILES: compact.s()})
    if scoring_tasks.mirror_is_due():
        _ring({MIRROR: mirror.s()})


@shared_task(name="pqlapp.bell.carry_on")
def carry_on(job_id: int) -> None:
    """Carry a job on to its end; its lease keeps two workers from doing so at once."""
    _look_after_connection()
    _started(JOB.format(job_id))
    job = Job.objects.filter(pk=job_id).first()
    if job is not None:
        scoring_tasks.carry_on(job=job)
        ring_for_bulk()
