"""Record a batch of calls: who is who, then what happened. Each call counts once, whatever is repeated or reordered."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeVar

import orjson
import psycopg
from django.db import OperationalError, transaction

from scoring import handoffs, identity, tiles
from scoring.facts import arrivals, conversions, outcomes, partitions, retention
from scoring.facts.arrivals import Envelope
from scoring.facts.rows import MANY, Place, Row, relation, store_events
from scoring.identity import Call, Directory, Moved, Resident, plausible_email
from scoring.language.document import ANYTHING, CALLS_THAT_ARE_NOT_USE
from scoring.models import Lane, Precedence, Source
from scoring.models.raw import cursor, pipeline

Cursor = psycopg.Cursor[Any]
Status = Literal["accepted", "duplicate", "broken_id", "too_old"]
T = TypeVar("T")

NO_ENVELOPE = Envelope()
DIGEST = 16  # bytes of a message id's SHA-256 that are its key
ATTEMPTS = 20  # of a transaction that meets another one: a deadlock, or a merge of the same users


class NamesNobody(ValueError):
    """A fact has neither an id of a person nor an account: nobody could be credited. The door must reject it."""


NOTHING: Mapping[str, Any] = {}


class Fact(NamedTuple):
    """One call of a sender, whatever its wire format was."""

    message_id: str  # at most 512 characters, like all ids and names
    at: datetime  # UTC
    name: str  # of the event; "$page", "$screen", "$identify", "$group", "$alias" for those calls
    user_id: str | None = None
    anonymous_id: str | None = None
    aliases: tuple[str, ...] = ()  # further ids of the same person
    group_id: str | None = None  # the account that the call names
    joins: bool = False  # the user joins group_id: a group call
    properties: Mapping[str, Any] = NOTHING
    user_traits: Mapping[str, Any] = NOTHING
    account_traits: Mapping[str, Any] = NOTHING  # of group_id's account
    # To be set only where nothing else says what the trait is; the earliest of these counts.
    user_traits_once: Mapping[str, Any] = NOTHING
    account_traits_once: Mapping[str, Any] = NOTHING


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch."""

    statuses: list[Status]  # in the order of the facts
    shards: set[int]  # whose scores may have changed: ring them
    broken_ids: int = 0  # ids left out because they are obviously none; most of their calls went on with others

    @property
    def accepted(self) -> int:
        """How many are stored by this."""
        return self.statuses.count("accepted")

    @property
    def duplicate(self) -> int:
        """How many were stored before."""
        return self.statuses.count("duplicate")

    @property
    def refused(self) -> int:
        """How many are not stored: calls of closed days, and calls whose ids are all broken ones."""
        return len(self.statuses) - self.accepted - self.duplicate


class _Item(NamedTuple):
    """A fact that is the first of its message id in the batch."""

    position: int
    fact: Fact
    digest: bytes
    call: Call


def record(
    *, source: Source, facts: Sequence[Fact], received_at: datetime, envelope: Envelope = NO_ENVELOPE
) -> Recorded:
    """Store the facts that are new, all or none, and return a status for each.

    First who is who, in a transaction of its own, then the facts themselves: so a crash in between loses nothing
    that was acknowledged, and the sender's retry goes on where it broke off. Raises NamesNobody, and psycopg's
    DataError if PostgreSQL cannot hold something. Commits: it must not be called inside a transaction.
    """
    while True:
        try:
            return _look_through_and_record(source, facts, received_at, envelope)
        except _DayClosed:
            continue  # once a day at most


class _DayClosed(Exception):
    """A day of the facts was closed after they had been looked through: its keys may be gone, so look again."""


def _look_through_and_record(
    source: Source, facts: Sequence[Fact], received_at: datetime, envelope: Envelope
) -> Recorded:
    broken = _broken_ids(facts)
    whole: Sequence[Fact | None] = [_without(fact, broken) for fact in facts] if broken else facts
    turned_away: dict[int, Status] = {i: "broken_id" for i, fact in enumerate(whole) if fact is None}
    turned_away |= dict.fromkeys(_of_closed_days(source, facts, received_at), "too_old")
    items = _first_of_each([None if i in turned_away else fact for i, fact in enumerate(whole)])
    called = len(facts) - len(turned_away)

    def count(c: Cursor, rows: Sequence[Row]) -> None:
        events = ((row.at, row.place.account_id if row.place.inherited else None) for row in rows)
        known = called - len(rows)
        arrivals.count(c, source=source, envelope=envelope, duplicate=known, events=events, at=received_at)

    shards: set[int] = set()
    new = {item.position for item in _record(source, items, received_at, envelope.lane, shards, count)}
    statuses: list[Status] = ["accepted" if i in new else "duplicate" for i in range(len(facts))]
    for position, status in turned_away.items():
        statuses[position] = status
    return Recorded(statuses, shards, sum(len(broken.intersection(_ids(fact))) for fact in facts) if broken else 0)


def _of_closed_days(source: Source, facts: Sequence[Fact], received_at: datetime) -> list[int]:
    """Return the positions of events so old that the source has dropped their day, and cannot tell a duplicate."""
    first = retention.first_open_day(source=source, times=(fact.at for fact in facts), received_at=received_at)
    return [i for i, fact in enumerate(facts) if first and fact.at.astimezone(UTC).date() < first]


def _ids(fact: Fact) -> tuple[str, ...]:
    """All that the call names: people, then the account."""
    return tuple(filter(None, (fact.user_id, fact.anonymous_id, *fact.aliases, fact.group_id)))


def _broken_ids(facts: Sequence[Fact]) -> frozenset[str]:
    """Return the ids among all that the facts name that are none. Raises NamesNobody."""
    named: set[str | None] = set()
    for fact in facts:
        if not (fact.user_id or fact.anonymous_id or fact.group_id or any(fact.aliases)):
            raise NamesNobody(f"message {fact.message_id!r} has neither an id of a user nor an account: reject it")
        named.update((fact.user_id, fact.anonymous_id, fact.group_id), fact.aliases)
    return frozenset(name for name in named if name and identity.is_broken(name))


def _without(fact: Fact, broken: frozenset[str]) -> Fact | None:
    """Return the fact without the ids that are none; None if that leaves nobody."""
    ids = _ids(fact)
    if broken.isdisjoint(ids):
        return fact
    if broken.issuperset(ids):
        return None
    return fact._replace(
        user_id=None if fact.user_id in broken else fact.user_id,
        anonymous_id=None if fact.anonymous_id in broken else fact.anonymous_id,
        aliases=tuple(alias for alias in fact.aliases if alias not in broken),
        group_id=None if fact.group_id in broken else fact.group_id,
    )


def _first_of_each(facts: Sequence[Fact | None]) -> list[_Item]:
    items: dict[bytes, _Item] = {}
    calls: dict[_Ids, Call] = {}
    for position, fact in enumerate(facts):
        if fact is None:
            continue
        digest = hashlib.sha256(fact.message_id.encode()).digest()[:DIGEST]
        if digest not in items:
            items[digest] = _Item(position, fact, digest, _call(fact, calls))
    return list(items.values())


_Ids = tuple[str | None, str | None, tuple[str, ...], str | None]  # all that a fact names


def _call(fact: Fact, calls: dict[_Ids, Call]) -> Call:
    """Return what the fact says about who somebody is: of those that say the same, the first that was asked for.

    When it was said counts only of who joins an account, and of who may give an address.
    """
    if fact.joins or fact.user_traits or fact.user_traits_once:
        return _own_call(fact)
    ids = fact.user_id, fact.anonymous_id, fact.aliases, fact.group_id
    call = calls.get(ids)
    if call is None:
        call = calls[ids] = _own_call(fact)
    return call


def _own_call(fact: Fact) -> Call:
    ids = tuple(dict.fromkeys(filter(None, (fact.user_id, fact.anonymous_id, *fact.aliases))))
    return Call(
        ids=ids,
        user_id=fact.user_id or None,
        group=fact.group_id or None,
        joins=bool(fact.joins and ids and fact.group_id),
        email=_email(fact) if ids else None,
        at=fact.at,
        message_id=fact.message_id,
    )


def _calls(items: Iterable[_Item]) -> list[Call]:
    """All that the items say about who is who, each once."""
    return list({id(item.call): item.call for item in items}.values())


def _email(fact: Fact) -> str | None:
    """The address that the call gives for its user; one to be set only once is an address like any other."""
    for traits in (fact.user_traits, fact.user_traits_once):
        if traits and (email := plausible_email(traits.get("email"))):
            return email
    return None


def _record(
    source: Source, items: list[_Item], received_at: datetime, lane: Lane, shards: set[int], count: "Counter"
) -> list[_Item]:
    """Record the items and return those that were new; `shards` collects which shards to ring."""
    if not items:
        return []
    directory, items = _know_everybody(source, items, received_at, lane, shards)
    if not items:
        with cursor() as c:
            count(c, ())
        return []

    def store() -> list[_Item]:
        partitions.ensure((item.fact.at for item in items), at=received_at)
        few = len(items) < MANY
        with transaction.atomic(durable=True), pipeline(when=few) as c:
            if few:
                c.execute(_KEEP_PLANS)
            new, known = _open_gate(c, source, items, directory, received_at)
            if _of_closed_days(source, [item.fact for item in items], received_at):  # now none closes any more
                raise _DayClosed
            if not new:
                count(c, ())
                return []
            return _store(c, source, new, directory, known, received_at, lane, shards, count)

    return _persevere(store, received_at)


# To plan for each few rows anew takes PostgreSQL longer than to store them.
_KEEP_PLANS = "SELECT set_config('plan_cache_mode', 'force_generic_plan', true)"


class _NoSignal(Exception):
    """The built-in signal `any` is not active yet."""


def _persevere(work: Callable[[], T], at: datetime) -> T:
    """Do the transaction again when another one crossed its way."""
    for _ in range(ATTEMPTS - 1):
        try:
            return work()
        except Moved:
            continue
        except _NoSignal:
            tiles.register(signals=[ANYTHING], at=at)
        except psycopg.errors.CheckViolation:
            partitions.forget()  # one that we remembered is gone
        except (psycopg.OperationalError, OperationalError) as error:
            if not _crossed(error):
                raise
    return work()


def _crossed(error: Exception) -> bool:
    """Whether PostgreSQL ended the transaction only because of others."""
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    return isinstance(cause, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure)


# ---- who is who ---------------------------------------------------------------------------------------------


def _know_everybody(
    source: Source, items: list[_Item], received_at: datetime, lane: Lane, shards: set[int]
) -> tuple[Directory, list[_Item]]:
    """Make sure that all people and groups of the items are known; drop items that turn out to be stored already.

    Mostly nothing is new, and this only reads. What it reads can only grow: no lock is needed.
    """
    calls = _calls(items)
    with pipeline(when=len(items) < MANY) as c:
        directory = identity.look_up(c, calls)
    if not any(identity.is_news(call, directory) for call in calls):
        return directory, items
    with cursor() as c:
        # A repeated call says nothing new, even if a sender changed it.
        digests = [item.digest for item in items]
        stored = {digest for (digest,) in c.execute(_STORED, {"source": source.pk, "digests": digests})}
        items = [item for item in items if item.digest not in stored]
        calls = _calls(items)
        news = [call for call in calls if identity.is_news(call, directory)]
        if news:
            shards |= _persevere(lambda: _link(news, received_at, lane), received_at)
            directory.groups = identity.groups(c, calls)
    return directory, items


def _link(news: Sequence[Call], received_at: datetime, lane: Lane) -> set[int]:
    with transaction.atomic(durable=True), cursor() as c:
        tiles.hold_fold_lock(c)
        linked = identity.link(c, news, at=received_at)
        accounts = tiles.follow(c, linked.changes) | linked.homes
        accounts |= outcomes.follow(c, linked.users)
        if linked.split:
            tiles.refold_later(identities=linked.split, why="ids that too many people share", at=received_at)
        return handoffs.touch(accounts=accounts, cause="identity", lane=lane, at=received_at)


_STORED = """
SELECT digest FROM scoring_event_key
WHERE source_id = %(source)s::bigint AND digest = ANY (%(digests)b::bytea[])
"""


# ---- what happened ------------------------------------------------------------------------------------------


class _Known(NamedTuple):
    """What is read behind the gate: it stays so until the end of the transaction."""

    signals: dict[int, Any]  # that are folded
    people: dict[str, Resident]
    merged: dict[int, int]  # accounts, and into which
    means: dict[str, conversions.Conversion]  # of events, by name


def _open_gate(
    c: Cursor, source: Source, items: Sequence[_Item], directory: Directory, received_at: datetime
) -> tuple[list[_Item], _Known]:
    """Hold the gate and the people, and take the keys; return the items that are new, and what they are stored by.

    All is asked for at once, and read afterwards. Raises Moved and _NoSignal.
    """
    tiles.hold_gate(c)
    signals = tiles.ask_active(c)
    people = identity.ask_residents(c, (call.ids[0] for call in _calls(items) if call.ids))
    new = _take_keys(c, source, items, received_at)
    merged = identity.ask_merged(c, directory.groups.values())
    means = conversions.ask_meant(c, source)
    known = _Known(signals(), people(), merged(), means())
    if ANYTHING not in known.signals.values():
        raise _NoSignal
    return new(), known


def _take_keys(c: Cursor, source: Source, items: Sequence[_Item], received_at: datetime) -> Callable[[], list[_Item]]:
    """Take the keys that nobody has taken yet; what is returned reads which, and returns their items."""
    digests = b"".join(sorted(item.digest for item in items))
    answer = c.execute(_TAKE_KEYS, {"source": source.pk, "digests": digests, "received_at": received_at})

    def read() -> list[_Item]:
        ((taken,),) = answer.fetchall()
        if len(taken) == len(digests):
            return list(items)
        mine = {taken[start : start + DIGEST] for start in range(0, len(taken), DIGEST)}
        return [item for item in items if item.digest in mine]

    return read


# To and fro as one text each: as an array of many, the keys would cost half as much again as to store them.
_TAKE_KEYS = f"""
WITH taken AS (
    INSERT INTO scoring_event_key (source_id, digest, received_at)
    SELECT %(source)s::bigint, substr(%(digests)b::bytea, {DIGEST} * n + 1, {DIGEST}), %(received_at)s::timestamptz
    FROM generate_series(0, length(%(digests)b::bytea) / {DIGEST} - 1) AS n ORDER BY n
    ON CONFLICT DO NOTHING RETURNING digest
)
SELECT coalesce(string_agg(digest, ''), '') FROM taken
"""  # noqa: S608


def _store(
    c: Cursor,
    source: Source,
    new: Sequence[_Item],
    directory: Directory,
    known: _Known,
    received_at: datetime,
    lane: Lane,
    shards: set[int],
    count: "Counter",
) -> list[_Item]:
    """Store the new items: event, trait, tile, touch, each in the order of its key; and count them."""
    rows = _rows(new, directory, known)
    events = relation(c, rows)
    store_events(c, events, source=source.pk, received_at=received_at)
    _store_traits(c, list(_traits(new, rows)), {"source": source.pk, "received_at": received_at})
    conversions.store(c, _converted(source, new, rows, known.means, received_at), source=source)
    used = {row.place for row in rows if row.name not in CALLS_THAT_ARE_NOT_USE}
    deserted = _homes_without(c, [place for place in used if not place.inherited], known)
    tiles.append(c, events=events, names={row.name for row in rows}, signals=known.signals)
    active = {place.account_id for place in used} | deserted
    told = {row.place.account_id for row in rows} - active
    count(c, rows)
    handoffs.touch_people(c, users=_spoken_of(new, rows), lane=lane, at=received_at)
    shards |= handoffs.touch(accounts=active, cause="event", lane=lane, at=received_at)
    shards |= handoffs.touch(accounts=told, cause="trait", lane=lane, at=received_at)
    return list(new)


def _spoken_of(new: Iterable[_Item], rows: Iterable[Row]) -> set[int]:
    """Return the users of whom traits were stated: they may be judged in other accounts, too."""
    both = ((fact, row.place.user_id) for (_, fact, *_), row in zip(new, rows, strict=True))
    return {user for fact, user in both if user and (fact.user_traits or fact.user_traits_once)}


Counter = Callable[[Cursor, Sequence[Row]], None]  # of what became of the batch, in the transaction that stores it


def _rows(items: Sequence[_Item], directory: Directory, known: _Known) -> list[Row]:
    places = {id(call): _place(call, directory, known) for call in _calls(items)}
    return [
        Row(fact.message_id, fact.at, fact.name, _json(fact.properties), places[id(call)]) for _, fact, _, call in items
    ]


def _place(call: Call, directory: Directory, known: _Known) -> Place:
    identity_id, user, home = known.people[call.ids[0]] if call.ids else (None, None, 0)
    named = directory.groups[call.group] if call.group else None
    return Place(identity_id, named, user, known.merged.get(named, named) if named else home, named is None)


USERS_REMEMBERED = 100_000
_been_away: set[int] = set()  # users of whom this process has seen that they did something for another account


def forget() -> None:
    """Ask again next time: what this process has seen may be gone, and its ids used anew."""
    _been_away.clear()
    identity.forget()


def _homes_without(c: Cursor, named: Iterable[Place], known: _Known) -> set[int]:
    """Return the homes of those who do something for another account for the first time.

    If they do nothing at home, it is no account to be judged any more; see compiler.sql.IS_SUBJECT.
    """
    homes = {resident.user: resident.home for resident in known.people.values()}
    away = {
        place.user_id: homes[place.user_id]
        for place in named
        if place.user_id and place.user_id not in _been_away and homes[place.user_id] != place.account_id
    }
    if not away:
        return set()
    use = next(signal for signal, definition in known.signals.items() if definition == ANYTHING)
    first_time = {user for (user,) in c.execute(_NEVER_AWAY, {"users": sorted(away), "use": use})}
    if len(_been_away) > USERS_REMEMBERED:
        _been_away.clear()
    _been_away.update(away.keys() - first_time)
    return {away[user] for user in first_time}


_NEVER_AWAY = """
SELECT u.id FROM unnest(%(users)s::bigint[]) AS u(id)
WHERE NOT EXISTS (
    SELECT FROM scoring_tile t WHERE t.user_id = u.id AND NOT t.inherited AND t.signal_id = %(use)s::bigint)
"""


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, which PostgreSQL can hold
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _converted(
    source: Source,
    new: Sequence[_Item],
    rows: Sequence[Row],
    means: Mapping[str, conversions.Conversion],
    received_at: datetime,
) -> Iterator[conversions.Converted]:
    """Yield the outcomes of those events that the source calls conversions."""
    for item, row in zip(new, rows, strict=True) if means else ():
        if meaning := means.get(row.name):
            yield conversions.Converted(
                message_id=conversions.outcome_id(source, row.message_id),
                account_id=row.place.account_id,
                named_id=row.place.named_id if row.place.named_id != row.place.account_id else None,
                identity_id=row.place.identity_id if row.place.inherited else None,
                kind=meaning.kind,
                at=row.at,
                amount=conversions.amount(item.fact.properties.get(meaning.amount)) if meaning.amount else None,
                received_at=received_at,
            )


class _Trait(NamedTuple):
    account_id: int | None
    named_id: int | None  # the account that the call names, where that was merged into the other
    identity_id: int | None
    key: str
    value: str | None  # JSON; None: taken back
    number: Decimal | None
    day: date | None
    precedence: Precedence
    at: datetime
    message_id: str


_Whose = tuple[int | None, int | None, int | None]  # account, the one named where it is another, identity


def _traits(new: Iterable[_Item], rows: Iterable[Row]) -> Iterator[_Trait]:
    for item, row in zip(new, rows, strict=True):
        fact = item.fact
        if not (fact.user_traits or fact.account_traits or fact.user_traits_once or fact.account_traits_once):
            continue  # as most calls have none
        place = row.place
        person: _Whose = (None, None, place.identity_id)
        account: _Whose = (place.account_id, place.named_id if place.named_id != place.account_id else None, None)
        for whose, precedence, traits in (
            (person, Precedence.EVENT, fact.user_traits if place.identity_id else {}),
            (person, Precedence.ONCE, fact.user_traits_once if place.identity_id else {}),
            (account, Precedence.EVENT, fact.account_traits if place.named_id else {}),
            (account, Precedence.ONCE, fact.account_traits_once if place.named_id else {}),
        ):
            for key, value in traits.items():
                text, number, day = None if value is None else _json(value), _number(value), day_of(value)
                yield _Trait(*whose, key, text, number, day, precedence, fact.at, fact.message_id)


def _number(value: object) -> Decimal | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Decimal(str(value)) if is_number else None


_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]|$)", re.ASCII)


def day_of(value: object) -> date | None:
    """Return the UTC day of an ISO 8601 date or date and time, such as "2026-05-03T10:00:00+02:00"; else None.

    Without an offset it is taken as UTC. A number is never a day.
    """
    if not isinstance(value, str) or not _ISO_DAY.match(value):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.date() if moment.tzinfo is None else moment.astimezone(UTC).date()
    except (ValueError, OverflowError):
        return None


def _store_traits(c: Cursor, traits: list[_Trait], common: Mapping[str, Any]) -> None:
    if not traits:
        return
    traits.sort(key=lambda t: (t.account_id or 0, t.identity_id or 0, t.key, t.at, t.message_id))
    columns = dict(zip(_Trait._fields, map(list, zip(*traits, strict=True)), strict=True))
    c.execute(_NEW_TRAITS, {**columns, **common})


_NEW_TRAITS = """
INSERT INTO scoring_traitchange
    (account_id, named_id, identity_id, key, value, number, day, at, message_id, precedence, received_at, source_id)
SELECT account_id, named_id, identity_id, key, value::jsonb, number, day, at, message_id, precedence,
       %(received_at)s::timestamptz, %(source)s::bigint
FROM unnest(%(account_id)s::bigint[], %(named_id)s::bigint[], %(identity_id)s::bigint[], %(key)b::text[],
            %(value)s::text[], %(number)s::numeric[], %(day)s::date[], %(at)b::timestamptz[], %(message_id)b::text[],
            %(precedence)s::smallint[])
AS n(account_id, named_id, identity_id, key, value, number, day, at, message_id, precedence)
"""
