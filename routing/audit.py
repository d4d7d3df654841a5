"""Hold every decision to its record, and every rotation to its decisions. Read-only."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models import Sum

from routing import decision
from routing.decision import Replay
from routing.models import Assignment, Membership, Pool
from routing.seats import Sums
from scoring.models.raw import cursor

CHUNK = 500
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not add up."""

    about: str  # "decision 7, lead 3"
    words: str


def verify(*, on_progress: Callable[[int], object] = lambda decisions: None) -> Fault | None:
    """Return the first fault, None if everything adds up; looks at one snapshot.

    Every decision by rule is made anew from its record. Every member's credit and count of turns are added up from
    the decisions that were not refunded. That a held lead has one assignment that stands, the database sees to.
    `on_progress` is told how many decisions each chunk held.
    """
    with transaction.atomic():
        cursor().execute(SNAPSHOT)
        return next(_faults(on_progress), None)


def replay(*, made: Assignment) -> Replay:
    """Return what comes out when a decision by rule is made anew from its record, held against what was done."""
    again = decision.replay(made.decision)
    if again.chosen == made.ae_id:
        return again
    words = f"the record leads to AE {again.chosen}, the lead was given to AE {made.ae_id}"
    return replace(again, differences=(*again.differences, words))


def dealt(*, pool: Pool) -> dict[int, int]:
    """Return by AE what the pool's turns cost that stand, in billionths of a turn."""
    stand = Assignment.objects.filter(pool=pool, cost__isnull=False, refunded_for="")
    return dict(stand.order_by().values_list("ae").annotate(Sum("cost")))


def _faults(on_progress: Callable[[int], object]) -> Iterator[Fault]:
    sums = Sums()
    decisions = Assignment.objects.order_by("id").iterator(CHUNK)
    for number, made in enumerate(decisions, 1):
        yield from _of_decision(made)
        sums.add(made)
        if number % CHUNK == 0:
            on_progress(CHUNK)
    yield from _of_rotations(sums)


def _of_decision(made: Assignment) -> Iterator[Fault]:
    about = f"decision {made.pk}, lead {made.lead_id}"
    if decision.can_replay(made.decision):
        yield from (Fault(about, words) for words in replay(made=made).differences)


def _of_rotations(sums: Sums) -> Iterator[Fault]:
    for member in Membership.objects.select_related("ae__user", "pool").order_by("pk"):
        about = f"{member.ae.name} in {member.pool.name}"
        if member.credit != (credit := sums.credits[member.pk]):
            yield Fault(about, f"has a credit of {member.credit}, the decisions add up to {credit}")
        if member.served != (turns := sums.served[member.pool_id, member.ae_id]):
            yield Fault(about, f"was served {member.served} turns, the decisions add up to {turns}")
