"""The home page of the admin: which versions are to be looked at again, and what has come of them."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from scoring import rules
from scoring.rules import Evidence


def home(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the reviews that are due to what the home page shows."""
    due = rules.due_for_review(on=timezone.now().date())
    return context | {"reviews": [_review(evidence) for evidence in due]}


def _review(evidence: Evidence) -> dict[str, Any]:
    version = evidence.version
    page = reverse("admin:scoring_ruleversion_change", args=[version.pk])
    return {
        "version": version,
        "page": page,
        "review": f"{reverse('admin:scoring_ruleversion_changelist')}{version.pk}/review/",
        "owner": version.owner or "nobody",
        "lines": list(words(evidence)),
    }


def words(evidence: Evidence) -> list[str]:
    """Return in sentences what has come of a version."""
    lines = [
        f"Live since {evidence.live_since:%-d %B %Y}. {evidence.pqls:,} accounts are PQLs today.",
        f"{_of(evidence.reached, evidence.qualified)} that came to be PQLs by it reached the goal afterwards; of the "
        f"accounts that are no PQLs, {_of(evidence.others_reached, evidence.others)} did since it went live.",
    ]
    if evidence.quiet:
        lines.append(f"Nothing came for {rules.QUIET_AFTER.days} days of: {', '.join(evidence.quiet)}.")
    return lines


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}"
