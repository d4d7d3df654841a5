"""Load the demo company, or extend its history to today."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from pqlapp.demo import loading
from pqlapp.demo.company import TODAY

ACCOUNTS, SEED = 300, 7


class Command(BaseCommand):
    """Sends a made-up company's past through the same verbs that real events go through. Never loads it twice."""

    help = "Load the demo company. If it is loaded already, extend its history to now."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --accounts, --seed and --days."""
        parser.add_argument("--accounts", type=int, default=ACCOUNTS, help=f"how many accounts (default {ACCOUNTS})")
        parser.add_argument("--seed", type=int, default=SEED, help=f"another seed is another company (default {SEED})")
        parser.add_argument("--days", type=int, default=TODAY, help=f"days of history, at most {TODAY} (the default)")

    def handle(self, *, accounts: int, seed: int, days: int, **options: Any) -> None:
        """Load or extend, then say who may log in."""
        if accounts < 20 or not 1 <= days <= TODAY:
            raise CommandError(f"--accounts is at least 20, --days from 1 to {TODAY}.")
        self.stdout.write("Preparing the demo company …")
        with tqdm(unit=" days", disable=not sys.stderr.isatty(), bar_format="{desc:<16}{bar} {n}/{total} days") as bar:

            def show(doing: str, done: int, total: int) -> None:
                bar.total, bar.n = total, done
                bar.set_description_str(doing)

            try:
                loaded = loading.load(accounts=accounts, seed=seed, now=timezone.now(), days=days, on_progress=show)
            except loading.OtherDemoLoaded as error:
                raise CommandError(f"{error}") from error
        self.stdout.write(f"The demo is up to date: {loaded.calls:,} new calls, {loaded.leads} new leads.")
        self.stdout.write("\n  Log in, each with the password " + loading.PASSWORD)
        for who, email in (("admin", loading.ADMIN), ("manager", loading.MANAGER), ("AE", loading.AES[0][0])):
            self.stdout.write(f"    {who:<8} {email}")
