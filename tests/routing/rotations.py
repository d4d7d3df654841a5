"""Rotations played in memory: ours and the obvious ones, over histories of joins, absences, caps, weights, refunds."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import count

from routing import rotation
from routing.rotation import TURN, Member, Turn

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
Chooser = Callable[[Sequence[Member], int], Turn]


def ours(members: Sequence[Member], cost: int) -> Turn:
    return rotation.turn(members, cost=cost)


def smooth(members: Sequence[Member], cost: int) -> Turn:
    """Smooth weighted round-robin by shares of a turn: everybody gets theirs, the largest credit is served."""
    total = sum(member.weight for member in members)
    shares = {member.id: member.weight * cost // total for member in members}
    chosen = max(members, key=lambda member: (member.credit + shares[member.id], -member.id)).id
    return Turn(chosen, "smooth", shares, cost)


def plain_smooth(members: Sequence[Member], cost: int) -> Turn:
    """Plain smooth weighted round-robin, as load balancers do it: gain your weight, pay all weights when served."""
    shares = {member.id: member.weight for member in members}
    chosen = max(members, key=lambda member: (member.credit + member.weight, -member.id)).id
    return Turn(chosen, "plain smooth", shares, sum(shares.values()))


class Counter:
    """A counter modulo the eligible, each listed as often as their weight: what one writes first."""

    def __init__(self) -> None:
        self.turns = count()

    def __call__(self, members: Sequence[Member], cost: int) -> Turn:
        listed = [member.id for member in members for _ in range(member.weight)]
        return Turn(listed[next(self.turns) % len(listed)], "counter", {}, 0)


def least_served(members: Sequence[Member], cost: int) -> Turn:
    """Who was served least for the weight goes first: what one writes next. The credit is minus what was served."""
    chosen = max(members, key=lambda member: (Fraction(member.credit, member.weight), -member.id)).id
    return Turn(chosen, "least served", {}, cost)


class Rotation:
    """Members by number, with what each was due and was served net of refunds; one turn at a time."""

    def __init__(self, weights: Sequence[int], choose: Chooser = ours) -> None:
        self.weights = list(weights)
        self.credits = [0] * len(weights)
        self.last: list[datetime | None] = [None] * len(weights)
        self.served = [0] * len(weights)  # turns, net of refunds
        self.had = [Fraction(0)] * len(weights)  # their cost, in turns
        self.turns: list[tuple[Turn, tuple[int, ...], Fraction]] = []  # not refunded
        self.choose = choose
        self.clock = count()

    def serve(self, eligible: Sequence[int], cost: int = TURN) -> int:
        turn = self.choose([Member(i, self.weights[i], self.credits[i], self.last[i]) for i in eligible], cost)
        self.last[turn.chosen] = MONDAY + timedelta(seconds=next(self.clock))
        self.turns.append((turn, tuple(eligible), Fraction(cost, TURN)))
        self._book(turn.chosen, turn.changes, self.turns[-1][-1], 1)
        return turn.chosen

    def refund(self, which: int) -> int:
        """Undo a turn that was not refunded yet; returns whose."""
        turn, _, cost = self.turns.pop(which)
        self._book(turn.chosen, turn.undone, cost, -1)
        return turn.chosen

    def deviation(self, one: int) -> Fraction:
        """What the member was served beyond its exact share of what was not refunded, in turns."""
        due = Fraction(0)
        for _, eligible, cost in self.turns:
            if one in eligible:
                due += cost * Fraction(self.weights[one], sum(self.weights[i] for i in eligible))
        return self.had[one] - due

    def _book(self, chosen: int, changes: dict[int, int], cost: Fraction, sign: int) -> None:
        for member, change in changes.items():
            self.credits[member] += change
        self.served[chosen] += sign
        self.had[chosen] += sign * cost
