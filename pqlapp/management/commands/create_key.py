"""Make a key with which a source may send events."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from pqlapp.management.arguments import source_name
from scoring import facts
from scoring.models import Key


class Command(BaseCommand):
    """Prints the new key on its last line; nobody can show it again."""

    help = "Make a key for a source (made too if it is new) and print it on the last line, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --source and --kind."""
        parser.add_argument(
            "--source", required=True, type=source_name, metavar="NAME", help="who will send, such as web-app"
        )
        parser.add_argument(
            "--kind",
            required=True,
            choices=Key.Kind.values,
            help="write: public, may only send events; server: secret, may use the REST API too",
        )

    def handle(self, *, source: str, kind: str, **options: Any) -> None:
        """Make the key."""
        now = timezone.now()
        sender = facts.create_source(slug=source, at=now)
        _, secret = facts.create_key(source=sender, kind=kind, by=None, at=now)
        self.stdout.write(f"A {kind} key of {source}. Keep it: it is shown only here.")
        self.stdout.write(secret)
