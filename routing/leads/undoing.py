"""Take back what was just done with a lead: a move of its own, which puts everything back as it was."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from routing.leads import moves, turns
from routing.models import Assignment, Lead, LeadMove, Via
from scoring import facts, handoffs
from scoring.models import Crossed

UNDO_WITHIN = timedelta(minutes=10)
JUDGED_WITHIN = timedelta(minutes=2)  # by then an account that was touched has been judged, as a rule


class CannotUndo(moves.LeadError):
    """There is nothing to undo, or it is too late; the text says why."""


def undo(*, lead: Lead, by: User | None, at: datetime, move: int | None = None, via: Via | None = None) -> Lead:
    """Take back the last move of a lead, if it was one of a person's and not long ago; returns it as it is then.

    `move` is the id of the move that is meant: another one is not taken back in its stead. Both moves stay in the
    history. Raises CannotUndo.
    """
    with transaction.atomic():
        held = moves.lock(lead=lead)
        last = _last(held)
        if why := _refusal(held, last, meant=move, at=at):
            raise CannotUndo(why)
        _put_back(held, last, by=by, at=at, via=via)
    return held


def undoable(*, lead: Lead, at: datetime) -> LeadMove | None:
    """Return the last move if it can be undone now, else None."""
    last = _last(lead)
    return None if _refusal(lead, last, meant=None, at=at) else last


def _last(lead: Lead) -> LeadMove:
    """Every lead has a move: that which opened it."""
    return LeadMove.objects.filter(lead=lead).latest("id")


def _refusal(lead: Lead, last: LeadMove, *, meant: int | None, at: datetime) -> str:
    """Return in a sentence why the last move cannot be undone; empty if it can."""
    done = _done(last.verb)
    if last.verb == "undo" and meant in (None, last.undoes_id):
        return f"Lead {lead.pk}: the last move was undone already."
    if meant is not None and last.pk != meant:
        return f"Lead {lead.pk} was {done} since, so what was done before stays."
    if last.verb not in moves.MOVES or not moves.MOVES[last.verb].undoable:
        return f"The last that happened to lead {lead.pk} is that it was {done}: that cannot be undone."
    if at - last.at > UNDO_WITHIN:
        minutes = UNDO_WITHIN // timedelta(minutes=1)
        return f"Lead {lead.pk} was {done} more than {minutes} minutes ago: it is too late to undo it."
    return _in_the_way(lead)


def _in_the_way(lead: Lead) -> str:
    if lead.is_open:
        return ""
    other = moves.open_lead(account_id=lead.account_id, motion=lead.motion)
    return f"The account has lead {other.pk} since, so lead {lead.pk} cannot be opened again." if other else ""


def _done(verb: str) -> str:
    known = {"open": "opened", "undo": "put back"}
    return known.get(verb) or moves.MOVES[verb].done


def _put_back(lead: Lead, last: LeadMove, *, by: User | None, at: datetime, via: Via | None) -> None:
    before = (lead.state, lead.stage)
    if not lead.is_open:
        _stand_again(lead, last, at=at)
    if last.verb == "win":
        _never_happened(lead, last, at=at)
    was = {field: moves.plain(getattr(lead, field)) for field in last.was or {}}
    moves.put(lead=lead, changes=dict(_read(last.was or {})))
    note = f"As it was before it was {_done(last.verb)}."
    moves.write(lead=lead, verb="undo", by=by, at=at, via=via, before=before, note=note, was=was, undoes=last)


def _never_happened(lead: Lead, winning: LeadMove, *, at: datetime) -> None:
    """Retract the outcome of a win, and have the lead looked at when its account has been judged without it."""
    facts.retract_outcome(message_id=winning.data["outcome"], at=at)
    hint = Crossed(
        rule_set_id=lead.rule_set_id,
        account_id=lead.account_id,
        from_tier=lead.tier,
        to_tier=lead.tier,
        to_version_id=lead.version_id,
        cause="outcome",
        at=at,
        not_before=at + JUDGED_WITHIN,
    )
    handoffs.cross(hints=[hint])


def _stand_again(lead: Lead, closing: LeadMove, *, at: datetime) -> None:
    """Let the assignment stand again that ended when the lead was closed, with the turn that it cost."""
    ended = Assignment.objects.filter(lead=lead, ae=lead.ae, released_at=closing.at)
    newest = ended.order_by("-id").first()
    if lead.ae_id and newest:
        turns.stand_again(newest, at=at)


def _read(was: dict[str, Any]) -> dict[str, Any]:
    """Return stored values as the lead's fields hold them."""
    read = {}
    for name, value in was.items():
        field = Lead._meta.get_field(name)
        read[getattr(field, "attname", name)] = field.to_python(value)  # type: ignore[union-attr]
    return read
