"""Rates and ratios: figures that were worked out elsewhere, and edges where formulas break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring import statistics

COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted)


class TestShare:
    def test_has_wilsons_interval(self) -> None:
        found = statistics.share(30, 100)
        assert (found.value, round(found.low, 3), round(found.high, 3)) == (0.3, 0.219, 0.396)

    def test_of_nothing_is_unknown(self) -> None:
        assert statistics.share(0, 0) == statistics.Share(0, 0, None, 0.0, 1.0)

    @given(COUNTS)
    def test_lies_in_its_interval(self, counts: list[int]) -> None:
        found = statistics.share(*counts)
        assert 0 <= found.low <= (found.value or 0) + 1e-12
        assert found.value is None or found.value <= found.high + 1e-12 <= 1 + 1e-9


class TestRatio:
    @pytest.mark.parametrize(
        ("counts", "expected"),
        [((40, 300, 35, 1200), (4.57, 2.96, 7.06)), ((9, 60, 12, 320), (4.0, 1.8, 8.8))],
    )
    def test_has_miettinen_and_nurminens_interval(
        self, counts: tuple[int, int, int, int], expected: tuple[float, float, float]
    ) -> None:
        found = statistics.ratio(*counts)
        assert found.high is not None
        assert (found.value, found.low, found.high) == pytest.approx(expected, rel=0.03)
        assert found.is_above_one

    def test_without_others_who_converted_has_no_upper_bound(self) -> None:
        found = statistics.ratio(5, 50, 0, 50)
        assert (found.value, found.high) == (None, None)
        assert found.low > 0

    @pytest.mark.parametrize("counts", [(0, 0, 0, 0), (0, 10, 0, 10), (1, 1, 0, 0), (0, 0, 3, 5)])
    def test_of_too_little_is_unknown(self, counts: tuple[int, int, int, int]) -> None:
        assert statistics.ratio(*counts) == statistics.Ratio(None, 0.0, None)

    @pytest.mark.parametrize("counts", [(10, 10, 9, 10), (60, 60, 59, 60), (1, 1, 1, 2), (2, 2, 2, 9), (9, 10, 10, 10)])
    def test_of_a_share_of_one_praises_nothing(self, counts: tuple[int, int, int, int]) -> None:
        found = statistics.ratio(*counts)
        assert not found.is_above_one
        assert not found.is_below_one

    @given(COUNTS, COUNTS)
    def test_never_claims_a_difference_between_equal_shares(self, counts: list[int], others: list[int]) -> None:
        found = statistics.ratio(*counts, *others)
        if found.value is not None:
            assert found.low <= found.value <= (found.value if found.high is None else found.high)
        same = statistics.ratio(*counts, *counts)
        assert not same.is_above_one
        assert not same.is_below_one


class TestPace:
    def test_is_a_rate_with_its_interval(self) -> None:
        found = statistics.pace(26, 26)
        assert found.value == 1
        assert found.high is not None
        assert found.low < 0.75 < 1.35 < found.high

    def test_of_none_has_an_upper_bound(self) -> None:
        found = statistics.pace(0, 4)
        assert (found.value, found.low) == (0, 0)
        assert found.high


class TestSameOdds:
    def test_tells_a_change_from_chance(self) -> None:
        strong, weak = (40, 100, 20, 200), (12, 100, 22, 200)
        changed, kept = statistics.same_odds(strong, weak), statistics.same_odds(strong, (38, 100, 19, 200))
        assert changed is not None
        assert kept is not None
        assert changed < 0.01
        assert kept > 0.5

    def test_is_unknown_where_nobody_converted(self) -> None:
        assert statistics.same_odds((0, 10, 0, 10), (1, 10, 2, 10)) is None


class TestWaiting:
    def test_is_kaplan_and_meiers(self) -> None:
        # 6 cases: of 6 one on day 1, of 4 (one left on day 2) one on day 3, of 2 one on day 5.
        found = statistics.waiting(happened=[1, 3, 5], running=[2, 4, 9])
        assert [(step.day, round(step.share, 4)) for step in found.steps if step.day in (1, 3, 5)] == [
            (1, round(1 - 5 / 6, 4)),
            (3, round(1 - 5 / 6 * 3 / 4, 4)),
            (5, round(1 - 5 / 6 * 3 / 4 / 2, 4)),
        ]
        assert found.median == 5
        assert (found.cases, found.happened) == (6, 3)

    def test_begins_with_the_first_that_happened(self) -> None:
        found = statistics.waiting(happened=[40, 50, 60], running=[0, 1, 70])
        assert found.steps[0].day == 40
        assert found.median_low is not None
        assert found.median_low >= 40

    def test_has_no_median_while_fewer_than_half_have(self) -> None:
        found = statistics.waiting(happened=[4], running=[10, 10, 10])
        assert found.median is None

    def test_of_nobody_is_empty(self) -> None:
        assert statistics.waiting(happened=[], running=[3]).steps == ()
