"""What people do with a lead: one function per verb, each a transaction of its own."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from routing import decision, handling
from routing.leads import assigning, moves
from routing.leads.moves import LeadError
from routing.models import AE, Lead, Membership, Pool, State
from scoring import facts

How = assigning.How


class ReasonMissing(LeadError):
    """The move needs a reason in words."""


class SnoozeEnded(LeadError):
    """The time until which to snooze is not in the future."""


class NotAvailable(LeadError):
    """The AE cannot be given the lead."""


def accept(*, lead: Lead, by: User | None, at: datetime) -> Lead:
    """Take a lead on: it becomes an SQL, and a snooze ends. Returns the lead as it is now; raises IllegalMove."""
    with transaction.atomic():
        held = moves.lock(lead=lead)
        return moves.make(lead=held, verb="accept", by=by, at=at, accepted_at=at, snoozed_until=None)


def snooze(*, lead: Lead, until: datetime, by: User | None, at: datetime) -> Lead:
    """Put a lead aside until a time. Returns the lead as it is now; raises IllegalMove, SnoozeEnded."""
    if until <= at:
        raise SnoozeEnded("Snooze until a time that is still to come.")
    with transaction.atomic():
        held = moves.lock(lead=lead)
        data = {"until": until.isoformat()}
        return moves.make(lead=held, verb="snooze", by=by, at=at, data=data, snoozed_until=until)


def wake(*, lead: Lead, by: User | None, at: datetime) -> Lead:
    """End a lead's snooze. Returns the lead as it is now; raises IllegalMove."""
    with transaction.atomic():
        return moves.make(lead=moves.lock(lead=lead), verb="wake", by=by, at=at, snoozed_until=None)


def wake_snoozed(*, at: datetime) -> int:
    """Wake every lead whose snooze is over, each in a transaction of its own; returns how many."""
    over = Lead.objects.filter(state=State.SNOOZED, snoozed_until__lte=at).order_by("snoozed_until", "pk")
    return sum(_wake_if_over(lead, at=at) for lead in list(over.only("pk", "account")))


def disqualify(*, lead: Lead, reason: str, by: User | None, at: datetime) -> Lead:
    """Close a lead that is not one, and say why. Returns the closed lead; raises IllegalMove, ReasonMissing."""
    return _close(lead, "disqualify", reason=_words(reason, "disqualified"), by=by, at=at)


def lose(*, lead: Lead, reason: str, by: User | None, at: datetime) -> Lead:
    """Close an accepted lead that did not buy, and say why. Returns it; raises IllegalMove, ReasonMissing."""
    return _close(lead, "lose", reason=_words(reason, "lost"), by=by, at=at)


def win(*, lead: Lead, by: User | None, at: datetime, amount: Decimal | None = None) -> Lead:
    """Close a lead that bought, and record the account's Outcome `won`. Returns it; raises IllegalMove."""
    with transaction.atomic():
        won = _close(lead, "win", reason="", by=by, at=at)
        facts.record_outcome(
            account=won.account,
            kind="won",
            at=at,
            received_at=at,
            message_id=f"lead:{won.pk}:won",
            amount=amount,
        )
    return won


def reassign(*, lead: Lead, to: AE | None, by: User | None, at: datetime, note: str = "") -> Lead:
    """Give a lead to another AE by hand; or, with `to=None`, back to the pool, whose turn decides among the others.

    The turn of the AE who had it is refunded. Given by hand within the pool the turn goes with the lead; else a lead
    given by hand costs no turn. By hand no capacity is asked for.
    Returns the lead as it is now; raises IllegalMove, NotAvailable.
    """
    with transaction.atomic():
        held = moves.lock(lead=lead)
        pool = held.pool
        if to is None:
            _back_to_pool(held, by=by, at=at, note=note)
        else:
            _by_hand(held, to=AE.objects.select_related("user").get(pk=to.pk), by=by, at=at, note=note)
        if pool:
            assigning.drain_later(pool=pool, at=at)
    return held


def release_orphans(*, at: datetime) -> int:
    """Take every open lead from AEs who left or cannot log in any more, and route it anew; returns how many.

    Each is a transaction of its own; running it again goes on where it stopped.
    """
    gone = Q(ae__is_active=False) | Q(ae__user__is_active=False)
    orphans = Lead.objects.filter(gone, state__in=moves.HELD)
    return sum(_release(lead, at=at) for lead in list(orphans.order_by("pk").only("pk", "account")))


def tend(*, at: datetime) -> int:
    """Do what time and interruptions leave to do: wake the snoozed, release orphans, drain; returns how many."""
    return wake_snoozed(at=at) + release_orphans(at=at) + assigning.drain(at=at)


def _wake_if_over(lead: Lead, *, at: datetime) -> bool:
    with transaction.atomic():
        held = moves.lock(lead=lead)
        if held.snoozed_until is None or held.snoozed_until > at:
            return False
        moves.make(lead=held, verb="wake", by=None, at=at, note="The snooze is over.", snoozed_until=None)
    return True


def _close(lead: Lead, verb: str, *, reason: str, by: User | None, at: datetime) -> Lead:
    with transaction.atomic():
        held = moves.lock(lead=lead)
        return assigning.close(lead=held, verb=verb, by=by, at=at, reason=reason)


def _words(reason: str, done: str) -> str:
    if not reason.strip():
        raise ReasonMissing(f"Say in a few words why the lead is {done}: rules are improved from the reasons.")
    return reason.strip()


def _back_to_pool(lead: Lead, *, by: User | None, at: datetime, note: str) -> None:
    if lead.state != State.UNASSIGNED:
        _take_from_ae(lead, verb="unassign", by=by, at=at, note=note)
    plan = handling.plan_for(rule_set=lead.rule_set, tier=lead.tier, is_pql=True)
    assigning.route(lead=lead, plan=plan, at=at)


def _by_hand(lead: Lead, *, to: AE, by: User | None, at: datetime, note: str) -> None:
    if not (to.is_active and to.user.is_active):
        raise NotAvailable(f"{to.name} no longer works leads: choose another AE.")
    if why := moves.refusal(lead=lead, verb="reassign"):
        raise moves.IllegalMove(why)
    if lead.ae_id == to.pk:
        raise NotAvailable(f"{to.name} has the lead already: choose another AE.")
    refunded = assigning.take_back(lead=lead, at=at)
    record: dict[str, Any] = {"chosen": to.pk, "why": note or f"Given to {to.name} by hand."}
    how, pool = How.BY_HAND, _pool_by_hand(lead, to)
    if refunded and (passed := assigning.pass_turn(pool=refunded[0], turn=refunded[1], to=to, at=at)):
        how, pool = How.PASSED, refunded[0]
        record["turn"] = decision.turn_record(passed)
    assigning.give(lead=lead, pool=pool, ae=to, how=how, verb="reassign", decision=record, by=by, at=at)


def _pool_by_hand(lead: Lead, to: AE) -> Pool | None:
    """Return the lead's pool if the AE is in it, else one of the AE's own, so that its capacity counts it."""
    mine = Membership.objects.filter(ae=to, is_active=True).select_related("pool").order_by("pk")
    pools = [membership.pool for membership in mine]
    return lead.pool if lead.pool in pools or not pools else pools[0]


def _take_from_ae(lead: Lead, *, verb: str, by: User | None, at: datetime, note: str) -> None:
    assigning.take_back(lead=lead, at=at)
    moves.make(
        lead=lead,
        verb=verb,
        by=by,
        at=at,
        note=note,
        data={"from_ae": lead.ae_id},
        ae=None,
        assigned_at=None,
        snoozed_until=None,
        unassigned_reason="Not routed yet.",
    )


def _release(lead: Lead, *, at: datetime) -> bool:
    with transaction.atomic():
        held = moves.lock(lead=lead)
        if held.ae is None or not held.is_open or (held.ae.is_active and held.ae.user.is_active):
            return False
        _take_from_ae(held, verb="release", by=None, at=at, note=f"{held.ae.name} no longer works leads.")
        plan = handling.plan_for(rule_set=held.rule_set, tier=held.tier, is_pql=True)
        assigning.route(lead=held, plan=plan, at=at)
    return True
