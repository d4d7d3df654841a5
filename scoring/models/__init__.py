"""The nouns of the house's upper storey."""

from scoring.models.arrivals import Arrival, Glimpse, Library, Rejection, Traffic
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
    "Arrival",
    "Crossed",
    "EmailLink",
    "Event",
    "Exclusion",
    "Glimpse",
    "GroupLink",
    "Identity",
    "IdentityLink",
    "ImportedFile",
    "Job",
    "Key",
    "Lane",
    "Library",
    "Outcome",
    "Parked",
    "Precedence",
    "ProductUser",
    "Publication",
    "Refolded",
    "RejectedLine",
    "Rejection",
    "RuleSet",
    "RuleVersion",
    "Score",
    "ScoreChange",
    "Signal",
    "Source",
    "Status",
    "Tile",
    "Touched",
    "Traffic",
    "TraitChange",
    "shard_of",
]
