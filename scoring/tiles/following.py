"""Let tiles follow people: merged users, users with another home; and accounts that turn out to be one."""

from collections.abc import Sequence

from scoring.compiler.fold import TILE_COLUMNS, VALUES
from scoring.identity import Change
from scoring.tiles.locks import Cursor


def follow(c: Cursor, changes: Sequence[Change]) -> set[int]:
    """Move the tiles of users that were merged or whose home changed; return all accounts that now count differently.

    The changes' users are locked for update and the fold lock is held.
    """
    moving = [change for change in changes if change.was != change.now or change.old_home != change.new_home]
    if moving:
        c.execute(_MOVE, {field: [getattr(m, field) for m in moving] for field in ("was", "now", "new_home")})
    if not changes:
        return set()
    # Whatever these users ever did may count differently now: users are told apart, and some are excluded.
    rows = c.execute(_ACCOUNTS_OF, {"users": sorted({change.now for change in changes})})
    # And where all that somebody did is the company's, an account of their own is none.
    homes = {home for change in changes for home in (change.old_home, change.new_home)}
    return homes | {account for (account,) in rows}


_MOVE = f"""
WITH moves AS (
    SELECT * FROM unnest(%(was)s::bigint[], %(now)s::bigint[], %(new_home)s::bigint[]) AS m(was, now, home)
), gone AS (
    DELETE FROM scoring_tile t USING moves m WHERE t.user_id = m.was AND (m.was <> m.now OR t.inherited)
    RETURNING t.*, m.now, m.home
)
INSERT INTO scoring_tile ({TILE_COLUMNS})
SELECT signal_id, CASE WHEN inherited THEN home ELSE account_id END, now, inherited, day, {VALUES}
FROM gone ORDER BY 1, 2, day, 3
"""  # noqa: S608
_ACCOUNTS_OF = "SELECT DISTINCT account_id FROM scoring_tile WHERE user_id = ANY (%(users)s::bigint[])"


def follow_account(c: Cursor, *, was: int, now: int, most: int) -> int:
    """Move tiles of the one account to the other, at most so many; return how many.

    Of events that named it, and of those who live there: their home is the other one too. Nobody folds or stores
    events meanwhile.
    """
    return c.execute(_MOVE_ALL, {"was": was, "now": now, "most": most}).rowcount


_MOVE_ALL = f"""
WITH gone AS (
    DELETE FROM scoring_tile WHERE id IN (
        SELECT id FROM scoring_tile WHERE account_id = %(was)s::bigint LIMIT %(most)s::int)
    RETURNING *
)
INSERT INTO scoring_tile ({TILE_COLUMNS})
SELECT signal_id, %(now)s::bigint, user_id, inherited, day, {VALUES} FROM gone ORDER BY 1, 2, day, 3
"""  # noqa: S608
