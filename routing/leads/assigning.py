"""Who gets a lead: decided under the pool's lock, and recorded with everything that the decision rests on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Count

from routing import eligibility, handling, rotation
from routing.eligibility import Candidate, Verdict
from routing.leads import moves
from routing.models import AE, Assignment, Lead, Membership, Pool, State

How = Assignment.How
TURNS = (How.ROTATION, How.PASSED)  # what costs the AE a turn

# One statement for the whole pool: it is the hot part of the time that its lock is held.
CHARGE = """
UPDATE routing_membership AS member SET
    credit = turn.credit,
    served = served + (ae_id = %(chosen)s)::int,
    last_served_at = CASE WHEN ae_id = %(chosen)s THEN %(at)s ELSE last_served_at END
FROM unnest(%(members)s::bigint[], %(credits)s::bigint[]) AS turn (id, credit)
WHERE member.id = turn.id
"""


class Routed(Enum):
    """How an attempt to find an AE went."""

    GIVEN = "given"
    NOT_THIS_ONE = "not this one"  # somebody is free, but nobody for this very lead
    NOBODY = "nobody"  # nobody could take any lead, or no pool takes it


@dataclass(frozen=True, slots=True)
class Judged:
    """A member of the pool with what the gates say of it for the lead in hand."""

    membership: Membership
    candidate: Candidate
    verdicts: Sequence[Verdict]

    @property
    def is_eligible(self) -> bool:
        """Whether it may be given the lead."""
        return eligibility.is_eligible(self.verdicts)


@dataclass(frozen=True, slots=True)
class Decision:
    """Who gets the lead and why, or the reason why nobody."""

    how: How
    judged: Sequence[Judged]
    chosen: AE | None
    why: str
    credits_after: Mapping[int, int]  # of those whose credit the turn changed, by membership


def route(*, lead: Lead, plan: handling.Plan, at: datetime) -> Routed:
    """Give a locked, unassigned lead to a colleague who works the account already, or else by turn.

    If nobody can take it, the lead and a record say why. Returns how it went.
    """
    if plan.pool is None:
        _leave(lead=lead, pool=None, reason=plan.reason, decision={"why": plan.reason}, at=at)
        return Routed.NOBODY
    pool = lock_pools([plan.pool.pk])[plan.pool.pk]
    decision = _decide(lead=lead, pool=pool)
    record = _record(pool, decision)
    if decision.chosen is None:
        _leave(lead=lead, pool=pool, reason=decision.why, decision=record, at=at)
        free = any(eligibility.is_free(judged.candidate) for judged in decision.judged)
        return Routed.NOT_THIS_ONE if free else Routed.NOBODY
    _charge(decision, at=at)
    give(
        lead=lead,
        pool=pool,
        ae=decision.chosen,
        how=decision.how,
        verb="assign",
        decision=record,
        by=None,
        at=at,
    )
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
) -> None:
    """Put a locked lead into an AE's hands, with the record of the decision."""
    made = Assignment.objects.create(lead=lead, pool=pool, ae=ae, how=how, at=at, decision=decision)
    moves.make(
        lead=lead,
        verb=verb,
        by=by,
        at=at,
        note=decision["why"],
        data={"assignment": made.pk},
        ae=ae,
        pool=pool,
        assigned_at=at,
        unassigned_reason="",
        snoozed_until=None,
    )


def take_back(*, lead: Lead, at: datetime) -> Pool | None:
    """End a locked lead's standing assignment. If it had cost a turn, refund it and return its pool, locked."""
    ended = moves.end_assignment(lead=lead, at=at)
    if ended is None or ended.how not in TURNS or ended.pool_id is None or ended.ae_id is None:
        return None
    pool = lock_pools([ended.pool_id])[ended.pool_id]
    membership = Membership.objects.filter(pool_id=ended.pool_id, ae_id=ended.ae_id).first()
    if membership is None:
        return None
    membership.credit = rotation.refund(membership.credit)
    membership.served = max(membership.served - 1, 0)
    membership.save(update_fields=["credit", "served"])
    ended.refunded = True
    ended.save(update_fields=["refunded"])
    return pool


def pass_turn(*, pool: Pool, to: AE, at: datetime) -> bool:
    """Charge a member of a locked pool the turn that was just refunded to another; False if the AE is no member."""
    membership = Membership.objects.filter(pool=pool, ae=to, is_active=True).first()
    if membership is None:
        return False
    membership.credit = rotation.charge(membership.credit)
    membership.served += 1
    membership.last_served_at = at
    membership.save(update_fields=["credit", "served", "last_served_at"])
    return True


def close(
    *, lead: Lead, verb: str, by: User | None, at: datetime, reason: str = "", data: Mapping[str, Any] | None = None
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
        note=reason,
        data=data,
        closed_as=moves.MOVES[verb].closed_as,
        closed_at=at,
        close_reason=reason,
        snoozed_until=None,
        unassigned_reason="",
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


def _decide(*, lead: Lead, pool: Pool) -> Decision:
    judged = _judge(lead=lead, pool=pool)
    able = [one for one in judged if one.is_eligible]
    colleague = _colleague(lead)
    for one in able:
        if one.membership.ae_id == colleague:
            ae = one.membership.ae
            return Decision(How.SAME_AE, judged, ae, f"{ae.name} already works this account.", {})
    if not able:
        return Decision(How.ROTATION, judged, None, _why_nobody(pool, judged), {})
    turn = rotation.turn([_member(one.membership) for one in able])
    ae = next(one.membership.ae for one in able if one.membership.pk == turn.chosen)
    why = f"{ae.name} was chosen by turn among {len(able)} of {len(judged)} in {pool.name}: {turn.why}."
    return Decision(How.ROTATION, judged, ae, why, turn.credits_after)


def _judge(*, lead: Lead, pool: Pool) -> list[Judged]:
    members = pool.memberships.select_related("ae__user").order_by("pk")
    held = Lead.objects.filter(pool=pool, state__in=moves.HELD).order_by()
    loads = dict(held.values_list("ae").annotate(Count("pk")))
    had_it = set(Assignment.objects.filter(lead=lead, ae__isnull=False).values_list("ae", flat=True))
    judged = []
    for member in members:
        candidate = Candidate(
            membership_active=member.is_active,
            ae_active=member.ae.is_active,
            log_in_active=member.ae.user.is_active,
            open_leads=loads.get(member.ae_id, 0),
            capacity=member.capacity,
            had_it=member.ae_id in had_it,
        )
        judged.append(Judged(member, candidate, eligibility.verdicts(candidate)))
    return judged


def _colleague(lead: Lead) -> int | None:
    """Return the AE who has another open lead of the same account, if any; the one who had it first."""
    others = Lead.objects.filter(account=lead.account_id, state__in=moves.HELD).exclude(pk=lead.pk)
    return others.order_by("assigned_at", "pk").values_list("ae", flat=True).first()


def _member(membership: Membership) -> rotation.Member:
    return rotation.Member(membership.pk, membership.weight, membership.credit, membership.last_served_at)


def _why_nobody(pool: Pool, judged: Sequence[Judged]) -> str:
    if not judged:
        return f"The pool {pool.name} has no members: add an AE to it."
    return f"Nobody in {pool.name} can take it: " + ", ".join(_told(one) for one in judged) + "."


def _told(one: Judged) -> str:
    failed = "; ".join(verdict.detail for verdict in one.verdicts if not verdict.passed)
    return f"{one.membership.ae.name} ({failed})"


def _charge(decision: Decision, *, at: datetime) -> None:
    """Store what the turn did to the rotation; a lead that went past it costs nobody a turn."""
    if decision.chosen is None or not decision.credits_after:
        return
    with connection.cursor() as cursor:
        after: dict[str, Any] = {
            "members": list(decision.credits_after),
            "credits": list(decision.credits_after.values()),
            "chosen": decision.chosen.pk,
            "at": at,
        }
        cursor.execute(CHARGE, after)


def _record(pool: Pool, decision: Decision) -> dict[str, Any]:
    """Return the decision as JSON data from which anyone can work it out again."""
    return {
        "pool": {"id": pool.pk, "name": pool.name},
        "candidates": [_candidate(one, decision) for one in decision.judged],
        "chosen": decision.chosen and decision.chosen.pk,
        "why": decision.why,
    }


def _candidate(one: Judged, decision: Decision) -> dict[str, Any]:
    member = one.membership
    return {
        "membership": member.pk,
        "ae": member.ae_id,
        "name": member.ae.name,
        "weight": member.weight,
        "gates": [asdict(verdict) for verdict in one.verdicts],
        "eligible": one.is_eligible,
        "last_served_at": member.last_served_at and member.last_served_at.isoformat(),
        "credit_before": member.credit,
        "credit_after": decision.credits_after.get(member.pk, member.credit),
    }


def _leave(*, lead: Lead, pool: Pool | None, reason: str, decision: dict[str, Any], at: datetime) -> None:
    """Leave a locked lead without an AE for a reason, unless it is known to be so."""
    if lead.unassigned_reason == reason:
        return
    lead.pool, lead.unassigned_reason = pool, reason
    lead.save(update_fields=["pool", "unassigned_reason"])
    Assignment.objects.create(lead=lead, pool=pool, how=How.ROTATION, at=at, decision=decision)
