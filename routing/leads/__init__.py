"""Leads: opened by crossings, given out in turn, worked by people. The only writer of the leads' tables.

Lock order, everywhere: the account's lane, the lead, then pools by id. Freeing capacity takes no pool lock; what
waits is given out after the commit.
"""

from routing.leads.assigning import drain, drain_later, lock_pools
from routing.leads.moves import MOVES, IllegalMove, LeadError, Move, allowed, refusal
from routing.leads.opening import Considered, consider, open_all, open_crossed
from routing.leads.working import (
    NotAvailable,
    ReasonMissing,
    SnoozeEnded,
    accept,
    disqualify,
    lose,
    reassign,
    release_orphans,
    snooze,
    tend,
    wake,
    wake_snoozed,
    win,
)

__all__ = [
    "MOVES",
    "Considered",
    "IllegalMove",
    "LeadError",
    "Move",
    "NotAvailable",
    "ReasonMissing",
    "SnoozeEnded",
    "accept",
    "allowed",
    "consider",
    "disqualify",
    "drain",
    "drain_later",
    "lock_pools",
    "lose",
    "open_all",
    "open_crossed",
    "reassign",
    "refusal",
    "release_orphans",
    "snooze",
    "tend",
    "wake",
    "wake_snoozed",
    "win",
]
