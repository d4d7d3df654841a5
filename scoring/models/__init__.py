"""The nouns of the house's upper storey."""

from scoring.models.facts import (
    WHOSE_WORD_COUNTS,
    Account,
    EmailLink,
    Event,
    Exclusion,
    GroupLink,
    Identity,
    IdentityLink,
    Key,
    Outcome,
    Precedence,
    ProductUser,
    Source,
    TraitChange,
)
from scoring.models.imports import ImportedFile, RejectedLine
from scoring.models.jobs import Job
from scoring.models.rules import Publication, RuleSet, RuleVersion
from scoring.models.scores import (
    SHARDS,
    Crossed,
    Lane,
    Parked,
    Score,
    ScoreChange,
    Status,
    Touched,
    shard_of,
)
from scoring.models.tiles import Refolded, Signal, Tile

__all__ = [
    "SHARDS",
    "WHOSE_WORD_COUNTS",
    "Account",
    "Crossed",
    "EmailLink",
    "Event",
    "Exclusion",
    "GroupLink",
    "Identity",
    "IdentityLink",
    "ImportedFile",
    "Job",
    "Key",
    "Lane",
    "Outcome",
    "Parked",
    "Precedence",
    "ProductUser",
    "Publication",
    "Refolded",
    "RejectedLine",
    "RuleSet",
    "RuleVersion",
    "Score",
    "ScoreChange",
    "Signal",
    "Source",
    "Status",
    "Tile",
    "Touched",
    "TraitChange",
    "shard_of",
]
