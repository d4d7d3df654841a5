"""A decision is a pure function of its facts; its record holds all of them, and who touches it is found out."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import decision
from routing.decision import Claim, Contender, Judged
from routing.eligibility import Candidate
from routing.rotation import TURN

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
NAMES = ("Ann", "Ben", "Cleo", "Dan", "Eve")
FREE = Candidate(membership_active=True, ae_active=True, log_in_active=True, open_leads=0, capacity=None)
SAME = Claim(ae=11, how="same_ae", why="already works this account")


def contender(number: int, *, weight: int = 1, credit: int = 0, served: datetime | None = None) -> Contender:
    return Contender(number, number + 10, NAMES[number], weight, credit, served)


def judged(number: int, facts: Candidate = FREE, **some: Any) -> Judged:
    return decision.judge(contender(number, **some), facts)


def record(*those: Judged, claims: tuple[Claim, ...] = (), cost: int = TURN) -> dict[str, Any]:
    """Return the record as it comes back from the database."""
    decided = decision.decide(those, pool="West", claims=claims, cost=cost)
    told = {"pool": {"id": 1, "name": "West"}} | decision.record(decided)
    return orjson.loads(orjson.dumps(told))


facts = st.builds(
    Candidate,
    membership_active=st.sampled_from([True, True, False]),
    ae_active=st.sampled_from([True, True, False]),
    log_in_active=st.just(True),
    open_leads=st.integers(0, 5),
    capacity=st.one_of(st.none(), st.integers(0, 5)),
    had_it=st.sampled_from([False, False, True]),
)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the record of some decision."""
    seen = st.one_of(st.none(), st.integers(0, 3).map(lambda hours: MONDAY + timedelta(hours=hours)))
    those = [
        judged(
            number,
            draw(facts),
            weight=draw(st.integers(1, 4)),
            credit=draw(st.integers(-2 * TURN, 2 * TURN)),
            served=draw(seen),
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    claims = draw(st.sampled_from([(), (SAME,), (replace(SAME, ae=99), replace(SAME, ae=13))]))
    return record(*those, claims=claims, cost=draw(st.sampled_from([TURN, TURN // 3])))


def matters(told: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each place of a record that somebody could touch, but for the tie-breaker, which seldom matters."""
    yield from ((told, field) for field in ("cost", "how", "chosen", "why"))
    for one in told["candidates"]:
        yield from ((one, field) for field in ("weight", "credit_before", "credit_after", "eligible"))
        yield from ((one["facts"], field) for field in ("membership_active", "ae_active", "open_leads", "had_it"))
        yield from ((gate, field) for gate in one["gates"] for field in ("passed", "detail"))
    for share in (told["turn"] or {}).get("shares", {}):
        yield told["turn"]["shares"], share


def touched(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    return value + 3_000_000 if isinstance(value, int) else f"{value}!"


class TestReplay:
    @given(told=records())
    @settings(deadline=None)
    def test_comes_to_what_the_record_says(self, told: dict[str, Any]) -> None:
        again = decision.replay(told)
        assert (again.chosen, again.differences) == (told["chosen"], ())

    @given(told=records(), data=st.data())
    @settings(deadline=None, max_examples=150)
    def test_finds_every_touched_fact_or_comes_to_the_same_without_it(
        self, told: dict[str, Any], data: st.DataObject
    ) -> None:
        fake = copy.deepcopy(told)
        within, field = data.draw(st.sampled_from(list(matters(fake))))
        within[field] = touched(within[field])
        again = decision.replay(fake)
        if again.agrees:  # it did not matter: the turn was not asked of this member, or not at all
            assert field in ("cost", "weight", "credit_before")
            assert (again.chosen, fake["chosen"]) == (told["chosen"], told["chosen"])
            able = [one for one in told["candidates"] if one["eligible"]]
            assert told["turn"] is None or field == "credit_before" or within not in able or len(able) == 1

    def test_finds_another_tie_breaker_where_it_decided(self) -> None:
        told = record(judged(0, served=MONDAY), judged(1, served=MONDAY + timedelta(hours=1)))
        told["candidates"][0]["last_served_at"] = "2026-03-03T09:00:00+00:00"
        assert not decision.replay(told).agrees

    def test_says_in_words_what_does_not_follow(self) -> None:
        told = record(judged(0), judged(1))
        told["chosen"] = 11
        assert decision.replay(told).differences == ("chosen: the record says 11, its facts lead to 10",)

    def test_says_of_a_mangled_record_that_it_cannot_be_read(self) -> None:
        told = record(judged(0))
        del told["candidates"][0]["weight"]
        assert decision.replay(told).differences == ("The record cannot be read: KeyError: 'weight'.",)

    def test_takes_the_gates_as_recorded_if_they_asked_for_other_facts_then(self) -> None:
        told = record(judged(0), judged(1, replace(FREE, ae_active=False)))
        for one in told["candidates"]:
            one["facts"]["shoe_size"] = 42
        assert decision.replay(told) == decision.Replay(10, ())

    def test_is_not_asked_of_what_was_done_by_hand(self) -> None:
        assert not decision.can_replay({"chosen": 3, "why": "Given to Ann by hand."})
        assert decision.can_replay(record(judged(0)))


class TestDecide:
    def test_a_claim_goes_first_and_costs_nobody_a_turn(self) -> None:
        told = record(judged(0), judged(1, credit=-TURN), claims=(SAME,))
        assert (told["chosen"], told["how"], told["turn"]) == (11, "same_ae", None)
        assert told["why"] == "Ben already works this account."

    def test_a_claim_of_somebody_not_eligible_is_passed_over(self) -> None:
        told = record(judged(0), judged(1, replace(FREE, capacity=0)), claims=(SAME,))
        assert (told["chosen"], told["how"]) == (10, "rotation")

    @pytest.mark.parametrize("cost", [TURN, TURN // 4])
    def test_a_turn_and_its_refund_leave_every_credit_as_it_was(self, cost: int) -> None:
        decided = decision.decide([judged(0, weight=3), judged(1), judged(2)], pool="West", cost=cost)
        turn = decision.turn_of(decision.record(decided))
        assert turn is not None
        assert {m: turn.changes[m] + turn.undone[m] for m in range(3)} == {0: 0, 1: 0, 2: 0}

    def test_a_turn_that_is_passed_on_is_paid_by_the_new_one(self) -> None:
        decided = decision.decide([judged(0), judged(1)], pool="West")
        assert decided.turn is not None
        assert decided.turn.passed_to(1).changes == {0: TURN // 2, 1: -TURN // 2}
        assert decided.turn.passed_to(4).changes == {0: TURN // 2, 1: TURN // 2, 4: -TURN}, "a later joiner"
