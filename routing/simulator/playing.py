"""Play a stream of leads through a roster, in memory: by the very decision that routes live, over made-up time. Pure.

Each lead is decided like a live one. Whoever gets it touches its leads one after the other in business time, in the
order in which they came, each touch taking so long. So many days later the lead is closed, which frees the capacity for
those that wait.
"""

import heapq
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from routing import decision, eligibility
from routing.decision import Claim, Contender, Judged
from routing.eligibility import Candidate
from routing.hours import Hours
from routing.rotation import TURN

WEEK = timedelta(days=7)
FREE = Candidate(membership_active=True, ae_active=True, log_in_active=True, open_leads=0, capacity=None)


@dataclass(frozen=True, slots=True)
class SimulatedSeat:
    """A place in a pool, as it is or as it might be."""

    membership: int
    ae: int
    name: str
    weight: int = 1
    # What the gates ask for of no lead yet, at no time yet, and before anything is given.
    facts: Candidate = FREE
    tier_caps: Mapping[str, int] = field(default_factory=dict)
    works: Hours = field(default_factory=Hours)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A lead that comes."""

    at: datetime
    account: int
    motion: str
    tier: str
    rank: int  # of the tier; 1 is the best
    pool: str  # by name; empty: no pool takes it
    reason: str = ""  # why no pool takes it
    cost: int = TURN
    asks: tuple[str, ...] = ()  # tags that an AE must have
    owner: int | None = None  # the AE who goes first

    @property
    def kind(self) -> tuple[str, tuple[str, ...]]:
        """What the gates tell apart."""
        return self.tier, self.asks


@dataclass(frozen=True, slots=True)
class Habits:
    """How leads are worked."""

    touch_minutes: float = 20  # of business time that a first touch takes
    open_days: float = 14  # from the first touch until the lead is closed
    sla_hours: float = 8  # of business time from the assignment within which it is to be touched


@dataclass(slots=True)
class Played:
    """What became of an arrival."""

    arrival: Arrival
    ae: int | None = None
    assigned_at: datetime | None = None
    touched_at: datetime | None = None
    due_at: datetime | None = None
    reason: str = ""  # why nobody has it


@dataclass(slots=True)
class _Table:
    """A pool's rotation as it stands."""

    name: str
    seats: Mapping[int, SimulatedSeat]  # by AE
    contenders: dict[int, Contender]  # by AE
    held: Counter[tuple[int, str]] = field(default_factory=Counter)  # by AE and tier
    given: Counter[tuple[int, str]] = field(default_factory=Counter)  # by AE and day, or week
    kinds: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)  # of those that wait
    waiting: list[tuple[int, datetime, int]] = field(default_factory=list)  # tier's rank, since when, number
    # Of which kinds nobody can take any until a lead is closed, or the clock makes somebody free.
    blocked: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    looks_at: datetime | None = None  # when the clock makes somebody free


def play(
    arrivals: Iterable[Arrival], *, pools: Mapping[str, Sequence[SimulatedSeat]], habits: Habits, until: datetime
) -> list[Played]:
    """Return what becomes of each arrival until then, in the order in which they came.

    An arrival of an account whose lead of the motion is open joins that and is left out. Every seat begins with no
    credit and no lead.
    """
    return _Play(pools, habits, until).run(sorted(arrivals, key=lambda one: (one.at, one.account)))


class _Play:
    """The state between two events."""

    def __init__(self, pools: Mapping[str, Sequence[SimulatedSeat]], habits: Habits, until: datetime) -> None:
        self.habits, self.until = habits, until
        self.tables = {name: _table(name, seats) for name, seats in pools.items()}
        self.busy: dict[int, datetime] = {}  # by AE, until the last touch is done
        self.open: dict[int, dict[str, int]] = {}  # by account and motion, the lead's number
        self.played: list[Played] = []
        self.events: list[tuple[datetime, int, str, Any]] = []
        self.order = count()

    def run(self, arrivals: Sequence[Arrival]) -> list[Played]:
        """Take everything in the order of time."""
        for arrival in arrivals:
            self._later(arrival.at, "arrive", arrival)
        while self.events and self.events[0][0] <= self.until:
            at, _, what, about = heapq.heappop(self.events)
            if what == "arrive":
                self._arrive(about, at)
            elif what == "close":
                self._close(about, at)
            else:
                self._open(self.tables[about], at)
        for table in self.tables.values():
            for _, _, number in table.waiting:  # behind the first, which was tried last
                self.played[number].reason = self.played[table.waiting[0][-1]].reason
        return self.played

    def _later(self, at: datetime, what: str, about: Any) -> None:
        heapq.heappush(self.events, (at, next(self.order), what, about))

    def _arrive(self, arrival: Arrival, at: datetime) -> None:
        if arrival.motion in self.open.setdefault(arrival.account, {}):
            return
        number = len(self.played)
        self.open[arrival.account][arrival.motion] = number
        self.played.append(Played(arrival, reason=arrival.reason))
        table = self.tables.get(arrival.pool)
        if table is not None:
            insort(table.waiting, (arrival.rank, at, number))
            table.kinds[arrival.kind] += 1
            self._drain(table, at)

    def _close(self, number: int, at: datetime) -> None:
        lead = self.played[number]
        del self.open[lead.arrival.account][lead.arrival.motion]
        table = self.tables[lead.arrival.pool]
        table.held[lead.ae or 0, lead.arrival.tier] -= 1
        self._open(table, at)

    def _open(self, table: _Table, at: datetime) -> None:
        table.blocked.clear()
        self._drain(table, at)

    def _drain(self, table: _Table, at: datetime) -> None:
        """Give out what waits, the best first, until nobody can take any more of any kind."""
        known = _Known(table, at)
        place = 0
        while place < len(table.waiting) and not table.kinds.keys() <= table.blocked:
            number = table.waiting[place][-1]
            lead = self.played[number]
            if lead.arrival.kind in table.blocked:
                place += 1
                continue
            judged = known.judge(lead.arrival)
            decided = decision.decide(
                judged, pool=table.name, claims=self._claims(lead.arrival), cost=lead.arrival.cost
            )
            if decided.chosen is None:
                lead.reason = decided.why
                table.blocked.add(lead.arrival.kind)
                self._look_again(table, judged, at)
                continue
            table.waiting.pop(place)
            table.kinds.subtract([lead.arrival.kind])
            table.kinds += Counter()  # drops what is at nought
            if decided.turn:
                for ae, one in table.contenders.items():
                    table.contenders[ae] = decision.after(one, decided.turn, at=at)
            self._give(table, number, decided.chosen.ae, at)
            known.forget(decided.chosen.ae)

    def _claims(self, arrival: Arrival) -> list[Claim]:
        others = (self.played[number].ae for number in self.open[arrival.account].values())
        claims = [Claim(ae, "same_ae", "already works this account") for ae in others if ae is not None][:1]
        if arrival.owner is not None:
            claims.append(Claim(arrival.owner, "owner", "owns this account, as the CRM says"))
        return claims

    def _give(self, table: _Table, number: int, ae: int, at: datetime) -> None:
        lead, hours = self.played[number], table.seats[ae].works
        table.held[ae, lead.arrival.tier] += 1
        for span in _spans(table.seats[ae], at):
            table.given[ae, span] += 1
        lead.ae, lead.assigned_at, lead.reason = ae, at, ""
        lead.due_at = hours.add_business_time(at, self.habits.sla_hours * 3600)
        begins = max(at, self.busy.get(ae, at))
        lead.touched_at = hours.add_business_time(begins, self.habits.touch_minutes * 60)
        if lead.touched_at is not None:
            self.busy[ae] = lead.touched_at
            self._later(lead.touched_at + timedelta(days=self.habits.open_days), "close", number)

    def _look_again(self, table: _Table, judged: Sequence[Judged], at: datetime) -> None:
        """Look again when the clock alone makes somebody free."""
        times = (_may_be_free(one, table.seats[one.contender.ae].works, at) for one in judged)
        opens = min((time for time in times if time is not None and time > at), default=None)
        if opens is not None and (table.looks_at is None or table.looks_at <= at or opens < table.looks_at):
            table.looks_at = opens
            self._later(opens, "drain", table.name)


def _table(name: str, seats: Sequence[SimulatedSeat]) -> _Table:
    contenders = {seat.ae: Contender(seat.membership, seat.ae, seat.name, seat.weight, 0, None) for seat in seats}
    return _Table(name, {seat.ae: seat for seat in seats}, contenders)


def _facts(table: _Table, seat: SimulatedSeat, at: datetime) -> Candidate:
    """Return what the gates ask for at a time, but for the lead in hand."""
    day, week = _spans(seat, at)
    return replace(
        seat.facts,
        at=at.isoformat(),
        holiday=seat.works.holiday(at) if seat.works.holidays else "",
        absence=eligibility.said(eligibility.absence_ahead(seat.works, at)) if seat.works.absences else (),
        open_leads=sum(number for (ae, _), number in table.held.items() if ae == seat.ae),
        given_today=table.given[seat.ae, day],
        given_this_week=table.given[seat.ae, week],
    )


def _spans(seat: SimulatedSeat, at: datetime) -> tuple[str, str]:
    """Return names of the day and the week that it is where the AE is."""
    if seat.facts.daily_cap is None and seat.facts.weekly_cap is None:
        return "", ""
    local = at.astimezone(ZoneInfo(seat.facts.zone))
    return f"{local:%Y-%m-%d}", f"{local:%G-W%V}"


class _Known:
    """What the gates say at one time, asked for again only of who was given a lead meanwhile."""

    def __init__(self, table: _Table, at: datetime) -> None:
        self.table, self.at = table, at
        self.facts: dict[int, Candidate] = {}
        self.said: dict[tuple[int, tuple[str, tuple[str, ...]]], Judged] = {}

    def judge(self, arrival: Arrival) -> list[Judged]:
        """Return every contender as it stands, with the verdicts for a lead."""
        return [self._one(ae, contender, arrival) for ae, contender in self.table.contenders.items()]

    def forget(self, ae: int) -> None:
        """Ask for everything of this AE anew."""
        self.facts.pop(ae, None)
        for key in [key for key in self.said if key[0] == ae]:
            del self.said[key]

    def _one(self, ae: int, contender: Contender, arrival: Arrival) -> Judged:
        known = self.said.get((ae, arrival.kind))
        if known is not None:
            return Judged(contender, known.facts, known.verdicts)
        if ae not in self.facts:
            self.facts[ae] = _facts(self.table, self.table.seats[ae], self.at)
        made = _judge(self.table, ae, self.facts[ae], arrival)
        self.said[ae, arrival.kind] = made
        return made


def _judge(table: _Table, ae: int, facts: Candidate, arrival: Arrival) -> Judged:
    seat, tier = table.seats[ae], arrival.tier
    if seat.tier_caps or arrival.asks:
        held, cap = table.held[ae, tier], seat.tier_caps.get(tier)
        facts = replace(facts, tier=tier, open_of_tier=held, tier_cap=cap, asked=arrival.asks)
    return decision.judge(table.contenders[ae], facts)


def _may_be_free(one: Judged, works: Hours, at: datetime) -> datetime | None:
    """Return when to look again whether the clock has made somebody free: not after it did."""
    shut = {verdict.name for verdict in one.verdicts if not verdict.passed}
    if one.facts is None or not shut <= set(eligibility.TIMED):
        return None
    return works.next_working(at) if shut == {"hours"} else eligibility.free_by_clock(one.facts, works)


# ---- what came of it -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """What one AE got."""

    ae: int
    name: str
    leads: int
    value: float  # of these leads, in leads of the largest value
    weeks: Sequence[int]  # leads by week of assignment
    median_minutes: float | None  # from arrival to first touch, by the clock on the wall
    breaches: int  # touched too late, or not yet though due


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a stream."""

    leads: int
    assigned: int
    unassigned: Mapping[str, int]  # by reason, at the end
    waited: int  # that were not assigned at once
    median_minutes: float | None
    slowest_tenth_minutes: float | None  # a tenth took at least so long
    breaches: int
    loads: Sequence[Load]  # most leads first


def summarize(
    played: Sequence[Played], *, pools: Mapping[str, Sequence[SimulatedSeat]], since: datetime, until: datetime
) -> Summary:
    """Return the figures of what was played between two moments."""
    names = {seat.ae: seat.name for seats in pools.values() for seat in seats}
    by_ae: dict[int, list[Played]] = {ae: [] for ae in names}
    for lead in played:
        if lead.ae is not None:
            by_ae[lead.ae].append(lead)
    minutes = _minutes(played)
    loads = [_load(ae, names[ae], leads, since, until) for ae, leads in by_ae.items()]
    return Summary(
        leads=len(played),
        assigned=sum(len(leads) for leads in by_ae.values()),
        unassigned=dict(Counter(lead.reason for lead in played if lead.ae is None).most_common()),
        waited=sum(lead.assigned_at != lead.arrival.at for lead in played),
        median_minutes=_quantile(minutes, 0.5),
        slowest_tenth_minutes=_quantile(minutes, 0.9),
        breaches=sum(load.breaches for load in loads),
        loads=sorted(loads, key=lambda load: (-load.leads, load.name, load.ae)),
    )


def _load(ae: int, name: str, leads: Sequence[Played], since: datetime, until: datetime) -> Load:
    weeks = [0] * max(1, -((since - until) // WEEK))
    for lead in leads:
        if lead.assigned_at is not None:
            weeks[min((lead.assigned_at - since) // WEEK, len(weeks) - 1)] += 1
    late = sum(_is_late(lead, until) for lead in leads)
    value = round(sum(lead.arrival.cost for lead in leads) / TURN, 2)
    return Load(ae, name, len(leads), value, weeks, _quantile(_minutes(leads), 0.5), late)


def _is_late(lead: Played, until: datetime) -> bool:
    return lead.due_at is not None and min(lead.touched_at or until, until) > lead.due_at


def _minutes(leads: Iterable[Played]) -> list[float]:
    return sorted((lead.touched_at - lead.arrival.at) / timedelta(minutes=1) for lead in leads if lead.touched_at)


def _quantile(ordered: Sequence[float], part: float) -> float | None:
    return round(ordered[min(int(len(ordered) * part), len(ordered) - 1)], 1) if ordered else None
