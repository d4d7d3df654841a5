"""A cursor that binds values on the server, for statements that Django's ORM cannot say."""

from typing import Any

import psycopg
from django.db import connection


def cursor() -> psycopg.Cursor[Any]:
    """Return a psycopg cursor on Django's connection, inside Django's transaction if there is one.

    It prepares what is executed often, and raises psycopg's own errors, not Django's.
    """
    connection.close_if_health_check_failed()  # as Django's own cursor does: once per request, after a restart
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)
