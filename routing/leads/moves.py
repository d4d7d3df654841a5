"""The one table of what may happen to a lead when, and the one way in which it happens."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import connection

from routing.leads import deadlines
from routing.models import HELD, Assignment, Lane, Lead, LeadMove, Stage, State, Via

ANY_STAGE = frozenset({Stage.MQL, Stage.PQL, Stage.SQL})
QUALIFIED = frozenset({Stage.MQL, Stage.PQL})
OPEN = frozenset({State.UNASSIGNED, State.ASSIGNED, State.SNOOZED})
_A = {Stage.MQL: "an MQL", Stage.PQL: "a PQL", Stage.SQL: "an SQL"}
FIRST = frozenset({State.UNASSIGNED, State.ASSIGNED})  # where a lead can be that nobody touched


class LeadError(ValueError):
    """Something that cannot be done with a lead; the text says why, and what to do instead."""


class IllegalMove(LeadError):
    """The lead is not in a state or stage that allows the move."""


@dataclass(frozen=True, slots=True)
class Move:
    """From which states and stages a verb may start, and where it ends."""

    done: str  # "it was …"
    states: frozenset[State]
    stages: frozenset[Stage] = ANY_STAGE
    to_state: State | None = None  # None: as it was
    to_stage: Stage | None = None
    closed_as: str = ""
    by_person: bool = True  # a person may ask for it; the others are the system's own
    undoable: bool = False  # for a while: see leads.undoing
    instead: str = ""  # what to do where the stage forbids it


MOVES: Mapping[str, Move] = {
    "assign": Move("assigned", frozenset({State.UNASSIGNED}), to_state=State.ASSIGNED, by_person=False),
    "accept": Move(
        "accepted",
        HELD,
        QUALIFIED,
        State.ASSIGNED,
        Stage.SQL,
        undoable=True,
        instead="It was accepted before; go on working it.",
    ),
    "snooze": Move("snoozed", HELD, to_state=State.SNOOZED, undoable=True),
    "wake": Move("woken", frozenset({State.SNOOZED}), to_state=State.ASSIGNED),
    "disqualify": Move("disqualified", OPEN, to_state=State.CLOSED, closed_as="disqualified", undoable=True),
    "recycle": Move("recycled", HELD, to_state=State.CLOSED, closed_as="recycled", undoable=True),
    "win": Move("won", HELD, to_state=State.CLOSED, closed_as="won", undoable=True),
    "lose": Move(
        "lost",
        HELD,
        frozenset({Stage.SQL}),
        State.CLOSED,
        closed_as="lost",
        undoable=True,
        instead="Only an accepted lead can be lost: accept it first, or disqualify it.",
    ),
    "reassign": Move("reassigned", OPEN, to_state=State.ASSIGNED),
    "unassign": Move("given back", HELD, to_state=State.UNASSIGNED),
    "release": Move("released", HELD, to_state=State.UNASSIGNED, by_person=False),
    # What comes of a deadline for the first touch.
    "warn": Move("soon due", FIRST, by_person=False),
    "escalate": Move("overdue: escalated", FIRST, by_person=False),
    "excuse": Move("given more time", FIRST, by_person=False),
    "overdue": Move("overdue: taken back", FIRST, to_state=State.UNASSIGNED, by_person=False),
    # For an absence of the AE; what is snoozed stays so.
    "hand_over": Move("handed over", HELD, by_person=False),
    "come_back": Move("given back to who was away", HELD, by_person=False),
    # What was marketing's alone has qualified by use too, and the other way round.
    "qualify": Move("qualified by use", OPEN, frozenset({Stage.MQL}), to_stage=Stage.PQL, by_person=False),
    "market": Move("named by marketing", OPEN, by_person=False),
    "upgrade": Move("upgraded", OPEN, by_person=False),
    "add_reason": Move("given a further reason", OPEN, by_person=False),
    "withdraw": Move(
        "withdrawn",
        OPEN,
        QUALIFIED,
        State.CLOSED,
        closed_as="withdrawn",
        by_person=False,
        instead="Somebody accepted it, so it stays until it is won, lost or disqualified.",
    ),
    "move": Move("moved to another account", OPEN, by_person=False),
    # Of two leads of accounts that turned out to be one; also one that somebody accepted.
    "absorb": Move("closed in favour of another", OPEN, to_state=State.CLOSED, closed_as="withdrawn", by_person=False),
    "convert": Move("won", OPEN, to_state=State.CLOSED, closed_as="won", by_person=False),
}

# Somebody worked the lead, on the desk or by the API.
WORK = frozenset({"accept", "snooze", "disqualify", "recycle", "win", "lose"})


def refusal(*, lead: Lead, verb: str) -> str:
    """Return in a sentence why the verb is not allowed for the lead now; empty if it is."""
    move = MOVES[verb]
    if lead.state == State.CLOSED:
        return f"Lead {lead.pk} is closed ({lead.closed_as}), so it can no longer be {move.done}."
    if lead.state not in move.states:
        allowed = " or ".join(sorted(move.states))
        return f"Lead {lead.pk} is {lead.state}, so it cannot be {move.done}: only one that is {allowed} can."
    if lead.stage not in move.stages:
        return f"Lead {lead.pk} is {_A[Stage(lead.stage)]}, so it cannot be {move.done}. {move.instead}"
    return ""


def allowed(*, lead: Lead) -> tuple[str, ...]:
    """Return the verbs that a person may use on the lead now, in the order of the table."""
    return tuple(verb for verb, move in MOVES.items() if move.by_person and not refusal(lead=lead, verb=verb))


def lock_lane(*, account_id: int) -> None:
    """Take the account's lane, inside a transaction: from now on nothing else happens to its leads."""
    lanes = Lane.objects.select_for_update().filter(account_id=account_id)
    if lanes.exists():
        return
    with connection.cursor() as cursor:
        # Waits for another who is making it; who makes it has it locked.
        cursor.execute("INSERT INTO routing_lane (account_id) VALUES (%s) ON CONFLICT DO NOTHING", [account_id])
        made = cursor.rowcount == 1
    if not made:
        lanes.get()


def lock(*, lead: Lead) -> Lead:
    """Return the lead as it is now, inside a transaction, with its lane and itself locked in this order.

    While it waited for the lane, the lead may have moved to another account: then that one's lane is taken too.
    """
    account_id: int | None = None
    while account_id != (now := Lead.objects.values_list("account_id", flat=True).get(pk=lead.pk)):
        account_id = now
        lock_lane(account_id=account_id)
    return (
        Lead.objects.select_for_update(of=("self",))
        .select_related("account", "rule_set", "pool", "ae__user")
        .get(pk=lead.pk)
    )


def open_lead(*, account_id: int, motion: str) -> Lead | None:
    """Return the open lead of an account and motion, of which there is one at most; not locked."""
    return Lead.objects.filter(account=account_id, motion=motion).exclude(state=State.CLOSED).first()


def make(
    *,
    lead: Lead,
    verb: str,
    by: User | None,
    at: datetime,
    via: Via | None = None,
    note: str = "",
    data: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Lead:
    """Move a locked lead, change further fields of it, and write the move down; returns the same lead.

    Without `via` it comes from the desk if a person did it, else from the system. Raises IllegalMove, with a
    sentence, if the table does not allow the verb now.
    """
    if why := refusal(lead=lead, verb=verb):
        raise IllegalMove(why)
    move, before = MOVES[verb], (lead.state, lead.stage)
    changes |= {"state": move.to_state or lead.state, "stage": move.to_stage or lead.stage}
    if changes["state"] != State.SNOOZED:
        changes = {"snoozed_until": None, "wakes_on_signal": False, "look_at": None} | changes
    if verb in WORK and lead.first_touched_at is None:
        changes["first_touched_at"] = at
    changes |= _deadline(lead, verb, changes, at=at)
    was = {field: plain(getattr(lead, field)) for field in changes} if move.undoable else None
    put(lead=lead, changes=changes)
    write(lead=lead, verb=verb, by=by, at=at, via=via, before=before, note=note, data=data, was=was)
    return lead


def _deadline(lead: Lead, verb: str, changes: Mapping[str, Any], *, at: datetime) -> dict[str, Any]:
    """Return what a move does to the deadline: other hands have their own, work and an end stop it."""
    if verb in WORK or changes["state"] == State.CLOSED:
        return {"alarm_at": None}
    if "ae" in changes:
        return deadlines.clock(lead=lead, ae=changes["ae"], at=at)
    return deadlines.sooner(lead=lead, tier=changes["tier"], at=at) if "tier" in changes else {}


def start_waiting(*, lead: Lead, at: datetime) -> None:
    """Let the time of a lead run that has just opened and that nobody could take."""
    if lead.state == State.UNASSIGNED and (due := deadlines.clock(lead=lead, ae=None, at=at)) and due["due_at"]:
        put(lead=lead, changes=due)


def put(*, lead: Lead, changes: Mapping[str, Any]) -> None:
    """Change fields of a locked lead."""
    for field, value in changes.items():
        setattr(lead, field, value)
    lead.save(update_fields=list(changes))


def plain(value: Any) -> Any:
    """Return a field's value as JSON data that the field understands."""
    return value.isoformat() if isinstance(value, datetime) else getattr(value, "pk", value)


def end_assignment(*, lead: Lead, at: datetime) -> Assignment | None:
    """End the standing assignment of a locked lead; returns it, or None if nobody had the lead."""
    standing = Assignment.objects.filter(lead=lead, ae__isnull=False, released_at=None).first()
    if standing:
        standing.released_at = at
        standing.save(update_fields=["released_at"])
    return standing


def write(*, lead: Lead, verb: str, by: User | None, at: datetime, **told: Any) -> None:
    """Write down what just happened to a lead; `told` is what `written` takes."""
    written(lead=lead, verb=verb, by=by, at=at, **told).save()


def written(
    *,
    lead: Lead,
    verb: str,
    by: User | None,
    at: datetime,
    via: Via | None = None,
    before: tuple[str, str] = ("", ""),
    note: str = "",
    data: Mapping[str, Any] | None = None,
    was: Mapping[str, Any] | None = None,
    undoes: LeadMove | None = None,
) -> LeadMove:
    """Return what just happened to a lead as it is to be written down; it is not saved."""
    return LeadMove(
        lead=lead,
        at=at,
        by=by,
        via=via or (Via.DESK if by else Via.SYSTEM),
        verb=verb,
        was=was,
        undoes=undoes,
        from_state=before[0],
        to_state=lead.state,
        from_stage=before[1],
        to_stage=lead.stage,
        ae=lead.ae,
        note=note,
        data=dict(data or {}),
    )
