"""Write who is who: identities only ever join, links only ever get earlier, whatever the order of calls.

Locks, in this order, which is why two of these never wait for each other in a circle: group accounts, identities,
users (all FOR UPDATE, by id), other accounts, links. Each is written by one sorted statement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from scoring.identity.calls import Call, Turn
from scoring.identity.directory import IDENTITIES, Known, Moved
from scoring.identity.homes import Home, add_accounts, homes_of

Cursor = psycopg.Cursor[Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What linking did to a user that existed before. Its tiles must follow."""

    was: int  # the user
    now: int  # the user that it belongs to now: itself, or the survivor of a merge
    old_home: int
    new_home: int


def link(c: Cursor, calls: Sequence[Call], *, at: datetime) -> list[Change]:
    """Write all that the calls say about who is who, and return what became of the users that existed before.

    Creates groups, identities, users and homes as needed, and merges users: the lowest id survives. Idempotent.
    Belongs in a transaction of its own, under the fold lock (shared). Raises Moved.
    """
    groups = add_accounts(c, {("group", call.group) for call in calls if call.group}, at)
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
    homes = homes_of(c, set(survivors.values()), at)
    _write_users(c, survivors, homes, existing=users.keys(), at=at)
    return [
        Change(was=user, now=survivors[user], old_home=old_home, new_home=homes[survivors[user]].account)
        for user, old_home in users.items()
    ]


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
    rows = c.execute(IDENTITIES, {"values": values})
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


def _write_users(
    c: Cursor, survivors: Mapping[int, int], homes: Mapping[int, Home], *, existing: Iterable[int], at: datetime
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
