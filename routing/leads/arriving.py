"""New leads, many at once: decided one after the other in memory, and written by one statement for each table.

What is written of each is what it would be had it come alone. One at a time is many of one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef

from routing import handling, seats
from routing.leads import assigning, claims, deadlines, moves, turns
from routing.leads.assigning import Routed, Settled
from routing.leads.deadlines import SLAs
from routing.models import Assignment, Lead, LeadMove, Pool, State
from routing.seats import Table
from scoring.models import raw


@dataclass(frozen=True, slots=True)
class Arrival:
    """A lead that is not stored yet, unassigned, and how it is to be handled."""

    lead: Lead
    plan: handling.Plan
    note: str  # of the move that opens it


def arrive(*, arrivals: Sequence[Arrival], at: datetime) -> list[Lead]:
    """Open leads, in their order, under the lanes of their accounts: each goes to an AE, or waits for a reason.

    Returns those that opened. That may be fewer than came: after one that waits behind a better lead the others have to
    come again, when the caller's commit has let the better one be given out. No two are of one account.
    """
    tables = _tables(arrivals, at=at)
    lines = _lines(tables)
    known = claims.read(accounts=[arrival.lead.account_id for arrival in arrivals])
    clock = _Clock(deadlines.slas(rule_sets=[arrival.lead.rule_set_id for arrival in arrivals]), at)
    book = _Book(at)
    for arrival in arrivals:
        lead, plan = arrival.lead, arrival.plan
        table = tables[plan.pool.pk] if plan.pool else None
        book.opened(arrival)
        mine = known.of(account_id=lead.account_id, plan=plan)
        has_line = table is not None and table.pool.pk in lines
        found = assigning.settle(lead=lead, plan=plan, table=table, claims=mine, had_it=(), has_line=has_line, at=at)
        clock.start(lead, table, found)
        book.settled(arrival, found)
        if table and found.membership:
            tables[table.pool.pk] = table.after(found.membership, found.turn, tier=lead.tier, at=at)
        if found.routed is Routed.BEHIND:
            assigning.drain_later(at=at, pool=plan.pool)
            break
    return book.write()


def _tables(arrivals: Sequence[Arrival], *, at: datetime) -> dict[int, Table]:
    """Lock the pools that the leads are for; returns each as it stands."""
    pools = turns.lock_pools(arrival.plan.pool.pk for arrival in arrivals if arrival.plan.pool)
    return {pk: seats.table(pool=pool, at=at) for pk, pool in pools.items()}


def _lines(pools: Iterable[int]) -> set[int]:
    """Return the locked pools that leads wait for. Of these arrivals none counts: nobody can take those that wait."""
    waiting = Lead.objects.filter(state=State.UNASSIGNED, pool=OuterRef("pk"))
    return set(Pool.objects.filter(Exists(waiting), pk__in=list(pools)).values_list("pk", flat=True))


class _Clock:
    """By when leads are to be touched that somebody, or nobody, has from now on."""

    def __init__(self, slas: SLAs, at: datetime) -> None:
        self.slas, self.at = slas, at
        self.known: dict[tuple[int, int | None], dict[str, datetime | None]] = {}

    def start(self, lead: Lead, table: Table | None, found: Settled) -> None:
        """Let the time of a lead run, if anything is said of its tier."""
        sla = self.slas.of(lead.rule_set_id, lead.tier)
        if sla is None:
            return
        whose = (sla.pk, found.membership)
        if whose not in self.known:
            works = table.seats[found.membership].works if table and found.membership else deadlines.OFFICE
            self.known[whose] = deadlines.by(sla=sla, works=works, at=self.at)
        for field, value in self.known[whose].items():
            setattr(lead, field, value)


class _Book:
    """What is to be written of new leads."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.leads: list[Lead] = []
        self.assignments: list[Assignment] = []
        self.moves: list[LeadMove] = []
        self.given: list[tuple[LeadMove, Assignment]] = []  # the move that says which assignment it was
        self.credits: Counter[int] = Counter()
        self.served: Counter[int] = Counter()

    def opened(self, arrival: Arrival) -> None:
        """Note that a lead opened."""
        self.leads.append(arrival.lead)
        self.moves.append(moves.written(lead=arrival.lead, verb="open", by=None, at=self.at, note=arrival.note))

    def settled(self, arrival: Arrival, found: Settled) -> None:
        """Note what became of it, on the lead too."""
        lead, pool = arrival.lead, arrival.plan.pool
        lead.pool, lead.route, lead.next_try_at = pool, arrival.plan.route, found.next_try_at
        made = Assignment(lead=lead, pool=pool, ae=found.ae, how=found.how, at=self.at, decision=found.record)
        self.assignments.append(made)
        if found.ae is None:
            lead.unassigned_reason = found.why
            return
        before = (lead.state, lead.stage)
        lead.state, lead.ae, lead.assigned_at, lead.unassigned_reason = State.ASSIGNED, found.ae, self.at, ""
        move = moves.written(lead=lead, verb="assign", by=None, at=self.at, before=before, note=found.why)
        self.moves.append(move)
        self.given.append((move, made))
        if found.turn:
            self.credits.update(found.turn.changes)
            self.served[found.turn.chosen] += 1

    def write(self) -> list[Lead]:
        """Store everything; returns the leads."""
        raw.insert(self.leads)
        rows: list[Assignment | LeadMove] = [*self.assignments, *self.moves]
        for row in rows:
            row.lead_id = row.lead.pk  # which has an id now
        raw.insert(self.assignments)
        for move, made in self.given:
            move.data = {"assignment": made.pk}
        raw.insert(self.moves)
        if self.credits:
            turns.change(self.credits, served=self.served, at=self.at)
        return self.leads
