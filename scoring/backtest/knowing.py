"""What was known on a day: events of live sources that came only later are left out.

An event is live if its source was there when it happened, and no file of history was read into it later. Of all
others the time of arrival says only when somebody brought history in: they count from the day they are dated.

For the few accounts with such events on a day, their tiles, traits and outcomes are laid out anew in temporary tables
of the same names, which PostgreSQL finds before the real ones: so the very same statement judges them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from django.db import transaction

from scoring import engine, language
from scoring.compiler.fold import TILE_COLUMNS, fold_sql
from scoring.engine import Judgement
from scoring.language import Document
from scoring.models.raw import cursor
from scoring.tiles.folding import FIRST_DAY, RESOLVED


@dataclass(frozen=True, slots=True)
class Late:
    """Facts of one account and day that all came on one later day."""

    source: str
    account: int
    day: date
    came: date
    events: int


class Knowledge:
    """Which accounts knew less on a day than is known of it now."""

    def __init__(self, late: Sequence[Late]) -> None:
        self.late = late
        self._of: dict[int, list[Late]] = defaultdict(list)
        for each in late:
            self._of[each.account].append(each)

    def short_of(self, day: date) -> dict[int, set[date]]:
        """Return the accounts of which something dated up to the day came only after it, with those dates."""
        short = {account: {each.day for each in of if each.day <= day < each.came} for account, of in self._of.items()}
        return {account: days for account, days in short.items() if days}

    def left_out(self, days: Iterable[date]) -> list[Late]:
        """Return what was left out on at least one of the days."""
        judged = sorted(days)
        return [each for each in self.late if any(each.day <= day < each.came for day in judged)]

    def corrected(self, document: Document, *, day: date, judged: list[Judgement]) -> list[Judgement]:
        """Return the judgements of a day, each by what was known at its end (UTC)."""
        short = self.short_of(day)
        asked = {judgement.account_id for judgement in judged} if short else set()
        short = {account: days for account, days in short.items() if account in asked}
        if not short:
            return judged
        days = sorted(set().union(*short.values()))
        known = _judge_as_known(document, day=day, accounts=sorted(short), days=days)
        return [judgement for judgement in judged if judgement.account_id not in short] + known


def look(*, first: date, last: date) -> Knowledge:
    """Return what came late of all that is dated from the first to the last day."""
    with cursor() as c:
        c.execute(_LATE, {"first": first, "last": last})
        return Knowledge([Late(*row) for row in c])


# Whether the arrival of a fact `e` of the source `s` says when it was known.
_LIVE = "s.id = e.source_id AND e.at >= s.created_at AND e.received_at > coalesce(s.imported_to, '-infinity')"
_OF_SOURCE = f"JOIN public.scoring_source s ON {_LIVE}"
_DAY = "(e.at AT TIME ZONE 'UTC')::date"
_CAME = "(e.received_at AT TIME ZONE 'UTC')::date"
_CAME_LATE = f"""e.at < (%(last)s::date + 1)::timestamp AT TIME ZONE 'UTC'
    AND e.received_at >= (%(first)s::date + 1)::timestamp AT TIME ZONE 'UTC'
    AND {_DAY} < {_CAME} AND {_DAY} >= ({FIRST_DAY})"""
# Events; and traits and outcomes, which a program may have stated without one.
_LATE = f"""
SELECT s.slug, coalesce(a.merged_into_id, e.account_id, u.home_id), {_DAY}, {_CAME}, count(*)
FROM public.scoring_event e {_OF_SOURCE}
LEFT JOIN public.scoring_account a ON a.id = e.account_id AND a.merged_into_id IS NOT NULL
LEFT JOIN public.scoring_identity i ON i.id = e.identity_id
LEFT JOIN public.scoring_productuser u ON u.id = i.user_id
WHERE {_CAME_LATE} AND coalesce(a.merged_into_id, e.account_id, u.home_id) IS NOT NULL GROUP BY 1, 2, 3, 4
UNION ALL
SELECT s.slug, e.account_id, {_DAY}, {_CAME}, 0 FROM public.scoring_traitchange e {_OF_SOURCE}
WHERE {_CAME_LATE} AND e.account_id IS NOT NULL GROUP BY 1, 2, 3, 4
UNION ALL
SELECT s.slug, e.account_id, {_DAY}, {_CAME}, 0 FROM public.scoring_outcome e {_OF_SOURCE}
WHERE {_CAME_LATE} GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4
"""  # noqa: S608


def _judge_as_known(document: Document, *, day: date, accounts: Sequence[int], days: Sequence[date]) -> list[Judgement]:
    """Judge the accounts without what came after the day; `days` are those of which something did."""
    signals = {id_: language.signals_of(document)[name] for name, id_ in engine.stored_signals(document).items()}
    fold = fold_sql(signals)
    params = {"day": day, "accounts": list(accounts), "days": list(days), "signals": list(signals)}
    with transaction.atomic(), cursor() as c:
        for statement in _LAY_OUT:
            c.execute(statement, params)
        c.execute(_refolded(fold.sql), {**params, "first": days[0], "last": days[-1], **fold.params})
        # Written out, so that statements that were prepared for the real tables are planned anew.
        path = c.execute("SELECT current_setting('search_path')").fetchone()
        c.execute(_SET_PATH, [f"pg_temp, {path[0]}" if path else "pg_temp"])
        judged = engine.judge(document, as_of=day, accounts=accounts, detail=False)
        c.execute(_SET_PATH, path)
        for table in _TABLES:
            c.execute(f"DROP TABLE pg_temp.{table}")
    return judged


_SET_PATH = "SELECT set_config('search_path', %s, true)"
_TABLES = ("scoring_tile", "scoring_traitchange", "scoring_outcome")
_UNKNOWN = f"EXISTS (SELECT FROM public.scoring_source s WHERE {_LIVE} AND {_CAME} > %(day)s::date)"
_LAY_OUT = (
    f"""CREATE TEMP TABLE scoring_tile AS SELECT {TILE_COLUMNS} FROM public.scoring_tile
WHERE account_id = ANY (%(accounts)s::bigint[]) AND signal_id = ANY (%(signals)s::bigint[])
    AND day <> ALL (%(days)s::date[])""",  # noqa: S608
    *(
        f"""CREATE TEMP TABLE {table} AS SELECT e.* FROM public.{table} e
WHERE e.account_id = ANY (%(accounts)s::bigint[]) AND NOT {_UNKNOWN}"""  # noqa: S608
        for table in _TABLES[1:]
    ),
)


def _refolded(fold: str) -> str:
    """The tiles of the days of which something came late, folded without it."""
    return f"""INSERT INTO pg_temp.scoring_tile ({TILE_COLUMNS})
WITH fresh AS (
    {RESOLVED}
    WHERE e.at >= %(first)s::date::timestamp AT TIME ZONE 'UTC'
        AND e.at < (%(last)s::date + 1)::timestamp AT TIME ZONE 'UTC'
        AND coalesce(a.merged_into_id, e.account_id, u.home_id) = ANY (%(accounts)s::bigint[])
        AND {_DAY} = ANY (%(days)s::date[]) AND NOT {_UNKNOWN})
SELECT * FROM ({fold}) AS folded"""  # noqa: S608
