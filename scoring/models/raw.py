"""Cursors that bind values on the server, for statements that Django's ORM cannot say."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date
from typing import Any

import psycopg
from django.db import connection
from django.db.models import Model


def cursor() -> psycopg.Cursor[Any]:
    """Return a psycopg cursor on Django's connection, inside Django's transaction if there is one.

    It prepares what is executed often, and raises psycopg's own errors, not Django's.
    """
    connection.close_if_health_check_failed()  # as Django's own cursor does: once per request, after a restart
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)


@contextmanager
def pipeline(*, when: bool = True) -> Iterator[psycopg.Cursor[Any]]:
    """Give a cursor that sends statements without waiting for those before, until somebody reads an answer.

    Each statement keeps an answer of its own: ask for all, then read. PostgreSQL does them in their order. An error
    may come only with a later statement, or at the end. Use it for several short statements: on the way to and fro
    they would spend more than in the database. Not for COPY. `when` that does not pay, each statement is waited for.
    """
    ours = cursor().connection  # made here, if nobody has asked in this thread yet
    with ours.pipeline() if when else nullcontext():
        yield _OneEach(ours)


class _OneEach(psycopg.Cursor[Any]):
    """Gives each statement a cursor of its own, which its answer belongs to."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> psycopg.Cursor[Any]:  # type: ignore[override]
        return psycopg.Cursor(self.connection).execute(query, params, **options)


def insert(rows: Sequence[Model]) -> None:
    """Insert new rows of one table by one statement, in their order, and give them their ids.

    `bulk_create` does the same; where rows hold much JSON, quoting it for an array takes it ten times as long.
    """
    if not rows:
        return
    table, all_fields = rows[0]._meta.db_table, rows[0]._meta.concrete_fields
    fields = [field for field in all_fields if not field.primary_key and not field.generated]
    columns = ", ".join(field.column or "" for field in fields)
    said = [{field.column: getattr(row, field.attname) for field in fields} for row in rows]
    with cursor() as c:
        text = _INSERT.format(table=table, columns=columns)
        ids = c.execute(text, [json.dumps(said, default=_plain, ensure_ascii=False)])
        for row, (made,) in zip(rows, ids, strict=True):
            row.pk = made


_INSERT = """
INSERT INTO {table} ({columns})
SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb) WITH ORDINALITY ORDER BY ordinality
RETURNING id
"""


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else f"{value}"
