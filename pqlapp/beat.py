"""The beat's clockwork: Celery's own, but for what it says while Redis is away."""

from typing import Any

import structlog
from celery.beat import PersistentScheduler, SchedulingError

log = structlog.get_logger(__name__)


class Scheduler(PersistentScheduler):
    """Sends what is due. What cannot be sent is due again soon: it is told once, not at each beat."""

    _trouble = ""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send one entry; a line says that it failed, and the next one that the reason or the luck has changed."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            trouble = f"{error}"
            if trouble != self._trouble:
                log.error("beat_not_sent", reason=trouble)
        else:
            trouble = ""
            if self._trouble:
                log.info("beat_is_sent_again")
        self._trouble = trouble
