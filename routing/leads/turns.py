"""The turns that leads cost: charged to whose turn it is, passed on by hand, and given back, for a cause alone.

Who gives a lead away has had the turn. It is given back for what people claim within so many days (a duplicate, another
territory, not a lead: `Pool.credit_days`), and for what the system sees by itself, whenever that is. A turn that is
given back is undone: see routing.rotation.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from routing import decision
from routing.leads.moves import LeadError
from routing.models import AE, CLAIMED, Assignment, Membership, Pool, Refund
from routing.rotation import Turn

CLAIMS = tuple(Refund(cause) for cause, _ in CLAIMED)  # what people may give as the cause

# One statement for the whole pool: it is the hot part of the time that its lock is held.
CHANGE = """
UPDATE routing_membership AS member SET
    credit = member.credit + change.credit,
    served = member.served + change.served,
    last_served_at = CASE WHEN change.served > 0 THEN %(at)s ELSE last_served_at END
FROM unnest(%(members)s::bigint[], %(credits)s::bigint[], %(served)s::int[]) AS change (id, credit, served)
WHERE member.id = change.id
"""


class UnknownCause(LeadError):
    """A turn is asked back for something that is no cause."""


def claim(cause: str) -> Refund | None:
    """Return the cause that somebody gives, None for none; raises UnknownCause."""
    if cause and cause not in CLAIMS:
        raise UnknownCause(f"{cause!r} gives no turn back: choose one of {', '.join(CLAIMS)}, or none.")
    return Refund(cause) if cause else None


def lock_pools(ids: Iterable[int]) -> dict[int, Pool]:
    """Lock pools inside a transaction, always in the order of their ids; returns them by id."""
    pools = Pool.objects.select_for_update().filter(pk__in=set(ids)).order_by("pk")
    return {pool.pk: pool for pool in pools}


def charge(turn: Turn, *, at: datetime) -> None:
    """Charge a turn to the members of a locked pool."""
    change(turn.changes, served={turn.chosen: 1}, at=at)


def give_back(ended: Assignment | None, *, cause: Refund | None, at: datetime) -> str:
    """Give back the turn that an ended assignment cost, if there is a cause and it holds.

    Returns in words what became of it; empty if nobody asked, or if there was none for the system to give back.
    """
    if ended is None or cause is None:
        return ""
    pool, turn = _cost(ended)
    if pool is None or turn is None:
        return "No turn is given back: it cost none." if cause in CLAIMS else ""
    if cause in CLAIMS and at - ended.at > timedelta(days=pool.credit_days):
        return f"No turn is given back: {pool.name} does so within {pool.credit_days} days."
    _undo(ended, turn, cause, at=at)
    return f"The turn is given back: {cause.label}."


def pass_on(ended: Assignment | None, *, to: AE, at: datetime) -> tuple[Pool, Turn] | None:
    """Charge a member of the same pool with the turn that an ended assignment cost, in place of who had the lead.

    Returns the locked pool and the turn as it was passed on; None if there was no turn, or the AE is no member there.
    """
    pool, turn = _cost(ended) if ended else (None, None)
    place = Membership.objects.filter(pool=pool, ae=to, is_active=True).first() if pool else None
    if ended is None or pool is None or turn is None or place is None:
        return None
    _undo(ended, turn, Refund.PASSED, at=at)
    passed = turn.passed_to(place.pk)
    charge(passed, at=at)
    return pool, passed


def stand_again(ended: Assignment, *, at: datetime) -> None:
    """Let an assignment stand again that had ended; the turn that was given back then is charged again."""
    _, turn = _cost(ended)
    if ended.refunded and turn:
        charge(turn, at=at)
    ended.released_at, ended.refunded_for = None, ""
    ended.save(update_fields=["released_at", "refunded_for"])


def change(credits: Mapping[int, int], *, served: Mapping[int, int], at: datetime) -> None:
    """Change credits and counts of turns in a locked pool, by membership."""
    with connection.cursor() as cursor:
        changes: dict[str, Any] = {
            "members": list(credits),
            "credits": list(credits.values()),
            "served": [served.get(member, 0) for member in credits],
            "at": at,
        }
        cursor.execute(CHANGE, changes)


def _cost(made: Assignment) -> tuple[Pool | None, Turn | None]:
    """Return the turn that an assignment cost, with its pool, which is locked for it; None if it cost none."""
    turn = decision.turn_of(made.decision)
    if turn is None or made.pool_id is None:
        return None, None
    return lock_pools([made.pool_id])[made.pool_id], turn


def _undo(ended: Assignment, turn: Turn, cause: Refund, *, at: datetime) -> None:
    change(turn.undone, served={turn.chosen: -1}, at=at)
    ended.refunded_for = cause
    ended.save(update_fields=["refunded_for"])
