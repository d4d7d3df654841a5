"""When people work, and when they are away: hours, public and the company's holidays, absences."""

from datetime import date, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Q

from routing import calendars, hours, leads
from routing.models import AE, Absence, AfterAbsence, Holiday

LONGEST_NOTE = 200


class AttendanceError(ValueError):
    """Hours or an absence that cannot be; the text says what to do, `field` which argument it is about, if one."""

    def __init__(self, text: str, *, field: str = "") -> None:
        super().__init__(text)
        self.field = field


def set_hours(*, ae: AE, week: str, time_zone: str, calendar: str, at: datetime) -> AE:
    """Say when an AE works: `Mon-Fri 9-17` in a time zone, less the public holidays of a calendar; returns the AE.

    An empty week means at any time, an empty calendar no public holidays. Leads that wait are given out after the
    commit. Raises AttendanceError if one of them cannot be read.
    """
    try:
        hours.check_zone(time_zone)
        said = hours.say(hours.parse(week))
        calendars.days_off(calendar.strip(), at.year)
    except (hours.HoursError, calendars.NoSuchCalendar) as error:
        raise AttendanceError(f"{error}") from error
    with transaction.atomic():
        ae.hours, ae.time_zone, ae.calendar = said, time_zone, calendar.strip().upper()
        ae.save(update_fields=["hours", "time_zone", "calendar"])
        _tend_later(ae=ae, at=at)
    return ae


def add_absence(
    *,
    ae: AE,
    first: date,
    last: date | None,
    at: datetime,
    note: str = "",
    open_leads: str = AfterAbsence.STAY,
    stand_in: AE | None = None,
    come_back: bool = False,
) -> Absence:
    """Note that an AE is away from a first to a last whole day, in the AE's time zone; no last: until further notice.

    `open_leads` says what becomes of the open ones when it begins: they stay, go to the stand-in, or back to the pool;
    with `come_back` they return at its end. What has begun already is handed over after the commit. Returns it. Raises
    AttendanceError if the days or the stand-in are impossible, or overlap with another absence.
    """
    _check(ae, first, last, open_leads, stand_in)
    start = _midnight(ae, first)
    end = None if last is None else _midnight(ae, last + timedelta(days=1))
    if end is not None and end <= at:
        text = "That absence is over: note one that is still to come, or goes on today."
        raise AttendanceError(text, field="last")
    with transaction.atomic():
        AE.objects.select_for_update().get(pk=ae.pk)  # two at once would not see that they overlap
        _check_alone(ae, start, end)
        absence = Absence.objects.create(
            ae=ae,
            starts_at=start,
            ends_at=end,
            note=note.strip()[:LONGEST_NOTE],
            open_leads=open_leads,
            stand_in=stand_in if open_leads == AfterAbsence.STAND_IN else None,
            come_back=come_back and open_leads != AfterAbsence.STAY,
        )
        _tend_later(ae=ae, at=at)
    return absence


def end_absence(*, absence: Absence, at: datetime) -> bool:
    """End an absence now, or strike it out if it has not begun; returns whether anything of it stays in the books.

    What was handed over comes back after the commit if it was to; leads that wait are given out. One that is over
    stays as it is.
    """
    with transaction.atomic():
        held = Absence.objects.select_for_update().get(pk=absence.pk)
        if held.starts_at >= at and held.handed_over_at is None:
            held.delete()
            return False
        if held.ends_at is None or held.ends_at > at:
            held.ends_at = at
            held.save(update_fields=["ends_at"])
            _tend_later(ae=held.ae, at=at)
    return True


def set_holiday(*, on: date, name: str, calendar: str, at: datetime) -> Holiday:
    """Give everybody, or those with one calendar, a day off that no public calendar knows; returns it.

    Deadlines are set anew after the commit. Raises AttendanceError if it has no name, or there is no such calendar.
    """
    if not name.strip():
        raise AttendanceError("Give the day off a name: decisions say it where it keeps somebody from a lead.")
    try:
        calendars.days_off(calendar.strip(), at.year)
    except calendars.NoSuchCalendar as error:
        raise AttendanceError(f"{error}") from error
    with transaction.atomic():
        made, _ = Holiday.objects.update_or_create(
            on=on, calendar=calendar.strip().upper(), defaults={"name": name.strip()}
        )
        _tend_all_later(made, at=at)
    return made


def drop_holiday(*, holiday: Holiday, at: datetime) -> None:
    """Let a day off be a day like others; after the commit deadlines are set anew, and leads that wait given out."""
    with transaction.atomic():
        Holiday.objects.filter(pk=holiday.pk).delete()
        _tend_all_later(holiday, at=at)


def _check(ae: AE, first: date, last: date | None, open_leads: str, stand_in: AE | None) -> None:
    if last is not None and last < first:
        raise AttendanceError("An absence ends on its first day or later.", field="last")
    if open_leads not in AfterAbsence.values:
        raise AttendanceError(f"{open_leads!r} is not a choice: choose one of {', '.join(AfterAbsence.values)}.")
    if open_leads != AfterAbsence.STAND_IN:
        return
    if stand_in is None:
        text = "Name who stands in, or let the leads stay or go back to the pool."
        raise AttendanceError(text, field="stand_in")
    if stand_in.pk == ae.pk or not stand_in.is_active:
        text = f"{stand_in.name} cannot stand in for {ae.name}: name another AE who works leads."
        raise AttendanceError(text, field="stand_in")


def _check_alone(ae: AE, start: datetime, end: datetime | None) -> None:
    others = Absence.objects.filter(Q(ends_at=None) | Q(ends_at__gt=start), ae=ae)
    other = (others.filter(starts_at__lt=end) if end else others).first()
    if other:
        began = other.starts_at.astimezone(ZoneInfo(ae.time_zone))
        text = f"{ae.name} has an absence from {began:%-d %B %Y} already: end that one first."
        raise AttendanceError(text, field="first")


def _midnight(ae: AE, day: date) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(ae.time_zone))


def _tend_all_later(holiday: Holiday, *, at: datetime) -> None:
    everybody = AE.objects.filter(is_active=True).select_related("user").order_by("pk")
    for ae in everybody.filter(calendar=holiday.calendar) if holiday.calendar else everybody:
        transaction.on_commit(partial(leads.reset_deadlines, ae=ae, at=at), robust=True)
    leads.drain_later(at=at)


def _tend_later(*, ae: AE, at: datetime) -> None:
    """After the commit, set the AE's deadlines anew and do what is due; if that fails, the periodic task does it."""
    transaction.on_commit(partial(leads.reset_deadlines, ae=ae, at=at), robust=True)
    transaction.on_commit(partial(leads.tend, at=at), robust=True)
