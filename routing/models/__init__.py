"""The nouns of the storey that acts."""

from routing.models.leads import (
    MQL,
    Assignment,
    ClosedAs,
    CloseReason,
    Lane,
    Lead,
    LeadMove,
    Origin,
    Stage,
    State,
    Via,
)
from routing.models.people import AE, Handling, HandlingPolicy, Membership, Pool

__all__ = [
    "AE",
    "MQL",
    "Assignment",
    "CloseReason",
    "ClosedAs",
    "Handling",
    "HandlingPolicy",
    "Lane",
    "Lead",
    "LeadMove",
    "Membership",
    "Origin",
    "Pool",
    "Stage",
    "State",
    "Via",
]
