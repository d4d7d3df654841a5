"""What people may fill in at the desk."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django import forms

from routing.models import AE
from scoring.models import Key

MORNING = time(8)  # a snoozed lead is back before the day's work

NOT_A_LEAD = (
    "Not a real company",
    "Competitor",
    "Student or hobby project",
    "No need",
    "Wrong region or size",
    "Already a customer",
    "Other",
)
NOT_BOUGHT = ("No answer", "No budget", "Bad timing", "Chose a competitor", "Missing a feature", "Other")


class Empty(forms.Form):
    """Nothing to fill in."""


class Snooze(forms.Form):
    """Until when to put a lead aside: so many days, or a date."""

    days = forms.IntegerField(required=False, min_value=1, max_value=366)
    until = forms.DateField(required=False)

    def clean(self) -> dict[str, object]:
        """Ask for one of the two."""
        cleaned = super().clean() or {}
        if not self.errors and not cleaned.get("days") and not cleaned.get("until"):
            raise forms.ValidationError("Choose a day on which the lead comes back.")
        return cleaned

    def until_at(self, *, today: date, zone: ZoneInfo) -> datetime:
        """Return the chosen morning in the viewer's time zone."""
        chosen = self.cleaned_data.get("until") or today + timedelta(days=self.cleaned_data["days"])
        return datetime.combine(chosen, MORNING, tzinfo=zone)


class _Reason(forms.Form):
    """A reason from a list, in further words if one likes; "Other" needs them."""

    reason = forms.CharField(max_length=100)
    note = forms.CharField(required=False, max_length=500, strip=True)

    def clean(self) -> dict[str, object]:
        """Refuse an `Other` that says nothing."""
        cleaned = super().clean() or {}
        if cleaned.get("reason") == "Other" and not cleaned.get("note"):
            raise forms.ValidationError("Say in a few words what the other reason is.")
        return cleaned

    @property
    def words(self) -> str:
        """The reason in one line."""
        reason, note = self.cleaned_data["reason"], self.cleaned_data["note"]
        if reason == "Other":
            return str(note)
        return f"{reason}: {note}" if note else str(reason)


class Disqualify(_Reason):
    """Why it is no lead."""


class Lose(_Reason):
    """Why they did not buy."""


class Win(forms.Form):
    """What they bought for, if known."""

    amount = forms.DecimalField(required=False, min_value=0, max_digits=16, decimal_places=2)


class Reassign(forms.Form):
    """Who gets the lead; nobody named: the pool's rotation decides among the others."""

    to = forms.ModelChoiceField(AE.objects.select_related("user").filter(is_active=True), required=False)
    note = forms.CharField(required=False, max_length=500, strip=True)


class NewSource(forms.Form):
    """What a new sender is called."""

    slug = forms.SlugField(
        max_length=64, error_messages={"invalid": "A name has small letters, digits and hyphens, such as web-app."}
    )


class NewKey(forms.Form):
    """What a new key opens."""

    kind = forms.ChoiceField(choices=Key.Kind.choices, initial=Key.Kind.WRITE)
