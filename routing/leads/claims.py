"""Who goes before the rotation: who works the account already, then its owner. Read-only."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from routing.decision import Claim
from routing.handling import Plan
from routing.models import AE, HELD, Assignment, Lead, State

How = Assignment.How


@dataclass(frozen=True, slots=True)
class Claims:
    """Who works some accounts, and who worked them before."""

    held: Mapping[int, Collection[tuple[datetime, int, int]]]  # by account: assigned at, lead, AE
    before: Mapping[int, tuple[datetime, int, int | None]]  # by account: accepted at, lead, AE; of the last that closed
    named: dict[str, int | None]  # AEs by how an owner is written, as far as it was asked

    def of(self, *, account_id: int, plan: Plan, but: int | None = None) -> list[Claim]:
        """Return the claims on a lead of an account, the first one first, of leads other than `but`.

        The owner is whom the trait names, else who last accepted a lead of the account.
        """
        others = sorted(other for other in self.held.get(account_id, ()) if other[1] != but)
        claims = [Claim(others[0][2], How.SAME_AE, "already works this account")] if others else []
        if plan.owner and (named := self._named(plan.owner)):
            claims.append(Claim(named, How.OWNER, "owns this account, as the CRM says"))
        _, _, earlier = self.before.get(account_id, (None, None, None))
        if plan.prefers_owner and earlier:
            claims.append(Claim(earlier, How.OWNER, "worked this account before"))
        return claims

    def _named(self, owner: str) -> int | None:
        """Return the AE whose log-in or e-mail address is written so."""
        if owner not in self.named:
            called = Q(user__username__iexact=owner.strip()) | Q(user__email__iexact=owner.strip())
            self.named[owner] = AE.objects.filter(called).order_by("pk").values_list("pk", flat=True).first()
        return self.named[owner]


def read(*, accounts: Collection[int]) -> Claims:
    """Return who works these accounts, and who did; one query."""
    held: dict[int, list[tuple[datetime, int, int]]] = {}
    before: dict[int, tuple[datetime, int, int | None]] = {}
    worked = Q(state__in=HELD) | Q(state=State.CLOSED, accepted_at__isnull=False)
    theirs = Lead.objects.filter(worked, account__in=accounts).order_by("accepted_at", "pk")
    fields = ("account", "pk", "state", "ae", "assigned_at", "accepted_at")
    for account, lead, state, ae, assigned_at, accepted_at in theirs.values_list(*fields):
        if state in HELD:
            held.setdefault(account, []).append((assigned_at, lead, ae))
        else:
            before[account] = (accepted_at, lead, ae)
    return Claims(held, before, {})
