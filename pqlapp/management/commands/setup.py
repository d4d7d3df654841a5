"""Make the first admin of a fresh installation."""

import getpass
import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from routing import people

NEXT = """
What comes next (each command tells more with --help):
  manage.py create_ae EMAIL --pool NAME               somebody who works leads
  manage.py create_key --source NAME --kind write     a key with which your product sends events
  manage.py import_rules FILE --publish               what makes a lead; examples are in docs/examples
"""


class Command(BaseCommand):
    """Asks on a terminal what it is not told; does nothing where there is an admin already."""

    help = "Make the first admin: from --email and --password, ADMIN_EMAIL and ADMIN_PASSWORD, or by asking."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --email, --password and --name."""
        parser.add_argument("--email", default=os.environ.get("ADMIN_EMAIL", ""), help="default: ADMIN_EMAIL")
        parser.add_argument("--password", default=os.environ.get("ADMIN_PASSWORD", ""), help="default: ADMIN_PASSWORD")
        parser.add_argument("--name", default="", help="what people call the admin")

    def handle(self, *, email: str, password: str, name: str, **options: Any) -> None:
        """Bring the database up to date, then make the admin unless there is one."""
        call_command("migrate", verbosity=0, interactive=False)
        there = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
        if there:
            self.stdout.write(f"There is an admin already: {there.get_username()}. Nothing was changed.")
        else:
            self._make(email or _ask("E-mail address of the admin: "), password, name)
        self.stdout.write(NEXT)

    def _make(self, email: str, password: str, name: str) -> None:
        password = password or _ask_password()
        try:
            validate_password(password, User(username=email, email=email))
            admin, new = people.create_log_in(
                email=email, name=name, role="Admin", password=password, at=timezone.now()
            )
        except ValidationError as error:
            raise CommandError("This password will not do: " + " ".join(error.messages)) from error
        except people.PeopleError as error:
            raise CommandError(f"{error}") from error
        kept = "" if new else " The log-in was there before and keeps its password."
        self.stdout.write(f"{admin.get_username()} is the admin: log in at /admin/.{kept}")


def _ask(question: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError("Nobody is there to ask: give --email and --password, or ADMIN_EMAIL and ADMIN_PASSWORD.")
    return input(question)


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise CommandError("Nobody is there to ask: give --password, or ADMIN_PASSWORD.")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise CommandError("The two passwords differ: start again.")
    return password
