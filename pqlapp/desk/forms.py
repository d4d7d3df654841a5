"""What people may fill in at the desk."""

from datetime import date, datetime, time, timedelta
from typing import TypedDict
from zoneinfo import ZoneInfo

from django import forms

from routing.models import AE, CLAIMED
from scoring.models import Key

MORNING = time(8)  # a snoozed lead is back before the day's work


class Empty(forms.Form):
    """Nothing to fill in."""


class _Until(forms.Form):
    """So many days, or a date."""

    days = forms.IntegerField(required=False, min_value=1, max_value=366)
    until = forms.DateField(required=False)

    def until_at(self, *, today: date, zone: ZoneInfo) -> datetime | None:
        """Return the chosen morning in the viewer's time zone; None if no day was chosen."""
        days = self.cleaned_data.get("days")
        chosen = self.cleaned_data.get("until") or (today + timedelta(days=days) if days else None)
        return datetime.combine(chosen, MORNING, tzinfo=zone) if chosen else None


class Snooze(_Until):
    """Until when to put a lead aside: a day, the next new signal, or whichever comes first."""

    or_signal = forms.BooleanField(required=False)

    def clean(self) -> dict[str, object]:
        """Ask for one of them."""
        cleaned = super().clean() or {}
        if not self.errors and not any(cleaned.get(name) for name in ("days", "until", "or_signal")):
            raise forms.ValidationError("Choose a day on which the lead comes back, or the next new signal.")
        return cleaned


class Said(TypedDict):
    """Why, as the verbs that close leads take it."""

    reason: str
    words: str


class Reason(forms.Form):
    """A reason from the admin's list, in further words if one likes; some need them."""

    reason = forms.CharField(max_length=100)
    note = forms.CharField(required=False, max_length=500, strip=True)

    @property
    def said(self) -> Said:
        """Reason and words."""
        return {"reason": self.cleaned_data["reason"], "words": self.cleaned_data["note"]}


class Recycle(_Until, Reason):
    """Why not now, and until when the account is left alone."""

    def clean(self) -> dict[str, object]:
        """Ask for the end."""
        cleaned = super().clean() or {}
        if not self.errors and not cleaned.get("days") and not cleaned.get("until"):
            raise forms.ValidationError("Choose until when the account is left alone.")
        return cleaned


class Undo(forms.Form):
    """Which move is taken back."""

    move = forms.IntegerField(min_value=1)


class Win(forms.Form):
    """What they bought for, if known."""

    amount = forms.DecimalField(required=False, min_value=0, max_digits=16, decimal_places=2)


class Reassign(forms.Form):
    """Who gets the lead; nobody named: the pool's rotation decides among the others."""

    to = forms.ModelChoiceField(AE.objects.select_related("user").filter(is_active=True), required=False)
    cause = forms.ChoiceField(choices=[("", ""), *CLAIMED], required=False)
    note = forms.CharField(required=False, max_length=500, strip=True)


class NewSource(forms.Form):
    """What a new sender is called."""

    slug = forms.SlugField(
        max_length=64, error_messages={"invalid": "A name has small letters, digits and hyphens, such as web-app."}
    )


class NewKey(forms.Form):
    """What a new key opens."""

    kind = forms.ChoiceField(choices=Key.Kind.choices, initial=Key.Kind.WRITE)
