"""Each gate says yes or no, and in words why."""

import json
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta

from routing import eligibility, hours
from routing.eligibility import Candidate
from routing.hours import Hours, Span

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


OFFICE = Hours(zone="Europe/Berlin", week=hours.parse("Mon-Fri 9-17"))
MONDAY_NOON = datetime(2026, 3, 2, 11, tzinfo=UTC)
BY_CLOCK = replace(BEN, at=MONDAY_NOON.isoformat(), zone="Europe/Berlin", hours="Mon-Fri 09:00-17:00")


def away(start: int, end: int | None) -> tuple[str, str | None]:
    """An absence in days from now."""
    until = (MONDAY_NOON + timedelta(days=end)).isoformat() if end is not None else None
    return (MONDAY_NOON + timedelta(days=start)).isoformat(), until


class TestTheClock:
    def test_shuts_the_gate_outside_working_hours(self) -> None:
        assert failed(BY_CLOCK) == {}
        late = replace(BY_CLOCK, at="2026-03-02T16:00:00+00:00")
        assert failed(late) == {"hours": "outside working hours: Mon-Fri 09:00-17:00, Europe/Berlin"}

    def test_shuts_it_on_a_holiday(self) -> None:
        assert failed(replace(BY_CLOCK, holiday="Labour Day")) == {"hours": "on holiday: Labour Day"}

    def test_shuts_it_during_an_absence_and_opens_it_after(self) -> None:
        assert failed(replace(BY_CLOCK, absence=away(-1, 2))) == {"absence": "absent until 4 March 2026"}
        assert failed(replace(BY_CLOCK, absence=away(-1, None))) == {"absence": "absent until further notice"}
        assert failed(replace(BY_CLOCK, absence=away(1, 2))) == {}

    def test_shuts_it_some_days_before_a_long_absence_alone(self) -> None:
        careful = replace(BY_CLOCK, stop_days=3, long_absence_days=5)
        assert failed(replace(careful, absence=away(2, 9))) == {
            "absence": "leaves on 4 March 2026: no new leads in the 3 days before"
        }
        assert failed(replace(careful, absence=away(2, 4))) == {}
        assert failed(replace(careful, absence=away(4, 11))) == {}

    def test_judges_a_record_of_the_facts_as_it_judged_them(self) -> None:
        facts = replace(BY_CLOCK, absence=away(2, 9), stop_days=3, tags=("de",), asked=("en",))
        told = json.loads(json.dumps(asdict(facts)))
        assert eligibility.verdicts(Candidate(**told)) == eligibility.verdicts(facts)


class TestCaps:
    def test_limit_the_day_the_week_and_the_tier(self) -> None:
        full = replace(
            BEN, given_today=2, daily_cap=2, given_this_week=6, weekly_cap=5, tier="hot", open_of_tier=1, tier_cap=1
        )
        assert failed(full) == {
            "daily cap": "2 of 2 given today: full",
            "weekly cap": "6 of 5 given this week: full",
            "tier cap": "1 of 1 open of tier hot: full",
        }


class TestSkills:
    def test_are_asked_for_by_the_rule(self) -> None:
        assert failed(replace(BEN, tags=("de", "en"), asked=("de",))) == {}
        assert failed(replace(BEN, tags=("en",), asked=("de", "law"))) == {"skills": "lacks de, law"}


class TestFreeByClock:
    def test_is_the_start_of_the_next_working_day(self) -> None:
        late = replace(BY_CLOCK, at="2026-03-06T16:30:00+00:00")
        assert eligibility.free_by_clock(late, OFFICE) == datetime(2026, 3, 9, 8, tzinfo=UTC)

    def test_is_the_working_hour_after_the_absence(self) -> None:
        span = Span(MONDAY_NOON - timedelta(days=1), MONDAY_NOON + timedelta(days=2, hours=8))
        works = replace(OFFICE, absences=[span])
        absent = replace(BY_CLOCK, absence=eligibility.said(span))
        assert eligibility.free_by_clock(absent, works) == datetime(2026, 3, 5, 8, tzinfo=UTC)

    def test_is_the_first_morning_after_the_cap_has_run_out(self) -> None:
        capped = replace(BY_CLOCK, given_today=3, daily_cap=3)
        assert eligibility.free_by_clock(capped, OFFICE) == datetime(2026, 3, 3, 8, tzinfo=UTC)
        capped = replace(capped, given_this_week=9, weekly_cap=9)
        assert eligibility.free_by_clock(capped, OFFICE) == datetime(2026, 3, 9, 8, tzinfo=UTC)

    def test_steps_over_a_holiday_that_comes(self) -> None:
        works = replace(OFFICE, holidays={date(2026, 3, 3): "off"})
        capped = replace(BY_CLOCK, given_today=3, daily_cap=3)
        assert eligibility.free_by_clock(capped, works) == datetime(2026, 3, 4, 8, tzinfo=UTC)

    def test_is_nothing_that_the_clock_can_tell_where_capacity_or_skill_is_missing(self) -> None:
        assert eligibility.free_by_clock(replace(BY_CLOCK, open_leads=5), OFFICE) is None
        assert eligibility.free_by_clock(replace(BY_CLOCK, asked=("law",)), OFFICE) is None

    def test_is_nothing_where_nobody_says_when_the_absence_ends(self) -> None:
        works = replace(OFFICE, absences=[Span(MONDAY_NOON, None)])
        assert eligibility.free_by_clock(replace(BY_CLOCK, absence=away(0, None)), works) is None


class TestWhyNobody:
    def test_says_at_once_what_all_have_in_common(self) -> None:
        full = eligibility.verdicts(replace(BEN, open_leads=5))
        assert eligibility.why_nobody("EMEA", [("Ann", full), ("Ben", full), ("Cleo", full)]).startswith(
            "All 3 members of EMEA are at capacity: Ann (5 of 5 open: full), Ben"
        )

    def test_says_of_each_what_it_is(self) -> None:
        full, gone = replace(BEN, open_leads=5), replace(BEN, ae_active=False)
        told = [("Ann", eligibility.verdicts(full)), ("Ben", eligibility.verdicts(gone))]
        assert eligibility.why_nobody("EMEA", told) == (
            "Nobody in EMEA can take it: Ann (5 of 5 open: full), Ben (no longer works leads)."
        )
