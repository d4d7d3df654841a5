"""What the tests of the doors share."""

from collections.abc import Iterator

import pytest
from django.db import connection


@pytest.fixture
def no_events_left(transactional_db: None) -> Iterator[None]:
    """Empty the tables of events after a test that commits: Django does not know them, so it does not."""
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE scoring_event, scoring_event_key")
