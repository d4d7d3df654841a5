"""The two append-only logs that hand work on: touched accounts to the scorer, crossings to the leads.

Both are claimed by deleting, in the transaction of the work itself: if that fails, the claim never happened.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from scoring.models import Crossed, Lane
from scoring.models.raw import cursor
from scoring.models.scores import SHARDS

Cursor = psycopg.Cursor[Any]

# What bulk work keeps of each claim while live work waits too.
BULK_SHARE = 5  # one in five


@dataclass(frozen=True, slots=True)
class Touch:
    """An account claimed for rescoring, with all that was waiting for it."""

    account: int  # its id
    lane: Lane  # live if any of its touches was
    causes: frozenset[str]
    oldest_at: datetime


def touch(*, accounts: Iterable[int], cause: str, lane: Lane, at: datetime) -> set[int]:
    """Note that the accounts' scores may be stale; visitors are left out, nobody scores them.

    Returns the shards to ring. Belongs in the transaction that changes what the score is made of.
    """
    wanted = sorted(set(accounts))
    if not wanted:
        return set()
    with cursor() as c:
        rows = c.execute(_TOUCH, {"accounts": wanted, "shards": SHARDS, "lane": lane, "cause": cause, "at": at})
        return {shard for (shard,) in rows}


_TOUCH = """
INSERT INTO scoring_touched (account_id, shard, lane, cause, at)
SELECT id, id %% %(shards)s::int, %(lane)s::text, %(cause)s::text, %(at)s::timestamptz
FROM scoring_account WHERE id = ANY (%(accounts)s::bigint[]) AND kind <> 'visitor' ORDER BY id
RETURNING shard
"""


def touch_people(c: Cursor, *, users: Collection[int], lane: Lane, at: datetime) -> None:
    """Note that the scores of these users may be stale, wherever they are judged; nothing where only accounts are.

    Belongs in the transaction that says something of them. Nobody waits for the answer, so there are no shards to ring.
    """
    if users:
        c.execute(_TOUCH_PEOPLE, {"users": sorted(users), "shards": SHARDS, "lane": lane, "at": at})


_TOUCH_PEOPLE = """
INSERT INTO scoring_touched (account_id, shard, lane, cause, at)
SELECT id, id %% %(shards)s::int, %(lane)s::text, 'trait', %(at)s::timestamptz FROM scoring_account
WHERE kind <> 'visitor' AND EXISTS (
    SELECT FROM scoring_ruleset r JOIN scoring_ruleversion v ON v.id = r.live_version_id
    WHERE v.document ->> 'level' = 'user')
AND id IN (
    SELECT home_id FROM scoring_productuser WHERE id = ANY (%(users)s::bigint[])
    UNION SELECT account_id FROM scoring_tile WHERE user_id = ANY (%(users)s::bigint[]))
ORDER BY id
"""


def claim_touched(*, shard: int, limit: int) -> list[Touch]:
    """Claim up to `limit` accounts of the shard with all their touches, and return them, the oldest first.

    Live touches go first; while bulk ones wait too they get a fifth. The caller holds the shard's lock, and the
    claim is part of its transaction. No mark of how far it got is kept: a touch that commits late is never missed.
    """
    with cursor() as c:
        # The log is filled and emptied all the time, so statistics mislead: without this it is scanned whole.
        c.execute(_ONLY_BY_INDEX, {"else": "off"})
        live = _waiting(c, shard, Lane.LIVE, limit)
        bulk = _waiting(c, shard, Lane.BULK, limit)
        chosen = _share_out(live, bulk, limit)
        claimed = c.execute(_CLAIM, {"accounts": chosen}).fetchall() if chosen else []
        c.execute(_ONLY_BY_INDEX, {"else": "on"})
    return _by_account(claimed)


def _waiting(c: Any, shard: int, lane: Lane, limit: int) -> list[int]:
    rows = c.execute(_WAITING, {"shard": shard, "lane": lane, "limit": limit})
    return list(dict.fromkeys(account for (account,) in rows))


def _share_out(live: list[int], bulk: list[int], limit: int) -> list[int]:
    """Return at most `limit` accounts: a fifth (rounded up) kept for bulk, unless it has less to do.

    A claim of one is live, or a batch that was halved down to one could keep live work waiting.
    """
    kept = min(len(bulk), limit - 1, -(-limit // BULK_SHARE))
    chosen = dict.fromkeys(live[: limit - kept] if live else ())
    chosen.update(dict.fromkeys(bulk[: limit - len(chosen)]))
    return list(chosen)


def _by_account(claimed: list[tuple[int, str, str, datetime]]) -> list[Touch]:
    touches: dict[int, list[tuple[str, str, datetime]]] = {}
    for account, lane, cause, at in claimed:
        touches.setdefault(account, []).append((lane, cause, at))
    return [
        Touch(
            account=account,
            lane=Lane.LIVE if any(lane == Lane.LIVE for lane, _, _ in rows) else Lane.BULK,
            causes=frozenset(cause for _, cause, _ in rows),
            oldest_at=min(at for _, _, at in rows),
        )
        for account, rows in sorted(touches.items(), key=lambda item: min(at for _, _, at in item[1]))
    ]


_ONLY_BY_INDEX = """
SELECT set_config('enable_seqscan', %(else)s::text, true), set_config('enable_bitmapscan', %(else)s::text, true)
"""
# Ordered by the whole index, with a range for the shard: an order that no other index can give.
_WAITING = """
SELECT account_id FROM scoring_touched
WHERE shard BETWEEN %(shard)s::smallint AND %(shard)s::smallint AND lane = %(lane)s::text
ORDER BY shard, lane, id LIMIT %(limit)s::bigint
"""

_CLAIM = """
DELETE FROM scoring_touched WHERE account_id = ANY (%(accounts)s::bigint[])
RETURNING account_id, lane, cause, at
"""


def oldest_touch(*, lanes: Iterable[Lane] = (Lane.LIVE,)) -> datetime | None:
    """Return when the oldest waiting touch of these lanes was made; None if nothing waits.

    Everything acknowledged before that moment is in the scores, but for accounts that are parked.
    """
    with cursor() as c:
        row = c.execute("SELECT min(at) FROM scoring_touched WHERE lane = ANY (%s)", [list(lanes)]).fetchone()
    return row[0] if row else None


def shards_with_touches(*, bulk_until: datetime) -> list[int]:
    """Return the shards in which an account waits to be rescored: in the bulk lane only if since `bulk_until`."""
    with cursor() as c:
        return [shard for (shard,) in c.execute(_SHARDS, {"shards": SHARDS, "bulk_until": bulk_until})]


# Two index look-ups a shard: the log itself may be long. The first of a lane is its oldest, or nearly so; it is found
# by the whole index, as in _WAITING.
_SHARDS = """
SELECT shard FROM generate_series(0, %(shards)s::int - 1) AS s(shard)
WHERE EXISTS (SELECT FROM scoring_touched t WHERE t.shard = s.shard AND t.lane = 'live')
    OR (SELECT t.at FROM scoring_touched t WHERE t.shard BETWEEN s.shard AND s.shard AND t.lane = 'bulk'
        ORDER BY t.shard, t.lane, t.id LIMIT 1) <= %(bulk_until)s::timestamptz
ORDER BY shard
"""


def cross(*, hints: Iterable[Crossed]) -> None:
    """Append hints that leads may have to open, change or close; in the transaction that wrote the scores."""
    Crossed.objects.bulk_create(sorted(hints, key=lambda hint: (hint.account_id, hint.rule_set_id)))


def claim_crossed(*, at: datetime, only: int | None = None) -> Crossed | None:
    """Claim the oldest hint, or `only` that of this id, that nobody else holds and that is due at `at`, else None.

    The claim deletes it in the caller's transaction. The hint returned is no longer a row: only its fields count.
    """
    with cursor() as c:
        c.row_factory = dict_row
        row = c.execute(_CLAIM_CROSSED, {"at": at, "only": only}).fetchone()
    return Crossed(**row) if row else None


_CLAIM_CROSSED = """
DELETE FROM scoring_crossed WHERE id = (
    SELECT id FROM scoring_crossed WHERE (not_before IS NULL OR not_before <= %(at)s::timestamptz)
    AND id BETWEEN coalesce(%(only)s::bigint, 0) AND coalesce(%(only)s::bigint, 9223372036854775807)
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING *
"""


def hold_crossed(*, at: datetime, limit: int) -> list[Crossed]:
    """Hold the oldest hint that nobody else holds and that is due, and others of its rule set; returns them by age.

    They stay until `drop_crossed`, and are let go at the end of the caller's transaction. Of one rule set, so that
    workers who take many at once seldom want the same pool.
    """
    with cursor() as c:
        c.row_factory = dict_row
        return [Crossed(**row) for row in c.execute(_HOLD_CROSSED, {"at": at, "limit": limit})]


_HOLD_CROSSED = """
WITH oldest AS (
    SELECT rule_set_id FROM scoring_crossed WHERE not_before IS NULL OR not_before <= %(at)s::timestamptz
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
SELECT * FROM scoring_crossed
WHERE (not_before IS NULL OR not_before <= %(at)s::timestamptz) AND rule_set_id = (SELECT rule_set_id FROM oldest)
ORDER BY id LIMIT %(limit)s::bigint FOR UPDATE SKIP LOCKED
"""


def drop_crossed(*, hints: Iterable[Crossed]) -> None:
    """Delete hints that the caller's transaction holds: what they call for is done in it."""
    with cursor() as c:
        c.execute("DELETE FROM scoring_crossed WHERE id = ANY (%s)", [[hint.pk for hint in hints]])


def put_off(*, hint: Crossed, until: datetime, error: str) -> None:
    """Let a hint whose work failed wait until then, with its reason; call it after that work was rolled back."""
    Crossed.objects.filter(pk=hint.pk).update(not_before=until, attempts=hint.attempts + 1, error=error)
