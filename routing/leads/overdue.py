"""What becomes of leads that nobody touches in time: a warning first, then a breach with its cause, and an answer."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction

from routing.leads import assigning, deadlines, moves
from routing.models import AE, HELD, Assignment, AtBreach, Breach, Heartbeat, Lead, Membership, Outage, Refund, State

BEAT_EVERY = timedelta(seconds=15)  # how often the heart is written down
SILENT = timedelta(minutes=2)  # a pause of the beat that is an outage
AT_ONCE = 200  # leads looked at in one go; the next beat goes on


class _NobodyElse(Exception):
    """The lead could not be given to another: it stays where it is."""


def beat(*, at: datetime) -> None:
    """Write down that the system is up; if it was not seen for a while, that it was down."""
    with transaction.atomic():
        heart, is_new = Heartbeat.objects.select_for_update().get_or_create(pk=1, defaults={"seen_at": at})
        if is_new or at - heart.seen_at < BEAT_EVERY:
            return
        if at - heart.seen_at >= SILENT:
            Outage.objects.create(started_at=heart.seen_at, ended_at=at)
        heart.seen_at = at
        heart.save(update_fields=["seen_at"])


def keep_deadlines(*, at: datetime) -> int:
    """Warn of leads that are soon due, and answer for those that are overdue; returns how many it looked at.

    Each is a transaction of its own; one that somebody touches meanwhile is left alone.
    """
    ringing = Lead.objects.filter(alarm_at__lte=at).order_by("alarm_at", "pk").only("pk", "account")
    return sum(_answer(lead, at=at) for lead in list(ringing[:AT_ONCE]))


def reset_deadlines(*, ae: AE, at: datetime) -> int:
    """Work the deadlines out again of what an AE has not touched yet, as hours or absences changed; returns how many.

    Each is a transaction of its own. A deadline that was missed stays missed.
    """
    waiting = Lead.objects.filter(ae=ae, state=State.ASSIGNED, alarm_at__isnull=False).order_by("pk")
    return sum(_reset(lead, at=at) for lead in list(waiting.only("pk", "account")))


def _reset(lead: Lead, *, at: datetime) -> bool:
    with transaction.atomic():
        held = moves.lock(lead=lead)
        if held.alarm_at is None or held.ae is None or held.assigned_at is None:
            return False
        new = deadlines.clock(lead=held, ae=held.ae, at=held.assigned_at)
        if new.get("due_at") == held.due_at:
            return False
        moves.put(lead=held, changes=new)
    return True


def _answer(lead: Lead, *, at: datetime) -> bool:
    with transaction.atomic():
        held = moves.lock(lead=lead)
        if held.alarm_at is None or held.due_at is None or held.alarm_at > at:
            return False
        if later := _put_off(held, held.due_at):
            moves.put(lead=held, changes=later)
        elif at < held.due_at:
            note = f"To be touched by {held.due_at:%-d %B %Y, %H:%M} UTC."
            moves.make(lead=held, verb="warn", by=None, at=at, note=note, alarm_at=held.due_at)
        else:
            _breach(held, held.due_at, at=at)
    return True


def _put_off(lead: Lead, due_at: datetime) -> dict[str, datetime | None]:
    """Return a deadline that is later by the hours and absences of today than it was by those of then; else empty."""
    if lead.ae is None or lead.assigned_at is None:
        return {}
    new = deadlines.clock(lead=lead, ae=lead.ae, at=lead.assigned_at)
    return new if new["due_at"] and new["due_at"] > due_at else {}


def _breach(lead: Lead, due_at: datetime, *, at: datetime) -> None:
    """Record the breach of a locked lead, with its cause, and answer it as the pool says."""
    standing = Assignment.objects.filter(lead=lead, ae=lead.ae_id, released_at=None).first() if lead.ae_id else None
    breach = Breach(lead=lead, assignment=standing, ae=lead.ae, pool=lead.pool, due_at=due_at, at=at)
    if later := _without_outages(lead, due_at, at=at):
        breach.cause, breach.did = Breach.Cause.OUTAGE, Breach.Did.EXCUSED
        breach.why = (
            f"The system was down meanwhile; the time that was lost is added, up to {later:%-d %B %Y, %H:%M} UTC."
        )
        moves.make(lead=lead, verb="excuse", by=None, at=at, note=breach.why, due_at=later, alarm_at=later)
    else:
        breach.cause, breach.why = _cause(lead)
        breach.did = _hand_on(lead, breach.why, at=at)
    breach.save(force_insert=True)


def _without_outages(lead: Lead, due_at: datetime, *, at: datetime) -> datetime | None:
    """Return the deadline had the outages not been, if it would still be to come; else None."""
    since = max(lead.assigned_at or lead.opened_at, _excused_at(lead))
    down = Outage.objects.filter(ended_at__gt=since, started_at__lt=at).order_by("started_at")
    works = deadlines.works_of(lead.ae, at=at) if lead.ae else deadlines.OFFICE
    lost = sum(works.business_seconds(max(o.started_at, since), min(o.ended_at, at)) for o in down)
    later = works.add_business_time(due_at, lost) if lost else None
    return later if later and later > at else None


def _excused_at(lead: Lead) -> datetime:
    """Return up to when outages were made up for already; the lead's opening if never."""
    excused = lead.breaches.filter(did=Breach.Did.EXCUSED).order_by("-pk").values_list("at", flat=True)
    return excused.first() or lead.opened_at


def _cause(lead: Lead) -> tuple[Breach.Cause, str]:
    """Say why nobody touched a lead in time: the rules and too much work come before the person."""
    if lead.ae is None:
        return (
            Breach.Cause.CAPACITY if lead.pool else Breach.Cause.RULE
        ), f"It waited for an AE: {lead.unassigned_reason}"
    place = Membership.objects.filter(ae=lead.ae, pool=lead.pool).first()
    if not lead.ae.works:
        return Breach.Cause.RULE, f"{lead.ae.name} cannot work leads any more."
    if lead.pool and (place is None or not place.is_active):
        return Breach.Cause.RULE, f"{lead.ae.name} is not in the rotation of {lead.pool.name}."
    if place and place.capacity is not None:
        mine = Lead.objects.filter(ae=lead.ae, pool=lead.pool, state__in=HELD).count()
        if mine >= place.capacity:
            return Breach.Cause.CAPACITY, f"{lead.ae.name} had {mine} open leads of {place.capacity}."
    return Breach.Cause.PERSON, f"{lead.ae.name} did not come to it."


def _hand_on(lead: Lead, why: str, *, at: datetime) -> Breach.Did:
    """Give an overdue lead to another if its pool says so and there is one; else show it to the manager."""
    if lead.ae and lead.pool and lead.pool.at_breach != AtBreach.ESCALATE:
        try:
            with transaction.atomic():
                _give_to_another(lead, why, at=at)
        except _NobodyElse:
            lead = moves.lock(lead=lead)  # as it was
            why = f"{why} Nobody else could take it."
        else:
            return Breach.Did.REASSIGNED
    moves.make(lead=lead, verb="escalate", by=None, at=at, note=why, alarm_at=None)
    return Breach.Did.ESCALATED


def _give_to_another(lead: Lead, why: str, *, at: datetime) -> None:
    cause = Refund.OVERDUE if lead.pool and lead.pool.at_breach == AtBreach.REASSIGN else None
    assigning.let_go(lead=lead, verb="overdue", by=None, at=at, note=why, cause=cause)
    assigning.route_anew(lead=lead, at=at)
    if lead.state != State.ASSIGNED:
        raise _NobodyElse


def breaches(*, since: datetime, limit: int = 100) -> Iterable[Breach]:
    """Return what was found overdue since then, the newest first."""
    related = Breach.objects.select_related("lead__account", "ae__user", "pool")
    return related.filter(at__gte=since).order_by("-at", "-pk")[:limit]
