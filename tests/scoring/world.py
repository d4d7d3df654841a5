"""A small known world of facts: short ways to send calls, and to say what the database holds, by value.

Accounts are acme, globex and initech; people are ann, ben and cleo, with devices such as "ann's phone".
"""

from datetime import UTC, date, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from django.db import connection

from scoring import facts, language, tasks, tiles
from scoring.facts import Fact, Recorded
from scoring.models import Account, EmailLink, GroupLink, Identity, Job, Signal, Source, Tile, Touched, TraitChange
from tests.scoring.oracle import Key

TODAY = date(2026, 3, 31)
NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
INVITED = language.Signal(events=("invited",))
ANYTHING = language.Signal(events=(language.ANY_EVENT,))

_numbers = count(1)


def ago(days: int = 0, hours: int = 0) -> datetime:
    return NOW - timedelta(days=days, hours=hours)


def call(name: str = "invited", *, by: str = "", device: str = "", into: str = "", **fields: Any) -> Fact:
    """A call by a user id and a device, into an account; message id and time are made up if not given."""
    return Fact(
        **{
            "message_id": f"m{next(_numbers):06}",
            "at": NOW,
            "name": name,
            "user_id": by or None,
            "anonymous_id": device or None,
            "group_id": into or None,
            **fields,
        }
    )


def identify(by: str, *, device: str = "", email: object = None, **fields: Any) -> Fact:
    traits = {} if email is None else {"email": email}
    return call("$identify", by=by, device=device, **{"user_traits": traits, **fields})


def join(by: str, into: str, *, device: str = "", **fields: Any) -> Fact:
    return call("$group", by=by, device=device, into=into, joins=True, **fields)


def alias(*ids: str, **fields: Any) -> Fact:
    return call("$alias", by=ids[0], aliases=tuple(ids[1:]), **fields)


def source(slug: str = "app") -> Source:
    return facts.create_source(slug=slug, at=NOW)


def send(*calls: Fact, slug: str = "app", at: datetime = NOW) -> Recorded:
    """Record the calls as one batch."""
    return facts.record(source=source(slug), facts=calls, received_at=at)


def fold(*signals: language.Signal) -> list[Signal]:
    """Register the signals and fold all of history."""
    rows = tiles.register(signals=signals, at=NOW)
    tiles.backfill(signals=rows)
    return rows


def work_off() -> None:
    """Run the jobs that wait."""
    for job in tasks.waiting_jobs():
        done = tasks.carry_on(job=job)
        assert done.state == Job.State.DONE, done.error


def account(key: str, kind: str = "group") -> Account:
    return Account.objects.get(kind=kind, external_id=key)


def home(of: str) -> Key:
    """Where the user with this id belongs."""
    user = Identity.objects.select_related("user__home").get(value=of).user
    return Key(user.home.kind, user.home.external_id)


def people() -> set[frozenset[str]]:
    """All users, each as the set of its ids."""
    ids: dict[int, set[str]] = {}
    for value, user in Identity.objects.values_list("value", "user"):
        ids.setdefault(user, set()).add(value)
    return {frozenset(values) for values in ids.values()}


def counts(signal: language.Signal = ANYTHING) -> dict[str, int]:
    """How often the signal is counted for each account, by external id."""
    found: dict[str, int] = {}
    rows = Tile.objects.filter(signal__digest=language.signal_digest(signal))
    for name, number in rows.values_list("account__external_id", "count"):
        found[name] = found.get(name, 0) + number
    return found


def touched() -> dict[str, set[str]]:
    """The causes for which each account was touched, by external id."""
    found: dict[str, set[str]] = {}
    for name, cause in Touched.objects.values_list("account__external_id", "cause"):
        found.setdefault(name, set()).add(cause)
    return found


def forget_touches() -> None:
    Touched.objects.all().delete()


def links() -> dict[str, set[tuple[Any, ...]]]:
    """Memberships and addresses, by value."""
    return {
        "groups": set(GroupLink.objects.values_list("identity__value", "account__external_id", "at", "message_id")),
        "emails": set(EmailLink.objects.values_list("identity__value", "email", "domain", "at", "message_id")),
    }


def trait_changes() -> list[tuple[Any, ...]]:
    """All statements about traits, by value, sorted."""
    rows = TraitChange.objects.values_list(
        "account__external_id", "identity__value", "key", "value", "number", "day", "at", "message_id"
    )
    return sorted(rows, key=repr)


def stored_events() -> int:
    with connection.cursor() as c:
        c.execute("SELECT count(*) FROM scoring_event")
        return int(c.fetchone()[0])


def stored_messages() -> list[str]:
    """The message ids of all stored events, sorted."""
    with connection.cursor() as c:
        c.execute("SELECT message_id FROM scoring_event")
        return sorted(message for (message,) in c.fetchall())


def entangled(dice: Random, size: int) -> list[Fact]:
    """Calls of a few people who use each other's devices, join companies and give addresses."""

    def one(n: int) -> Fact:
        who, device = f"user {dice.randrange(12)}", f"device {dice.randrange(40)}"
        at = NOW - timedelta(hours=dice.randrange(2000))
        common: dict[str, Any] = {"message_id": f"c{n}", "at": at}
        roll = dice.random()
        if roll < 0.04:
            return identify(who, device=device, email=f"x@company{dice.randrange(4)}.example", **common)
        if roll < 0.08:
            return join(who, f"group {dice.randrange(5)}", **common)
        if roll < 0.5:
            return call(by=who, into=dice.choice(["", f"group {dice.randrange(5)}"]), **common)
        return call(device=device, **common)

    return [one(n) for n in range(size)]
