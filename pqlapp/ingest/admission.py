"""How many calls are taken at once: a crowd beyond that is refused at once, rather than kept waiting in memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from pqlapp.parser import Refused

PATIENCE = 0.5  # seconds that a call waits for its turn: a burst is smoothed, a flood is not


class Gate:
    """Lets so many in at once, and so many more wait a moment. The rest is told to come again."""

    def __init__(self, *, inside: int, waiting: int) -> None:
        self._inside = threading.Semaphore(inside)
        self._known = threading.Semaphore(inside + waiting)

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Hold a place inside. Raises Refused (429) if none becomes free in time."""
        if not self._known.acquire(blocking=False):
            raise _too_much()
        try:
            if not self._inside.acquire(timeout=PATIENCE):
                raise _too_much()
            try:
                yield
            finally:
                self._inside.release()
        finally:
            self._known.release()


def _too_much() -> Refused:
    return Refused(429, "too_much_at_once", "nothing of this was stored: send it again after the time in Retry-After")


# Of this process. Waiting and refusing need threads of their own: see deploy/gunicorn.conf.py.
gate = Gate(inside=settings.INGEST_AT_ONCE, waiting=settings.INGEST_AT_ONCE)
