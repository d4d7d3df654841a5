"""Put partial tiles together: of each key, one row is left.

Ingest only ever appends, since an upsert would cost it four times as much. A cursor over the tiles' ids says what is
done: behind it each key has one row, and a step takes the keys that occur in the next stretch of ids. So the work is
in proportion to what came in, and nothing is scanned to find it.
"""

from dataclasses import dataclass

from django.db import transaction

from scoring.compiler.fold import KEY, MERGED
from scoring.models.raw import cursor
from scoring.tiles.locks import take_fold_lock

STRETCH = 5_000  # tile ids that wait before a step is worth its while


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a step did."""

    ids: int  # how far the cursor went; 0: nothing is left to do for now
    removed: int  # rows that are now part of others


def compact(*, size: int = STRETCH, least: int = STRETCH) -> Compacted:
    """Put together the partials of the keys that occur in the next `size` tile ids, if at least `least` ids wait.

    One transaction under the fold lock: killed at any moment, it has happened or not. Ingest goes on beside it.
    Commits: it must not be called inside a transaction.
    """
    if not _settled(least):
        return Compacted(0, 0)
    with transaction.atomic(durable=True), cursor() as c:
        take_fold_lock(c)
        after, settled = c.execute(_CURSOR).fetchone() or (0, 0)
        upto = min(after + size, settled)
        if upto <= after:
            return Compacted(0, 0)
        removed = c.execute(_MERGE, {"after": after, "upto": upto}).rowcount
        c.execute(_ADVANCE, {"upto": upto})
        return Compacted(upto - after, removed)


def _settled(least: int) -> bool:
    """Learn how far tile ids are settled, and return whether that many wait."""
    with cursor() as c:
        (newest,) = c.execute(_NEWEST).fetchone() or (0,)
        (waiting,) = c.execute(_SETTLE, {"newest": newest}).fetchone() or (0,)
    return bool(waiting >= least)


_NEWEST = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM scoring_tile_id_seq"
# A tile may be committed after one with a higher id. An id is settled once all transactions are over that had begun
# when the sequence stood there; a database that was restored elsewhere counts its transactions from a lower number.
_SETTLE = """
WITH now AS (
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_running,
           pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_to_begin
)
INSERT INTO scoring_compaction AS old (id, compacted_to, settled_to, seen_to, seen_before)
SELECT 1, 0, 0, %(newest)s::bigint, next_to_begin FROM now
ON CONFLICT (id) DO UPDATE SET (settled_to, seen_to, seen_before) = (
    SELECT CASE WHEN is_over THEN old.seen_to ELSE old.settled_to END,
           CASE WHEN is_over THEN excluded.seen_to ELSE old.seen_to END,
           CASE WHEN is_over THEN excluded.seen_before ELSE old.seen_before END
    FROM (SELECT oldest_running >= old.seen_before OR next_to_begin < old.seen_before AS is_over FROM now) AS n)
RETURNING settled_to - compacted_to
"""
_CURSOR = "SELECT compacted_to, settled_to FROM scoring_compaction FOR UPDATE"
_ADVANCE = "UPDATE scoring_compaction SET compacted_to = %(upto)s::bigint"
# The oldest row of a key stays, with its id: a new one would have to be looked at again.
_MERGE = f"""
WITH fresh AS (
    SELECT DISTINCT signal_id, account_id, day FROM scoring_tile WHERE id > %(after)s::bigint AND id <= %(upto)s::bigint
), merged AS MATERIALIZED (
    SELECT {KEY}, array_agg(id ORDER BY id) AS ids, {MERGED}
    FROM fresh JOIN scoring_tile USING (signal_id, account_id, day) WHERE id <= %(upto)s::bigint
    GROUP BY {KEY} HAVING count(*) > 1
), kept AS (
    UPDATE scoring_tile t SET (count, first_at, last_at, value_sum, value_max, value_last, limit_last, value_last_at,
        value_last_id) = ROW (m.count, m.first_at, m.last_at, m.value_sum, m.value_max, m.value_last, m.limit_last,
        m.value_last_at, m.value_last_id)
    FROM merged m WHERE t.id = m.ids[1]
)
DELETE FROM scoring_tile WHERE id IN (SELECT unnest(ids[2:]) FROM merged)
"""  # noqa: S608
