"""Have accounts rescored, for instance after mending what had parked them."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from pqlapp import bell
from scoring import facts, scores
from scoring.models import SHARDS, Account, shard_of


class Command(BaseCommand):
    """Touches the accounts and rings; the workers do the rest."""

    help = "Have one account, or all of them, rescored by the workers."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --account."""
        parser.add_argument("--account", metavar="EXTERNAL_ID", help="only this one, by the id that its sender uses")

    def handle(self, *, account: str | None, **options: Any) -> None:
        """Ask for it."""
        one = None if account is None else _account(account)
        requested = scores.request(accounts=None if one is None else [one.pk], at=timezone.now())
        bell.ring(shards=range(SHARDS) if one is None else [shard_of(one.pk)])
        self.stdout.write(f"{requested:,} account{'' if requested == 1 else 's'} will be rescored")


def _account(external_id: str) -> Account:
    account = facts.account_named(external_id=external_id)
    if account is None:
        raise CommandError(f"no account is known as {external_id!r}")
    if account.kind == Account.Kind.VISITOR:
        raise CommandError(f"{external_id!r} is an anonymous visitor; visitors are not scored")
    return account
