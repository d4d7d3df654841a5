"""Whose turn it is among the eligible: a fair rotation at every prefix, in exact arithmetic.

Each member has a credit, in billionths of a turn: what it was due so far less what it was served. It joins
with 0, and its credit stands still while it is not eligible, so an absence makes neither debt nor claim. One
turn over the eligible gives each its share w/W (rounded down to a billionth), then serves one of them:

1. alone, a member is served;
2. somebody who is owed a whole turn goes first, the largest credit before the others;
3. otherwise, with h = 1/(2N - 2), those with a credit of at least h may be served without getting more than
   1 - h ahead of their share; of these the one whose credit would reach 1 - h soonest, that is the smallest
   (1 - h - credit)/w;
4. if there is none, the largest credit.

Ties go to the least recently served, then to the smaller id. The one who is served pays the turn. A turn may
cost less than a whole one: in a pool that is fair by value, what is dealt out is the value of the leads, and
the most valuable costs 1. A turn that is refunded is undone: its shares are taken back too, as if it had never
been, so that neither refunds nor costs ever add up to a claim against a newcomer.

docs/routing.md states what this keeps, proves it, and says what no rotation can keep.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction

TURN = 1_000_000_000  # a whole turn, in billionths
NEVER = datetime.min.replace(tzinfo=UTC)  # before any turn


class NobodyEligible(ValueError):
    """A turn was asked for over no members."""


class NoSuchCost(ValueError):
    """A turn was to cost nothing, or more than a whole one."""


@dataclass(frozen=True, slots=True)
class Member:
    """One who is eligible for the lead in hand."""

    id: int
    weight: int  # at least 1
    credit: int  # billionths of a turn, before this turn
    last_served_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Who is served, by which clause, what everybody was due of it, and what it cost the one who is served."""

    chosen: int
    why: str
    shares: Mapping[int, int]  # by member id, billionths of a turn
    cost: int = TURN

    @property
    def changes(self) -> dict[int, int]:
        """By how much the turn changes each member's credit."""
        return {**self.shares, self.chosen: self.shares.get(self.chosen, 0) - self.cost}

    def passed_to(self, member: int) -> "Turn":
        """Return the turn as if the member had been served, whatever the rotation says."""
        return replace(self, chosen=member, why="passed on by hand")

    @property
    def undone(self) -> dict[int, int]:
        """By how much refunding the turn changes each member's credit: it is as if the turn had never been."""
        return {member: -change for member, change in self.changes.items()}


def turn(members: Sequence[Member], *, cost: int = TURN) -> Turn:
    """Return whose turn it is and what it changes; the order of the members does not matter.

    `cost` is in billionths of a turn. Raises NobodyEligible if there are no members, and NoSuchCost if the cost
    is not more than nothing and at most a whole turn.
    """
    if not members:
        raise NobodyEligible("Nobody is eligible: ask for a turn only over at least one member.")
    if not 0 < cost <= TURN:
        raise NoSuchCost(f"A turn costs from 1 to {TURN} billionths, not {cost}: scale by the largest value.")
    total = sum(member.weight for member in members)
    shares = {member.id: member.weight * cost // total for member in members}
    credits = {member.id: member.credit + shares[member.id] for member in members}
    chosen, why = _choose(members, credits, cost)
    return Turn(chosen=chosen.id, why=why, shares=shares, cost=cost)


def cost_of(values: Mapping[str, int], tier: str) -> int:
    """Return what a lead of a tier costs in billionths of a turn: its expected value divided by the largest.

    Without values every lead costs a whole turn. So does one of a tier without a value: nobody said that it is less.
    """
    if not values:
        return TURN
    largest = max(values.values())
    return max(TURN * values.get(tier, largest) // largest, 1)


def _choose(members: Sequence[Member], credits: Mapping[int, int], cost: int) -> tuple[Member, str]:
    if len(members) == 1:
        return members[0], "the only one eligible"
    halves = 2 * len(members) - 2  # 1/h
    if max(credits.values()) >= TURN:
        return _first(members, lambda m: -credits[m.id]), "owed a whole turn"
    # After it nobody is further ahead than 1 - h; times 1/h, so that all stays whole.
    ready = [member for member in members if (credits[member.id] - cost + TURN) * halves >= TURN]
    if not ready:
        return _first(members, lambda m: -credits[m.id]), "the largest credit"
    # (1 - h - credit)/w, times 1/h so that it stays whole above the line.
    return (
        _first(ready, lambda m: Fraction((halves - 1) * TURN - halves * credits[m.id], m.weight)),
        "would be overdue soonest",
    )


def _first(members: Sequence[Member], rank: Callable[[Member], int | Fraction]) -> Member:
    """Return the member of the lowest rank; of equals the least recently served, then the smaller id."""

    def key(member: Member) -> tuple[int | Fraction, datetime, int]:
        return rank(member), member.last_served_at or NEVER, member.id

    return min(members, key=key)
