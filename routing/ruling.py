"""Which leads go to which pool: routing rules, and what the linter says of them."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from routing import handling, leads
from routing.models import AE, Pool, RoutingRule
from routing.routes import Finding
from scoring import language

MOST_TAGS = 50
LONGEST_TAG = 64


class RulingError(ValueError):
    """A routing rule that cannot be; the text says where and what to do."""


def set_rule(
    *,
    name: str,
    text: str,
    pool: Pool,
    at: datetime,
    asks: Sequence[str] = (),
    prefers_owner: bool = True,
    owner_trait: str = handling.OWNER,
    is_active: bool = True,
    position: int | None = None,
    rule: RoutingRule | None = None,
) -> RoutingRule:
    """Make a routing rule, or change the given one; returns it. Without a position a new one comes last.

    `text` is the condition: see language.parse_route. What waits is routed anew after the commit. Raises RulingError
    with every fault and its path if the condition cannot be read, or the name is taken.
    """
    if not name.strip():
        raise RulingError("Give the rule a name: decisions say it.")
    _check(text)
    with transaction.atomic():
        held = rule or RoutingRule(position=position or _last() + 1)
        if RoutingRule.objects.exclude(pk=held.pk).filter(name__iexact=name.strip()).exists():
            raise RulingError(f"There is a rule {name.strip()!r} already: choose another name.")
        held.name, held.text, held.pool, held.asks = name.strip(), text.strip(), pool, tags(asks)
        held.prefers_owner, held.owner_trait, held.is_active = prefers_owner, owner_trait.strip(), is_active
        held.position = position or held.position
        held.save()
        leads.drain_later(at=at, anew=True)
    return held


def findings() -> list[Finding]:
    """Return what the linter says of the active rules as they stand: contradictions, never reached, overlapping."""
    return handling.lint()


def set_tags(*, ae: AE, given: Sequence[str], at: datetime) -> AE:
    """Say which languages and skills an AE has, for rules that ask for them; returns the AE. Raises RulingError."""
    with transaction.atomic():
        ae.tags = tags(given)
        ae.save(update_fields=["tags"])
        leads.drain_later(at=at)
    return ae


def tags(given: Sequence[str]) -> list[str]:
    """Return tags as they are kept: in lower case, each once, in order. Raises RulingError."""
    found = sorted({tag.strip().lower() for tag in given if tag.strip()})
    if len(found) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in found):
        raise RulingError(f"Give at most {MOST_TAGS} tags of at most {LONGEST_TAG} letters.")
    return found


def _check(text: str) -> None:
    try:
        language.parse_route(text)
    except language.Invalid as invalid:
        raise RulingError(f"The condition cannot be read: {'; '.join(map(str, invalid.faults))}.") from invalid


def _last() -> int:
    return RoutingRule.objects.aggregate(last=Max("position"))["last"] or 0
