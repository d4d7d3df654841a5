"""The rotation keeps each promise of docs/routing.md at every prefix; the obvious rotations each break some."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from itertools import combinations, combinations_with_replacement, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import rotation
from routing.rotation import TURN, Member
from tests.routing.rotations import MONDAY, Chooser, Counter, Rotation, least_served, ours, plain_smooth, smooth

DRIFT = Fraction(2, TURN)  # what rounding takes at most, a turn
SEEDS = range(40)  # histories in which the obvious rotations are caught


@dataclass(frozen=True, slots=True)
class Refund:
    """Some earlier turn was not a lead; counted from the latest."""

    back: int


@dataclass(frozen=True, slots=True)
class History:
    """Two or more of one weight who are eligible in every turn, and others who come and go: absent, full, joined."""

    weights: Sequence[int]
    throughout: Sequence[int]
    steps: Sequence[tuple[int, ...] | Refund]  # who else is eligible


def history(rng: random.Random, *, refunds: bool = False, weights: Sequence[int] = (1, 1, 2, 7)) -> History:
    throughout, others = rng.randint(2, 3), rng.randint(1, 5)
    own = rng.choice(weights)
    steps: list[tuple[int, ...] | Refund] = []
    for _ in range(rng.randint(1, 40)):
        if refunds and rng.random() < 0.2:
            steps.append(Refund(rng.randint(0, 9)))
        else:
            those = range(throughout, throughout + others)
            steps.append(tuple(i for i in those if rng.random() < 0.5))
    return History([own] * throughout + [rng.choice(weights) for _ in range(others)], range(throughout), steps)


def spread(past: History, choose: Chooser = ours) -> int:
    """Return the worst max - min of turns, over every prefix, among those eligible throughout."""
    pool, worst = Rotation(past.weights, choose), 0
    for step in past.steps:
        assert not isinstance(step, Refund)
        pool.serve([*past.throughout, *step])
        served = [pool.served[i] for i in past.throughout]
        worst = max(worst, max(served) - min(served))
    return worst


def lead_when_served(past: History, choose: Chooser = ours) -> int:
    """Return by how many turns, net of refunds, one who was served was ahead of its equals already, at worst."""
    pool, worst = Rotation(past.weights, choose), 0
    for step in past.steps:
        if isinstance(step, Refund):
            if len(pool.turns) > step.back:
                pool.refund(-1 - step.back)
            continue
        before = list(pool.served)
        chosen = pool.serve([*past.throughout, *step])
        if chosen in past.throughout:
            worst = max(worst, before[chosen] - min(before[i] for i in past.throughout))
    return worst


def worst_excess(weights: Sequence[int], turns: int, choose: Chooser = ours) -> Fraction:
    """Return by how much |n - T w/W| exceeded 1 - h at worst, in turns, over every prefix of a constant set; exact."""
    pool, everybody, total = Rotation(weights, choose), range(len(weights)), sum(weights)
    bound = 1 - Fraction(1, 2 * len(weights) - 2)
    worst = -bound
    for turn in range(1, turns + 1):
        pool.serve(everybody)
        deviation = max(abs(pool.served[i] * total - turn * weights[i]) for i in everybody)
        worst = max(worst, Fraction(deviation, total) - bound)
    return worst


def burst(rng: random.Random, choose: Chooser = ours) -> int:
    """Return by how many turns one who joins equals after a while is served more, or less, than them since."""
    size, alone = rng.randint(2, 5), rng.randint(1, 40)
    pool, worst = Rotation([1] * (size + 1), choose), 0
    for _ in range(alone):
        pool.serve(range(size))
    before = list(pool.served)
    for _ in range(30):
        pool.serve(range(size + 1))
        since = [now - then for now, then in zip(pool.served, before, strict=True)]
        worst = max(worst, *(abs(since[size] - since[i]) for i in range(size)))
    return worst


weights_of_pools = st.lists(
    st.one_of(st.sampled_from([1, 2, 3, 8, 1000]), st.integers(1, 1000)), min_size=2, max_size=12
)


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

    def test_may_cost_less_than_a_whole_one(self) -> None:
        turn = rotation.turn([Member(1, 3, 0), Member(2, 1, 0)], cost=TURN // 4)
        assert turn.changes == {1: 187_500_000 - 250_000_000, 2: 62_500_000}

    @pytest.mark.parametrize("cost", [0, -1, TURN + 1])
    def test_refuses_an_impossible_cost(self, cost: int) -> None:
        with pytest.raises(rotation.NoSuchCost, match="scale by the largest value"):
            rotation.turn([Member(1, 1, 0)], cost=cost)


class TestConstantSet:
    """(a): |n - T w/W| <= 1 - h."""

    @given(weights=weights_of_pools)
    @settings(deadline=None)
    def test_keeps_the_bound_at_every_prefix(self, weights: list[int]) -> None:
        turns = min(2 * sum(weights), 200)
        assert worst_excess(weights, turns) <= turns * DRIFT

    def test_keeps_the_bound_without_slack_in_every_small_pool(self) -> None:
        pools = [ws for size in (2, 3, 4) for ws in combinations_with_replacement(range(1, 6), size)]
        assert max(worst_excess(weights, 2 * sum(weights)) for weights in pools) <= 0

    def test_does_not_drift_in_a_long_life(self) -> None:
        assert worst_excess([1, 3, 7], 20_000) <= 20_000 * DRIFT

    @pytest.mark.parametrize("choose", [smooth, plain_smooth, least_served, Counter()])
    def test_the_obvious_rotations_break_it(self, choose: Chooser) -> None:
        weights = [1] * 8 + [3, 8, 8, 8]
        assert worst_excess(weights, 2 * sum(weights)) <= 0
        assert worst_excess(weights, 2 * sum(weights), choose) > Fraction(1, 10)


class TestEqualsThroughout:
    """(b) and (b'): two of one weight who are eligible throughout, whatever the others weigh, and come and go."""

    @given(rng=st.randoms(use_true_random=False))
    @settings(deadline=None)
    def test_differ_by_at_most_one_at_every_prefix(self, rng: random.Random) -> None:
        assert spread(history(rng)) <= 1

    @given(rng=st.randoms(use_true_random=False))
    @settings(deadline=None)
    def test_whoever_is_ahead_net_of_refunds_waits_for_the_others(self, rng: random.Random) -> None:
        assert lead_when_served(history(rng, refunds=True)) <= 0

    @given(rng=st.randoms(use_true_random=False))
    @settings(deadline=None)
    def test_differ_over_a_later_stretch_by_at_most_one_and_what_their_credits_did(self, rng: random.Random) -> None:
        before, stretch = history(rng, refunds=True), history(rng)
        pool = Rotation([*stretch.weights, *before.weights])
        for step in before.steps:
            if not isinstance(step, Refund):
                pool.serve(rng.sample(range(len(pool.weights)), rng.randint(1, len(pool.weights))))
            elif len(pool.turns) > step.back:
                pool.refund(-1 - step.back)
        credits, then = list(pool.credits), list(pool.served)
        for step in stretch.steps:
            assert not isinstance(step, Refund)
            pool.serve([*stretch.throughout, *step])
            for i, j in combinations(stretch.throughout, 2):
                apart = abs((pool.served[i] - then[i]) - (pool.served[j] - then[j]))
                assert apart <= 1 + Fraction(abs(credits[i] - credits[j]), TURN)

    @pytest.mark.parametrize("choose", [plain_smooth, Counter()])
    def test_the_obvious_rotations_break_it(self, choose: Chooser) -> None:
        pasts = [history(random.Random(seed)) for seed in SEEDS]
        assert max(spread(past) for past in pasts) <= 1
        assert max(spread(past, choose) for past in pasts) >= 3

    def test_a_refund_by_itself_would_starve_who_joins_later(self) -> None:
        """Giving back the turn alone, without the shares of it, makes a claim that grows with every refund."""
        whole, bare = Rotation([1] * 3), Rotation([1] * 3)
        for _ in range(20):
            for pool in (whole, bare):
                pool.serve([0, 1])
            whole.refund(-1)
            served, _, _ = bare.turns.pop()
            bare.credits[served.chosen] += TURN
        assert [whole.serve([0, 1, 2]) for _ in range(3)] == [2, 0, 1]
        assert 2 not in [bare.serve([0, 1, 2]) for _ in range(20)]


class TestJoiners:
    """An absence makes neither debt nor claim."""

    @given(rng=st.randoms(use_true_random=False))
    @settings(deadline=None)
    def test_are_neither_flooded_nor_starved(self, rng: random.Random) -> None:
        assert burst(rng) <= 1

    def test_serving_the_least_served_first_floods_them(self) -> None:
        assert max(burst(random.Random(seed)) for seed in SEEDS) <= 1
        assert max(burst(random.Random(seed), least_served) for seed in SEEDS) > 10


class TestAgainstWhatWasDue:
    """(c): against the shares of a changing set no rotation keeps a bound of 1."""

    @pytest.mark.parametrize("choose", [ours, smooth, plain_smooth, least_served, Counter()])
    def test_whoever_stays_last_lags_by_more_than_a_turn_under_any_rotation(self, choose: Chooser) -> None:
        pool, there = Rotation([1] * 8, choose), list(range(8))
        while len(there) > 1:
            there.remove(pool.serve(there))
        assert -pool.deviation(there[0]) == sum(Fraction(1, n) for n in range(2, 9)) > Fraction(17, 10)

    @given(rng=st.randoms(use_true_random=False))
    @settings(deadline=None)
    def test_equals_stay_within_half_the_others_whoever_comes_and_goes(self, rng: random.Random) -> None:
        past = history(rng, weights=[1])
        pool, size = Rotation(past.weights), len(past.weights)
        for step in past.steps:
            assert not isinstance(step, Refund)
            pool.serve(rng.sample(range(size), rng.randint(1, size)))
            assert max(map(abs, pool.credits)) <= (size - 1) * TURN // 2 + len(past.steps)

    @given(rng=st.randoms(use_true_random=False))
    @settings(deadline=None)
    def test_the_credit_is_what_was_due_less_what_was_had_net_of_refunds(self, rng: random.Random) -> None:
        past = history(rng, refunds=True)
        pool = Rotation(past.weights)
        for step in past.steps:
            if not isinstance(step, Refund):
                pool.serve([*past.throughout, *step], rng.choice([TURN, TURN // 7]))
            elif len(pool.turns) > step.back:
                pool.refund(-1 - step.back)
        for i, credit in enumerate(pool.credits):
            assert abs(Fraction(credit, TURN) + pool.deviation(i)) <= len(past.steps) * DRIFT


class TestByValue:
    """Turns that cost what the lead is worth."""

    def test_a_lead_costs_its_tiers_value_divided_by_the_largest(self) -> None:
        values = {"hot": 12_000, "warm": 3_000, "dust": 1}
        costs = {tier: rotation.cost_of(values, tier) for tier in ("hot", "warm", "dust", "unknown")}
        assert costs == {"hot": TURN, "warm": TURN // 4, "dust": TURN // 12_000, "unknown": TURN}
        assert rotation.cost_of({}, "hot") == TURN
        assert rotation.cost_of({"hot": 10**12, "dust": 1}, "dust") == 1

    @given(weights=weights_of_pools, rng=st.randoms(use_true_random=False))
    @settings(deadline=None)
    def test_nobody_of_a_constant_set_gets_ahead_by_more_than_one_less_h(
        self, weights: list[int], rng: random.Random
    ) -> None:
        values = [TURN, *(rng.randint(1, TURN) for _ in range(3))]
        pool, size = Rotation(weights), len(weights)
        ahead = 1 - Fraction(1, 2 * size - 2)
        for turn in range(1, 100):
            pool.serve(range(size), rng.choice(values))
            credits = [Fraction(credit, TURN) for credit in pool.credits]
            assert min(credits) >= -ahead - turn * DRIFT
            assert max(credits) <= (size - 1) * ahead + turn * DRIFT

    @given(rng=st.randoms(use_true_random=False))
    @settings(deadline=None)
    def test_equals_throughout_differ_by_at_most_the_largest_value(self, rng: random.Random) -> None:
        past, values = history(rng), [TURN, *(rng.randint(1, TURN) for _ in range(3))]
        pool = Rotation(past.weights)
        for step in past.steps:
            assert not isinstance(step, Refund)
            pool.serve([*past.throughout, *step], rng.choice(values))
            assert all(abs(pool.had[i] - pool.had[j]) <= 1 for i, j in pairwise(past.throughout))

    def test_counting_leads_instead_breaks_it(self) -> None:
        """One gets every second lead, and all the large ones."""
        pool, counted = Rotation([1, 1]), Rotation([1, 1])
        for _ in range(10):
            for cost in (TURN, TURN // 10):
                pool.serve([0, 1], cost)
                counted.had[counted.serve([0, 1])] += Fraction(cost, TURN) - 1
        assert abs(pool.had[0] - pool.had[1]) <= 1
        assert abs(counted.had[0] - counted.had[1]) == 9
