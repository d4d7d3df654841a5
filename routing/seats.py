"""The members of a pool as they stand: their places in the rotation, and what the gates ask for. Read-only."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count

from routing import decision, eligibility, roster, rotation
from routing.decision import Contender, Judged
from routing.eligibility import Candidate
from routing.hours import Hours
from routing.models import HELD, Assignment, Lead, Membership, Pool
from routing.rotation import Turn
from scoring.models import raw

GIVEN = """
SELECT member.ae, count(*) FILTER (WHERE given.at >= member.day), count(*)
FROM unnest(%(aes)s::bigint[], %(days)s::timestamptz[], %(weeks)s::timestamptz[]) AS member (ae, day, week)
JOIN routing_assignment AS given
    ON given.ae_id = member.ae AND given.pool_id = %(pool)s AND given.at >= member.week AND given.refunded_for = ''
GROUP BY member.ae
"""


class Kind(NamedTuple):
    """What of a lead the gates of a member ask for."""

    tier: str
    asks: tuple[str, ...]
    had_it: bool  # the member did, before


@dataclass(frozen=True, slots=True)
class Seat:
    """A member of a pool with everything that does not depend on the lead in hand."""

    membership: Membership  # with the AE and the log-in
    contender: Contender
    facts: Candidate  # of no lead yet
    of_tier: Mapping[str, int]  # open leads by tier
    works: Hours
    judged: dict[Kind, Judged] = field(default_factory=dict)  # what the gates said so far
    free_at: dict[Candidate, datetime | None] = field(default_factory=dict)  # by the clock alone


@dataclass(frozen=True, slots=True)
class Table:
    """A pool with its members as they stand."""

    pool: Pool
    seats: Mapping[int, Seat]  # by membership

    def cost(self, tier: str) -> int:
        """Return what a lead of a tier costs who gets it by turn, in billionths of a turn."""
        return rotation.cost_of(self.pool.tier_values, tier)

    def judge(self, *, tier: str, asks: Sequence[str] = (), had_it: Collection[int] = ()) -> list[Judged]:
        """Return every member with the verdicts for a lead of a tier that these AEs had before."""
        return [_judged(seat, Kind(tier, tuple(asks), seat.contender.ae in had_it)) for seat in self.seats.values()]

    def free_by_clock(self, judged: Sequence[Judged]) -> datetime | None:
        """Return when the clock alone makes one of those judged free for the lead; None: it takes more than time."""
        times = [_free_at(self.seats[one.contender.membership], one.facts) for one in judged if one.facts]
        return min((time for time in times if time), default=None)

    def after(self, chosen: int, turn: Turn | None, *, tier: str, at: datetime) -> "Table":
        """Return the pool as it stands when a member was given a lead of a tier, and all were charged the turn."""
        seats = dict(self.seats)
        if turn:
            for member in turn.changes:
                seats[member] = replace(seats[member], contender=decision.after(seats[member].contender, turn, at=at))
        seats[chosen] = _one_more(seats[chosen], tier)
        return replace(self, seats=seats)


@dataclass(slots=True)
class Sums:
    """What decisions add up to: whoever adds all of a pool's, one after the other, has its rotation."""

    credits: Counter[int] = field(default_factory=Counter)  # by membership, billionths of a turn
    served: Counter[tuple[int | None, int | None]] = field(default_factory=Counter)  # turns, by pool and AE

    def add(self, made: Assignment) -> None:
        """Add what a decision changed in the rotation, if that was not undone."""
        turn = decision.turn_of(made.decision)
        if turn and not made.refunded:
            self.served[made.pool_id, made.ae_id] += 1
            for member, change in turn.changes.items():
                self.credits[member] += change


def table(*, pool: Pool, at: datetime) -> Table:
    """Return the pool's members as they stand; four queries, one more where somebody has a daily or weekly cap."""
    members = list(pool.memberships.select_related("ae__user").order_by("pk"))
    loads = _loads(pool)
    works = roster.hours_of([member.ae for member in members], at=at)
    given = _given(pool, members, at)
    return Table(pool, {m.pk: _seat(m, pool, loads.get(m.ae_id, {}), works[m.ae_id], given, at) for m in members})


def contender(member: Membership) -> Contender:
    """Return a member as the rotation knows it."""
    return Contender(member.pk, member.ae_id, member.ae.name, member.weight, member.credit, member.last_served_at)


def _seat(
    member: Membership,
    pool: Pool,
    of_tier: Mapping[str, int],
    works: Hours,
    given: Mapping[int, tuple[int, int]],
    at: datetime,
) -> Seat:
    today, this_week = given.get(member.ae_id, (0, 0))
    facts = Candidate(
        membership_active=member.is_active,
        ae_active=member.ae.is_active,
        log_in_active=member.ae.user.is_active,
        open_leads=sum(of_tier.values()),
        capacity=member.capacity,
        at=at.isoformat(),
        zone=member.ae.time_zone,
        hours=member.ae.hours,
        holiday=works.holiday(at),
        absence=eligibility.said(eligibility.absence_ahead(works, at)),
        stop_days=pool.stop_days,
        long_absence_days=pool.long_absence_days,
        given_today=today,
        daily_cap=member.daily_cap,
        given_this_week=this_week,
        weekly_cap=member.weekly_cap,
        tags=tuple(member.ae.tags),
    )
    return Seat(member, contender(member), facts, of_tier, works)


def _judged(seat: Seat, kind: Kind) -> Judged:
    """Return what the gates say of a member. They ask for no credits, so it holds until the member is given a lead."""
    if kind not in seat.judged:
        facts = replace(
            seat.facts,
            tier=kind.tier,
            open_of_tier=seat.of_tier.get(kind.tier, 0),
            tier_cap=seat.membership.tier_caps.get(kind.tier),
            asked=kind.asks,
            had_it=kind.had_it,
        )
        seat.judged[kind] = decision.judge(seat.contender, facts)
    return replace(seat.judged[kind], contender=seat.contender)


def _free_at(seat: Seat, facts: Candidate) -> datetime | None:
    if facts not in seat.free_at:
        seat.free_at[facts] = eligibility.free_by_clock(facts, seat.works)
    return seat.free_at[facts]


def _one_more(seat: Seat, tier: str) -> Seat:
    """Return a seat as it is with one more lead, which counts towards its caps."""
    counted = int(_is_capped(seat.membership))
    facts = replace(
        seat.facts,
        open_leads=seat.facts.open_leads + 1,
        given_today=seat.facts.given_today + counted,
        given_this_week=seat.facts.given_this_week + counted,
    )
    of_tier = {**seat.of_tier, tier: seat.of_tier.get(tier, 0) + 1}
    return Seat(seat.membership, seat.contender, facts, of_tier, seat.works)


def _loads(pool: Pool) -> dict[int, Counter[str]]:
    """Return how many open leads of the pool each AE holds, by tier."""
    loads: dict[int, Counter[str]] = {}
    held = Lead.objects.filter(pool=pool, state__in=HELD, ae__isnull=False).order_by()
    for ae, tier, number in held.values_list("ae", "tier").annotate(Count("pk")):
        loads.setdefault(ae, Counter())[tier] += number
    return loads


def _given(pool: Pool, members: Sequence[Membership], at: datetime) -> dict[int, tuple[int, int]]:
    """Return how many leads of the pool each AE with a cap was given today and this week, in the AE's zone."""
    capped = [member.ae for member in members if _is_capped(member)]
    if not capped:
        return {}
    with raw.cursor() as cursor:
        cursor.execute(
            GIVEN,
            {
                "pool": pool.pk,
                "aes": [ae.pk for ae in capped],
                "days": [eligibility.day_begins(ae.time_zone, at) for ae in capped],
                "weeks": [eligibility.week_begins(ae.time_zone, at) for ae in capped],
            },
        )
        return {ae: (today, this_week) for ae, today, this_week in cursor.fetchall()}


def _is_capped(member: Membership) -> bool:
    """Return whether it is counted what a member was given: where nobody asks, it is not."""
    return (member.daily_cap, member.weekly_cap) != (None, None)


def had_before(lead: Lead) -> set[int]:
    """Return the AEs who had this very lead."""
    return set(Assignment.objects.filter(lead=lead, ae__isnull=False).values_list("ae", flat=True))
