"""Calls with a key that opens nothing: counted in the process, and written now and then.

Who sends them may send a million of them for nothing, so they must not cost the database a row each. The first one is
written at once, as whoever sets a sender up looks for it; what follows waits together. A process that is killed takes
the count of its last seconds along, and nothing else.
"""

import atexit
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import psycopg
import structlog
from django import db

from scoring import facts
from scoring.facts import Envelope, Reason

log = structlog.get_logger(__name__)

PAUSE = 5.0  # seconds between two writings of one process


class Strangers:
    """Counts by wire and reason, of which there are few. `write` stores what one wire turned away."""

    def __init__(
        self, *, write: Callable[[str, Sequence[Reason], datetime], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._waiting: dict[str, dict[str, Reason]] = {}
        self._last_at: datetime | None = None
        self._written_at = -PAUSE
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def note(self, *, wire: str, reason: Reason, at: datetime) -> None:
        """Count a call; of what it said the last sample stays. It is written now or within PAUSE."""
        with self._lock:
            self._add(wire, reason)
            self._last_at = at
            wait = self._written_at + PAUSE - self._clock()
            if wait > 0 and (self._timer is None or not self._timer.is_alive()):  # a fork does not take it along
                self._timer = threading.Timer(wait, self._write_alone)
                self._timer.daemon = True
                self._timer.start()
        if wait <= 0:
            self.write()

    def write(self) -> None:
        """Write what waits. If that fails it waits on, and the error is raised."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
            at, self._timer, self._written_at = self._last_at, None, self._clock()
        while taken and at is not None:
            wire, reasons = taken.popitem()
            try:
                self._write(wire, list(reasons.values()), at)
            except Exception:
                self._put_back({**taken, wire: reasons})
                raise

    def _add(self, wire: str, reason: Reason) -> None:
        reasons = self._waiting.setdefault(wire, {})
        before = reasons.get(reason.code)
        reasons[reason.code] = reason if before is None else replace(reason, count=before.count + reason.count)

    def _put_back(self, taken: Mapping[str, Mapping[str, Reason]]) -> None:
        with self._lock:
            for wire, reasons in taken.items():
                for reason in reasons.values():
                    self._add(wire, reason)

    def _write_alone(self) -> None:
        """Write what waits, in a thread that has no request: its connection is of no use to anybody else."""
        try:
            self.write()
        except (db.Error, psycopg.Error) as error:
            log.warning("strangers_not_counted_yet", reason=str(error))
        finally:
            db.connections.close_all()


def _noted(wire: str, reasons: Sequence[Reason], at: datetime) -> None:
    facts.note(source=None, envelope=Envelope(wire=wire), reasons=reasons, at=at)


counted = Strangers(write=_noted)
atexit.register(counted._write_alone)
