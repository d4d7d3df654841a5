"""The nouns of the storey that acts."""

from routing.models.leads import (
    Assignment,
    ClosedAs,
    Lane,
    Lead,
    LeadMove,
    Origin,
    Stage,
    State,
)
from routing.models.people import AE, Handling, HandlingPolicy, Membership, Pool

__all__ = [
    "AE",
    "Assignment",
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
]
