"""When the AEs work: their hours, public and the company's holidays, absences. Read-only."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache

from django.db.models import Q

from routing import calendars, hours
from routing.hours import Hours, Shift, Span
from routing.models import AE, Absence, Holiday

# Absences and company holidays that were over so long ago are not read.
LOOK_BACK = timedelta(days=400)


def hours_of(aes: Iterable[AE], *, at: datetime) -> dict[int, Hours]:
    """Return by id when each AE works, from a year before the moment to three years after it; two queries."""
    those = list(aes)
    since = at - LOOK_BACK
    away: dict[int, list[Span]] = {}
    still = Absence.objects.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=since), ae__in=[ae.pk for ae in those])
    for ae, start, end in still.order_by("starts_at", "pk").values_list("ae", "starts_at", "ends_at"):
        away.setdefault(ae, []).append(Span(start, end))
    company = _company(since.date())
    return {
        ae.pk: Hours(
            zone=ae.time_zone,
            week=_week(ae.hours),
            holidays=_holidays(ae.calendar, at.year) | company.get("", {}) | company.get(ae.calendar, {}),
            absences=tuple(away.get(ae.pk, ())),
        )
        for ae in those
    }


@lru_cache(maxsize=1024)
def _week(text: str) -> tuple[Shift, ...]:
    return hours.parse(text)


@lru_cache(maxsize=1024)
def _holidays(calendar: str, year: int) -> dict[date, str]:
    years = range(year - 1, year + 4) if calendar else ()
    return {day: name for each in years for day, name in calendars.days_off(calendar, each).items()}


def _company(since: date) -> Mapping[str, dict[date, str]]:
    """Return the days off that no public calendar knows, by the calendar of those who have them."""
    found: dict[str, dict[date, str]] = {}
    for calendar, day, name in Holiday.objects.filter(on__gte=since).values_list("calendar", "on", "name"):
        found.setdefault(calendar, {})[day] = name
    return found
