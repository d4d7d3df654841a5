"""Events that a source calls conversions: each is also an outcome of its account, once.

Whoever stores events asks behind the gate what is called so now. So an event has its outcome because it was called so
when it came, or by the job that looks through all that had come when it was.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from scoring import handoffs, jobs, tiles
from scoring.jobs import Progress
from scoring.models import Job, Lane, Source
from scoring.models.raw import cursor

Cursor = psycopg.Cursor[Any]

CONVERSIONS = "conversions"
CHUNK = 50_000  # event ids looked through in one step, in which nobody moves people
MOST_CONVERSIONS = 100
LONGEST = {"event": 512, "kind": 64, "amount": 256}
LARGEST_AMOUNT = 10**14


# ---- what is called a conversion ----------------------------------------------------------------------------


class InvalidConversions(ValueError):
    """What was given as the conversions of a source cannot be read; the text says what is wrong."""


def set_conversions(*, source: Source, events: object, by: AbstractBaseUser | None, at: datetime) -> Job | None:
    """Name the source's events that are conversions; return the job that looks for those that came before, if any did.

    `events` is JSON data: a list of {"event": name, "kind": kind of outcome, "amount": property with the amount}, the
    last of which may be left out. Outcomes that were recorded stay as they are. Waits for open ingests. May be part of
    the caller's transaction. Raises InvalidConversions.
    """
    entries = _entries(events)
    with transaction.atomic(), cursor() as c:
        tiles.take_gate(c)
        known = _ask_named(c, source)()
        new = sorted(entry["event"] for entry in entries if entry not in known)
        Source.objects.filter(pk=source.pk).update(conversion_events=entries)
        source.conversion_events = entries
        upto = tiles.newest_event(c)
        if not (new and upto):
            return None
        label = f"{source}: {', '.join(new)}"
        arguments = {"source": source.pk, "events": new, "upto": upto, "label": label}
        return jobs.create(kind=CONVERSIONS, arguments=arguments, by=by, at=at)


def _entries(events: object) -> list[dict[str, str]]:
    if not isinstance(events, list) or len(events) > MOST_CONVERSIONS:
        raise InvalidConversions(f"Give a list of at most {MOST_CONVERSIONS} conversions.")
    entries = [_entry(entry) for entry in events]
    if len({entry["event"] for entry in entries}) < len(entries):
        raise InvalidConversions("Name each event once.")
    return entries


def _entry(entry: object) -> dict[str, str]:
    fields = ("event", "kind", "amount")
    if not isinstance(entry, dict) or not entry.keys() <= set(fields):
        raise InvalidConversions(f"Each conversion is an object of {', '.join(fields)}.")
    texts = {name: entry[name] for name in fields if entry.get(name) not in (None, "")}
    for name, value in texts.items():
        if not isinstance(value, str) or len(value) > LONGEST[name] or "\0" in value:
            raise InvalidConversions(f'"{name}" is a text of at most {LONGEST[name]} characters.')
    if not {"event", "kind"} <= texts.keys():
        raise InvalidConversions('Each conversion names its "event" and the "kind" of outcome.')
    return texts


@dataclass(frozen=True, slots=True)
class Conversion:
    """What it means for an account that an event happened."""

    kind: str  # of outcome
    amount: str | None = None  # the property that holds it


def meant(c: Cursor, source: Source) -> dict[str, Conversion]:
    """Return what the source's events mean, by the name of the event. The gate or the fold lock is held."""
    return ask_meant(c, source)()


def ask_meant(c: Cursor, source: Source) -> Callable[[], dict[str, Conversion]]:
    """Ask for what meant() returns; what is returned reads the answer."""
    named = _ask_named(c, source)
    return lambda: {entry["event"]: Conversion(entry["kind"], entry.get("amount")) for entry in named()}


def _ask_named(c: Cursor, source: Source) -> Callable[[], list[dict[str, str]]]:
    answer = c.execute(_NAMED, {"source": source.pk})
    return lambda: [entry for (entries,) in answer for entry in json.loads(entries)]


_NAMED = "SELECT conversion_events::text FROM scoring_source WHERE id = %(source)s::bigint"


def amount(value: object) -> Decimal | None:
    """Return a property as an amount with two decimals; None if it is no number of at most 14 digits."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        exact = Decimal(str(value)).quantize(Decimal("0.01"))
    except ArithmeticError:
        return None
    return exact if exact.is_finite() and abs(exact) < LARGEST_AMOUNT else None


# ---- its outcome --------------------------------------------------------------------------------------------


class Converted(NamedTuple):
    """An event that is a conversion, as a row of outcomes."""

    message_id: str
    account_id: int
    named_id: int | None  # whom the event named, where that account was merged into the other
    identity_id: int | None  # only where no account was named
    kind: str
    at: datetime
    amount: Decimal | None
    received_at: datetime


def outcome_id(source: Source, event: str) -> str:
    """Return the message id of the outcome of an event, given by its own."""
    return f"event:{source.pk}:{hashlib.sha256(event.encode()).digest()[:16].hex()}"


def store(c: Cursor, rows: Iterable[Converted], *, source: Source) -> list[int]:
    """Store the outcomes that are not stored yet; return the account of each. Nobody moves people meanwhile."""
    ordered = sorted(rows, key=lambda row: row.message_id)
    if not ordered:
        return []
    columns = dict(zip(Converted._fields, map(list, zip(*ordered, strict=True)), strict=True))
    return [account for (account,) in c.execute(_STORE, {**columns, "source": source.pk})]


_STORE = """
INSERT INTO scoring_outcome (message_id, account_id, named_id, identity_id, kind, at, amount, received_at, source_id)
SELECT message_id, account_id, named_id, identity_id, kind, at, amount, received_at, %(source)s::bigint
FROM unnest(%(message_id)b::text[], %(account_id)s::bigint[], %(named_id)s::bigint[], %(identity_id)s::bigint[],
            %(kind)b::text[], %(at)b::timestamptz[], %(amount)s::numeric[], %(received_at)b::timestamptz[])
AS n(message_id, account_id, named_id, identity_id, kind, at, amount, received_at)
ORDER BY message_id ON CONFLICT (message_id) DO NOTHING RETURNING account_id
"""


# ---- of events that came before -----------------------------------------------------------------------------


def run_conversions(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Carry a claimed job on from where it stands to its end. Raises jobs.LeaseLost if somebody else took it over."""
    source = Source.objects.get(pk=job.arguments["source"])
    upto, found = job.cursor.get("upto", 0), job.cursor.get("found", 0)
    while upto < job.arguments["upto"]:
        after, upto = upto, min(upto + CHUNK, job.arguments["upto"])
        with transaction.atomic(durable=True), cursor() as c:
            tiles.take_fold_lock(c)
            accounts = store(c, _before(c, source, job.arguments["events"], after, upto), source=source)
            handoffs.touch(accounts=accounts, cause="outcome", lane=Lane.BULK, at=clock())
            found += len(accounts)
            place = {"upto": upto, "found": found}
            jobs.report(job=job, progress=Progress("reading history", upto, job.arguments["upto"], place), at=clock())
    jobs.finish(job=job, result={"outcomes": found}, at=clock())


def _before(c: Cursor, source: Source, events: Sequence[str], after: int, upto: int) -> list[Converted]:
    """Return the stored events of these names, as far as they are still called conversions."""
    means = {event: meaning for event, meaning in meant(c, source).items() if event in events}
    where: Mapping[str, object] = {
        "source": source.pk,
        "after": after,
        "upto": upto,
        "events": list(means),
        "amounts": [meaning.amount for meaning in means.values()],
    }
    return [
        Converted(
            message_id=outcome_id(source, message),
            account_id=account,
            named_id=named,
            identity_id=identity,
            kind=means[name].kind,
            at=at,
            amount=None if value is None else amount(json.loads(value)),
            received_at=received_at,
        )
        for message, name, at, received_at, value, account, named, identity in c.execute(_STORED, where)
    ]


_STORED = """
SELECT e.message_id, e.name, e.at, e.received_at, (e.properties -> m.amount)::text,
       coalesce(a.merged_into_id, e.account_id, u.home_id),
       CASE WHEN a.merged_into_id IS NOT NULL THEN e.account_id END,
       CASE WHEN e.account_id IS NULL THEN e.identity_id END
FROM scoring_event e
JOIN unnest(%(events)s::text[], %(amounts)s::text[]) AS m(name, amount) ON m.name = e.name
LEFT JOIN scoring_account a ON a.id = e.account_id
LEFT JOIN scoring_identity i ON i.id = e.identity_id
LEFT JOIN scoring_productuser u ON u.id = i.user_id
WHERE e.source_id = %(source)s::bigint AND e.id > %(after)s::bigint AND e.id <= %(upto)s::bigint
"""
