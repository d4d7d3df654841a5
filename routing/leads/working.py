"""What people do with a lead: one function per verb, each a transaction of its own."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from routing import decision
from routing.leads import aside, assigning, evidence, handing, moves, reasons, turns
from routing.leads.moves import LeadError
from routing.models import AE, HELD, Lead, Refund, Stage, State, Via
from scoring import facts
from scoring.models import Account, Outcome, Source

How = assigning.How


class SnoozeEnded(LeadError):
    """A lead is to be put aside until a time that is not in the future, or for no end at all."""


class NotAvailable(LeadError):
    """The AE cannot be given the lead."""


def accept(*, lead: Lead, by: User | None, at: datetime, via: Via | None = None) -> Lead:
    """Take a lead on: it becomes an SQL, and a snooze ends. Returns the lead as it is now; raises IllegalMove."""
    with transaction.atomic():
        held = moves.lock(lead=lead)
        return moves.make(lead=held, verb="accept", by=by, at=at, via=via, accepted_at=at)


def snooze(
    *,
    lead: Lead,
    until: datetime | None,
    by: User | None,
    at: datetime,
    or_signal: bool = False,
    via: Via | None = None,
) -> Lead:
    """Put a lead aside until a time; with `or_signal` until there is new evidence, if that comes first.

    Returns the lead as it is now; raises IllegalMove, SnoozeEnded.
    """
    if until is None and not or_signal:
        raise SnoozeEnded("Say until when to snooze, or that the next new signal ends it.")
    if until is not None and until <= at:
        raise SnoozeEnded("Snooze until a time that is still to come.")
    with transaction.atomic():
        held = moves.lock(lead=lead)
        kept = evidence.keep(lead=held, at=at) if or_signal else None
        return moves.make(
            lead=held,
            verb="snooze",
            by=by,
            at=at,
            via=via,
            data={"until": until and until.isoformat(), "or_signal": or_signal},
            snoozed_until=until,
            wakes_on_signal=or_signal,
            kept=kept,
            look_at=at if or_signal else None,
        )


def wake(*, lead: Lead, by: User | None, at: datetime, via: Via | None = None) -> Lead:
    """End a lead's snooze. Returns the lead as it is now; raises IllegalMove."""
    with transaction.atomic():
        return moves.make(lead=moves.lock(lead=lead), verb="wake", by=by, at=at, via=via)


def wake_snoozed(*, at: datetime) -> int:
    """Wake every lead whose snooze is over, each in a transaction of its own; returns how many."""
    over = Lead.objects.filter(state=State.SNOOZED, snoozed_until__lte=at).order_by("snoozed_until", "pk")
    return sum(_wake_if_over(lead, at=at) for lead in list(over.only("pk", "account")))


def disqualify(
    *, lead: Lead, reason: str, by: User | None, at: datetime, words: str = "", via: Via | None = None
) -> Lead:
    """Close a lead that is not one, for a reason from the list, with words.

    The turn that it cost is given back if the list says so of the reason, and it is soon enough. Returns the closed
    lead; raises IllegalMove, UnknownReason, ReasonMissing.
    """
    return _close_for(lead, "disqualify", reason, words, by=by, at=at, via=via)


def lose(*, lead: Lead, reason: str, by: User | None, at: datetime, words: str = "", via: Via | None = None) -> Lead:
    """Close an accepted lead that did not buy, for a reason from the list, with words.

    Returns the closed lead; raises IllegalMove, UnknownReason, ReasonMissing.
    """
    return _close_for(lead, "lose", reason, words, by=by, at=at, via=via)


def recycle(
    *,
    lead: Lead,
    until: datetime,
    reason: str,
    by: User | None,
    at: datetime,
    words: str = "",
    via: Via | None = None,
) -> Lead:
    """Close a lead whose time has not come: none opens for the account before `until`, and then only for new evidence.

    The evidence of today is kept with it. Returns the closed lead; raises IllegalMove, SnoozeEnded, UnknownReason,
    ReasonMissing.
    """
    if until <= at:
        raise SnoozeEnded("Let it cool down until a time that is still to come.")
    with transaction.atomic():
        held = moves.lock(lead=lead)
        why, told = reasons.find(kind="recycle", name=reason, words=words)
        return assigning.close(
            lead=held,
            verb="recycle",
            by=by,
            at=at,
            via=via,
            reason=told,
            data={"until": until.isoformat()},
            closed_for=why,
            cool_until=until,
            look_at=until,
            kept=evidence.keep(lead=held, at=at),
        )


def win(*, lead: Lead, by: User | None, at: datetime, amount: Decimal | None = None, via: Via | None = None) -> Lead:
    """Close a lead that bought, and record the account's Outcome `won`. Returns it; raises IllegalMove."""
    with transaction.atomic():
        told = f"lead:{lead.pk}:won"
        won = _close(lead, "win", by=by, at=at, via=via, data={"outcome": told})
        facts.record_outcome(account=won.account, kind="won", at=at, received_at=at, message_id=told, amount=amount)
    return won


def record_outcome(
    *,
    account: Account,
    kind: str,
    at: datetime,
    received_at: datetime,
    message_id: str,
    source: Source | None,
    amount: Decimal | None,
    by: User | None,
) -> tuple[Outcome, bool]:
    """Record what the CRM tells of an account, once, and close its accepted leads if that was `won` or `lost`.

    A lead that nobody accepted stays: what the account buys by itself closes it through the score. Returns the
    outcome and whether it was new.
    """
    verb = {"won": "win", "lost": "lose"}.get(kind)
    with transaction.atomic():
        if verb and not Outcome.objects.filter(message_id=message_id).exists():
            _settle(account, verb, message_id=message_id, by=by, at=received_at)
        return facts.record_outcome(
            account=account,
            kind=kind,
            at=at,
            received_at=received_at,
            message_id=message_id,
            source=source,
            amount=amount,
        )


def reassign(
    *,
    lead: Lead,
    to: AE | None,
    by: User | None,
    at: datetime,
    note: str = "",
    cause: str = "",
    via: Via | None = None,
) -> Lead:
    """Give a lead to another AE by hand; or, with `to=None`, back to the pool, whose turn decides among the others.

    Given by hand within the pool the turn goes with the lead; else a lead given by hand costs no turn, and who had it
    gets the turn back for a cause alone (`turns.CLAIMS`), if that is soon enough. By hand no capacity is asked for.
    Returns the lead as it is now; raises IllegalMove, NotAvailable, UnknownCause.
    """
    claimed = turns.claim(cause)
    with transaction.atomic():
        held = moves.lock(lead=lead)
        pool = held.pool
        if to is None:
            _back_to_pool(held, cause=claimed, by=by, at=at, note=note, via=via)
        else:
            other = AE.objects.select_related("user").get(pk=to.pk)
            _by_hand(held, to=other, cause=claimed, by=by, at=at, note=note, via=via)
        if pool:
            assigning.drain_later(pool=pool, at=at)
    return held


def release_orphans(*, at: datetime) -> int:
    """Take every open lead from AEs who left or cannot log in any more, and route it anew; returns how many.

    Each is a transaction of its own; running it again goes on where it stopped.
    """
    gone = Q(ae__is_active=False) | Q(ae__user__is_active=False)
    orphans = Lead.objects.filter(gone, state__in=HELD)
    return sum(_release(lead, at=at) for lead in list(orphans.order_by("pk").only("pk", "account")))


def tend(*, at: datetime) -> int:
    """Do what time and interruptions leave to do; returns how many leads that changed.

    Wake the snoozed, hand over the leads of who is away and give back those of who is here again, release orphans,
    drain.
    """
    back = wake_snoozed(at=at) + aside.wake_on_signal(at=at) + aside.look_again(at=at)
    back += handing.hand_over(at=at) + handing.come_back(at=at)
    return back + release_orphans(at=at) + assigning.drain(at=at)


def _wake_if_over(lead: Lead, *, at: datetime) -> bool:
    with transaction.atomic():
        held = moves.lock(lead=lead)
        if held.snoozed_until is None or held.snoozed_until > at:
            return False
        moves.make(lead=held, verb="wake", by=None, at=at, note="The snooze is over.")
    return True


def _close(lead: Lead, verb: str, **said: Any) -> Lead:
    with transaction.atomic():
        return assigning.close(lead=moves.lock(lead=lead), verb=verb, **said)


def _close_for(lead: Lead, verb: str, reason: str, words: str, **who: Any) -> Lead:
    why, told = reasons.find(kind=verb, name=reason, words=words)
    return _close(lead, verb, reason=told, closed_for=why, cause=turns.claim(why.refunds), **who)


def _settle(account: Account, verb: str, *, message_id: str, by: User | None, at: datetime) -> None:
    """Close the accepted leads of an account, or of the one that it was merged into, as the CRM says."""
    counts = account.merged_into_id or account.pk
    accepted = Lead.objects.filter(account=counts, stage=Stage.SQL, state__in=HELD).order_by("pk")
    for lead in list(accepted):
        held = moves.lock(lead=lead)
        if not moves.refusal(lead=held, verb=verb):
            data = {"outcome": message_id}
            assigning.close(lead=held, verb=verb, by=by, at=at, via=Via.CRM, reason="As the CRM says.", data=data)


def _back_to_pool(
    lead: Lead, *, cause: Refund | None, by: User | None, at: datetime, note: str, via: Via | None
) -> None:
    if lead.state != State.UNASSIGNED:
        assigning.let_go(lead=lead, verb="unassign", by=by, at=at, note=note, cause=cause, via=via)
    assigning.route_anew(lead=lead, at=at)


def _by_hand(
    lead: Lead, *, to: AE, cause: Refund | None, by: User | None, at: datetime, note: str, via: Via | None
) -> None:
    if not to.works:
        raise NotAvailable(f"{to.name} no longer works leads: choose another AE.")
    if why := moves.refusal(lead=lead, verb="reassign"):
        raise moves.IllegalMove(why)
    if lead.ae_id == to.pk:
        raise NotAvailable(f"{to.name} has the lead already: choose another AE.")
    ended = moves.end_assignment(lead=lead, at=at)
    record: dict[str, Any] = {"chosen": to.pk, "why": note or f"Given to {to.name} by hand."}
    how, pool = How.BY_HAND, assigning.pool_by_hand(lead=lead, to=to)
    if passed := turns.pass_on(ended, to=to, at=at):
        how, pool = How.PASSED, passed[0]
        record["turn"] = decision.turn_record(passed[1])
    elif told := turns.give_back(ended, cause=cause, at=at):
        record["why"] = f"{record['why'].rstrip('.')}. {told}"
    assigning.give(lead=lead, pool=pool, ae=to, how=how, verb="reassign", decision=record, by=by, at=at, via=via)


def _release(lead: Lead, *, at: datetime) -> bool:
    with transaction.atomic():
        held = moves.lock(lead=lead)
        if held.ae is None or not held.is_open or held.ae.works:
            return False
        assigning.let_go(
            lead=held, verb="release", by=None, at=at, note=f"{held.ae.name} no longer works leads.", cause=Refund.LEFT
        )
        assigning.route_anew(lead=held, at=at)
    return True
