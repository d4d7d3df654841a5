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

Ties go to the least recently served, then to the smaller id. The one who is served pays a whole turn.

What it keeps: with a constant set and constant weights, after T turns each member was served n times with
|n - T w/W| <= 1 - h. With equal weights, two members who were eligible throughout differ by at most 1,
whoever else comes and goes. Rounding takes less than a billionth of a turn from a member in each turn, so
the first bound holds to within T billionths.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

TURN = 1_000_000_000  # a whole turn, in billionths
NEVER = datetime.min.replace(tzinfo=UTC)  # before any turn


class NobodyEligible(ValueError):
    """A turn was asked for over no members."""


@dataclass(frozen=True, slots=True)
class Member:
    """One who is eligible for the lead in hand."""

    id: int
    weight: int  # at least 1
    credit: int  # billionths of a turn, before this turn
    last_served_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Who is served, by which clause, and everybody's credit afterwards."""

    chosen: int
    why: str
    credits_after: Mapping[int, int]  # by member id, billionths of a turn


def turn(members: Sequence[Member]) -> Turn:
    """Return whose turn it is and the credits after it; the order of the members does not matter.

    Raises NobodyEligible if there are no members.
    """
    if not members:
        raise NobodyEligible("Nobody is eligible: ask for a turn only over at least one member.")
    credits = _with_shares(members)
    chosen, why = _choose(members, credits)
    credits[chosen.id] -= TURN
    return Turn(chosen=chosen.id, why=why, credits_after=credits)


def refund(credit: int) -> int:
    """Return the credit, in billionths, of a member who is given back a turn."""
    return credit + TURN


def charge(credit: int) -> int:
    """Return the credit, in billionths, of a member who takes over another's turn: the sum stays as it was."""
    return credit - TURN


def _with_shares(members: Sequence[Member]) -> dict[int, int]:
    total = sum(member.weight for member in members)
    return {member.id: member.credit + member.weight * TURN // total for member in members}


def _choose(members: Sequence[Member], credits: Mapping[int, int]) -> tuple[Member, str]:
    if len(members) == 1:
        return members[0], "the only one eligible"
    halves = 2 * len(members) - 2  # 1/h
    if max(credits.values()) >= TURN:
        return _first(members, lambda m: -credits[m.id]), "owed a whole turn"
    ready = [member for member in members if credits[member.id] * halves >= TURN]
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
