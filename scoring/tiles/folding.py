"""Fold new events into tiles, as they are stored."""

from collections.abc import Callable, Iterable
from functools import lru_cache

import orjson

from scoring import language
from scoring.compiler.fold import TILE_COLUMNS, fold_sql, signals_for
from scoring.compiler.query import Query
from scoring.tiles.locks import Cursor


def active(c: Cursor) -> dict[int, language.Signal]:
    """Return the signals that ingest folds, by id."""
    return ask_active(c)()


def ask_active(c: Cursor) -> Callable[[], dict[int, language.Signal]]:
    """Ask for the signals that ingest folds; what is returned reads the answer."""
    answer = c.execute(_ACTIVE)
    return lambda: {signal_id: load_signal(text) for signal_id, text in answer}


_ACTIVE = "SELECT id, definition::text FROM scoring_signal"


@lru_cache(maxsize=4096)
def load_signal(definition: str) -> language.Signal:
    """Return the signal of a stored definition."""
    return language.load_signal(orjson.loads(definition))


def append(c: Cursor, *, events: Query, names: Iterable[str], signals: dict[int, language.Signal]) -> None:
    """Append the partial tiles of new events: `events` selects them with the columns that compiler.fold names.

    `names` are the names that occur among them. The gate is held, and the users are locked.
    """
    matching = signals_for(signals, names=names)
    if matching:
        fold = fold_sql(matching)
        c.execute(append_sql(events.sql, fold.sql), {**events.params, **fold.params})


@lru_cache(maxsize=256)
def append_sql(events: str, fold: str) -> str:
    """Return the statement that appends a fold's partials; both texts are from compiler.fold and our own queries."""
    return f"""INSERT INTO scoring_tile ({TILE_COLUMNS})
WITH fresh AS ({events})
SELECT * FROM ({fold}) AS folded ORDER BY signal_id, account_id, day, user_id"""  # noqa: S608


# Stored events, as compiler.fold wants them: with the user and the account that they count for today.
RESOLVED = """
SELECT e.message_id, e.at, e.name, e.properties, coalesce(a.merged_into_id, e.account_id, u.home_id) AS account_id,
       u.id AS user_id, e.account_id IS NULL AS inherited
FROM scoring_event e
LEFT JOIN scoring_account a ON a.id = e.account_id AND a.merged_into_id IS NOT NULL
LEFT JOIN scoring_identity i ON i.id = e.identity_id
LEFT JOIN scoring_productuser u ON u.id = i.user_id
"""
# Whether the day of the event is not closed by retention: closed days are never folded again. `s` is its source.
OPEN_DAY = "(s.events_from IS NULL OR e.at >= s.events_from::timestamp AT TIME ZONE 'UTC')"
# Before it, some source has dropped events: those days' tiles stay as they are, whoever they were counted for.
FIRST_DAY = "SELECT coalesce(max(events_from), '-infinity'::date) FROM scoring_source"
