"""Each gate says yes or no, and in words why."""

from dataclasses import replace

from routing import eligibility
from routing.eligibility import Candidate

BEN = Candidate(membership_active=True, ae_active=True, log_in_active=True, open_leads=3, capacity=5)


def failed(candidate: Candidate) -> dict[str, str]:
    return {v.name: v.detail for v in eligibility.verdicts(candidate) if not v.passed}


class TestVerdicts:
    def test_pass_for_a_free_member(self) -> None:
        verdicts = eligibility.verdicts(BEN)
        assert eligibility.is_eligible(verdicts)
        assert [v.detail for v in verdicts] == ["in the rotation", "active", "3 of 5 open", "never had this lead"]

    def test_refuse_a_full_one(self) -> None:
        assert failed(replace(BEN, open_leads=5)) == {"capacity": "5 of 5 open: full"}

    def test_refuse_one_above_a_lowered_capacity(self) -> None:
        assert failed(replace(BEN, open_leads=7)) == {"capacity": "7 of 5 open: full"}

    def test_know_no_limit_without_a_capacity(self) -> None:
        assert failed(replace(BEN, open_leads=1000, capacity=None)) == {}

    def test_give_nothing_to_a_capacity_of_nought(self) -> None:
        assert failed(replace(BEN, open_leads=0, capacity=0)) == {"capacity": "0 of 0 open: full"}

    def test_refuse_who_left_the_pool_the_team_or_lost_the_log_in(self) -> None:
        assert failed(replace(BEN, membership_active=False)) == {"membership": "taken out of the pool's rotation"}
        assert failed(replace(BEN, ae_active=False)) == {"active": "no longer works leads"}
        assert failed(replace(BEN, log_in_active=False)) == {"active": "cannot log in"}

    def test_are_all_told_even_when_the_first_fails(self) -> None:
        nobody = replace(BEN, membership_active=False, ae_active=False, open_leads=9, had_it=True)
        assert list(failed(nobody)) == ["membership", "active", "capacity", "new to it"]

    def test_do_not_give_a_lead_back_to_who_had_it(self) -> None:
        assert failed(replace(BEN, had_it=True)) == {"new to it": "had this lead before"}


class TestIsFree:
    def test_asks_about_any_lead_but_the_one_in_hand(self) -> None:
        assert eligibility.is_free(replace(BEN, had_it=True))
        assert not eligibility.is_free(replace(BEN, had_it=True, open_leads=5))
