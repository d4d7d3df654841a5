"""Tiles: the daily folds of events that rules read. `tiles = fold(events)`, exactly and at any moment."""

from scoring.tiles.compaction import STRETCH, Compacted, compact
from scoring.tiles.folding import active, append, ask_active
from scoring.tiles.following import follow, follow_account
from scoring.tiles.locks import (
    FOLD,
    GATE,
    LOCKS,
    hold_fold_lock,
    hold_gate,
    stop_senders,
    take_fold_lock,
    take_gate,
)
from scoring.tiles.refolding import REFOLD, refold_later, run_refold
from scoring.tiles.signals import CHUNK, backfill, backfill_chunk, known_from, newest_event, register
from scoring.tiles.verification import Difference, Stretch, verified_from, verify, words

__all__ = [
    "CHUNK",
    "FOLD",
    "GATE",
    "LOCKS",
    "REFOLD",
    "STRETCH",
    "Compacted",
    "Difference",
    "Stretch",
    "active",
    "append",
    "ask_active",
    "backfill",
    "backfill_chunk",
    "compact",
    "follow",
    "follow_account",
    "hold_fold_lock",
    "hold_gate",
    "known_from",
    "newest_event",
    "refold_later",
    "register",
    "run_refold",
    "stop_senders",
    "take_fold_lock",
    "take_gate",
    "verified_from",
    "verify",
    "words",
]
