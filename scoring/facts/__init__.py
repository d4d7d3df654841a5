"""Facts: what senders, people and other systems say happened. Whatever is known comes in by these verbs."""

from scoring.facts.accounts import CannotMerge, MergePreview, merge_accounts, preview_merge, separate_account
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
    totals,
    turned_away,
    watch,
)
from scoring.facts.outcomes import account_named, exclude, lift_exclusion, record_outcome
from scoring.facts.partitions import prepare_partitions
from scoring.facts.recording import Fact, NamesNobody, Recorded, Status, day_of, record
from scoring.facts.retention import RETENTION, KeptTooShort, drop_later, keep_events, run_retention
from scoring.facts.senders import create_key, create_source, fix_rebase, key_for, revoke_key

__all__ = [
    "LOOKS",
    "RETENTION",
    "CannotMerge",
    "Count",
    "Envelope",
    "Fact",
    "KeptTooShort",
    "MergePreview",
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
    "drop_later",
    "exclude",
    "fix_rebase",
    "fold_arrivals",
    "forget_samples",
    "is_watched",
    "keep_events",
    "key_for",
    "lift_exclusion",
    "merge_accounts",
    "note",
    "prepare_partitions",
    "preview_merge",
    "record",
    "record_outcome",
    "revoke_key",
    "run_retention",
    "separate_account",
    "show",
    "thin_arrivals",
    "totals",
    "turned_away",
    "watch",
]
