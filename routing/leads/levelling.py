"""Set rotations to what their decisions add up to, where something else than a decision has changed them."""

from dataclasses import dataclass

from django.db import transaction

from routing.leads import turns
from routing.models import Assignment, Membership, Pool
from routing.seats import Sums

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Levelled:
    """A member whose place in the rotation was set right."""

    membership: Membership  # with pool, AE and log-in, as it was before
    credit: int  # billionths of a turn, as it is now
    served: int  # turns, as it is now


def level(*, pool: Pool) -> list[Levelled]:
    """Set every member's credit and count of turns to what the pool's decisions that stand add up to.

    Nobody is given a lead of the pool meanwhile. Returns those that were different: rotations from before a refund
    undid the whole turn, or that somebody changed in the database.
    """
    with transaction.atomic():
        turns.lock_pools([pool.pk])
        sums = Sums()
        for made in Assignment.objects.filter(pool=pool).order_by("id").iterator(CHUNK):
            sums.add(made)
        members = pool.memberships.select_related("pool", "ae__user").order_by("pk")
        those = [Levelled(one, sums.credits[one.pk], sums.served[one.pool_id, one.ae_id]) for one in members]
        changed = [one for one in those if (one.credit, one.served) != (one.membership.credit, one.membership.served)]
        for one in changed:
            Membership.objects.filter(pk=one.membership.pk).update(credit=one.credit, served=one.served)
    return changed
