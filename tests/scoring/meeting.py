"""Real threads that meet, with connections of their own, on the real database.

Where two must meet at one point, one is held there until the database shows that the other waits for it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier, Event, current_thread
from typing import Any

import pytest
from django.db import connection, connections

PATIENCE = 60  # seconds after which a test that hangs is a failure


class Meeting:
    """Starts work in threads, and holds one of them at a point of its way."""

    def __init__(self, pool: ThreadPoolExecutor, until: Callable[..., None]) -> None:
        self.pool = pool
        self.until = until

    def start(self, work: Callable[[], Any]) -> "Future[Any]":
        def and_hang_up() -> Any:
            try:
                return work()
            finally:
                connections.close_all()

        return self.pool.submit(and_hang_up)

    def hold(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> tuple[Event, Event]:
        """Hold the first thread that calls the function: (it is there, let it go on)."""
        there, go_on = Event(), Event()
        real = getattr(module, name)
        held: list[object] = []

        def function(*args: Any, **kwargs: Any) -> Any:
            if not held:
                held.append(current_thread())
                there.set()
                assert go_on.wait(PATIENCE)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, function)
        return there, go_on

    def somebody_waits(self) -> None:
        """Wait until a connection to this database waits for a lock."""
        self.until(_waiting_connections, within=PATIENCE, what="somebody waits for a lock")


def _waiting_connections() -> int:
    with connection.cursor() as c:
        c.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(c.fetchone()[0])


@pytest.fixture
def meeting(until: Callable[..., None]) -> Iterator[Meeting]:
    with ThreadPoolExecutor(8) as pool:
        yield Meeting(pool, until)


def at_once(meeting: Meeting, *works: Callable[[], Any]) -> list[Any]:
    """Start all of the works at one moment and return what they return."""
    barrier = Barrier(len(works))

    def one(work: Callable[[], Any]) -> Any:
        connection.ensure_connection()
        barrier.wait(PATIENCE)
        return work()

    futures = [meeting.start(partial(one, work)) for work in works]
    return [future.result(6 * PATIENCE) for future in futures]


@contextmanager
def let_go(event: Event) -> Iterator[None]:
    """Whatever happens in between, let the held thread go on."""
    try:
        yield
    finally:
        event.set()
