"""Who gets a lead: decided under the pool's lock, and recorded with everything that the decision rests on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThan

from routing import decision, handling, seats
from routing.decision import Claim
from routing.leads import claims as claiming
from routing.leads import moves, turns
from routing.models import AE, Assignment, Handling, Lead, Membership, Pool, Refund, State, Via
from routing.rotation import Turn
from routing.seats import Table
from scoring.models import RuleSet

How = Assignment.How

RELOOK = timedelta(minutes=15)  # then a lead that no pool takes is looked at again: its account may be known better
MOST_AT_ONCE = 200  # leads that one drain gives out at most; the periodic task goes on
CHUNK = 50


class Routed(Enum):
    """How an attempt to find an AE went."""

    GIVEN = "given"
    BEHIND = "behind"  # a better lead waits that somebody could take
    NOBODY = "nobody"  # nobody can take it now, or no pool takes it


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of a lead: whom it goes to, or why it waits."""

    routed: Routed
    record: dict[str, Any]  # of the decision, as JSON data
    how: How = How.ROTATION
    membership: int | None = None  # of the AE in the pool
    ae: AE | None = None  # None: it waits
    turn: Turn | None = None  # None: nobody was charged
    next_try_at: datetime | None = None  # of one that waits

    @property
    def why(self) -> str:
        """The reason, in a sentence."""
        return str(self.record["why"])


def route(*, lead: Lead, plan: handling.Plan, at: datetime) -> Routed:
    """Give a locked, unassigned lead to a colleague or owner of the account, or else by turn.

    A better lead that waits and could be given goes first: then this one waits behind it, and who frees the lead's
    lock drains. If nobody can take it, the lead and a record say why, and when time alone may change that.
    Returns how it went.
    """
    lead.route = plan.route
    pool = turns.lock_pools([plan.pool.pk])[plan.pool.pk] if plan.pool else None
    found = settle(
        lead=lead,
        plan=plan,
        table=seats.table(pool=pool, at=at) if pool else None,
        claims=claiming.read(accounts=[lead.account_id]).of(account_id=lead.account_id, plan=plan, but=lead.pk),
        had_it=seats.had_before(lead),
        at=at,
    )
    if found.ae is None:
        _leave(lead=lead, pool=pool, found=found, at=at)
        if found.routed is Routed.BEHIND:
            drain_later(at=at, pool=pool)
        return found.routed
    if found.turn:
        turns.charge(found.turn, at=at)
    give(lead=lead, pool=pool, ae=found.ae, how=found.how, verb="assign", decision=found.record, by=None, at=at)
    return Routed.GIVEN


def settle(
    *,
    lead: Lead,
    plan: handling.Plan,
    table: Table | None,
    claims: Sequence[Claim],
    had_it: Collection[int],
    at: datetime,
    has_line: bool = True,
) -> Settled:
    """Return what becomes of an unassigned lead at the table of its pool, which is locked; None: no pool takes it.

    Writes nothing. The lead may be one that is not stored yet; it is younger than those that are. `had_it` are the
    AEs who had it before. Where the pool has no line it is not asked who is first in it.
    """
    if table is None:
        return Settled(Routed.NOBODY, {"why": plan.reason}, next_try_at=at + RELOOK)
    pool, judged = table.pool, table.judge(tier=lead.tier, asks=plan.asks, had_it=had_it)
    found = decision.decide(judged, pool=pool.name, claims=claims, cost=table.cost(lead.tier))
    if found.chosen is not None and has_line and _better_waits(lead, table):
        reason = f"Waits its turn in {pool.name}: a better or older lead comes first."
        return Settled(Routed.BEHIND, {"why": reason}, next_try_at=at)
    record = _rule(pool, plan) | decision.record(found)
    if found.chosen is None:
        return Settled(Routed.NOBODY, record, next_try_at=table.free_by_clock(judged))
    ae = table.seats[found.chosen.membership].membership.ae
    return Settled(Routed.GIVEN, record, How(found.how), found.chosen.membership, ae, found.turn)


def route_anew(*, lead: Lead, at: datetime) -> Routed:
    """Give a locked, unassigned lead to somebody by the rules of now; returns how it went."""
    return route(lead=lead, plan=plan_of(lead), at=at)


def preview(*, account_id: int, rule_set: RuleSet, tier: str, at: datetime) -> dict[str, Any]:
    """Return what would become of an account if it qualified now for a tier: the record. Writes nothing.

    `why` says it in a sentence, `next_try_at` when the clock alone may free somebody, if nobody is free.
    """
    plan = handling.plan_for(rule_set=rule_set, tier=tier, is_pql=True, account=account_id)
    if plan.handling is not Handling.SALES:
        return {"why": f"Sales do not get it: {rule_set.name}, {tier} is handled as {plan.handling.label}."}
    if plan.pool is None:
        return {"why": plan.reason}
    table = seats.table(pool=plan.pool, at=at)
    judged = table.judge(tier=tier, asks=plan.asks)
    known = claiming.read(accounts=[account_id]).of(account_id=account_id, plan=plan)
    found = decision.decide(judged, pool=plan.pool.name, claims=known, cost=table.cost(tier))
    when = None if found.chosen else table.free_by_clock(judged)
    return _rule(plan.pool, plan) | decision.record(found) | {"next_try_at": when and when.isoformat()}


def give(
    *,
    lead: Lead,
    pool: Pool | None,
    ae: AE,
    how: How,
    verb: str,
    decision: dict[str, Any],
    by: User | None,
    at: datetime,
    via: Via | None = None,
) -> None:
    """Put a locked lead into an AE's hands, with the record of the decision."""
    made = Assignment.objects.create(lead=lead, pool=pool, ae=ae, how=how, at=at, decision=decision)
    moves.make(
        lead=lead,
        verb=verb,
        by=by,
        at=at,
        via=via,
        note=decision["why"],
        data={"assignment": made.pk},
        ae=ae,
        pool=pool,
        assigned_at=at,
        unassigned_reason="",
        next_try_at=None,
        route=lead.route,
    )


def let_go(
    *,
    lead: Lead,
    verb: str,
    by: User | None,
    at: datetime,
    note: str,
    cause: Refund | None,
    via: Via | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Take a locked lead from its AE; it is to be routed anew. The turn that it cost is given back for a cause."""
    told = turns.give_back(moves.end_assignment(lead=lead, at=at), cause=cause, at=at)
    moves.make(
        lead=lead,
        verb=verb,
        by=by,
        at=at,
        via=via,
        note=_joined(note, told),
        data={"from_ae": lead.ae_id} | dict(data or {}),
        ae=None,
        assigned_at=None,
        unassigned_reason="Not routed yet.",
    )


def pool_by_hand(*, lead: Lead, to: AE) -> Pool | None:
    """Return the lead's pool if the AE is in it, else one of the AE's own, so that its capacity counts it."""
    mine = Membership.objects.filter(ae=to, is_active=True).select_related("pool").order_by("pk")
    pools = [membership.pool for membership in mine]
    return lead.pool if lead.pool in pools or not pools else pools[0]


def close(
    *,
    lead: Lead,
    verb: str,
    by: User | None,
    at: datetime,
    via: Via | None = None,
    reason: str = "",
    cause: Refund | None = None,
    data: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Lead:
    """Close a locked lead by a closing verb: its AE stays on it, the assignment ends; returns the same lead.

    The turn that it cost is given back for a cause. The capacity that this frees is given out after the commit.
    """
    told = turns.give_back(moves.end_assignment(lead=lead, at=at), cause=cause, at=at)
    if lead.ae and lead.pool:
        drain_later(pool=lead.pool, at=at)
    return moves.make(
        lead=lead,
        verb=verb,
        by=by,
        at=at,
        via=via,
        note=_joined(reason, told),
        data=data,
        closed_as=moves.MOVES[verb].closed_as,
        closed_at=at,
        close_reason=reason,
        unassigned_reason="",
        **changes,
    )


def drain(*, at: datetime, pool: Pool | None = None, anew: bool = False) -> int:
    """Give the unassigned leads of one pool, or of all, to those who can take them now; returns how many it gave.

    The highest tier goes first, within it the oldest; each in a transaction of its own. A pool in which nobody is
    free costs a handful of queries, however many wait for it. With `anew` every waiting lead is held against the
    routing rules first, because those have changed.
    """
    if anew:
        _plan_anew(at=at)
    waiting = Lead.objects.filter(state=State.UNASSIGNED)
    if pool is not None:
        return _drain_pool(pool, at=at)
    unplanned = waiting.filter(pool=None).filter(Q(next_try_at=None) | Q(next_try_at__lte=at))
    given = sum(_try_again(lead, at=at) is Routed.GIVEN for lead in _in_order(unplanned)[:MOST_AT_ONCE])
    pools = Pool.objects.filter(pk__in=waiting.exclude(pool=None).order_by().values("pool")).order_by("pk")
    return given + sum(_drain_pool(each, at=at) for each in pools)


def drain_later(*, at: datetime, pool: Pool | None = None, anew: bool = False) -> None:
    """Drain once this transaction has let go of its locks; if that fails, the periodic task makes up for it."""
    transaction.on_commit(partial(drain, at=at, pool=pool, anew=anew), robust=True)


def plan_of(lead: Lead, plans: handling.Plans | None = None) -> handling.Plan:
    """Return how a lead is to be handled now, and by which pool."""
    return (plans or handling.Plans()).of(
        rule_set=lead.rule_set,
        tier=lead.tier,
        is_pql=True,
        account=lead.account_id,
        stage=lead.stage,
        origin=lead.origin,
    )


def _plan_anew(*, at: datetime) -> None:
    """Route every waiting lead again that other rules than before would send elsewhere."""
    waiting = _in_order(Lead.objects.filter(state=State.UNASSIGNED))
    leads = list(waiting.only("pk", "account", "rule_set", "tier", "pool", "route", "stage", "origin"))
    plans = handling.Plans(lead.account_id for lead in leads)
    for lead in leads:
        plan = plan_of(lead, plans)
        is_new = (plan.pool and plan.pool.pk, plan.route and plan.route.pk) != (lead.pool_id, lead.route_id)
        if is_new or plan.pool is None:
            _try_again(lead, at=at)


def _drain_pool(pool: Pool, *, at: datetime) -> int:
    """Give out what waits for one pool, best first, as long as somebody is free for it."""
    given, tried = 0, set[int]()
    while given < MOST_AT_ONCE and (leads := _givable(pool, at=at, but=tried)):
        for lead in leads:
            routed = _try_again(lead, at=at)
            if routed is Routed.GIVEN:
                given += 1
                continue
            tried.add(lead.pk)
            break  # somebody is full now, or a better one has come: look again who is free for what
    return given


def _givable(pool: Pool, *, at: datetime, but: Collection[int]) -> list[Lead]:
    """Return the best of the pool's waiting leads that somebody can take; what the others wait for is kept up."""
    waiting = Lead.objects.filter(state=State.UNASSIGNED, pool=pool)
    table = seats.table(pool=pool, at=at)
    free = Q(pk__in=[])
    for tier, route_id, asks in _kinds(waiting):
        judged = table.judge(tier=tier, asks=asks)
        able = [one.contender.ae for one in judged if one.is_eligible]
        kind = Q(tier=tier, route=route_id)
        if able:
            free |= kind & _not_had_by_all(able)
        else:
            _keep_up(waiting.filter(kind), decision.why_nobody(pool.name, judged), table.free_by_clock(judged))
    return list(_in_order(waiting.filter(free).exclude(pk__in=but))[:CHUNK])


def _better_waits(lead: Lead, table: Table) -> bool:
    """Return whether a better lead waits for the locked pool that somebody there could take now."""
    better = _before(lead)
    waiting = Lead.objects.filter(better, state=State.UNASSIGNED, pool=table.pool)
    waiting = waiting.exclude(pk=lead.pk) if lead.pk else waiting
    for tier, route_id, asks in _kinds(waiting):
        able = [one.contender.ae for one in table.judge(tier=tier, asks=asks) if one.is_eligible]
        if able and waiting.filter(_not_had_by_all(able), tier=tier, route=route_id).exists():
            return True
    return False


def _kinds(waiting: QuerySet[Lead]) -> list[tuple[str, int | None, Sequence[str]]]:
    """Return the kinds of leads among those waiting that the gates tell apart: tier, rule, and what that asks for."""
    kinds = waiting.order_by("tier_rank", "tier", "route").values_list("tier", "route", "route__asks", "tier_rank")
    return [(tier, route_id, asks or ()) for tier, route_id, asks, _ in kinds.distinct()]


def _not_had_by_all(aes: Sequence[int]) -> Q:
    """Return the condition that not every one of these AEs had the lead before."""
    had = Assignment.objects.filter(lead=OuterRef("pk"), ae__in=aes).order_by().values("lead")
    number = had.annotate(number=Count("ae", distinct=True)).values("number")
    return Q(LessThan(Coalesce(Subquery(number), 0), len(aes)))


def _before(lead: Lead) -> Q:
    """Return the condition that a lead goes before this one."""
    same = Q(tier_rank=lead.tier_rank)
    older = Q(opened_at__lt=lead.opened_at) | (Q(opened_at=lead.opened_at) & (Q(pk__lt=lead.pk) if lead.pk else Q()))
    return Q(tier_rank__lt=lead.tier_rank) | (same & older)


def _in_order(waiting: QuerySet[Lead]) -> QuerySet[Lead]:
    return waiting.order_by("tier_rank", "opened_at", "pk")


def _keep_up(waiting: QuerySet[Lead], reason: str, next_try_at: datetime | None) -> None:
    """Let leads say why they wait now, where that has changed. One that somebody else holds is left as it is.

    No lane is taken: nothing but the words changes, and it waits for nobody.
    """
    as_it_is = Q(unassigned_reason=reason, next_try_at=next_try_at)
    with transaction.atomic():
        stale = waiting.exclude(as_it_is).filter(~Q(assignments__ae__isnull=False)).order_by("pk")
        if ids := list(stale.select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)):
            Lead.objects.filter(pk__in=ids).update(unassigned_reason=reason, next_try_at=next_try_at)


def _try_again(lead: Lead, *, at: datetime) -> Routed | None:
    """Route a lead that waits, in a transaction of its own; returns how it went, None if it waits no more."""
    with transaction.atomic():
        held = moves.lock(lead=lead)
        if held.state != State.UNASSIGNED:
            return None
        return route_anew(lead=held, at=at)


def _rule(pool: Pool, plan: handling.Plan) -> dict[str, Any]:
    """Return as JSON data which pool was asked, and by which rule."""
    rule = plan.route
    asked = rule and {"id": rule.pk, "name": rule.name, "text": rule.text, "asks": list(rule.asks)}
    return {"pool": {"id": pool.pk, "name": pool.name}, "route": asked, "owner": plan.owner}


def _joined(said: str, told: str) -> str:
    """Return what somebody said as a sentence, and after it what became of the turn."""
    return f"{said.rstrip('.')}. {told}" if said and told else said or told


def _leave(*, lead: Lead, pool: Pool | None, found: Settled, at: datetime) -> None:
    """Leave a locked lead without an AE for a reason; a new reason is recorded with what it rests on."""
    is_new = lead.unassigned_reason != found.why
    lead.pool, lead.unassigned_reason, lead.next_try_at = pool, found.why, found.next_try_at
    lead.save(update_fields=["pool", "unassigned_reason", "next_try_at", "route"])
    if is_new:
        Assignment.objects.create(lead=lead, pool=pool, how=found.how, at=at, decision=found.record)
