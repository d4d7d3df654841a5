"""Who gets a lead: decided under the pool's lock, and recorded with everything that the decision rests on."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Count

from routing import decision, eligibility, handling
from routing.decision import Claim, Contender, Decision, Judged
from routing.eligibility import Candidate
from routing.leads import moves
from routing.models import AE, Assignment, Lead, Membership, Pool, State, Via
from routing.rotation import Turn

How = Assignment.How

# One statement for the whole pool: it is the hot part of the time that its lock is held.
CHANGE = """
UPDATE routing_membership AS member SET
    credit = member.credit + change.credit,
    served = member.served + change.served,
    last_served_at = CASE WHEN change.served > 0 THEN %(at)s ELSE last_served_at END
FROM unnest(%(members)s::bigint[], %(credits)s::bigint[], %(served)s::int[]) AS change (id, credit, served)
WHERE member.id = change.id
"""


class Routed(Enum):
    """How an attempt to find an AE went."""

    GIVEN = "given"
    NOT_THIS_ONE = "not this one"  # somebody is free, but nobody for this very lead
    NOBODY = "nobody"  # nobody could take any lead, or no pool takes it


def route(*, lead: Lead, plan: handling.Plan, at: datetime) -> Routed:
    """Give a locked, unassigned lead to a colleague who works the account already, or else by turn.

    If nobody can take it, the lead and a record say why. Returns how it went.
    """
    if plan.pool is None:
        _leave(lead=lead, pool=None, reason=plan.reason, decision={"why": plan.reason}, at=at)
        return Routed.NOBODY
    pool = lock_pools([plan.pool.pk])[plan.pool.pk]
    members, decided = _decide(lead=lead, pool=pool)
    record = {"pool": {"id": pool.pk, "name": pool.name}} | decision.record(decided)
    if decided.chosen is None:
        _leave(lead=lead, pool=pool, reason=decided.why, decision=record, at=at)
        free = any(one.facts and eligibility.is_free(one.facts) for one in decided.judged)
        return Routed.NOT_THIS_ONE if free else Routed.NOBODY
    if decided.turn:
        _change(decided.turn.changes, served={decided.turn.chosen: 1}, at=at)
    ae = members[decided.chosen.membership].ae
    give(lead=lead, pool=pool, ae=ae, how=How(decided.how), verb="assign", decision=record, by=None, at=at)
    return Routed.GIVEN


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
    )


def take_back(*, lead: Lead, at: datetime) -> tuple[Pool, Turn] | None:
    """End a locked lead's standing assignment. If it cost a turn, refund that, and return it with its locked pool."""
    ended = moves.end_assignment(lead=lead, at=at)
    turn = decision.turn_of(ended.decision) if ended else None
    if ended is None or turn is None or ended.pool_id is None:
        return None
    pool = lock_pools([ended.pool_id])[ended.pool_id]
    _change(turn.undone, served={turn.chosen: -1}, at=at)
    ended.refunded = True
    ended.save(update_fields=["refunded"])
    return pool, turn


def pass_turn(*, pool: Pool, turn: Turn, to: AE, at: datetime) -> Turn | None:
    """Charge a member of a locked pool the turn that was just refunded to another; None if the AE is no member."""
    membership = Membership.objects.filter(pool=pool, ae=to, is_active=True).first()
    if membership is None:
        return None
    passed = turn.passed_to(membership.pk)
    _change(passed.changes, served={membership.pk: 1}, at=at)
    return passed


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
    data: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Lead:
    """Close a locked lead by a closing verb: its AE stays on it, the assignment ends; returns the same lead.

    The capacity that this frees is given out after the commit.
    """
    moves.end_assignment(lead=lead, at=at)
    if lead.ae and lead.pool:
        drain_later(pool=lead.pool, at=at)
    return moves.make(
        lead=lead,
        verb=verb,
        by=by,
        at=at,
        via=via,
        note=reason,
        data=data,
        closed_as=moves.MOVES[verb].closed_as,
        closed_at=at,
        close_reason=reason,
        unassigned_reason="",
        **changes,
    )


def lock_pools(ids: Iterable[int]) -> dict[int, Pool]:
    """Lock pools inside a transaction, always in the order of their ids; returns them by id."""
    pools = Pool.objects.select_for_update().filter(pk__in=set(ids)).order_by("pk")
    return {pool.pk: pool for pool in pools}


def drain(*, at: datetime, pool: Pool | None = None) -> int:
    """Give the unassigned leads of one pool, or of all, to those who can take them now.

    The highest tier goes first, within it the oldest; each in a transaction of its own. Returns how many
    were given out.
    """
    waiting = Lead.objects.filter(state=State.UNASSIGNED).order_by("tier_rank", "opened_at", "pk")
    if pool is not None:
        waiting = waiting.filter(pool=pool)
    plans = _Plans()
    blocked: set[int | None] = set()  # pools in which nobody is free
    given = 0
    for lead in list(waiting.only("pk", "account", "rule_set", "tier", "unassigned_reason")):
        plan = plans.of(lead)
        if plan.pool is None and lead.unassigned_reason == plan.reason:
            continue  # as it was: thousands may wait so, looked at every few seconds
        if plan.pool is None or plan.pool.pk not in blocked:
            with transaction.atomic():
                given += _try_again(lead, blocked=blocked, at=at)
    return given


class _Plans:
    """The handling of each kind of lead, asked for once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], handling.Plan] = {}

    def of(self, lead: Lead) -> handling.Plan:
        """Return how the lead's tier is handled, as it was when first asked."""
        kind = (lead.rule_set_id, lead.tier)
        if kind not in self._known:
            self._known[kind] = handling.plan_for(rule_set=lead.rule_set, tier=lead.tier, is_pql=True)
        return self._known[kind]


def drain_later(*, at: datetime, pool: Pool | None = None) -> None:
    """Drain once this transaction has let go of its locks; if that fails, the periodic task makes up for it."""
    transaction.on_commit(partial(drain, at=at, pool=pool), robust=True)


def _try_again(lead: Lead, *, blocked: set[int | None], at: datetime) -> bool:
    """Route a lead that waits, unless its pool is known to be blocked; returns whether somebody got it."""
    held = moves.lock(lead=lead)
    plan = handling.plan_for(rule_set=held.rule_set, tier=held.tier, is_pql=True)  # as it is under the lock
    pool_id = plan.pool.pk if plan.pool else None
    if held.state != State.UNASSIGNED or pool_id in blocked:
        return False
    routed = route(lead=held, plan=plan, at=at)
    if routed is Routed.NOBODY and pool_id is not None:
        blocked.add(pool_id)
    return routed is Routed.GIVEN


def _decide(*, lead: Lead, pool: Pool) -> tuple[dict[int, Membership], Decision]:
    """Return the members of a locked pool, and who of them gets the lead."""
    members = {member.pk: member for member in pool.memberships.select_related("ae__user").order_by("pk")}
    return members, decision.decide(_judge(members.values(), lead, pool), pool=pool.name, claims=_claims(lead))


def _judge(members: Iterable[Membership], lead: Lead, pool: Pool) -> list[Judged]:
    held = Lead.objects.filter(pool=pool, state__in=moves.HELD).order_by()
    loads = dict(held.values_list("ae").annotate(Count("pk")))
    had_it = set(Assignment.objects.filter(lead=lead, ae__isnull=False).values_list("ae", flat=True))
    judged = []
    for member in members:
        facts = Candidate(
            membership_active=member.is_active,
            ae_active=member.ae.is_active,
            log_in_active=member.ae.user.is_active,
            open_leads=loads.get(member.ae_id, 0),
            capacity=member.capacity,
            had_it=member.ae_id in had_it,
        )
        judged.append(decision.judge(_contender(member), facts))
    return judged


def _contender(member: Membership) -> Contender:
    return Contender(member.pk, member.ae_id, member.ae.name, member.weight, member.credit, member.last_served_at)


def _claims(lead: Lead) -> list[Claim]:
    """Return who goes before the rotation: the AE who has another open lead of the account, had first."""
    others = Lead.objects.filter(account=lead.account_id, state__in=moves.HELD).exclude(pk=lead.pk)
    colleague = others.order_by("assigned_at", "pk").values_list("ae", flat=True).first()
    return [Claim(colleague, How.SAME_AE, "already works this account")] if colleague else []


def _change(credits: Mapping[int, int], *, served: Mapping[int, int], at: datetime) -> None:
    """Change credits and counts of turns in a locked pool, by membership."""
    with connection.cursor() as cursor:
        change: dict[str, Any] = {
            "members": list(credits),
            "credits": list(credits.values()),
            "served": [served.get(member, 0) for member in credits],
            "at": at,
        }
        cursor.execute(CHANGE, change)


def _leave(*, lead: Lead, pool: Pool | None, reason: str, decision: dict[str, Any], at: datetime) -> None:
    """Leave a locked lead without an AE for a reason, unless it is known to be so."""
    if lead.unassigned_reason == reason:
        return
    lead.pool, lead.unassigned_reason = pool, reason
    lead.save(update_fields=["pool", "unassigned_reason"])
    Assignment.objects.create(lead=lead, pool=pool, how=How.ROTATION, at=at, decision=decision)
