"""Who is here when: a person's own hours and absences, and the calendar of everybody's for managers."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from pqlapp.desk.access import EVERYBODY, MANAGERS, Viewer, only, show
from routing import attendance, calendars, hours, roster, rota
from routing.models import AE, Absence, AfterAbsence

DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LENGTHS = (1, 4)  # weeks that the calendar shows
FURTHEST = timedelta(days=365)  # either way: beyond it holidays are not known
TIMES = re.compile(r"[\d\s:,–-]*")
LEADS_ACT = "What becomes of open leads"


class Hours(forms.Form):
    """When somebody works: a field for each day of the week, the time zone, whose public holidays."""

    always = forms.BooleanField(label="At any time of day, every day", required=False)
    time_zone = forms.ChoiceField(label="Time zone")
    calendar = forms.CharField(
        label="Public holidays of",
        required=False,
        max_length=32,
        help_text="A country such as DE, or a part of one such as DE-BY or US-CA; empty: none.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["time_zone"].choices = [(zone, zone) for zone in _zones()]  # type: ignore[attr-defined]
        for number, name in enumerate(DAY_NAMES):
            self.fields[_field(number)] = forms.CharField(label=name, required=False, max_length=60)

    @property
    def days(self) -> list[forms.BoundField]:
        """The fields of the days, from Monday."""
        return [self[_field(number)] for number in range(7)]

    def clean_calendar(self) -> str:
        """Return the calendar, if there is such a one. Raises ValidationError."""
        calendar: str = self.cleaned_data["calendar"].strip()
        try:
            calendars.days_off(calendar, timezone.now().year)
        except calendars.NoSuchCalendar as error:
            raise forms.ValidationError(f"{error}") from error
        return calendar

    def clean(self) -> dict[str, Any]:
        """Read the hours of each day, and tell by the day what cannot be read."""
        cleaned = super().clean() or {}
        if not cleaned.get("always"):
            for number in range(7):
                self._read(number, cleaned.get(_field(number), ""))
            if not self.errors and not self.week:
                self.add_error("always", "Give at least one day its hours, or tick that any time will do.")
        return cleaned

    @property
    def week(self) -> str:
        """The week as the verb takes it; empty: always."""
        if self.cleaned_data.get("always"):
            return ""
        said = ((name, self.cleaned_data.get(_field(n), "")) for n, name in enumerate(hours.DAY_NAMES))
        return "; ".join(f"{name} {times}" for name, times in said if times)

    def _read(self, number: int, times: str) -> None:
        if not TIMES.fullmatch(times):
            self.add_error(_field(number), "Write times only, such as 9:00-12:30, 13:00-17:00; nothing on a day off.")
        elif times:
            try:
                hours.parse(f"{hours.DAY_NAMES[number]} {times}")
            except hours.HoursError as error:
                self.add_error(_field(number), f"{error}")


class Away(forms.Form):
    """From when to when somebody is away, and what becomes of the open leads."""

    first = forms.DateField(label="First day", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    last = forms.DateField(
        label="Last day",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="Empty: until further notice.",
    )
    note = forms.CharField(label="Why, in words", required=False, max_length=attendance.LONGEST_NOTE, strip=True)
    open_leads = forms.ChoiceField(label=LEADS_ACT, choices=AfterAbsence.choices, initial=AfterAbsence.STAY)
    stand_in = forms.ModelChoiceField(AE.objects.none(), label="Stand-in", required=False, empty_label="nobody")
    come_back = forms.BooleanField(label="They come back at the end, unless somebody accepted them", required=False)

    def __init__(self, *args: Any, ae: AE, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = AE.objects.filter(is_active=True, user__is_active=True).exclude(pk=ae.pk)
        by_name = others.select_related("user").order_by("user__first_name", "pk")
        self.fields["stand_in"].queryset = by_name  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Ask whether the leads go to the person who is named."""
        cleaned = super().clean() or {}
        if cleaned.get("stand_in") and cleaned.get("open_leads") != AfterAbsence.STAND_IN:
            self.add_error("open_leads", "You named a stand-in: choose that a stand-in takes them, or name nobody.")
        return cleaned


# ---- one person


@require_safe
@only(EVERYBODY)
def my_time(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Go to one's own page; who works no leads but manages goes to the calendar of everybody."""
    if viewer.ae:
        return HttpResponseRedirect(reverse("time", args=[viewer.ae.pk]))
    if viewer.is_manager:
        return HttpResponseRedirect(reverse("roster"))
    raise Http404("you work no leads: an admin makes your log-in an AE")


@require_safe
@only(EVERYBODY)
def time_page(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Show when somebody works, is away, and is given leads: to themselves, and to managers."""
    ae = _person(viewer, pk)
    return _time(request, viewer, ae, _hours_of(ae), _away_from(request, ae))


@require_POST
@only(EVERYBODY)
def set_hours(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Set the hours; a form that cannot be read comes back with a word beside each fault."""
    ae = _person(viewer, pk)
    form = Hours(request.POST)

    def do(at: datetime) -> str:
        said = form.cleaned_data
        attendance.set_hours(ae=ae, week=form.week, time_zone=said["time_zone"], calendar=said["calendar"], at=at)
        return f"The hours of {ae.name} are set. Deadlines and leads that wait follow at once."

    if _done(request, form, do):
        return HttpResponseRedirect(reverse("time", args=[pk]))
    return _time(request, viewer, ae, form, _away_from(request, ae))


@require_POST
@only(EVERYBODY)
def add_absence(request: HttpRequest, viewer: Viewer, pk: int) -> HttpResponse:
    """Note an absence; a form that cannot be read comes back with a word beside each fault."""
    ae = _person(viewer, pk)
    form = Away(request.POST, ae=ae)

    def do(at: datetime) -> str:
        noted = attendance.add_absence(ae=ae, **form.cleaned_data, at=at)
        return f"{ae.name} is away: {_stretch(rota.away(absence=noted, ae=ae))}."

    if _done(request, form, do):
        return HttpResponseRedirect(reverse("time", args=[pk]))
    return _time(request, viewer, ae, _hours_of(ae), form)


@require_POST
@only(EVERYBODY)
def end_absence(request: HttpRequest, viewer: Viewer, pk: int, absence: int) -> HttpResponse:
    """End an absence now, or strike it out if it has not begun."""
    ae = _person(viewer, pk)
    found = get_object_or_404(Absence.objects.select_related("ae__user"), pk=absence, ae=ae)
    began = attendance.end_absence(absence=found, at=timezone.now())
    messages.success(request, f"{ae.name} is here again." if began else "The absence is struck out.")
    return HttpResponseRedirect(reverse("time", args=[pk]))


def _person(viewer: Viewer, pk: int) -> AE:
    """Return the person, if the viewer may see their time. Raises Http404."""
    if not viewer.is_manager and (viewer.ae is None or viewer.ae.pk != pk):
        raise Http404
    return get_object_or_404(AE.objects.select_related("user"), pk=pk)


def _hours_of(ae: AE) -> Hours:
    by_day = rota.hours_by_day(week=ae.hours) if ae.hours else [""] * 7
    days = {_field(number): times for number, times in enumerate(by_day)}
    return Hours(initial={"always": not ae.hours, "time_zone": ae.time_zone, "calendar": ae.calendar, **days})


def _away_from(request: HttpRequest, ae: AE) -> Away:
    """Return an empty form, or one that begins on the day which the calendar was left from."""
    return Away(ae=ae, initial={"first": _day(request.GET.get("from", ""))})


def _done(request: HttpRequest, form: forms.Form, do: Callable[[datetime], str]) -> bool:
    """Do it if the form can be read; what the verb refuses is told beside its field."""
    if not form.is_valid():
        return False
    try:
        messages.success(request, do(timezone.now()))
    except attendance.AttendanceError as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
        return False
    return True


def _time(request: HttpRequest, viewer: Viewer, ae: AE, week: Hours, away: Away) -> HttpResponse:
    """Show the page, its times in the person's own zone."""
    now = timezone.now()
    works = roster.hours_of([ae], at=now)[ae.pk]
    with timezone.override(ZoneInfo(ae.time_zone)):
        response = show(
            request,
            viewer,
            "time",
            {
                "ae": ae,
                "mine": ae == viewer.ae,
                "now": now,
                "presence": rota.presence(works=works, at=now),
                "places": rota.places(ae=ae, works=works, at=now),
                "absences": [(one, _stretch(one)) for one in rota.absences(ae=ae, at=now)],
                "holidays": rota.holidays_ahead(works=works, at=now),
                "week": week,
                "away": away,
            },
        )
    response.status_code = 422 if week.errors or away.errors else 200
    return response


def _stretch(away: rota.Away) -> str:
    """Say an absence in days: "3 March 2026", "3 March to 5 March 2026", "from 3 March 2026"."""
    first, last = away.first, away.last
    if last is None:
        return f"from {first:%-d %B %Y} until further notice"
    return f"{last:%-d %B %Y}" if first == last else f"{first:%-d %B} to {last:%-d %B %Y}"


# ---- everybody


@dataclass(frozen=True, slots=True)
class Shown:
    """Which days the calendar shows, and the way to others."""

    first: date
    weeks: int
    today: date

    @property
    def last(self) -> date:
        """The last day."""
        return self.first + timedelta(days=7 * self.weeks - 1)

    @property
    def dates(self) -> Sequence[date]:
        """All of them."""
        return [self.first + timedelta(days=number) for number in range(7 * self.weeks)]

    @property
    def before(self) -> date:
        """Where the page before begins."""
        return self.first - timedelta(days=7 * self.weeks)

    @property
    def after(self) -> date:
        """Where the next page begins."""
        return self.last + timedelta(days=1)


@require_safe
@only(MANAGERS)
def roster_page(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Show people and days: who works when, is away, has a holiday, and where a pool has nobody."""
    now = timezone.now()
    shown = _shown(request.GET, timezone.localdate(now))
    teams = rota.calendar(first=shown.first, days=7 * shown.weeks, at=now)
    return show(request, viewer, "roster", {"teams": teams, "shown": shown, "lengths": LENGTHS, "now": now})


def _shown(asked: Mapping[str, str], today: date) -> Shown:
    wanted = _day(asked.get("from", "")) or today
    near = min(max(wanted, today - FURTHEST), today + FURTHEST)
    weeks = next((weeks for weeks in LENGTHS if asked.get("weeks") == str(weeks)), LENGTHS[0])
    return Shown(near - timedelta(days=near.weekday()), weeks, today)


def _day(text: str) -> date | None:
    with suppress(ValueError):
        return date.fromisoformat(text)
    return None


def _field(number: int) -> str:
    """Return the name of the field of a day of the week: mon, tue, ..."""
    return hours.DAY_NAMES[number].lower()


@lru_cache(maxsize=1)
def _zones() -> Sequence[str]:
    return sorted(available_timezones())
