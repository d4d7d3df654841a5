"""Leaves the database as the migrations made it, for the next test of the same worker.

What the migrations put there (the built-in signal, the roles, the reasons) is kept aside in a schema of its own, when
the database is made. Ids never begin anew, so what a process remembers by an id is never another one's.
"""

from collections.abc import Sequence
from functools import cache

from django.db import connection, transaction

KEPT = ("django_migrations", "django_content_type", "auth_permission")  # Django's own lists, which no test changes


def remember() -> None:
    """Keep aside what is there now."""
    _run("CREATE SCHEMA migrated", *(f"CREATE TABLE migrated.{table} AS TABLE {table}" for table in _tables()))


def as_migrated() -> None:
    """Take away what is there by now, and put back what was kept: at once, where little was written."""
    # No foreign key and no trigger speaks up: neither the order of the tables nor a published version is in the way.
    _run("SET LOCAL session_replication_role = replica", *(f"DELETE FROM {table}" for table in _tables()), *_put_back())


def flush() -> None:
    """Do the same by making all tables anew: better where much was written."""
    replica = "SET LOCAL session_replication_role = replica"
    _run(f"TRUNCATE {', '.join(_tables())}", replica, *_put_back())


@cache
def _tables() -> Sequence[str]:
    """The names of all tables but those of KEPT, and but the parts of one that is parted."""
    with connection.cursor() as c:
        c.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
            " AND relnamespace = 'public'::regnamespace AND relname <> ALL(%s)",
            [list(KEPT)],
        )
        return [table for (table,) in c.fetchall()]


@cache
def _put_back() -> Sequence[str]:
    with connection.cursor() as c:
        asked = (f"SELECT '{table}' WHERE EXISTS (SELECT FROM migrated.{table})" for table in _tables())
        c.execute(" UNION ALL ".join(asked))
        return [f"INSERT INTO {table} SELECT * FROM migrated.{table}" for (table,) in c.fetchall()]


def _run(*statements: str) -> None:
    with transaction.atomic(), connection.cursor() as c:
        c.execute(";".join(statements))


def others() -> list[tuple[object, ...]]:
    """Return who else is connected: who has just hung up is for a moment, and the database cannot be dropped then."""
    with connection.cursor() as c:
        c.execute(
            "SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return c.fetchall()
