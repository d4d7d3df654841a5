"""What is done with a tier, and which pool does it. Read-only."""

from dataclasses import dataclass

from django.db.models import Q

from routing.models import Handling, HandlingPolicy, Pool
from scoring.models import RuleSet


@dataclass(frozen=True, slots=True)
class Plan:
    """How a tier is handled, and by which pool; without a pool, the reason why none."""

    handling: Handling
    pool: Pool | None
    reason: str = ""


def plan_for(*, rule_set: RuleSet, tier: str, is_pql: bool) -> Plan:
    """Return what is done with a tier of a rule set.

    A tier without a policy is handled as sales if it is a PQL tier, else not at all: a fresh installation shows
    its PQLs. The pool is the policy's, else the rule set's own, else the default one, else none with a reason.
    """
    policy = HandlingPolicy.objects.filter(rule_set=rule_set, tier=tier).select_related("pool").first()
    handling = Handling(policy.handling) if policy else Handling.SALES if is_pql else Handling.NONE
    pool = policy.pool if policy and policy.pool else _pool_of(rule_set)
    if pool is None:
        return Plan(handling, None, _no_pool(rule_set, tier))
    return Plan(handling, pool)


def _pool_of(rule_set: RuleSet) -> Pool | None:
    pools = list(Pool.objects.filter(Q(rule_set=rule_set) | Q(is_default=True)))
    return min(pools, key=lambda pool: pool.rule_set_id != rule_set.pk, default=None)


def _no_pool(rule_set: RuleSet, tier: str) -> str:
    return f"No pool takes leads of {rule_set.name}: {tier}. Give the rule set a pool, or make one pool the default."
