"""Types of the commands' arguments, for argparse."""

from argparse import ArgumentTypeError

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug


def source_name(text: str) -> str:
    """Return the name of a source. Raises ArgumentTypeError."""
    try:
        validate_slug(text)
    except ValidationError as error:
        raise ArgumentTypeError(f"{text!r}: use letters, digits, - and _") from error
    if len(text) > 64:
        raise ArgumentTypeError("a source's name has at most 64 characters")
    return text
