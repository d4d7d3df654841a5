"""Check that `tiles = fold(events)`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from scoring import language
from scoring.compiler.fold import KEY, MERGED, fold_sql
from scoring.models import Signal
from scoring.models.raw import cursor
from scoring.tiles.folding import RESOLVED


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the stored tiles are not the fold of the events; None on a side: there is no such tile."""

    signal: int
    account: int
    user: int | None
    inherited: bool
    day: str
    stored: dict[str, Any] | None
    folded: dict[str, Any] | None


def verify(*, signals: Iterable[Signal] | None = None) -> Difference | None:
    """Fold all events anew and compare with the tiles of the signals (all that are ready, if None).

    Returns the first difference, None if there is none. Reads everything, in one snapshot; waits for nobody.
    """
    chosen = Signal.objects.filter(retired_at__isnull=True) if signals is None else signals
    ready = {s.pk: language.load_signal(s.definition) for s in chosen if s.is_ready}
    if not ready:
        return None
    fold = fold_sql(ready)
    with cursor() as c:
        row = c.execute(_verify_sql(fold.sql), {"ids": list(ready), **fold.params}).fetchone()
    return Difference(*row[:5], *(orjson.loads(side) if side else None for side in row[5:])) if row else None


def _verify_sql(fold: str) -> str:
    return f"""
WITH fresh AS ({RESOLVED}), folded AS ({fold}),
stored AS (
    SELECT {KEY}, {MERGED}
    FROM scoring_tile WHERE signal_id = ANY (%(ids)s::bigint[]) GROUP BY {KEY}
)
SELECT signal_id, account_id, user_id, inherited, day::text,
       (SELECT to_jsonb(s)::text FROM stored s WHERE (s.signal_id, s.account_id, s.inherited, s.day) =
            (d.signal_id, d.account_id, d.inherited, d.day) AND s.user_id IS NOT DISTINCT FROM d.user_id),
       (SELECT to_jsonb(f)::text FROM folded f WHERE (f.signal_id, f.account_id, f.inherited, f.day) =
            (d.signal_id, d.account_id, d.inherited, d.day) AND f.user_id IS NOT DISTINCT FROM d.user_id)
FROM ((SELECT * FROM stored EXCEPT SELECT * FROM folded)
      UNION ALL (SELECT * FROM folded EXCEPT SELECT * FROM stored)) AS d
ORDER BY signal_id, account_id, day, user_id LIMIT 1"""  # noqa: S608
