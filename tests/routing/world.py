"""A small known world: accounts acme (hot), globex (cold), initech (won last quarter); AEs ann, ben and cleo."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User

from routing.models import AE, Membership, Pool
from scoring import facts, handoffs, language
from scoring.models import Account, Crossed, RuleSet, RuleVersion, Score, Status

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
TODAY = NOW.date()
TIERS = ("hot", "warm", "cold")  # best first; cold is no PQL


def later(**some: float) -> datetime:
    return NOW + timedelta(**some)


def account(name: str) -> Account:
    return Account.objects.get_or_create(kind=Account.Kind.GROUP, external_id=name, defaults={"created_at": NOW})[0]


ON_PRO = "{id: pro, name: On the pro plan, group: use, points: 60, when: {trait: plan, equals: pro}}"


def rule_set(slug: str = "new-business", motion: str = "new-business", *, rule: str = ON_PRO) -> RuleSet:
    made, new = RuleSet.objects.get_or_create(
        slug=slug, defaults={"name": slug.replace("-", " ").capitalize(), "motion": motion, "created_at": NOW}
    )
    if new:
        made.live_version = version(made, rule=rule)
        made.save()
    return made


def use(name: str, *, by: str, days: int) -> None:
    """Let somebody use the product on so many days up to today."""
    calls = [
        facts.Fact(
            message_id=f"{by} {day}",
            at=NOW - timedelta(days=day),
            name="Opened",
            user_id=by,
            anonymous_id=None,
            group_id=name,
            properties={},
            user_traits={},
            account_traits={},
        )
        for day in range(days)
    ]
    facts.record(source=facts.create_source(slug="app", at=NOW), facts=calls, received_at=NOW)


DOCUMENT = """
slug: {slug}
name: {name}
motion: {motion}
groups:
  use: {{score: usage}}
rules:
  - {rule}
tiers:
  - {{name: hot, pql: true, enter: {{usage: 60}}, hold: {{usage: 50}}}}
  - {{name: warm, pql: true, enter: {{usage: 30}}, hold: {{usage: 25}}}}
  - {{name: cold, pql: false, enter: {{}}, hold: {{}}}}
"""


def version(of: RuleSet, number: int = 1, *, rule: str = ON_PRO) -> RuleVersion:
    text = DOCUMENT.format(slug=of.slug, name=of.name, motion=of.motion, rule=rule)
    document = language.parse(text)
    return RuleVersion.objects.create(
        rule_set=of,
        number=number,
        text=text,
        document=language.dump(document),
        digest=language.digest(document),
        created_at=NOW,
        published_at=NOW,
    )


def score(of: Account, tier: str = "hot", *, by: RuleSet | None = None, **changes: Any) -> Score:
    """Store what one rule set says of an account now."""
    by = by or rule_set()
    is_pql = tier in ("hot", "warm")
    values: dict[str, Any] = {
        "version": by.live_version,
        "as_of": TODAY,
        "usage": 6000,
        "fit": 3000,
        "status": Status.SCORED,
        "tier": tier,
        "is_pql": is_pql,
        "held": list(TIERS[TIERS.index(tier) :]) if tier else [],
        "goal_on": None,
        "ledger": {"lines": [], "usage": 6000, "fit": 3000},
        "scored_at": NOW,
        "changed_at": NOW,
        "qualified_at": NOW if is_pql else None,
    }
    return Score.objects.update_or_create(rule_set=by, account=of, defaults=values | changes)[0]


def hint(of: Account, *, by: RuleSet | None = None, cause: str = "event") -> None:
    """Leave the hint that the account's score crossed a line."""
    by = by or rule_set()
    assert by.live_version is not None
    handoffs.cross(
        hints=[Crossed(rule_set=by, account=of, to_version=by.live_version, cause=cause, at=NOW, to_tier="")]
    )


def pool(name: str = "West", *, default: bool = True, of: RuleSet | None = None) -> Pool:
    return Pool.objects.get_or_create(
        slug=name.lower(), defaults={"name": name, "is_default": default, "rule_set": of, "created_at": NOW}
    )[0]


def ae(name: str, *, into: Pool | None = None, weight: int = 1, capacity: int | None = None) -> AE:
    """Make an AE, in a pool if one is given."""
    user = User.objects.create_user(f"{name}@example.com", first_name=name.capitalize(), date_joined=NOW)
    made = AE.objects.create(user=user, joined_at=NOW)
    if into:
        Membership.objects.create(pool=into, ae=made, weight=weight, capacity=capacity, joined_at=NOW)
    return made


@dataclass(frozen=True, slots=True)
class Team:
    """The pool West with ann (full at nought) and ben (free); cleo is in the pool East."""

    west: Pool
    east: Pool
    ann: AE
    ben: AE
    cleo: AE


def team() -> Team:
    west, east = pool("West"), pool("East", default=False)
    return Team(west, east, ae("ann", into=west, capacity=0), ae("ben", into=west), ae("cleo", into=east))


def days(number: int) -> date:
    return TODAY + timedelta(days=number)
