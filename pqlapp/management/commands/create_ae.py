"""Make an account executive who gets leads."""

import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from routing import people


class Command(BaseCommand):
    """Prints the password of a new log-in on its last line; nobody can show it again."""

    help = (
        "Make an AE in a pool (made too if it is new). A new log-in's password is printed on the last line, this once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the address, --pool, and the place in the rotation."""
        parser.add_argument("email", help="the e-mail address to log in with")
        parser.add_argument("--pool", required=True, metavar="NAME", help="the team whose leads the AE gets")
        parser.add_argument("--name", default="", help="what people call the AE (default: from the address)")
        parser.add_argument(
            "--weight", type=int, default=1, help="the share of the pool's leads, 1 to 1000 (default 1)"
        )
        parser.add_argument("--capacity", type=int, default=None, help="the most open leads (default: no limit)")
        parser.add_argument("--time-zone", default="UTC", help="such as Europe/Berlin (default UTC)")

    def handle(self, *, email: str, pool: str, name: str, **options: Any) -> None:
        """Make what is missing."""
        password = secrets.token_urlsafe(12)
        try:
            ae, new = people.create_ae(
                email=email,
                name=name or _name_in(email),
                pool=pool,
                weight=options["weight"],
                capacity=options["capacity"],
                time_zone=options["time_zone"],
                password=password,
                at=timezone.now(),
            )
        except people.PeopleError as error:
            raise CommandError(f"{error}") from error
        self.stdout.write(f"{ae.name} ({ae.user.get_username()}) {'joins' if new else 'is in'} the pool {pool}.")
        if ae.user.check_password(password):
            self.stdout.write("The password is shown only here:")
            self.stdout.write(password)
        else:
            self.stdout.write("The log-in was there before and keeps its password.")


def _name_in(email: str) -> str:
    """Return a name to go by: `ann.van-dyk@example.com` is Ann Van Dyk."""
    words = email.partition("@")[0].replace(".", " ").replace("_", " ").replace("-", " ")
    return words.title()
