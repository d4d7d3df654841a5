"""Public holidays by country and part."""

from datetime import date

import pytest

from routing import calendars


class TestDaysOff:
    def test_are_those_of_the_country(self) -> None:
        assert calendars.days_off("DE", 2026)[date(2026, 10, 3)] == "German Unity Day"
        assert date(2026, 1, 6) not in calendars.days_off("DE", 2026)

    def test_are_those_of_its_part(self) -> None:
        assert calendars.days_off("de-by", 2026)[date(2026, 1, 6)] == "Epiphany"

    def test_are_none_without_a_calendar(self) -> None:
        assert calendars.days_off("", 2026) == {}

    @pytest.mark.parametrize(("code", "says"), [("XX", "not a country's code"), ("DE-ZZ", "no part 'ZZ'.*BY")])
    def test_of_a_place_that_is_not_known_are_refused(self, code: str, says: str) -> None:
        with pytest.raises(calendars.NoSuchCalendar, match=says):
            calendars.days_off(code, 2026)
