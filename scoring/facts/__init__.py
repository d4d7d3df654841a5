"""Facts: what senders, people and other systems say happened. Whatever is known comes in by these verbs."""

from scoring.facts.arrivals import (
    LOOKS,
    Count,
    Envelope,
    Reason,
    Turned,
    counted,
    fold_arrivals,
    forget_samples,
    is_watched,
    note,
    show,
    thin_arrivals,
    turned_away,
    watch,
)
from scoring.facts.outcomes import account_named, exclude, lift_exclusion, record_outcome
from scoring.facts.partitions import prepare_partitions
from scoring.facts.recording import Fact, NamesNobody, Recorded, Status, day_of, record
from scoring.facts.senders import create_key, create_source, fix_rebase, key_for, revoke_key

__all__ = [
    "LOOKS",
    "Count",
    "Envelope",
    "Fact",
    "NamesNobody",
    "Reason",
    "Recorded",
    "Status",
    "Turned",
    "account_named",
    "counted",
    "create_key",
    "create_source",
    "day_of",
    "exclude",
    "fix_rebase",
    "fold_arrivals",
    "forget_samples",
    "is_watched",
    "key_for",
    "lift_exclusion",
    "note",
    "prepare_partitions",
    "record",
    "record_outcome",
    "revoke_key",
    "show",
    "thin_arrivals",
    "turned_away",
    "watch",
]
