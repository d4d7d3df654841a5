"""Leads of people who are away: handed over when an absence begins, and back when it ends. By the clock, one by one.

Who leaves has had the turn and keeps it: a refund would be paid back as a flood after the holiday. Whoever a lead
leaves again when it comes back gets back the turn that it cost.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from routing.leads import assigning, moves, turns
from routing.models import AE, HELD, Absence, AfterAbsence, Assignment, HandedOver, Lead, Refund, State

How = Assignment.How


def hand_over(*, at: datetime) -> int:
    """Hand over the open leads of all whose absence has begun and who chose so; returns how many went.

    Each is a transaction of its own; an absence is done with when none is left, so that an interrupted run goes on.
    """
    begun = Absence.objects.filter(starts_at__lte=at, handed_over_at=None).exclude(open_leads=AfterAbsence.STAY)
    went = 0
    for absence in begun.filter(Q(ends_at=None) | Q(ends_at__gt=at)).select_related("ae__user", "stand_in__user"):
        held = Lead.objects.filter(ae=absence.ae_id, state__in=HELD).order_by("pk")
        went += sum(_hand_over(lead, absence, at=at) for lead in list(held.only("pk", "account")))
        Absence.objects.filter(pk=absence.pk, handed_over_at=None).update(handed_over_at=at)
    return went


def come_back(*, at: datetime) -> int:
    """Give back what was handed over for absences that have ended and said so; returns how many came.

    One that somebody accepted meanwhile stays there, and so does one that is closed.
    """
    over = Absence.objects.filter(ends_at__lte=at, handed_over_at__isnull=False, came_back_at=None, come_back=True)
    came = 0
    for absence in over.select_related("ae__user"):
        those = absence.handed_over.select_related("lead").order_by("lead")
        came += sum(_come_back(entry, absence, at=at) for entry in list(those))
        Absence.objects.filter(pk=absence.pk, came_back_at=None).update(came_back_at=at)
    return came


def _hand_over(lead: Lead, absence: Absence, *, at: datetime) -> bool:
    with transaction.atomic():
        held = moves.lock(lead=lead)
        if held.ae_id != absence.ae_id or held.state not in HELD:
            return False
        HandedOver.objects.get_or_create(absence=absence, lead=held, defaults={"at": at})
        stand_in = absence.stand_in
        if stand_in is not None and _is_there(stand_in, at=at):
            moves.end_assignment(lead=held, at=at)
            why = f"{stand_in.name} stands in for {absence.ae.name}."
            _give(held, to=stand_in, verb="hand_over", why=why, at=at)
        else:
            note, data = f"{absence.ae.name} is away.", {"absence": absence.pk}
            assigning.let_go(lead=held, verb="release", by=None, at=at, note=note, cause=None, data=data)
            assigning.route_anew(lead=held, at=at)
    return True


def _come_back(entry: HandedOver, absence: Absence, *, at: datetime) -> bool:
    with transaction.atomic():
        held = moves.lock(lead=entry.lead)
        accepted = held.accepted_at is not None and held.accepted_at >= entry.at
        if not held.is_open or accepted or held.ae_id == absence.ae_id or not absence.ae.works:
            return False
        turns.give_back(moves.end_assignment(lead=held, at=at), cause=Refund.CAME_BACK, at=at)
        verb = "assign" if held.state == State.UNASSIGNED else "come_back"
        _give(held, to=absence.ae, verb=verb, why=f"{absence.ae.name} is back.", at=at)
    return True


def _give(lead: Lead, *, to: AE, verb: str, why: str, at: datetime) -> None:
    """Put a locked lead into other hands; it costs nobody a turn."""
    record = {"chosen": to.pk, "why": why}
    assigning.give(
        lead=lead,
        pool=assigning.pool_by_hand(lead=lead, to=to) or lead.pool,
        ae=to,
        how=How.STAND_IN,
        verb=verb,
        decision=record,
        by=None,
        at=at,
    )


def _is_there(ae: AE, *, at: datetime) -> bool:
    """Return whether somebody works leads and is not away too."""
    away = Absence.objects.filter(Q(ends_at=None) | Q(ends_at__gt=at), ae=ae, starts_at__lte=at)
    return ae.works and not away.exists()
