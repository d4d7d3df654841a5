"""What the commands are told: types of their arguments, and the things that those name."""

import sys
from argparse import ArgumentTypeError
from pathlib import Path

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, OutputWrapper
from django.core.validators import validate_slug

from scoring import language
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


def document_text(file: str) -> str:
    """Return what is in the file, or in standard input for `-`. Raises CommandError."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {file}: {error}") from error


def write_faults(stderr: OutputWrapper, file: str, invalid: language.Invalid) -> None:
    """Write a line for each fault of a document, as compilers do: file, line, path and message."""
    for fault in invalid.faults:
        stderr.write(f"{file}:{fault.line or 1}: {fault.path or 'document'}: {fault.message}")


def rule_set_named(slug: str) -> RuleSet:
    """Return the rule set. Raises CommandError, naming those that there are."""
    known = {rule_set.slug: rule_set for rule_set in RuleSet.objects.order_by("slug")}
    if slug not in known:
        there = f"there are: {', '.join(known)}" if known else "there is none yet: import_rules makes the first"
        raise CommandError(f"no rule set is called {slug!r}; {there}")
    return known[slug]
