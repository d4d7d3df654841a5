"""Who is here when: by each person's own calendar, with the days on which a pool has nobody."""

from datetime import UTC, date, datetime, timedelta

import pytest
from pytest_django import DjangoAssertNumQueries

from routing import attendance, people, roster, rota
from routing.hours import Hours, Span, parse
from routing.models import AE, Membership
from routing.rota import Kind

TUESDAY = datetime(2026, 12, 22, 9, tzinfo=UTC)
OFFICE = parse("Mon-Fri 9-17")


def utc(day: int, hour: int) -> datetime:
    return datetime(2026, 12, day, hour, tzinfo=UTC)


class TestPresence:
    def test_at_work_until_the_stretch_ends_and_again_on_the_next_day_that_is_worked(self) -> None:
        works = Hours(zone="Europe/Berlin", week=OFFICE, holidays={date(2026, 12, 25): "Christmas Day"})
        told = rota.presence(works=works, at=utc(24, 9))
        assert (told.works, told.until, told.next_at) == (True, utc(24, 16), utc(28, 8))
        assert rota.presence(works=works, at=utc(25, 9)).why == "holiday: Christmas Day"
        assert rota.presence(works=works, at=utc(26, 9)).why == "outside the working hours"

    def test_stretches_that_touch_are_one_and_an_absence_ends_them(self) -> None:
        nights = Hours(week=parse("Mon-Sun 22-6"))
        assert rota.presence(works=nights, at=utc(22, 23)).until == utc(23, 6)
        leaves = Hours(absences=[Span(utc(24, 0), utc(27, 0))])
        assert rota.presence(works=leaves, at=TUESDAY) == rota.Presence(True, utc(24, 0), utc(27, 0), "")
        assert rota.presence(works=leaves, at=utc(25, 0)).why == "away"

    def test_who_always_works_has_no_end_and_who_is_away_for_good_no_beginning(self) -> None:
        assert rota.presence(works=Hours(), at=TUESDAY) == rota.Presence(True, None, None, "")
        gone = Hours(absences=[Span(utc(1, 0), None)])
        assert rota.presence(works=gone, at=TUESDAY) == rota.Presence(False, None, None, "away")

    def test_on_the_day_on_which_the_clock_is_set_forward(self) -> None:
        works = Hours(zone="Europe/Berlin", week=parse("Sun 1-4"))
        sunday = date(2026, 3, 29)
        assert works.worked_on(sunday) == [(datetime(2026, 3, 29, 0, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC))]


@pytest.mark.django_db
class TestCalendar:
    @pytest.fixture
    def west(self) -> list[AE]:
        """Ann in Berlin and Ben in Sydney, both in office hours."""
        aes = []
        for name, zone, calendar in (("ann", "Europe/Berlin", "DE"), ("ben", "Australia/Sydney", "")):
            ae, _ = people.create_ae(
                email=f"{name}@example.com", name=name.capitalize(), pool="West", at=TUESDAY, capacity=5
            )
            aes.append(attendance.set_hours(ae=ae, week="Mon-Fri 9-17", time_zone=zone, calendar=calendar, at=TUESDAY))
        return aes

    def test_says_what_each_day_is_and_on_which_the_pool_has_nobody(self, west: list[AE]) -> None:
        ann, ben = west
        friday = date(2026, 12, 25)
        attendance.add_absence(
            ae=ben,
            first=date(2026, 12, 24),
            last=friday,
            at=TUESDAY,
            note="Sailing",
            open_leads="stand_in",
            stand_in=ann,
        )
        (team,) = rota.calendar(first=date(2026, 12, 21), days=7, at=TUESDAY)
        anns, bens = ([day.kind for day in line.days] for line in team.lines)
        assert anns == [Kind.WORKS] * 4 + [Kind.HOLIDAY, Kind.OFF, Kind.OFF]
        assert bens == [Kind.WORKS] * 3 + [Kind.AWAY, Kind.AWAY, Kind.OFF, Kind.OFF]
        assert team.lines[0].days[0].words == "9:00-17:00"
        (gap,) = team.gaps  # nobody works on Sunday either, but nobody ever does
        assert gap.on == friday
        assert gap.out == [(ann, "holiday: Christmas Day"), (ben, "away, Ann stands in, Sailing")]

    def test_leaves_out_who_is_out_of_the_rotation(self, west: list[AE]) -> None:
        Membership.objects.filter(ae=west[0]).update(is_active=False)
        (team,) = rota.calendar(first=date(2026, 12, 21), days=1, at=TUESDAY)
        assert [line.membership.ae for line in team.lines] == [west[1]]

    def test_costs_the_same_for_four_weeks(
        self, west: list[AE], django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(6):
            rota.calendar(first=date(2026, 12, 21), days=28, at=TUESDAY)

    def test_an_absence_is_told_in_whole_days_of_its_own_zone(self, west: list[AE]) -> None:
        ben, day = west[1], date(2027, 1, 4)
        attendance.add_absence(ae=ben, first=day, last=day + timedelta(days=1), at=TUESDAY)
        (away,) = rota.absences(ae=ben, at=TUESDAY)
        assert (away.first, away.last) == (day, date(2027, 1, 5))

    def test_a_place_says_which_gates_are_shut_and_when_time_opens_them(self, west: list[AE]) -> None:
        ben = west[1]
        works = roster.hours_of([ben], at=TUESDAY)[ben.pk]
        (place,) = rota.places(ae=ben, works=works, at=TUESDAY)  # 20:00 in Sydney
        assert [gate.name for gate in place.shut] == ["hours"]
        assert place.free_at == utc(22, 22)
        people.set_membership(pool=place.membership.pool, ae=ben, weight=1, capacity=0, is_active=True, at=TUESDAY)
        (full,) = rota.places(ae=ben, works=works, at=TUESDAY)
        assert [gate.name for gate in full.shut] == ["hours", "capacity"]
        assert full.free_at is None


class TestHoursByDay:
    def test_are_read_back_as_they_were_said(self) -> None:
        told = rota.hours_by_day(week="Mon-Thu 9-12:30, 13-17; Fri 22-2")
        assert told == ["09:00-12:30, 13:00-17:00"] * 4 + ["22:00-24:00", "00:00-02:00", ""]
