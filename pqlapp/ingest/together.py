"""Requests of the same moment are stored together: what came while others were stored goes into one transaction.

A transaction costs the same for one event as for fifty. Alone, a request is stored at once by its own thread. In a
crowd, a thread that finds a hand free stores its own facts and those of all who wait, and tells them the outcome.
A second transaction beside one of the same kind begins only with enough facts: few wait, to be stored with more.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from scoring import facts
from scoring.facts import Envelope, Fact, Recorded
from scoring.models import Source

HANDS = 2  # transactions at once: while PostgreSQL works for one, the other is made ready
MOST = 2_000  # facts in a transaction of several requests
ENOUGH = 100  # facts that are worth a transaction beside another one of their kind


_Kind = tuple[int, str, str, str]  # source, wire, library, lane: what all shares of one transaction have alike


@dataclass(slots=True, eq=False)
class _Share:
    """What one request brings, and what became of it."""

    source: Source
    facts: Sequence[Fact]
    received_at: datetime
    envelope: Envelope
    is_taken: bool = False  # by some thread, which will say what became of it
    recorded: Recorded | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether it is known what became of it."""
        return self.recorded is not None or self.error is not None

    @property
    def kind(self) -> _Kind:
        """What all shares of one transaction have alike."""
        return self.source.pk, self.envelope.wire, self.envelope.library, self.envelope.lane


@dataclass(slots=True)
class Crew:
    """The threads of one process that store facts."""

    _waiting: list[_Share] = field(default_factory=list)
    _storing: list[_Kind] = field(default_factory=list)  # the kinds of the transactions that are open
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def record(self, *, source: Source, facts: Sequence[Fact], received_at: datetime, envelope: Envelope) -> Recorded:
        """Store the facts as scoring.facts.record does, maybe with those of others; returns and raises the same.

        Of a share stored with others `shards` are the shards of all of them.
        """
        share = _Share(source, facts, received_at, envelope)
        with self._changed:
            self._waiting.append(share)
            self._changed.wait_for(lambda: share.is_done or (not share.is_taken and self._may_store(share.kind)))
            mine = [] if share.is_done else self._take(share)
        if mine:
            self._store(mine)
        if share.recorded is None:
            raise share.error or RuntimeError("the thread that stored this was ended: send it again")
        return share.recorded

    def _may_store(self, kind: _Kind) -> bool:
        if len(self._storing) == HANDS or kind not in self._storing:
            return len(self._storing) < HANDS
        return sum(len(share.facts) for share in self._waiting if share.kind == kind) >= ENOUGH

    def _take(self, first: _Share) -> list[_Share]:
        """Take a share and those that can be stored with it."""
        taken, size = [first], len(first.facts)
        for share in self._waiting:
            if share is not first and share.kind == first.kind and size + len(share.facts) <= MOST:
                taken.append(share)
                size += len(share.facts)
        for share in taken:
            share.is_taken = True
            self._waiting.remove(share)
        self._storing.append(first.kind)
        return taken

    def _store(self, shares: Sequence[_Share]) -> None:
        try:
            if len(shares) == 1 or not _stored_together(shares):
                for share in shares:
                    _store_alone(share)
        finally:
            with self._changed:
                for share in shares:
                    if not share.is_done:
                        share.error = RuntimeError("the thread that stored this was ended: send it again")
                self._storing.remove(shares[0].kind)
                self._changed.notify_all()


crew = Crew()


def _stored_together(shares: Sequence[_Share]) -> bool:
    """Store the shares in one transaction; False if that fails: then each must hear of its own fault only."""
    every = [fact for share in shares for fact in share.facts]
    last = max(shares, key=lambda share: share.received_at)
    try:
        recorded = facts.record(source=last.source, facts=every, received_at=last.received_at, envelope=last.envelope)
    except Exception:  # whatever it is, it comes again for the share that it belongs to
        return False
    statuses = iter(recorded.statuses)
    for share in shares:
        share.recorded = Recorded([next(statuses) for _ in share.facts], recorded.shards)
    return True


def _store_alone(share: _Share) -> None:
    try:
        share.recorded = facts.record(
            source=share.source, facts=share.facts, received_at=share.received_at, envelope=share.envelope
        )
    except Exception as error:  # raised in the thread whose request it is
        share.error = error
