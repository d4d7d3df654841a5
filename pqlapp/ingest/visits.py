"""Who is at the door: what is known so far of a request, so that each answer is counted once and for whom it is.

A request that is told to come again (429, 503) is not counted: it will be.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from pqlapp.ingest import samples, strangers
from pqlapp.parser import Refused, Rejected
from scoring import facts
from scoring.facts import Envelope, Fact, Reason
from scoring.models import Glimpse, Source

NOT_COUNTED = (404, 429, 503)  # nothing there, or come again
KEY_SHOWN = 8  # characters of a key that opens nothing


@dataclass(slots=True)
class Visit:
    """One request at a door."""

    wire: str
    source: Source | None = None  # whose key it brought
    wrong_key: str = ""  # the beginning of a key that opened nothing
    is_counted: bool = False

    def refuse(self, refused: Refused, *, at: datetime) -> None:
        """Count a request that is refused as a whole, unless its items are counted already."""
        if self.is_counted or refused.status in NOT_COUNTED:
            return
        rejected = Rejected(refused.code, samples.clean(refused.message), refused.item)
        if self.source is None:
            self.miss(rejected, count=1, at=at)
            return
        reason = Reason(rejected.code, rejected.message, 1, samples.sample(item=rejected))
        facts.note(source=self.source, envelope=Envelope(wire=self.wire), reasons=[reason], at=at)
        if facts.is_watched(source=self.source, at=at):
            facts.show(glimpses=[_glimpse(self.source, self.wire, at, rejected, rejected, None)])

    def miss(self, rejected: Rejected, *, count: int, at: datetime) -> None:
        """Count so many items that no known key brought."""
        reason = Reason(rejected.code, rejected.message, count, samples.clean(self.wrong_key))
        strangers.counted.note(wire=self.wire, reason=reason, at=at)


_present: ContextVar[Visit | None] = ContextVar("visit", default=None)


@contextmanager
def begun(*, wire: str) -> Iterator[Visit]:
    """Let whatever is called inside know of this visit."""
    visit = Visit(wire[:16])
    token = _present.set(visit)
    try:
        yield visit
    finally:
        _present.reset(token)


def knows(*, source: Source) -> None:
    """Note whose key the visitor brought."""
    if (visit := _present.get()) is not None:
        visit.source = source


def knows_not(*, secret: object) -> None:
    """Note that the visitor's key opens nothing."""
    if (visit := _present.get()) is not None:
        shown = secret if isinstance(secret, str) else ""
        visit.wrong_key = shown[:KEY_SHOWN] + (samples.HIDDEN if len(shown) > KEY_SHOWN else "")


def misses(*, rejected: Rejected, count: int, at: datetime) -> None:
    """Count items whose own key opens nothing, beside others of the visitor's that are taken."""
    if count and (visit := _present.get()) is not None:
        visit.miss(rejected, count=count, at=at)


def wire() -> str:
    """Return which wire the visitor speaks; "" outside of a door."""
    visit = _present.get()
    return visit.wire if visit else ""


def tell(
    *,
    source: Source,
    envelope: Envelope,
    read: Sequence[Fact | Rejected],
    answer: Sequence[str | Rejected],
    said: Sequence[object],
    at: datetime,
) -> None:
    """Count what was rejected, with a sample of each reason, and show a visitor's calls to whoever watches.

    What was accepted or known before is counted with the facts. `said` are the items as they came; it may be empty.
    """
    visit = _present.get()
    if visit is not None:
        visit.is_counted = True
    items = said if len(said) == len(answer) else [None] * len(answer)
    reasons: dict[str, Reason] = {}
    for item, result in zip(items, answer, strict=True):
        if isinstance(result, Rejected):
            first = reasons.get(result.code)
            if first is None:
                text = samples.sample(item=item if result.item is None else result)
                reasons[result.code] = Reason(result.code, samples.clean(result.message), 1, text)
            else:
                reasons[result.code] = Reason(first.code, first.message, first.count + 1, first.sample)
    if reasons or not any(isinstance(entry, Fact) for entry in read):
        facts.note(source=source, envelope=envelope, reasons=list(reasons.values()), at=at)
    if visit is not None and facts.is_watched(source=source, at=at):
        last = list(zip(read, answer, items, strict=True))[-facts.LOOKS :]
        facts.show(glimpses=[_glimpse(source, envelope.wire, at, *line) for line in last])


def _glimpse(
    source: Source, wire: str, at: datetime, entry: Fact | Rejected, result: str | Rejected, item: object
) -> Glimpse:
    glimpse = Glimpse(source=source, at=at, wire=wire)
    if isinstance(entry, Fact):
        glimpse.event, glimpse.happened_at = entry.name[: samples.TEXT_LIMIT], entry.at
        glimpse.user = (entry.user_id or entry.anonymous_id or "")[: samples.TEXT_LIMIT]
        glimpse.account = (entry.group_id or "")[: samples.TEXT_LIMIT]
    else:
        glimpse.event = samples.event_of(item=item)
    if isinstance(result, Rejected):
        glimpse.result, glimpse.reason = result.code, samples.clean(result.message)
    else:
        glimpse.result = result
    return glimpse
