"""What the desk's pages look up. Each function asks a fixed number of questions, however many rows there are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any

from django.db.models import Exists, Max, OuterRef, Q, QuerySet, Sum, TextField, Window
from django.db.models.functions import Cast, RowNumber

from pqlapp.desk.sparkline import DAYS, Sparkline
from routing import queue
from routing.models import Lead
from scoring import engine, explain, rules, tiles
from scoring.language import ANY_SIGNAL, Document, signal_digest, signals_of
from scoring.language.document import ANYTHING
from scoring.models import (
    WHOSE_WORD_COUNTS,
    Account,
    Identity,
    RuleVersion,
    Score,
    ScoreChange,
    Tile,
    TraitChange,
)

ANY_DIGEST = signal_digest(ANYTHING)
PEOPLE_SHOWN = 12
TIMELINE_DAYS = 60
TIMELINE_SHOWN = 40
HISTORY_SHOWN = 30
CAUSES = {
    "event": "what they did",
    "trait": "what is known of them",
    "identity": "who belongs to whom",
    "merge": "accounts that turned out to be one",
    "outcome": "an outcome",
    "exclusion": "an exclusion",
    "request": "somebody asked for it",
    "time": "a day went by",
    "version": "a new version",
}
PERSONAL = ("name", "email", "title", "role")


@dataclass(frozen=True, slots=True)
class Person:
    """One of an account's people."""

    user: int
    name: str
    email: str
    title: str
    points: int  # hundredths of usage, by the rules that make sense for one person
    met: int  # how many of those rules
    events: int
    last_seen: datetime | None
    at_opening: bool  # one of the most active when the lead opened


@dataclass(frozen=True, slots=True)
class Moment:
    """What was done on one day."""

    day: date
    name: str
    count: int
    who: str


@dataclass(frozen=True, slots=True)
class Fact:
    """The present value of a trait."""

    key: str
    value: str
    at: datetime
    source: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a score in words."""

    change: ScoreChange
    because: str  # what caused it
    words: str  # what became of rules, points and tier


@lru_cache(maxsize=256)
def document(version: int) -> Document:
    """Return the document of a published version: it never changes, so it is read once."""
    return rules.document_of(RuleVersion.objects.get(pk=version))


def known_from(version: int) -> dict[str, date]:
    """Return by signal of the version since when it is known; signals whose whole history is known are left out."""
    return tiles.known_from(signals=signals_of(document(version)))


def names_of(accounts: Iterable[int]) -> dict[int, str]:
    """Return the stated name of each account that has one; one query."""
    stated = TraitChange.objects.filter(account__in=set(accounts), key="name")
    newest = stated.order_by("account", *WHOSE_WORD_COUNTS).distinct("account")
    return {account: value for account, value in newest.values_list("account", "value") if isinstance(value, str)}


def called(accounts: Iterable[Account]) -> dict[int, str]:
    """Return what people call each account: its stated name, else the id by which it is known; one query."""
    known = {account.pk: account.external_id for account in accounts}
    return known | {account: name for account, name in names_of(known).items() if name}


def name_of(account: Account) -> str:
    """Return what people call the account; one query."""
    return called([account])[account.pk]


def activity(accounts: Iterable[int], *, as_of: date) -> Callable[[int], Sparkline]:
    """Return a function from account to the events of its last DAYS days; one query."""
    since = as_of - timedelta(days=DAYS - 1)
    tiles = Tile.objects.filter(signal__digest=ANY_DIGEST, account__in=set(accounts), day__range=(since, as_of))
    counts: dict[int, list[int]] = {}
    for account, day, count in tiles.order_by().values_list("account", "day").annotate(Sum("count")):
        counts.setdefault(account, [0] * DAYS)[(day - since).days] = count
    return lambda account: Sparkline(tuple(counts.get(account, [0] * DAYS)))


def searched(among: QuerySet[Lead], words: str) -> QuerySet[Lead]:
    """Return the leads whose account's name or id contains the words."""
    named = TraitChange.objects.filter(account=OuterRef("account"), key="name")
    named = named.annotate(text=Cast("value", TextField())).filter(text__icontains=words)
    return among.filter(Q(account__external_id__icontains=words) | Exists(named))


def people(document: Document, *, account: int, as_of: date, at_opening: Iterable[int] = ()) -> list[Person]:
    """Return the account's people, the most active by themselves first; four queries."""
    ranked = engine.rank_users(document, account=account, as_of=as_of)[:PEOPLE_SHOWN]
    users = [user for user, _, _ in ranked]
    known, seen, opening = _personal(users), _seen(account, users), set(at_opening)
    return [
        _person(user, points, met, known[user], seen.get(user, {}), user in opening) for user, points, met in ranked
    ]


def timeline(document: Document, *, account: int, as_of: date) -> list[Moment]:
    """Return what was done in the account by day and signal, the newest first, with by whom; four queries."""
    signals = {pk: name for name, pk in engine.stored_signals(document).items() if name != ANY_SIGNAL}
    tiles = Tile.objects.filter(account=account, signal__in=signals, day__gt=as_of - timedelta(days=TIMELINE_DAYS))
    rows = list(tiles.order_by().values_list("day", "signal", "user").annotate(Sum("count")))
    grouped: dict[tuple[date, int], dict[int | None, int]] = {}
    for day, signal, user, count in rows:
        grouped.setdefault((day, signal), {})[user] = count
    shown = sorted(grouped.items(), key=lambda item: (item[0][0], sum(item[1].values())), reverse=True)[:TIMELINE_SHOWN]
    known = _personal({user for _, by in shown for user in by if user is not None})
    return [
        Moment(day, explain.spoken(signals[signal]), sum(by.values()), _who(by, known)) for (day, signal), by in shown
    ]


def traits(account: int) -> list[Fact]:
    """Return the present value of each trait of the account, by key; one query."""
    newest = TraitChange.objects.filter(account=account).order_by("key", *WHOSE_WORD_COUNTS).distinct("key")
    return [
        Fact(change.key, explain.value_words(change.value, change.key), change.at, change.get_precedence_display())
        for change in newest
        if change.value is not None
    ]


def scores(account: int) -> list[Score]:
    """Return the account's scores by every live rule set, the best first; one query. Of users, the foremost of each."""
    place = Window(RowNumber(), partition_by="rule_set", order_by=queue.FOREMOST)
    foremost = Score.objects.filter(account=account).annotate(place=place).filter(place__lte=PEOPLE_SHOWN)
    found = foremost.select_related("rule_set", "version")
    return sorted(found, key=lambda score: (not score.is_pql, -(score.usage + score.fit), score.rule_set.name))


def named(found: Sequence[Score], *, by: str | None, user: str | None) -> Score | None:
    """Return the score that an address names, by the rule set's slug and the user's number; else the best."""
    of_set = [score for score in found if score.rule_set.slug == by]
    of_user = [score for score in of_set if user is not None and str(score.user_id) == user]
    return next(iter([*of_user, *of_set, *found]), None)


def names_of_people(users: Iterable[int | None]) -> dict[int, str]:
    """Return what people call each of the users; two queries."""
    wanted = {user for user in users if user is not None}
    return {user: _called(known) for user, known in _personal(wanted).items()} if wanted else {}


def history(score: Score, *, most: int | None = HISTORY_SHOWN) -> list[Change]:
    """Return how the score changed, the newest first, each change in words; one query. None: all of it."""
    changes = ScoreChange.objects.filter(account=score.account_id, user=score.user_id, rule_set=score.rule_set_id)
    light = changes.select_related("version").defer("version__text", "version__document").order_by("-id")
    newest = list(light if most is None else light[: most + 1])
    told = [Change(now, _because(now), _told(before, now)) for now, before in pairwise(newest)]
    is_whole = most is None or len(newest) <= most
    first = [Change(newest[-1], _because(newest[-1]), "first score")] if newest and is_whole else []
    return told + first


def _because(change: ScoreChange) -> str:
    return CAUSES.get(change.cause, change.cause)


def _told(before: ScoreChange, now: ScoreChange) -> str:
    words = explain.change_words(before=before.ledger, after=now.ledger, from_tier=before.tier, to_tier=now.tier)
    if before.version_id != now.version_id:
        return f"version {now.version.number} took over" + (f": {words}" if words else "")
    return words or now.get_status_display()


def _personal(users: Iterable[int]) -> dict[int, dict[str, str]]:
    """Return by user what they are called: their traits, and `id`, the best of their ids; two queries."""
    wanted = set(users)
    known: dict[int, dict[str, str]] = {user: {} for user in wanted}
    ids = Identity.objects.filter(user__in=wanted).order_by("user", "-known", "value").distinct("user")
    for user, an_id in ids.values_list("user", "value"):
        known[user]["id"] = an_id
    stated = TraitChange.objects.filter(identity__user__in=wanted, key__in=PERSONAL)
    newest = stated.order_by("identity__user", "key", *WHOSE_WORD_COUNTS).distinct("identity__user", "key")
    for user, key, value in newest.values_list("identity__user", "key", "value"):
        if isinstance(value, str):
            known[user][key] = value
    return known


def _seen(account: int, users: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    tiles = Tile.objects.filter(signal__digest=ANY_DIGEST, account=account, user__in=users).order_by()
    rows = tiles.values("user").annotate(events=Sum("count"), last=Max("last_at"))
    return {row["user"]: row for row in rows}


def _person(
    user: int, points: int, met: int, known: Mapping[str, str], seen: Mapping[str, Any] | None, at_opening: bool
) -> Person:
    return Person(
        user=user,
        name=_called(known),
        email=known.get("email", ""),
        title=known.get("title") or known.get("role", ""),
        points=points,
        met=met,
        events=seen["events"] if seen else 0,
        last_seen=seen["last"] if seen else None,
        at_opening=at_opening,
    )


def _called(known: Mapping[str, str]) -> str:
    return known.get("name") or known.get("email") or known.get("id") or "somebody"


def _who(by: Mapping[int | None, int], known: Mapping[int, Mapping[str, str]]) -> str:
    """Name the two who did most; nobody is named for what the account's own systems did."""
    users = sorted((user for user in by if user is not None), key=lambda user: (-by[user], user))
    named = [_called(known[user]) for user in users[:2]]
    if len(users) > 2:
        named.append(f"{len(users) - 2} more")
    return explain.listed(named)
