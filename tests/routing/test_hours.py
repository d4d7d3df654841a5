"""Hours by the week, held to the clock on the wall: over changes of the clock, leap days, holidays, absences."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import hours
from routing.hours import Hours, HoursError, Shift, Span

OFFICE = hours.parse("Mon-Fri 9-17")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Kolkata")


def berlin(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, *, fold: int = 0
) -> datetime:
    local = datetime(year, month, day, hour, minute, second, fold=fold, tzinfo=ZoneInfo("Europe/Berlin"))
    return local.astimezone(UTC)


def office(**changes: Any) -> Hours:
    return replace(Hours(zone="Europe/Berlin", week=OFFICE), **changes)


class TestParse:
    @pytest.mark.parametrize(
        ("text", "canonical"),
        [
            ("Mon-Fri 9-17", "Mon-Fri 09:00-17:00"),
            ("monday–thursday 9:00–12:30, 13-17:00; Fri 9-12:30", "Mon-Thu 09:00-12:30, 13:00-17:00; Fri 09:00-12:30"),
            ("Tue, Thu: 8-12", "Tue 08:00-12:00; Thu 08:00-12:00"),
            ("Sat-Mon 10-14", "Mon 10:00-14:00; Sat-Sun 10:00-14:00"),
            ("Fri 22-6", "Fri 22:00-24:00; Sat 00:00-06:00"),
            ("Sun 22-0", "Sun 22:00-24:00"),
            ("Mon 9-12; Mon 11-14", "Mon 09:00-14:00"),
            ("never", "never"),
            ("", ""),
            ("Mon-Sun 0-24", ""),
        ],
    )
    def test_reads_what_people_write(self, text: str, canonical: str) -> None:
        assert hours.say(hours.parse(text)) == canonical
        assert hours.parse(canonical) == hours.parse(text)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("9-17", "names no days"),
            ("Mon-Fri", "names no days"),
            ("Mom 9-17", "'Mom' is not a day"),
            ("Mon 9", "has no end"),
            ("Mon 9-25", "'25' is not a time"),
            ("Mon 9:60-17", "'9:60' is not a time"),
            ("Mon 9-9", "no stretch of time"),
            ("Mon 24-6", "no stretch of time"),
        ],
    )
    def test_says_what_it_cannot_read(self, text: str, says: str) -> None:
        with pytest.raises(HoursError, match=says):
            hours.parse(text)


class TestADay:
    def test_begins_and_ends_by_the_clock_where_the_person_is(self) -> None:
        assert not office().is_working(berlin(2026, 3, 2, 8, 59))
        assert office().is_working(berlin(2026, 3, 2, 9))
        assert office().is_working(berlin(2026, 3, 2, 16, 59, 59))
        assert not office().is_working(berlin(2026, 3, 2, 17))

    def test_without_hours_is_worked_through(self) -> None:
        assert Hours().is_working(berlin(2026, 3, 1, 3))
        assert Hours().business_seconds(berlin(2026, 3, 1), berlin(2026, 3, 8)) == 7 * 86400

    def test_after_friday_comes_monday(self) -> None:
        assert office().next_working(berlin(2026, 3, 6, 17)) == berlin(2026, 3, 9, 9)
        assert office().next_working(berlin(2026, 3, 9, 10)) == berlin(2026, 3, 9, 10)

    def test_a_deadline_at_the_end_of_a_day_is_not_put_off_to_the_next(self) -> None:
        assert office().add_business_time(berlin(2026, 3, 6, 16), 3600) == berlin(2026, 3, 6, 17)
        assert office().add_business_time(berlin(2026, 3, 6, 16), 3601) == berlin(2026, 3, 9, 9, 0, 1)

    def test_may_be_a_holiday(self) -> None:
        off = office(holidays={date(2026, 5, 1): "Labour Day"})
        assert off.holiday(berlin(2026, 5, 1)) == "Labour Day"
        assert off.next_working(berlin(2026, 4, 30, 17)) == berlin(2026, 5, 4, 9)

    def test_may_be_the_29th_of_february(self) -> None:
        assert office().add_business_time(berlin(2028, 2, 28, 16), 2 * 3600) == berlin(2028, 2, 29, 10)
        assert office().business_seconds(berlin(2028, 2, 28), berlin(2028, 3, 1)) == 16 * 3600

    def test_may_be_left_out_by_the_calendar(self) -> None:
        """Samoa went over the date line: there was no 30 December 2011 there."""
        samoa = Hours(zone="Pacific/Apia")
        a, b = (
            datetime(2011, 12, 29, tzinfo=ZoneInfo("Pacific/Apia")),
            datetime(2012, 1, 1, tzinfo=ZoneInfo("Pacific/Apia")),
        )
        assert samoa.business_seconds(a, b) == 2 * 86400


class TestWhenTheClockIsSet:
    def test_the_hour_that_spring_leaves_out_is_not_worked(self) -> None:
        night = office(week=hours.parse("Sun 1-4"))
        assert night.business_seconds(berlin(2026, 3, 29), berlin(2026, 3, 30)) == 2 * 3600
        assert night.add_business_time(berlin(2026, 3, 29, 1), 2 * 3600) == berlin(2026, 3, 29, 4)

    def test_hours_within_that_hour_are_not_there_that_day(self) -> None:
        night = office(week=hours.parse("Sun 2:00-2:45"))
        assert night.business_seconds(berlin(2026, 3, 29), berlin(2026, 3, 30)) == 0
        assert night.next_working(berlin(2026, 3, 28)) == berlin(2026, 4, 5, 2)

    def test_a_start_within_it_is_when_the_clock_jumps(self) -> None:
        night = office(week=hours.parse("Sun 2:30-4"))
        assert night.next_working(berlin(2026, 3, 29)) == berlin(2026, 3, 29, 3)

    def test_the_hour_that_autumn_shows_twice_is_worked_twice(self) -> None:
        night = office(week=hours.parse("Sun 1-4"))
        assert night.business_seconds(berlin(2026, 10, 25), berlin(2026, 10, 26)) == 4 * 3600

    def test_an_end_within_it_comes_twice(self) -> None:
        night = office(week=hours.parse("Sun 1-2:30"))
        assert night.business_seconds(berlin(2026, 10, 25), berlin(2026, 10, 26)) == 2 * 3600
        assert not night.is_working(berlin(2026, 10, 25, 2, 45))
        assert night.is_working(berlin(2026, 10, 25, 2, 15, fold=1))
        assert not night.is_working(berlin(2026, 10, 25, 2, 45, fold=1))

    def test_a_day_has_23_and_25_hours(self) -> None:
        assert Hours("Europe/Berlin").business_seconds(berlin(2026, 3, 29), berlin(2026, 3, 30)) == 23 * 3600
        assert Hours("Europe/Berlin").business_seconds(berlin(2026, 10, 25), berlin(2026, 10, 26)) == 25 * 3600


class TestAbsences:
    def test_in_the_middle_are_not_worked(self) -> None:
        away = office(absences=[Span(berlin(2026, 3, 2, 12), berlin(2026, 3, 4, 12))])
        assert away.business_seconds(berlin(2026, 3, 2), berlin(2026, 3, 5)) == (3 + 5) * 3600
        assert away.add_business_time(berlin(2026, 3, 2, 11), 2 * 3600) == berlin(2026, 3, 4, 13)
        assert away.next_working(berlin(2026, 3, 2, 12)) == berlin(2026, 3, 4, 12)

    def test_that_touch_are_one(self) -> None:
        first, second = Span(berlin(2026, 3, 2), berlin(2026, 3, 7)), Span(berlin(2026, 3, 7), berlin(2026, 3, 10))
        away = office(absences=[second, first])
        assert away.absence(berlin(2026, 3, 3)) == Span(first.start, second.end)
        assert away.next_working(berlin(2026, 3, 3)) == berlin(2026, 3, 10, 9)

    def test_until_further_notice_have_no_end(self) -> None:
        away = office(absences=[Span(berlin(2026, 3, 2), None), Span(berlin(2026, 4, 1), berlin(2026, 4, 2))])
        assert away.next_working(berlin(2026, 3, 2)) is None
        assert away.add_business_time(berlin(2026, 2, 27, 16), 3601) is None
        assert away.business_seconds(berlin(2026, 2, 27), berlin(2027, 1, 1)) == 8 * 3600


class TestNever:
    def test_is_an_answer_and_not_an_endless_search(self) -> None:
        nobody = office(week=())
        assert nobody.next_working(berlin(2026, 3, 2)) is None
        assert nobody.add_business_time(berlin(2026, 3, 2), 1) is None
        assert nobody.add_business_time(berlin(2026, 3, 2), 0) == berlin(2026, 3, 2)
        assert nobody.business_seconds(berlin(2026, 3, 2), berlin(2027, 3, 2)) == 0


# Around both changes of the clock of 2026, to the second.
moments = st.integers(0, 400 * 86400).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
shifts = st.tuples(st.integers(0, 6), st.integers(0, 1439), st.integers(1, 1440)).filter(lambda s: s[1] < s[2])
spans = st.tuples(moments, st.integers(1, 20 * 86400)).map(lambda s: Span(s[0], s[0] + timedelta(seconds=s[1])))


@st.composite
def people(draw: st.DrawFn) -> Hours:
    week = hours._joined([Shift(*shift) for shift in draw(st.lists(shifts, min_size=1, max_size=6))])
    off = draw(st.lists(st.integers(0, 400), max_size=5))
    return Hours(
        zone=draw(st.sampled_from(ZONES)),
        week=week,
        holidays={date(2026, 1, 1) + timedelta(days=day): "off" for day in off},
        absences=draw(st.lists(spans, max_size=3)),
    )


class TestProperties:
    @settings(max_examples=40, deadline=None)
    @given(people(), st.tuples(moments, moments, moments).map(sorted))
    def test_stretches_add_up(self, who: Hours, times: list[datetime]) -> None:
        a, b, c = times
        assert who.business_seconds(a, b) + who.business_seconds(b, c) == who.business_seconds(a, c)
        assert 0 <= who.business_seconds(a, c) <= (c - a).total_seconds()

    @settings(max_examples=40, deadline=None)
    @given(people(), moments, st.integers(1, 200 * 3600))
    def test_adding_is_the_inverse_of_counting(self, who: Hours, start: datetime, seconds: int) -> None:
        end = who.add_business_time(start, seconds)
        if end is None:
            assert who.business_seconds(start, start + hours.LOOK_AHEAD) < seconds
            return
        assert who.business_seconds(start, end) == seconds
        assert who.business_seconds(start, end - timedelta(seconds=1)) == seconds - 1, "it is the earliest such moment"

    @settings(max_examples=40, deadline=None)
    @given(people(), moments)
    def test_the_next_worked_moment_is_worked_and_none_before_it(self, who: Hours, at: datetime) -> None:
        soon = who.next_working(at)
        if soon is None:
            return
        assert who.is_working(soon)
        assert who.business_seconds(at, soon) == 0
        assert who.is_working(at) == (soon == at)

    @settings(max_examples=25, deadline=None)
    @given(people(), moments)
    def test_counting_agrees_with_looking_at_the_clock_minute_by_minute(self, who: Hours, at: datetime) -> None:
        start = at.replace(second=0)
        whole = Hours(who.zone, who.week, who.holidays)  # absences begin within minutes
        looked = sum(whole.is_working(start + timedelta(minutes=minute)) for minute in range(600))
        assert whole.business_seconds(start, start + timedelta(minutes=600)) == 60 * looked


class TestText:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(shifts, max_size=8))
    def test_what_is_said_is_read_as_the_same(self, drawn: list[tuple[int, int, int]]) -> None:
        week = hours._joined([Shift(*shift) for shift in drawn])
        assert hours.parse(hours.say(week)) == week
