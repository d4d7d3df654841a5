"""Print a PQL definition as YAML."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from pqlapp.management.arguments import rule_set_named
from scoring import rules


class Command(BaseCommand):
    """Prints the live version as its author wrote it, or the newest draft where none is live."""

    help = "Print the live version of a rule set (or its newest draft) as YAML."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add SLUG."""
        parser.add_argument("slug", metavar="SLUG", help="the rule set, such as new-business")

    def handle(self, *, slug: str, **options: Any) -> None:
        """Print it."""
        text = rules.export(rule_set=rule_set_named(slug))
        self.stdout.write(text, ending="" if text.endswith("\n") else "\n")
