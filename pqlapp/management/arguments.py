"""What the commands are told: types of their arguments, and the things that those name."""

from argparse import ArgumentTypeError

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.core.validators import validate_slug

from scoring.models import RuleSet


def source_name(text: str) -> str:
    """Return the name of a source. Raises ArgumentTypeError."""
    try:
        validate_slug(text)
    except ValidationError as error:
        raise ArgumentTypeError(f"{text!r}: use letters, digits, - and _") from error
    if len(text) > 64:
        raise ArgumentTypeError("a source's name has at most 64 characters")
    return text


def rule_set_named(slug: str) -> RuleSet:
    """Return the rule set. Raises CommandError, naming those that there are."""
    known = {rule_set.slug: rule_set for rule_set in RuleSet.objects.order_by("slug")}
    if slug not in known:
        there = f"there are: {', '.join(known)}" if known else "there is none yet: import_rules makes the first"
        raise CommandError(f"no rule set is called {slug!r}; {there}")
    return known[slug]
