"""The rotation keeps both of its promises at every prefix; the obvious ways do not."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import combinations_with_replacement, count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import rotation
from routing.rotation import TURN, Member

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
Chooser = Callable[[Sequence[Member]], rotation.Turn]


class Pool:
    """Members by number, all eligible at first; serves one turn at a time by the given way to choose."""

    def __init__(self, weights: Sequence[int], choose: Chooser = rotation.turn) -> None:
        self.weights = list(weights)
        self.credits = [0] * len(weights)
        self.last: list[datetime | None] = [None] * len(weights)
        self.served = [0] * len(weights)
        self.choose = choose
        self.clock = count()

    def serve(self, eligible: Sequence[int]) -> int:
        members = [Member(i, self.weights[i], self.credits[i], self.last[i]) for i in eligible]
        turn = self.choose(members)
        for i, change in turn.changes.items():
            self.credits[i] += change
        self.served[turn.chosen] += 1
        self.last[turn.chosen] = MONDAY + timedelta(seconds=next(self.clock))
        return turn.chosen


def smooth(members: Sequence[Member]) -> rotation.Turn:
    """Plain smooth weighted round-robin: everybody gets their share, the largest credit is served."""
    total = sum(member.weight for member in members)
    shares = {member.id: member.weight * TURN // total for member in members}
    chosen = max(members, key=lambda member: (member.credit + shares[member.id], -member.id)).id
    return rotation.Turn(chosen, "smooth", shares)


class Naive:
    """A counter modulo the eligible, each listed as often as their weight: what one writes first."""

    def __init__(self) -> None:
        self.turns = count()

    def __call__(self, members: Sequence[Member]) -> rotation.Turn:
        listed = [member.id for member in members for _ in range(member.weight)]
        return rotation.Turn(listed[next(self.turns) % len(listed)], "naive", {})


def worst_excess(weights: Sequence[int], turns: int, choose: Chooser = rotation.turn) -> Fraction:
    """Return by how much |n - T w/W| exceeded 1 - h at worst, in turns, over every prefix; exact."""
    pool, everybody, total = Pool(weights, choose), range(len(weights)), sum(weights)
    bound = 1 - Fraction(1, 2 * len(weights) - 2)
    worst = -bound
    for turn in range(1, turns + 1):
        pool.serve(everybody)
        deviation = max(abs(pool.served[i] * total - turn * weights[i]) for i in everybody)
        worst = max(worst, Fraction(deviation, total) - bound)
    return worst


def spread(history: Sequence[Sequence[int]], size: int, throughout: int, choose: Chooser = rotation.turn) -> int:
    """Return the worst max - min, over every prefix, of the first members, who are always eligible.

    The history says for each turn which of the others are eligible too.
    """
    pool, worst = Pool([1] * size, choose), 0
    for others in history:
        pool.serve([*range(throughout), *others])
        served = pool.served[:throughout]
        worst = max(worst, max(served) - min(served))
    return worst


weights_of_pools = st.lists(
    st.one_of(st.sampled_from([1, 2, 3, 8, 1000]), st.integers(1, 1000)), min_size=2, max_size=12
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[list[int]], int, int]:
    """Draw (who else is eligible at each turn, size of the pool, how many are eligible throughout)."""
    throughout, others = draw(st.integers(2, 4)), draw(st.integers(1, 5))
    subset = st.lists(st.integers(throughout, throughout + others - 1), unique=True, max_size=others)
    return draw(st.lists(subset, min_size=1, max_size=80)), throughout + others, throughout


class TestTurn:
    def test_serves_the_only_one_eligible_and_leaves_the_credit(self) -> None:
        turn = rotation.turn([Member(7, 3, -250, MONDAY)])
        assert (turn.chosen, turn.changes) == (7, {7: 0})

    def test_refuses_a_turn_over_nobody(self) -> None:
        with pytest.raises(rotation.NobodyEligible, match="at least one member"):
            rotation.turn([])

    def test_serves_first_who_is_owed_a_whole_turn(self) -> None:
        turn = rotation.turn([Member(1, 900, 0), Member(2, 100, TURN)])
        assert (turn.chosen, turn.why) == (2, "owed a whole turn")

    def test_gives_everybody_their_share_and_takes_a_turn_from_the_served(self) -> None:
        turn = rotation.turn([Member(1, 3, 0), Member(2, 1, 0)])
        assert (turn.chosen, turn.changes) == (1, {1: 750_000_000 - TURN, 2: 250_000_000})

    def test_rounds_shares_down(self) -> None:
        turn = rotation.turn([Member(1, 1, 0), Member(2, 1, 0), Member(3, 1, 0)])
        assert sorted(turn.changes.values()) == [333_333_333 - TURN, 333_333_333, 333_333_333]

    def test_of_equals_serves_the_one_never_served_then_the_least_recent_then_the_smaller_id(self) -> None:
        early, late = MONDAY, MONDAY + timedelta(hours=1)
        assert rotation.turn([Member(1, 1, 0, early), Member(2, 1, 0)]).chosen == 2
        assert rotation.turn([Member(1, 1, 0, late), Member(2, 1, 0, early)]).chosen == 2
        assert rotation.turn([Member(2, 1, 0), Member(1, 1, 0)]).chosen == 1

    def test_serves_the_largest_credit_when_nobody_has_reached_h(self) -> None:
        turn = rotation.turn([Member(1, 1, -TURN), Member(2, 1, -TURN // 2), Member(3, 1, -TURN)])
        assert (turn.chosen, turn.why) == (2, "the largest credit")

    @given(weights=weights_of_pools, data=st.data())
    def test_does_not_depend_on_the_order_of_the_members(self, weights: list[int], data: st.DataObject) -> None:
        members = [Member(i, weight, data.draw(st.integers(-TURN, TURN))) for i, weight in enumerate(weights)]
        assert rotation.turn(members) == rotation.turn(data.draw(st.permutations(members)))


class TestConstantSet:
    @given(weights=weights_of_pools)
    @settings(deadline=None)
    def test_keeps_the_bound_at_every_prefix(self, weights: list[int]) -> None:
        turns = min(2 * sum(weights), 200)
        assert worst_excess(weights, turns) <= Fraction(turns, TURN)

    def test_keeps_the_bound_without_slack_in_every_small_pool(self) -> None:
        pools = [ws for size in (2, 3, 4) for ws in combinations_with_replacement(range(1, 6), size)]
        assert max(worst_excess(weights, 3 * sum(weights)) for weights in pools) <= 0

    def test_does_not_drift_in_a_long_life(self) -> None:
        assert worst_excess([1, 3, 7], 20_000) <= 0

    def test_plain_smooth_round_robin_breaks_the_bound(self) -> None:
        weights = [1] * 8 + [3, 8, 8, 8]
        assert worst_excess(weights, 2 * sum(weights)) <= 0
        assert worst_excess(weights, 2 * sum(weights), smooth) > Fraction(1, 5)  # 1.17 turns off

    def test_a_naive_counter_breaks_the_bound(self) -> None:
        weights = [1] * 8 + [3, 8, 8, 8]
        assert worst_excess(weights, 2 * sum(weights), Naive()) > 1


class TestEqualWeights:
    @given(history=histories())
    @settings(deadline=None, max_examples=300)
    def test_those_eligible_throughout_differ_by_at_most_one(self, history: tuple[list[list[int]], int, int]) -> None:
        assert spread(*history) <= 1

    def test_a_naive_counter_breaks_it(self) -> None:
        history = [[2] if turn % 3 else [] for turn in range(30)]
        assert spread(history, 3, 2, Naive()) > 5
        assert spread(history, 3, 2) <= 1

    def test_an_absence_makes_no_claim(self) -> None:
        pool = Pool([1, 1, 1])
        for _ in range(20):
            pool.serve([0, 1])
        assert sorted(pool.serve([0, 1, 2]) for _ in range(3)) == [0, 1, 2]

    def test_a_joiner_starts_level(self) -> None:
        pool = Pool([1] * 4)
        for _ in range(9):
            pool.serve([0, 1, 2])
        assert sorted(pool.serve([0, 1, 2, 3]) for _ in range(4)) == [0, 1, 2, 3]
