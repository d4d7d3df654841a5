"""What the forms of these pages have in common."""

from django import forms
from django.http import HttpResponse


class VerbForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form whose saving is one verb."""

    def validate_unique(self) -> None:
        """Leave it to the verb, which changes the one that is there."""


def redirect_to(address: str) -> HttpResponse:
    """Return the answer that leads to another page."""
    return HttpResponse(status=302, headers={"Location": address})
