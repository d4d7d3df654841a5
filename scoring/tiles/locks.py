"""The locks under which stored facts are folded; all are held to the end of the transaction.

The gate: ingest holds it shared while it stores events and folds them, and whoever changes which signals are folded
takes it alone for a moment. The fold lock: whoever moves users holds it shared, and whoever folds or rewrites what is
stored already takes it alone, so that nobody's tiles are folded while they move. The fold lock comes first.
"""

from typing import Any

import psycopg

Cursor = psycopg.Cursor[Any]

LOCKS = 0x50514C  # the namespace of this system's advisory locks on stored facts
GATE, FOLD = 1, 2


def hold_gate(c: Cursor) -> None:
    """Hold the gate shared. The signals must be read by a later statement."""
    c.execute(f"SELECT pg_advisory_xact_lock_shared({LOCKS}, {GATE})")


def take_gate(c: Cursor) -> None:
    """Take the gate alone: no ingest stores events meanwhile, and all that did so before are over."""
    c.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {GATE})")


def hold_fold_lock(c: Cursor) -> None:
    """Hold the fold lock shared: users may be moved."""
    c.execute(f"SELECT pg_advisory_xact_lock_shared({LOCKS}, {FOLD})")


def take_fold_lock(c: Cursor) -> None:
    """Take the fold lock alone: nobody moves users, and nobody else folds stored events."""
    c.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {FOLD})")


def stop_senders(c: Cursor) -> None:
    """Take both: nobody moves users, and nobody folds or stores events."""
    take_fold_lock(c)
    take_gate(c)
