"""Ask of history: would this definition have found the accounts that converted, and when?"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Max, Min
from django.utils import timezone
from tqdm import tqdm

from pqlapp.management.arguments import rule_set_named
from scoring import engine, facts, rules, scores
from scoring.engine import Subject
from scoring.models import Account, Event, RuleSet, RuleVersion
from scoring.scores import Replayed

HORIZON = 60  # days after qualifying, or after sign-up, in which the goal must be reached to count


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of some accounts reached the goal in the days after they began to be watched."""

    reached: int
    of: int  # those that had not reached it before, and were watched for all of the days
    too_young: int  # watched for fewer days: nobody can tell yet
    before: int  # reached it before they were watched: nothing was left to predict
    unknown: int  # never began: no sign-up is known

    @property
    def words(self) -> str:
        """The tally in a sentence."""
        share = f" ({self.reached / self.of:.0%})" if self.of else ""
        apart = [
            f"{count:,} {words}"
            for count, words in (
                (self.too_young, "too young to know"),
                (self.before, "had reached it already"),
                (self.unknown, "without a sign-up"),
            )
            if count
        ]
        return f"{self.reached:,} of {self.of:,}{share}" + (f"; apart: {', '.join(apart)}" if apart else "")


class Command(BaseCommand):
    """Judges all accounts on each of the days, and counts. Writes nothing."""

    help = (
        "Judge every account on every day that the events cover by the live version of a rule set (or its newest "
        f"draft), and count how many reached the goal within {HORIZON} days. Writes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add SLUG, --from, --to and --json."""
        parser.add_argument("slug", metavar="SLUG", help="the rule set, such as new-business")
        parser.add_argument("--from", dest="first", type=date.fromisoformat, metavar="DAY", help="first day (UTC)")
        parser.add_argument("--to", dest="last", type=date.fromisoformat, metavar="DAY", help="last day (UTC)")
        parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")

    def handle(self, *, slug: str, first: date | None, last: date | None, json: bool, **options: Any) -> None:
        """Replay and report."""
        version = _version(rule_set_named(slug))
        days = _days(first, last)
        replayed = self._replay(version, days)
        accounts = Account.objects.in_bulk([row.account_id for row in replayed])
        people = facts.known_as(users=(row.user_id for row in replayed))
        names = {(row.account_id, row.user_id): _name(row, accounts, people) for row in replayed}
        rows = sorted(replayed, key=lambda row: (row.qualified_on or date.max, names[row.account_id, row.user_id]))
        if json:
            self.stdout.write(orjson.dumps(_as_json(version, days, rows, names)).decode())
        else:
            self._print(version, days, rows, names)

    def _replay(self, version: RuleVersion, days: Sequence[date]) -> list[Replayed]:
        document = rules.document_of(version)
        try:
            with tqdm(total=len(days), unit=" days", file=sys.stderr, mininterval=1.0) as bar:

                def step(day: date) -> None:
                    bar.update()

                return scores.replay(document=document, days=days, on_day=step)
        except engine.SignalsMissing as missing:
            raise CommandError(f"{version}: {missing}") from missing

    def _print(
        self, version: RuleVersion, days: Sequence[date], rows: Sequence[Replayed], names: Mapping[Subject, str]
    ) -> None:
        noun = version.document.get("level", "account")
        width = max(map(len, names.values()), default=len(noun))
        self.stdout.write(f"{noun:<{width}}  sign-up     qualified   goal        days between")
        for row in rows:
            cells = (_day(row.sign_up), _day(row.qualified_on), _day(row.goal_on), _between(row))
            self.stdout.write(f"{names[row.account_id, row.user_id]:<{width}}  " + "  ".join(cells).rstrip())
        pqls, others = _tallies(rows, last=days[-1])
        qualified = sum(row.qualified_on is not None for row in rows)
        self.stdout.write(f"\n{version} on {len(days):,} days, {days[0]} to {days[-1]} (UTC)")
        self.stdout.write(f"{noun}s scored: {len(rows):,}; qualified on some day: {qualified:,}")
        self.stdout.write(f"PQLs that reached the goal within {HORIZON} days after qualifying: {pqls.words}")
        self.stdout.write(f"the others, within {HORIZON} days of sign-up: {others.words}")


def _name(row: Replayed, accounts: Mapping[int, Account], people: Mapping[int, str]) -> str:
    """Return what the account is called, and who of it where users are judged."""
    account = accounts[row.account_id].external_id
    return f"{people[row.user_id]} in {account}" if row.user_id else account


def _version(rule_set: RuleSet) -> RuleVersion:
    version = rule_set.live_version or rule_set.versions.order_by("number").last()
    if version is None:
        raise CommandError(f"{rule_set.slug} has no version yet: import_rules makes one")
    return version


def _days(first: date | None, last: date | None) -> list[date]:
    """Return the days asked for; of those that the events cover, and none to come, where nothing was said."""
    if first is None or last is None:
        covered = Event.objects.aggregate(first=Min("at"), last=Max("at"))
        if covered["first"] is None:
            raise CommandError("there are no events yet: send some, or import_events")
        first = first or covered["first"].date()
        last = last or min(covered["last"], timezone.now()).date()
    if first > last:
        raise CommandError(f"--from {first} is after --to {last}")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _tallies(rows: Sequence[Replayed], *, last: date) -> tuple[Tally, Tally]:
    """Return the tally of those that qualified, and of those that never did."""
    # A goal on the very day of qualifying was not foretold; one on the day of sign-up was reached after it.
    pqls = [(row.qualified_on + timedelta(days=1), row.goal_on) for row in rows if row.qualified_on]
    others = [(row.sign_up, row.goal_on) for row in rows if not row.qualified_on and row.sign_up]
    unknown = sum(not row.qualified_on and not row.sign_up for row in rows)
    pql_ends = [(since, since + timedelta(days=HORIZON - 1), goal) for since, goal in pqls]
    other_ends = [(since, since + timedelta(days=HORIZON), goal) for since, goal in others]
    return _tally(pql_ends, last=last), _tally(other_ends, last=last, unknown=unknown)


def _tally(watched: Sequence[tuple[date, date, date | None]], *, last: date, unknown: int = 0) -> Tally:
    """Count over (first day that counts, last day that counts, day of the goal)."""
    before = [goal is not None and goal < since for since, _, goal in watched]
    young = [until > last for _, until, _ in watched]
    known = [row for row, was, is_young in zip(watched, before, young, strict=True) if not was and not is_young]
    return Tally(
        reached=sum(goal is not None and goal <= until for _, until, goal in known),
        of=len(known),
        too_young=sum(is_young and not was for was, is_young in zip(before, young, strict=True)),
        before=sum(before),
        unknown=unknown,
    )


def _as_json(
    version: RuleVersion, days: Sequence[date], rows: Sequence[Replayed], names: Mapping[Subject, str]
) -> dict[str, Any]:
    pqls, others = _tallies(rows, last=days[-1])
    return {
        "rule_set": version.rule_set.slug,
        "version": version.number,
        "from": days[0],
        "to": days[-1],
        "horizon_days": HORIZON,
        "accounts": [
            {
                version.document.get("level", "account"): names[row.account_id, row.user_id],
                "sign_up": row.sign_up,
                "qualified_on": row.qualified_on,
                "goal_on": row.goal_on,
                "days_between": _days_between(row),
            }
            for row in rows
        ],
        "scored": len(rows),
        "qualified": sum(row.qualified_on is not None for row in rows),
        "pqls": asdict(pqls),
        "others": asdict(others),
    }


def _days_between(row: Replayed) -> int | None:
    return (row.goal_on - row.qualified_on).days if row.goal_on and row.qualified_on else None


def _between(row: Replayed) -> str:
    days = _days_between(row)
    return "" if days is None else f"{days}"


def _day(day: date | None) -> str:
    return day.isoformat() if day else "-         "
