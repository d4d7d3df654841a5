from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import time_machine
from django.test import Client

from pqlapp import bell
from scoring import handoffs


class TestHealthz:
    def test_answers_without_asking_anybody(self):
        response = Client().get("/healthz")
        assert (response.status_code, response.content) == (200, b"ok")


class TestReadyz:
    @pytest.fixture
    def world(self, monkeypatch):
        """Set when the beat was seen and the oldest touch made, in seconds ago (None: never); the clock stands."""

        def ago(seconds: float | None) -> datetime | None:
            return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)

        def set_up(beat: float | None, touch: float | None) -> None:
            monkeypatch.setattr(bell, "beat_seen_at", lambda: ago(beat))
            monkeypatch.setattr(handoffs, "oldest_touch", lambda: ago(touch))

        with time_machine.travel(datetime(2026, 3, 31, 12, tzinfo=UTC), tick=False):
            yield set_up

    def test_is_ready_while_the_beat_is_seen(self, world):
        world(beat=59, touch=90)
        response = Client().get("/readyz")
        assert response.status_code == 200
        state = response.json()
        assert (state["ready"], state["database"]) == (True, True)
        assert (state["beat_age"], state["oldest_touch_age"]) == (59, 90)

    @pytest.mark.parametrize("beat", [None, 61])
    def test_is_not_ready_when_the_beat_is_missed(self, world, beat):
        world(beat=beat, touch=None)
        response = Client().get("/readyz")
        assert (response.status_code, response.json()["ready"]) == (503, False)
        assert response.json()["oldest_touch_age"] is None

    def test_is_not_ready_without_the_database(self, world, monkeypatch):
        world(beat=1, touch=None)

        def away() -> None:
            raise psycopg.OperationalError("the connection is closed")

        monkeypatch.setattr(handoffs, "oldest_touch", away)
        response = Client().get("/readyz")
        assert (response.status_code, response.json()["database"]) == (503, False)

    @pytest.mark.django_db
    def test_asks_the_real_database(self, monkeypatch):
        monkeypatch.setattr(bell, "beat_seen_at", lambda: datetime.now(UTC))
        assert Client().get("/readyz").json()["oldest_touch_age"] is None
