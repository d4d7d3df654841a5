"""Which days are public holidays where. Pure: a calendar's code and a year in, days out."""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache

import holidays


class NoSuchCalendar(ValueError):
    """There is no calendar of the code; the text says which there are."""


@lru_cache(maxsize=1024)
def days_off(calendar: str, year: int) -> Mapping[date, str]:
    """Return the public holidays of a year with their names, in English where there are such.

    A calendar is a country, or a part of one: `DE`, `DE-BY`, `US-CA`; empty: no holidays at all.
    Raises NoSuchCalendar.
    """
    if not calendar:
        return {}
    country, _, part = calendar.upper().partition("-")
    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known:
        raise NoSuchCalendar(f"{calendar!r} is not a country's code: write for example DE, or DE-BY for a part of it.")
    if part and part not in known[country]:
        parts = ", ".join(name for name in known[country] if name.isupper()) or "none"
        raise NoSuchCalendar(f"{country} has no part {part!r} with holidays of its own; it has: {parts}.")
    return dict(holidays.country_holidays(country, subdiv=part or None, years=year, language="en_US"))
