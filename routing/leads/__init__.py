"""Leads: opened by crossings, given out in turn, worked by people. The only writer of the leads' tables.

Lock order, everywhere: the account's lane, the lead, then pools by id. Freeing capacity takes no pool lock, unless a
turn is given back; what waits is given out after the commit.
"""

from routing.leads.aside import look_again, wake_on_signal
from routing.leads.assigning import drain, drain_later, preview
from routing.leads.deadlines import DeadlineError, set_at_breach, set_sla
from routing.leads.entering import HasLead, NoRules, enter, market
from routing.leads.handing import come_back, hand_over
from routing.leads.levelling import Levelled, level
from routing.leads.moves import MOVES, IllegalMove, LeadError, Move, allowed, refusal
from routing.leads.opening import Considered, consider, open_all, open_crossed
from routing.leads.overdue import beat, breaches, keep_deadlines, reset_deadlines
from routing.leads.reasons import ReasonMissing, UnknownReason, listed, set_reason
from routing.leads.turns import CLAIMS, UnknownCause, lock_pools
from routing.leads.undoing import CannotUndo, undo, undoable
from routing.leads.working import (
    NotAvailable,
    SnoozeEnded,
    accept,
    disqualify,
    lose,
    reassign,
    record_outcome,
    recycle,
    release_orphans,
    snooze,
    tend,
    wake,
    wake_snoozed,
    win,
)

__all__ = [
    "CLAIMS",
    "MOVES",
    "CannotUndo",
    "Considered",
    "DeadlineError",
    "HasLead",
    "IllegalMove",
    "LeadError",
    "Levelled",
    "Move",
    "NoRules",
    "NotAvailable",
    "ReasonMissing",
    "SnoozeEnded",
    "UnknownCause",
    "UnknownReason",
    "accept",
    "allowed",
    "beat",
    "breaches",
    "come_back",
    "consider",
    "disqualify",
    "drain",
    "drain_later",
    "enter",
    "hand_over",
    "keep_deadlines",
    "level",
    "listed",
    "lock_pools",
    "look_again",
    "lose",
    "market",
    "open_all",
    "open_crossed",
    "preview",
    "reassign",
    "record_outcome",
    "recycle",
    "refusal",
    "release_orphans",
    "reset_deadlines",
    "set_at_breach",
    "set_reason",
    "set_sla",
    "snooze",
    "tend",
    "undo",
    "undoable",
    "wake",
    "wake_on_signal",
    "wake_snoozed",
    "win",
]
