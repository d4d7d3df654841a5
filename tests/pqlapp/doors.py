"""What the tests of the doors share: a source with its write key, a bell that wakes nobody, and how they knock."""

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from django.test import Client

from pqlapp import bell
from pqlapp.ingest import door
from scoring import facts
from scoring.models import Key, Source

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Collect the rings, and forget the keys of the test before."""
    door._known_keys.clear()
    rings: list[set[int]] = []

    def ring(*, shards: Iterable[int]) -> None:
        rings.append(set(shards))

    monkeypatch.setattr(bell, "ring", ring)
    return rings


@pytest.fixture
def source(db: None, rung: list[set[int]]) -> Source:
    """Return a source of events."""
    return facts.create_source(slug="web-app", at=AT)


@pytest.fixture
def secret(source: Source) -> str:
    """Return a write key of the source."""
    return facts.create_key(source=source, kind=Key.Kind.WRITE, by=None, at=AT)[1]


def basic(secret: str) -> str:
    """Return the header that says the key as Segment's libraries do."""
    return "Basic " + base64.b64encode(f"{secret}:".encode()).decode()


def send(path: str, body: object, **headers: str) -> Any:
    """Post JSON, or these very bytes, as plain text: what browsers send without asking first."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return Client().post(path, data, content_type="text/plain", headers=headers)
