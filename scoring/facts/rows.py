"""New events on their way into the database: each with whom it counts for, as a relation that one statement reads."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import psycopg

from scoring.compiler.query import Query

Cursor = psycopg.Cursor[Any]

MANY = 500  # rows from which a table and COPY cost less than a document


class Place(NamedTuple):
    """Whom a call counts for: the same for all calls of a batch that name the same ids."""

    identity_id: int | None
    named_id: int | None  # the account that the call names
    user_id: int | None
    account_id: int  # the account that it counts for: the one named, else the user's home
    inherited: bool


class Row(NamedTuple):
    """A new event as it is stored and folded."""

    message_id: str
    at: datetime
    name: str
    properties: str  # JSON
    place: Place


_COLUMNS = "message_id, at, name, properties, identity_id, named_id, user_id, account_id, inherited"
_TYPES = """
    message_id text, at timestamptz, name text, properties jsonb, identity_id bigint, named_id bigint,
    user_id bigint, account_id bigint, inherited boolean
"""
_DOCUMENT = f"SELECT {_COLUMNS} FROM json_to_recordset(%(rows)s::json) AS n({_TYPES})"  # noqa: S608
# It stays as long as the connection: to make it for each batch cost more than to store a hundred events.
_STAGE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS scoring_fresh ({_TYPES}) ON COMMIT DELETE ROWS;
DELETE FROM pg_temp.scoring_fresh
"""  # noqa: S608
_COPY = f"COPY pg_temp.scoring_fresh ({_COLUMNS}) FROM STDIN"
_STAGED = f"SELECT {_COLUMNS} FROM pg_temp.scoring_fresh"  # noqa: S608


def relation(c: Cursor, rows: Sequence[Row]) -> Query:
    """Return a query of the rows: over a document if they are few, else over a table that this transaction fills.

    Of several in one transaction only the last counts. Raises psycopg's DataError if PostgreSQL cannot hold something.
    """
    if len(rows) < MANY:
        return Query(_DOCUMENT, {"rows": orjson.dumps([_as_document(row) for row in rows]).decode()})
    c.execute(_STAGE)
    with c.copy(_COPY) as copy:
        copy.write(_as_text(rows))
    return Query(_STAGED)


def _as_document(row: Row) -> dict[str, Any]:
    head = {"message_id": row.message_id, "at": row.at, "name": row.name}
    return head | {"properties": orjson.Fragment(row.properties)} | row.place._asdict()


def _as_text(rows: Sequence[Row]) -> str:
    """The rows as COPY reads them. By column, since what one call does for all of them costs next to nothing."""
    ids, names = _escaped([row.message_id for row in rows]), _escaped([row.name for row in rows])
    times = orjson.dumps([row.at for row in rows])[2:-2].decode().split('","')
    properties = [row.properties.replace("\\", "\\\\") for row in rows]
    places = [_place_as_text(row.place) for row in rows]
    return "\n".join(map("\t".join, zip(ids, times, names, properties, places, strict=True))) + "\n"


_MARKS = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _escaped(texts: Sequence[str]) -> Sequence[str]:
    together = "".join(texts)
    if not any(chr(mark) in together for mark in _MARKS):
        return texts
    return [text.translate(_MARKS) for text in texts]


@lru_cache(maxsize=4096)
def _place_as_text(place: Place) -> str:
    return "\t".join("\\N" if value is None else str(value) for value in place)


def store_events(c: Cursor, events: Query, *, source: int, received_at: datetime) -> None:
    """Store the events that the query of relation() reads, in the order of time."""
    c.execute(_events_sql(events.sql), {**events.params, "source": source, "received_at": received_at})


@lru_cache(maxsize=4)
def _events_sql(events: str) -> str:
    return f"""
INSERT INTO scoring_event (source_id, message_id, at, received_at, identity_id, account_id, name, properties)
SELECT %(source)s::bigint, message_id, at, %(received_at)s::timestamptz, identity_id, named_id, name, properties
FROM ({events}) AS fresh ORDER BY at, message_id COLLATE "C"
"""  # noqa: S608
