"""The beat says once that Redis is away, and once that it is back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from structlog.testing import capture_logs

from pqlapp import beat
from pqlapp.celery import app


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[beat.Scheduler]:
    made = beat.Scheduler(app=app, schedule_filename=f"{tmp_path / 'beat'}")
    yield made
    made.close()


def producer(address: str, *, within: float) -> Any:
    """What publishes to the Redis of this address, when it must; so many seconds it tries to reach it."""
    elsewhere = Celery("elsewhere", broker=address)
    elsewhere.conf.update(broker_connection_timeout=within, task_publish_retry=False)
    return elsewhere.amqp.Producer(elsewhere.connection_for_write(), auto_declare=False)


def test_celery_runs_by_it() -> None:
    assert f"{beat.Scheduler.__module__}:{beat.Scheduler.__name__}" == settings.CELERY_BEAT_SCHEDULER


def test_tells_trouble_once_and_that_it_is_over_once(
    scheduler: beat.Scheduler, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = scheduler.schedule["tick"]
    nowhere = producer("redis://127.0.0.1:1/0", within=1)  # where nothing may come to listen meanwhile
    # A database that no other test looks at.
    there = producer(f"{settings.REDIS_URL.rpartition(chr(47))[0]}/15", within=60)
    monkeypatch.setattr(beat, "log", beat.structlog.get_logger("beat"))  # one that no test before has used
    with capture_logs() as lines:
        for _ in range(3):
            scheduler.apply_entry(entry, producer=nowhere)
        for _ in range(2):
            scheduler.apply_entry(entry, producer=there)
        scheduler.apply_entry(entry, producer=nowhere)
    assert [line["event"] for line in lines] == ["beat_not_sent", "beat_is_sent_again", "beat_not_sent"]
    assert "refused" in lines[0]["reason"]
    assert "Traceback" not in capfd.readouterr().err
