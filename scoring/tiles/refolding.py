"""Fold stored events anew where they count differently now: people whom a shared id glued together, parted accounts.

The events are read in steps that need no lock, each committed with the job's cursor, into partials by identity and by
the account that the calls name: users and homes may change meanwhile. The last step stops senders for a moment, reads
the few events that came since, and puts the partials in the place of the tiles. Killed anywhere, it goes on there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import transaction

from scoring import handoffs, jobs
from scoring.compiler.fold import TILE_COLUMNS, VALUES, fold_sql
from scoring.jobs import Progress
from scoring.models import Job, Lane, Signal
from scoring.models.raw import cursor
from scoring.tiles.folding import FIRST_DAY, active
from scoring.tiles.locks import Cursor, stop_senders
from scoring.tiles.signals import backfill, newest_event

REFOLD = "refold"
CHUNK = 100_000  # event ids read in one step; the last step, which senders wait for, has this many at most


@dataclass(frozen=True, slots=True)
class _Work:
    """Whose events are folded, and how far: the job's cursor. Either of identities, or such as name accounts."""

    identities: list[int]
    accounts: list[int]
    signals: list[int]  # of one that is activated later the tiles are right from the start
    upto: int  # events up to this id are read
    barrier: int  # every event of these identities up to this id is committed


def refold_later(*, identities: Sequence[int] = (), accounts: Sequence[int] = (), why: str, at: datetime) -> Job:
    """Return a job that will fold anew the events of these identities' users, or those that name one of the accounts.

    In the caller's transaction. `why` is what the job's page says.
    """
    arguments = {"identities": list(identities), "accounts": list(accounts), "label": why}
    return jobs.create(kind=REFOLD, arguments=arguments, by=None, at=at)


def run_refold(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Carry a claimed job on from where it stands to its end. Raises jobs.LeaseLost if somebody else took it over."""
    work = _Work(**job.cursor) if job.cursor else _begin(job, clock())
    while True:
        while work.upto < work.barrier:
            work = _read_on(job, work, clock())
        backfill(signals=_halfway(work))
        more = _put_in_place(job, work, clock())
        if more is None:
            return
        work = more


def _begin(job: Job, at: datetime) -> _Work:
    with transaction.atomic(durable=True), cursor() as c:
        stop_senders(c)
        return _start(c, job, job.arguments["identities"], job.arguments["accounts"], at)


def _start(c: Cursor, job: Job, identities: list[int], accounts: list[int], at: datetime) -> _Work:
    """Begin, or begin again, with these."""
    c.execute(_FORGET, {"job": job.pk})
    return _report(job, _Work(identities, accounts, sorted(active(c)), upto=0, barrier=newest_event(c)), at)


def _report(job: Job, work: _Work, at: datetime) -> _Work:
    step = f"reading the events of {len(work.identities) + len(work.accounts):,} ids"
    jobs.report(job=job, progress=Progress(step, work.upto, work.barrier, asdict(work)), at=at)
    return work


# Of this job, and of those that were stopped or failed: none of them goes on.
_FORGET = """
DELETE FROM scoring_refolded WHERE job_id = %(job)s::bigint
OR job_id IN (SELECT id FROM scoring_job WHERE state IN ('failed', 'stopped'))
"""


def _which(job: Job, work: _Work) -> dict[str, Any]:
    return {"job": job.pk, "identities": work.identities, "accounts": work.accounts, "signals": work.signals}


def _read_on(job: Job, work: _Work, at: datetime) -> _Work:
    """Read the next events, and return the work with its new cursor."""
    upto = min(work.upto + CHUNK, work.barrier)
    with transaction.atomic(durable=True), cursor() as c:
        _read(c, job, work, upto)
        return _report(job, replace(work, upto=upto), at)


def _read(c: Cursor, job: Job, work: _Work, upto: int) -> None:
    fold = fold_sql({signal: read for signal, read in active(c).items() if signal in work.signals})
    c.execute(_read_sql(fold.sql), {**_which(job, work), "after": work.upto, "upto": upto, **fold.params})


@lru_cache(maxsize=64)
def _read_sql(fold: str) -> str:
    """Fold by identity: it stands where the fold expects the user, and its home is not asked."""
    return f"""
INSERT INTO scoring_refolded (job_id, signal_id, identity_id, account_id, day, {VALUES})
WITH fresh AS (
    SELECT message_id, at, name, properties, coalesce(account_id, 0) AS account_id, identity_id AS user_id,
           account_id IS NULL AS inherited
    FROM scoring_event
    WHERE id > %(after)s::bigint AND id <= %(upto)s::bigint
    AND (identity_id = ANY (%(identities)s::bigint[]) OR account_id = ANY (%(accounts)s::bigint[]))
    AND at >= ({FIRST_DAY})::timestamp AT TIME ZONE 'UTC')
SELECT %(job)s::bigint, signal_id, user_id, nullif(account_id, 0), day, {VALUES} FROM ({fold}) AS folded"""  # noqa: S608


def _halfway(work: _Work) -> list[Signal]:
    """Return the signals whose own backfill has not ended: it must not fold a second time what is put in place."""
    return [signal for signal in Signal.objects.filter(pk__in=work.signals) if not signal.is_ready]


def _put_in_place(job: Job, work: _Work, at: datetime) -> _Work | None:
    """Let the partials take the place of the tiles, and end the job; or return what must be read before."""
    with transaction.atomic(durable=True), cursor() as c:
        stop_senders(c)
        which = _which(job, work)
        identities = [identity for (identity,) in c.execute(_OF_THEIR_USERS, which)]
        accounts = [account for (account,) in c.execute(_OF_THEIR_ACCOUNTS, which)]
        if not (set(identities) <= set(work.identities) and set(accounts) <= set(work.accounts)):
            return _start(c, job, identities, accounts, at)  # somebody joined them: their tiles are mixed by now
        newest = newest_event(c)
        if newest - work.upto > CHUNK or _halfway(work):
            return _report(job, replace(work, barrier=newest), at)
        _read(c, job, work, newest)
        touched = _exchange(c, which)
        handoffs.touch(accounts=touched, cause="identity", lane=Lane.LIVE, at=at)
        jobs.finish(job=job, result={"ids": len(identities) + len(accounts), "accounts": len(touched)}, at=at)
        return None


_OF_THEIR_USERS = """
SELECT id FROM scoring_identity
WHERE user_id IN (SELECT user_id FROM scoring_identity WHERE id = ANY (%(identities)s::bigint[]))
ORDER BY id
"""
_OF_THEIR_ACCOUNTS = """
SELECT id FROM scoring_account WHERE coalesce(merged_into_id, id) IN (
    SELECT coalesce(merged_into_id, id) FROM scoring_account WHERE id = ANY (%(accounts)s::bigint[]))
ORDER BY id
"""


def _exchange(c: Cursor, which: Mapping[str, Any]) -> set[int]:
    """Delete the tiles, insert what was read, and return the accounts of both, and the users' homes."""
    statements = (_HOMES, _DELETE_OF_USERS, _DELETE_OF_ACCOUNTS, _INSERT)
    accounts = {account for statement in statements for (account,) in c.execute(statement, which)}
    c.execute(_FORGET, which)
    return accounts


_HOMES = """
SELECT home_id FROM scoring_productuser
WHERE id IN (SELECT user_id FROM scoring_identity WHERE id = ANY (%(identities)s::bigint[]))
"""
_DELETE_OF_USERS = f"""
DELETE FROM scoring_tile WHERE signal_id = ANY (%(signals)s::bigint[]) AND day >= ({FIRST_DAY})
AND user_id IN (SELECT user_id FROM scoring_identity WHERE id = ANY (%(identities)s::bigint[]))
RETURNING account_id
"""  # noqa: S608
_DELETE_OF_ACCOUNTS = f"""
DELETE FROM scoring_tile WHERE signal_id = ANY (%(signals)s::bigint[]) AND day >= ({FIRST_DAY})
AND account_id = ANY (%(accounts)s::bigint[]) AND NOT inherited
RETURNING account_id
"""  # noqa: S608
_INSERT = f"""
INSERT INTO scoring_tile ({TILE_COLUMNS})
SELECT r.signal_id, coalesce(a.merged_into_id, a.id, u.home_id), u.id, a.id IS NULL, r.day, {VALUES}
FROM scoring_refolded r LEFT JOIN scoring_account a ON a.id = r.account_id
LEFT JOIN scoring_identity i ON i.id = r.identity_id LEFT JOIN scoring_productuser u ON u.id = i.user_id
WHERE r.job_id = %(job)s::bigint AND r.signal_id = ANY (%(signals)s::bigint[])
ORDER BY 1, 2, r.day, 3
RETURNING account_id
"""  # noqa: S608
