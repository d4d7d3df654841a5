"""Facts: what senders, people and other systems say happened. Whatever is known comes in by these verbs."""

from scoring.facts.outcomes import account_named, exclude, lift_exclusion, record_outcome
from scoring.facts.partitions import prepare_partitions
from scoring.facts.recording import Fact, NamesNobody, Recorded, Status, day_of, record
from scoring.facts.senders import create_key, create_source, fix_rebase, key_for, revoke_key

__all__ = [
    "Fact",
    "NamesNobody",
    "Recorded",
    "Status",
    "account_named",
    "create_key",
    "create_source",
    "day_of",
    "exclude",
    "fix_rebase",
    "key_for",
    "lift_exclusion",
    "prepare_partitions",
    "record",
    "record_outcome",
    "revoke_key",
]
