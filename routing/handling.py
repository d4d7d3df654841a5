"""What is done with a tier, and which pool does it. Read-only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from routing import routes
from routing.models import Handling, HandlingPolicy, Origin, Pool, RoutingRule, Stage
from routing.routes import Route
from scoring import language
from scoring.language import Where
from scoring.models import WHOSE_WORD_COUNTS, RuleSet, TraitChange

OWNER = "owner"  # the trait that holds the e-mail address of the account's owner, where no rule names another


@dataclass(frozen=True, slots=True)
class Plan:
    """How a tier is handled, and by which pool; without a pool, the reason why none."""

    handling: Handling
    pool: Pool | None
    reason: str = ""
    route: RoutingRule | None = None  # that matched; None: the pool is the tier's, the rule set's or the default one
    owner: str = ""  # the e-mail address of the account's owner, if that one goes first
    prefers_owner: bool = False

    @property
    def asks(self) -> Sequence[str]:
        """The tags that an AE must have."""
        return self.route.asks if self.route else ()


def plan_for(
    *,
    rule_set: RuleSet,
    tier: str,
    is_pql: bool,
    account: int | None = None,
    stage: str = Stage.PQL,
    origin: str = Origin.PQL,
) -> Plan:
    """Return what is done with a tier of a rule set, for an account; see Plans."""
    plans = Plans([account] if account else [])
    return plans.of(rule_set=rule_set, tier=tier, is_pql=is_pql, account=account, stage=stage, origin=origin)


class Plans:
    """How leads are handled: what is asked for many of them is read once, as it was at the first question.

    A tier without a policy is handled as sales if it is a PQL tier, else not at all: a fresh installation shows its
    PQLs. The pool is that of the first routing rule that matches, else the policy's, else the rule set's own, else the
    default one, else none with a reason.
    """

    def __init__(self, accounts: Iterable[int] = ()) -> None:
        self._rules = {rule.pk: rule for rule in RoutingRule.objects.filter(is_active=True).select_related("pool")}
        self._routes = [route_of(rule) for rule in self._rules.values()]
        self._traits = self._read(set(accounts)) if self._rules else {}
        self._by_kind: dict[tuple[int, str, bool], Plan] = {}

    def of(
        self,
        *,
        rule_set: RuleSet,
        tier: str,
        is_pql: bool,
        account: int | None = None,
        stage: str = Stage.PQL,
        origin: str = Origin.PQL,
    ) -> Plan:
        """Return how a lead is handled, and by which pool."""
        kind = (rule_set.pk, tier, is_pql)
        if kind not in self._by_kind:
            self._by_kind[kind] = _by_kind(rule_set, tier, is_pql)
        plan = self._by_kind[kind]
        if not self._rules or account is None:
            return plan
        lead = {"tier": tier, "rule_set": rule_set.slug, "motion": rule_set.motion, "stage": stage, "origin": origin}
        return self._routed(plan, account, lead)

    def _routed(self, plan: Plan, account: int, lead: Mapping[str, object]) -> Plan:
        if account not in self._traits:
            self._traits |= self._read({account})
        traits = self._traits[account]
        facts = {"lead": dict(lead) | {"owner": traits.get(OWNER)}, "traits": traits}
        found = routes.first_match(self._routes, **facts)
        if found is None:
            why = routes.why_none(self._routes, **facts)
            reason = f"{why} {plan.reason}" if plan.pool is None else ""
            return Plan(plan.handling, plan.pool, reason)
        rule = self._rules[found.id]
        owner = traits.get(rule.owner_trait or OWNER)
        named = owner if rule.prefers_owner and isinstance(owner, str) else ""
        return Plan(plan.handling, rule.pool, route=rule, owner=named, prefers_owner=rule.prefers_owner)

    def _read(self, accounts: set[int]) -> dict[int, dict[str, object]]:
        """Return the present traits that the rules ask for, by account; one query."""
        keys = routes.traits_read(self._routes) | {rule.owner_trait or OWNER for rule in self._rules.values()} | {OWNER}
        known: dict[int, dict[str, object]] = {account: {} for account in accounts}
        newest = (
            TraitChange.objects.filter(account__in=accounts, key__in=keys)
            .order_by("account", "key", *WHOSE_WORD_COUNTS)
            .distinct("account", "key")
        )
        for account, key, value in newest.values_list("account", "key", "value"):
            known[account][key] = value
        return known


def route_of(rule: RoutingRule) -> Route:
    """Return a rule as the search for a match needs it. Raises language.Invalid if its text cannot be read."""
    goes_to = f"{rule.pool_id} {rule.asks} {rule.prefers_owner} {rule.owner_trait}"
    return Route(rule.pk, rule.name, _where(rule.text), goes_to)


def lint() -> list[routes.Finding]:
    """Return what is wrong with the active routing rules as they stand: never reached, overlapping."""
    return routes.lint([route_of(rule) for rule in RoutingRule.objects.filter(is_active=True)])


def _by_kind(rule_set: RuleSet, tier: str, is_pql: bool) -> Plan:
    policy = HandlingPolicy.objects.filter(rule_set=rule_set, tier=tier).select_related("pool").first()
    handling = Handling(policy.handling) if policy else Handling.SALES if is_pql else Handling.NONE
    pool = policy.pool if policy and policy.pool else _pool_of(rule_set)
    if pool is None:
        return Plan(handling, None, _no_pool(rule_set, tier))
    return Plan(handling, pool)


def _pool_of(rule_set: RuleSet) -> Pool | None:
    own = Pool.objects.filter(rule_set=rule_set).first()
    return own or Pool.objects.filter(is_default=True).first()


def _no_pool(rule_set: RuleSet, tier: str) -> str:
    return f"No pool takes leads of {rule_set.name}: {tier}. Give the rule set a pool, or make one pool the default."


@lru_cache(maxsize=1024)
def _where(text: str) -> Where:
    return language.parse_route(text)
