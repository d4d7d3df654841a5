"""Who would get an account if it qualified now: decided as live, and nothing written."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routing import leads
from scoring.models import Score


@dataclass(frozen=True, slots=True)
class Preview:
    """The decision for one tier, with the others that can be asked for."""

    tier: str
    tiers: list[str]
    decision: dict[str, Any]
    at: datetime

    @property
    def next_try_at(self) -> datetime | None:
        """When the clock alone may free somebody, if nobody is free."""
        told = self.decision.get("next_try_at")
        return datetime.fromisoformat(told) if told else None


def preview(*, score: Score, tier: str | None, at: datetime) -> Preview | None:
    """Return what would become of the score's account in a PQL tier, else in the best one; None: there is none live."""
    live = score.rule_set.live_version
    tiers = [each["name"] for each in live.document["tiers"] if each.get("pql")] if live else []
    if not tiers:
        return None
    chosen = tier if tier and tier in tiers else tiers[0]
    told = leads.preview(account_id=score.account_id, rule_set=score.rule_set, tier=chosen, at=at)
    return Preview(chosen, tiers, told, at)
