"""Numbers and times as the desk's pages write them."""

from datetime import date, datetime, timedelta

from django import template
from django.utils import timezone

from scoring import explain

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86400


@register.filter
def points(hundredths: int | None) -> str:
    """Write hundredths of a point as points: 7250 is "72.5"."""
    return "" if hundredths is None else explain.points(hundredths)


@register.filter
def signed(hundredths: int) -> str:
    """Write points with their sign: "+20", "−5", "0"."""
    return f"+{points(hundredths)}" if hundredths > 0 else points(hundredths)


@register.filter
def span(length: timedelta) -> str:
    """Write a length of time in its one telling unit: "4 min", "3 h", "12 d"."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < HOUR:
        return f"{seconds // MINUTE} min"
    return f"{seconds // HOUR} h" if seconds < 2 * DAY else f"{seconds // DAY} d"


@register.filter
def due(left: timedelta) -> str:
    """Write how long there is for something: "due in 3 h", "2 d overdue"."""
    return f"due in {span(left)}" if left > timedelta(0) else f"{span(-left)} overdue"


@register.filter
def day(when: date | datetime | None) -> str:
    """Write a day as "3 Dec", with the year if it is not the present one; of a time, the day in the viewer's zone."""
    if when is None:
        return ""
    today = timezone.localdate()
    return explain.day(timezone.localtime(when).date() if isinstance(when, datetime) else when, today)


@register.filter
def moment(when: datetime | None) -> str:
    """Write a time as "3 Dec, 14:05" in the viewer's zone."""
    return "" if when is None else f"{day(when)}, {timezone.localtime(when):%H:%M}"


@register.filter
def ago(when: datetime, now: datetime) -> str:
    """Write how long ago something was: "3 s ago", "4 min ago", "12 d ago"."""
    length = now - when
    return f"{max(0, int(length.total_seconds()))} s ago" if length < timedelta(minutes=1) else f"{span(length)} ago"


@register.filter
def clock(when: datetime, now: datetime) -> str:
    """Write a time as "14:05:09" in the viewer's zone, of another day as "3 Dec, 14:05"."""
    local = timezone.localtime(when)
    return f"{local:%H:%M:%S}" if local.date() == timezone.localtime(now).date() else moment(when)


@register.filter
def number(count: int) -> str:
    """Write a whole number with its thousands apart: "12,400"."""
    return f"{count:,}"


@register.filter
def turns(billionths: int) -> str:
    """Write a credit of the rotation in turns: "+0.333", "−0.500", "0"."""
    thousandths = round(billionths / 1_000_000)
    return f"{thousandths / 1000:+.3f}".replace("-", "−") if thousandths else "0"


@register.filter
def capital(text: str) -> str:
    """Write the first letter large, and leave the rest as it is."""
    return text[:1].upper() + text[1:]
