"""What load a new version of the rules would add, before it goes live. Read-only."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db.models import Count

from routing import decision, handling, rotation
from routing.decision import Claim, Contender
from routing.eligibility import Candidate
from routing.models import AE, HELD, Assignment, Handling, Lead, Pool, State
from scoring.engine import Standing
from scoring.models import RuleSet
from scoring.rules import Change, Diff

Coming = tuple[int, str]  # an account, and the tier that it comes to
MOST_TURNS = 5_000  # leads of a pool that are dealt out here; more at once is told as a number


@dataclass(frozen=True, slots=True)
class Share:
    """What an AE of a pool would be given beside the leads that are open now."""

    ae: AE
    adds: int
    open: int  # leads of the pool in the AE's hands now
    capacity: int | None  # None: no limit


@dataclass(frozen=True, slots=True)
class Load:
    """The leads that would come to a pool, and who would get them if all came now, in turn."""

    pool: Pool | None
    reason: str  # why no pool takes them; empty if one does
    adds: int
    waiting: int  # that nobody of the pool could take
    not_dealt: int  # beyond MOST_TURNS: nobody works through so many
    seats: Sequence[Share]


@dataclass(slots=True)
class _Table:
    """A pool's rotation, played ahead in memory."""

    pool: Pool
    contenders: dict[int, Contender] = field(default_factory=dict)  # by AE
    candidates: dict[int, Candidate] = field(default_factory=dict)
    aes: dict[int, AE] = field(default_factory=dict)
    given: Counter[int] = field(default_factory=Counter)

    def deal(self, colleague: int | None, tier: str, at: datetime) -> bool:
        """Give one lead to the colleague who works the account already, or by turn; False: nobody can take it."""
        judged = [decision.judge(self.contenders[ae], one) for ae, one in self.candidates.items()]
        claims = [Claim(colleague, Assignment.How.SAME_AE, "already works this account")] if colleague else []
        cost = rotation.cost_of(self.pool.tier_values, tier)
        decided = decision.decide(judged, pool=self.pool.name, claims=claims, cost=cost)
        if decided.chosen is None:
            return False
        chosen = decided.chosen.ae
        if decided.turn:
            for ae, one in self.contenders.items():
                self.contenders[ae] = decision.after(one, decided.turn, at=at)
        self.given[chosen] += 1
        self.candidates[chosen] = replace(self.candidates[chosen], open_leads=self.candidates[chosen].open_leads + 1)
        return True


def load_of(*, diff: Diff, at: datetime) -> list[Load]:
    """Return what the version would add to each pool and each AE in it: leads that would open, dealt out in turn.

    An account opens none that has an open lead of the motion, or was with sales before.
    """
    motion = diff.version.document["motion"]
    plans = _Plans(diff.version.rule_set, [change.account_id for change in diff.changes if change.after.is_pql])
    wanted = [change for change in diff.changes if plans.opens(change)]
    accounts = [change.account_id for change in wanted]
    mine = Lead.objects.filter(account__in=accounts, motion=motion).exclude(state=State.CLOSED)
    has_one = set(mine.values_list("account", flat=True))
    comes: dict[handling.Plan, list[Coming]] = {}
    for change in wanted:
        if change.account_id not in has_one:
            plan = plans.of(change.after.tier, is_pql=True, account=change.account_id)
            comes.setdefault(plan, []).append((change.account_id, change.after.tier))
            has_one.add(change.account_id)  # whoever else of its users qualifies
    colleagues = _colleagues(accounts)
    return [
        _load(plan, [(colleagues.get(account), tier) for account, tier in those], at) for plan, those in _pooled(comes)
    ]


def _pooled(comes: Mapping[handling.Plan, list[Coming]]) -> list[tuple[handling.Plan, list[Coming]]]:
    """Return what comes by pool: several tiers may come to one."""
    pooled: dict[int | None, tuple[handling.Plan, list[Coming]]] = {}
    for plan, accounts in comes.items():
        pooled.setdefault(plan.pool.pk if plan.pool else None, (plan, []))[1].extend(accounts)
    return list(pooled.values())


class _Plans:
    """How the accounts of a rule set are handled, asked for together."""

    def __init__(self, rule_set: RuleSet, accounts: Iterable[int]) -> None:
        self._rule_set = rule_set
        self._plans = handling.Plans(accounts)

    def of(self, tier: str, *, is_pql: bool, account: int | None = None) -> handling.Plan:
        """Return how the tier is handled; for an account, by which pool."""
        return self._plans.of(rule_set=self._rule_set, tier=tier, is_pql=is_pql, account=account)

    def opens(self, change: Change) -> bool:
        """Return whether sales are to have the account by the new version, and were not by the old one."""
        return self._to_sales(change.after) and not self._to_sales(change.before)

    def _to_sales(self, standing: Standing) -> bool:
        return standing.is_pql and self.of(standing.tier, is_pql=True).handling is Handling.SALES


def _colleagues(accounts: Iterable[int]) -> dict[int, int]:
    """Return by account the AE who has an open lead of it already; the one who had it first."""
    held = Lead.objects.filter(account__in=accounts, state__in=HELD).order_by("-assigned_at", "-pk")
    return {account: ae for account, ae in held.values_list("account", "ae") if ae is not None}


def _load(plan: handling.Plan, comes: Sequence[tuple[int | None, str]], at: datetime) -> Load:
    """Deal out the leads that come to a pool; of each it is said who works the account already, and the tier."""
    if plan.pool is None:
        return Load(None, plan.reason, len(comes), len(comes), 0, ())
    table = _table(plan.pool)
    before = {ae: one.open_leads for ae, one in table.candidates.items()}
    dealt = sum(table.deal(colleague, tier, at) for colleague, tier in comes[:MOST_TURNS])
    return Load(
        pool=plan.pool,
        reason="",
        adds=len(comes),
        waiting=min(len(comes), MOST_TURNS) - dealt,
        not_dealt=max(len(comes) - MOST_TURNS, 0),
        seats=[
            Share(ae, table.given[key], before[key], table.candidates[key].capacity) for key, ae in table.aes.items()
        ],
    )


def _table(pool: Pool) -> _Table:
    held = Lead.objects.filter(pool=pool, state__in=HELD).order_by()
    loads = dict(held.values_list("ae").annotate(Count("pk")))
    table = _Table(pool)
    for one in pool.memberships.select_related("ae__user").order_by("pk"):
        table.aes[one.ae_id] = one.ae
        table.contenders[one.ae_id] = Contender(
            one.pk, one.ae_id, one.ae.name, one.weight, one.credit, one.last_served_at
        )
        table.candidates[one.ae_id] = Candidate(
            membership_active=one.is_active,
            ae_active=one.ae.is_active,
            log_in_active=one.ae.user.is_active,
            open_leads=loads.get(one.ae_id, 0),
            capacity=one.capacity,
        )
    return table
