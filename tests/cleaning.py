"""Leaves the database as the migrations made it, for the next test of the same worker."""

from datetime import UTC, datetime
from importlib import import_module

from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection

from routing.roles import ROLES
from scoring import scores, tiles
from scoring.facts import recording
from scoring.language.document import ANYTHING

lifecycle = import_module("routing.migrations.0004_lifecycle_tightened")


def flush() -> None:
    """Empty everything, then put back what the migrations put there."""
    call_command("flush", interactive=False, verbosity=0)
    as_migrated()
    # The flush begins all ids anew, so what is remembered by an id is another one's.
    recording.forget()
    scores._document.cache_clear()
    scores._signal_ids.cache_clear()


def as_migrated() -> None:
    """Complete a flush of Django's.

    It empties only the tables that Django manages, and takes the rows along that the migrations put there.
    """
    with connection.cursor() as c:
        c.execute("TRUNCATE scoring_event, scoring_event_key")
    tiles.register(signals=[ANYTHING], at=datetime.now(UTC))
    for role in ROLES:
        Group.objects.get_or_create(name=role)
