"""What really arrived: names of events, their properties and values, traits and outcomes, to pick rules from. Reads.

Of many events a part is read, and the counts say so.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import psycopg
from django.db import transaction

from scoring.models.raw import cursor

DAYS = 28
MOST_READ = 300_000  # events that one look counts
MOST_NAMES, MOST_KEYS, MOST_VALUES = 500, 60, 30
EXAMPLES = 2_000  # events whose properties are looked at
PATIENCE = "2s"


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that arrived, how often, and when last."""

    name: str  # of values: as JSON
    count: int
    last_at: datetime | None = None
    is_estimate: bool = False


def events_seen(*, at: datetime) -> list[Seen]:
    """Return the names of the events of the last DAYS days, the most frequent first, at most MOST_NAMES.

    Of more than MOST_READ events a part is counted: rare names may be missing then.
    """
    span = {"since": at - timedelta(days=DAYS), "until": at}
    with transaction.atomic(), cursor() as c:
        c.execute(_PATIENCE, [PATIENCE])
        expected = _expected(c, span)
        share = min(100.0, 100.0 * MOST_READ / max(expected, 1))
        sample = f"TABLESAMPLE SYSTEM ({share:.4f}) REPEATABLE (1)" if share < 100 else ""
        try:
            rows = c.execute(_NAMES.format(sample=sample), {**span, "most": MOST_NAMES}).fetchall()
        except psycopg.errors.QueryCanceled:
            return []
    return [Seen(name, round(count * 100 / share), last, bool(sample)) for name, count, last in rows]


def properties_seen(*, event: str, at: datetime) -> list[Seen]:
    """Return the properties of the event, the most frequent first; counts are of the events looked at."""
    return _of_examples(_KEYS, {"event": event, "most": MOST_KEYS}, at)


def values_seen(*, event: str, key: str, at: datetime) -> list[Seen]:
    """Return the values of a property, as JSON, the most frequent first; counts are of the events looked at."""
    return _of_examples(_VALUES, {"event": event, "key": key, "most": MOST_VALUES}, at)


def traits_seen() -> list[Seen]:
    """Return the traits of accounts, with how many statements there are of each."""
    return _look(_TRAITS, {"most": MOST_KEYS})


def trait_values_seen(*, key: str) -> list[Seen]:
    """Return the values that accounts have of a trait, as JSON, with how many accounts."""
    return _look(_TRAIT_VALUES, {"key": key, "most": MOST_VALUES})


def outcomes_seen() -> list[Seen]:
    """Return the kinds of outcomes, with how many there are."""
    return _look(_OUTCOMES, {"most": MOST_KEYS})


_PATIENCE = "SELECT set_config('statement_timeout', %s, true)"
_NAMES = """
SELECT name, count(*), max(at) FROM scoring_event {sample}
WHERE at > %(since)s AND at <= %(until)s GROUP BY name ORDER BY count(*) DESC, name LIMIT %(most)s
"""
_EXPECTED = "EXPLAIN (FORMAT JSON) SELECT FROM scoring_event WHERE at > %(since)s AND at <= %(until)s"
_EXAMPLES = """
WITH example AS MATERIALIZED (
    SELECT properties, at FROM scoring_event
    WHERE name = %(event)s AND at > %(since)s AND at <= %(until)s LIMIT %(examples)s)
"""
_KEYS = (
    _EXAMPLES
    + """
SELECT key, count(*), max(at) FROM example, jsonb_object_keys(properties) AS key
GROUP BY key ORDER BY count(*) DESC, key LIMIT %(most)s
"""
)
_VALUES = (
    _EXAMPLES
    + """
SELECT (properties -> %(key)s)::text, count(*), max(at) FROM example WHERE properties ? %(key)s
GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT %(most)s
"""
)
_TRAITS = """
SELECT key, count(*), max(at) FROM scoring_traitchange WHERE account_id IS NOT NULL
GROUP BY key ORDER BY count(*) DESC, key LIMIT %(most)s
"""
_TRAIT_VALUES = """
SELECT value::text, count(DISTINCT account_id), max(at) FROM scoring_traitchange
WHERE account_id IS NOT NULL AND key = %(key)s AND value IS NOT NULL
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %(most)s
"""
_OUTCOMES = "SELECT kind, count(*), max(at) FROM scoring_outcome GROUP BY kind ORDER BY 2 DESC, 1 LIMIT %(most)s"


def _expected(c: psycopg.Cursor[Any], span: dict[str, Any]) -> int:
    """How many events the planner expects there: only to choose how many are read."""
    bound = psycopg.ClientCursor(c.connection).mogrify(_EXPECTED, span)
    row = c.execute(bound.encode()).fetchone()
    told = row[0] if row else []
    plan = orjson.loads(told) if isinstance(told, str) else told
    return int(plan[0]["Plan"]["Plan Rows"])


def _of_examples(text: str, params: dict[str, Any], at: datetime) -> list[Seen]:
    return _look(text, {**params, "since": at - timedelta(days=DAYS), "until": at, "examples": EXAMPLES})


def _look(text: str, params: dict[str, Any]) -> list[Seen]:
    """What is found in PATIENCE; nothing where that is too short."""
    try:
        with transaction.atomic(), cursor() as c:
            c.execute(_PATIENCE, [PATIENCE])
            return [Seen(*row) for row in c.execute(text, params).fetchall()]
    except psycopg.errors.QueryCanceled:
        return []
