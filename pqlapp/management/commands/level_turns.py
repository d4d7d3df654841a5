"""Set the rotations to what their decisions add up to; `verify --routing` says whether that is needed."""

from typing import Any

from django.core.management.base import BaseCommand

from routing import leads
from routing.models import Pool
from routing.rotation import TURN


class Command(BaseCommand):
    """Changes credits and counts of turns, no lead and no decision."""

    help = (
        "Add the decisions of each pool up, and set every member's credit and count of turns to that where they "
        "differ: after an update from a version whose refunds did not undo the whole turn. Says what it changes. "
        "While a pool is added up, its leads wait."
    )

    def handle(self, **options: Any) -> None:
        """Level every pool, one after the other."""
        for pool in Pool.objects.order_by("pk"):
            changed = leads.level(pool=pool)
            for one in changed:
                was = one.membership
                self.stdout.write(
                    f"{was.ae.name} in {pool.name}: credit {was.credit / TURN:+.2f} to {one.credit / TURN:+.2f} turns, "
                    f"served {was.served} to {one.served}"
                )
            if not changed:
                self.stdout.write(f"{pool.name}: adds up")
