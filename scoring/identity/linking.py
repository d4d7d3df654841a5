"""Write who is who: identities only ever join, links only ever get earlier, whatever the order of calls.

Locks, in this order, which is why two of these never wait for each other in a circle: group accounts, identities,
users (all FOR UPDATE, by id), other accounts, links. Each is written by one sorted statement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from scoring.identity import sharing
from scoring.identity.calls import Call, Turn, pairs
from scoring.identity.components import joined
from scoring.identity.directory import IDENTITIES, Known, Moved, link_of
from scoring.identity.homes import Home, add_accounts, homes_of

Cursor = psycopg.Cursor[Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What linking did to a user that existed before. Its tiles must follow."""

    was: int  # the user
    now: int  # the user that it belongs to now: itself, or the survivor of a merge
    old_home: int
    new_home: int


@dataclass(frozen=True, slots=True)
class Linked:
    """What linking did."""

    changes: list[Change] = field(default_factory=list)
    split: list[int] = field(default_factory=list)  # identities whose users fell apart: fold their events anew
    homes: set[int] = field(default_factory=set)  # accounts of all these users, new ones too: they may need a score
    users: list[int] = field(default_factory=list)  # all users whose home may be another now


def link(c: Cursor, calls: Sequence[Call], *, at: datetime) -> Linked:
    """Write all that the calls say about who is who, and return what became of the users that existed before.

    Creates groups, identities, users and homes as needed, and merges users: the lowest id survives. An id that turns
    out to be shared joins nobody any more, and its user falls apart. Idempotent.
    Belongs in a transaction of its own, under the fold lock (shared). Raises Moved.
    """
    groups = add_accounts(c, {("group", call.group) for call in calls if call.group}, at)
    refused = _refused(c, calls)
    components = _components(calls, refused)
    if not components:
        return Linked()
    fresh = _add_identities(c, components)
    values = [value for component in components for value in component]
    users = _lock_users(c, values)
    identities = _read_identities(c, values, allowed=users.keys() | fresh, refused=refused)
    survivors = _survivors(components, identities)
    _move_identities(c, survivors)
    named_first = _mark_user_ids(c, calls)
    _add_links(c, calls, identities)
    _add_group_links(c, calls, identities, groups)
    _add_email_links(c, calls, identities)
    linked = [identities[value].identity for call in calls if len(call.ids) > 1 for value in call.ids]
    suspects = sharing.suspects(c, linked, named_first)
    if refused:
        users |= _lock_users(c, sharing.strangers(c, suspects, users=users.keys() | fresh))
    split = sharing.split(c, sharing.refuse(c, suspects, at=at))
    now = {user: survivors.get(user, user) for user in {*users, *survivors}}
    now = {user: split.heirs.get(survivor, survivor) for user, survivor in now.items()}
    homes = homes_of(c, {*now.values(), *split.users}, at)
    _write_users(c, now, homes, existing=users.keys(), at=at)
    changes = [
        Change(was=user, now=now[user], old_home=old_home, new_home=homes[now[user]].account)
        for user, old_home in users.items()
    ]
    return Linked(changes, split.identities, {home.account for home in homes.values()}, sorted(homes))


def settle(c: Cursor, users: Iterable[int], *, at: datetime) -> list[Change]:
    """Give the users, none of them merged away, the homes that the links and merges of accounts say; return what moved.

    Nobody else may move users or store their events meanwhile.
    """
    before = dict(c.execute(_HOMES_NOW, {"users": sorted(set(users))}).fetchall())
    homes = homes_of(c, set(before), at)
    _write_users(c, {user: user for user in before}, homes, existing=before, at=at)
    return [Change(user, user, home, homes[user].account) for user, home in before.items()]


def rehouse(c: Cursor, *, was: int, now: int, most: int) -> int:
    """Let the users whose home is the one account live at the other, which it was merged into, at most so many.

    Returns how many. Nobody else may move users or store their events meanwhile.
    """
    return c.execute(_REHOUSE, {"was": was, "now": now, "most": most}).rowcount


_REHOUSE = """
UPDATE scoring_productuser SET home_id = %(now)s::bigint WHERE id IN (
    SELECT id FROM scoring_productuser
    WHERE home_id = %(was)s::bigint AND merged_into_id IS NULL LIMIT %(most)s::int)
"""
_HOMES_NOW = """
SELECT id, home_id FROM scoring_productuser WHERE id = ANY (%(users)s::bigint[]) AND merged_into_id IS NULL ORDER BY id
"""


def _refused(c: Cursor, calls: Iterable[Call]) -> set[str]:
    """Return those of the calls' ids that join nobody."""
    values = sorted({value for call in calls for value in call.ids})
    return {value for (value,) in c.execute(_REFUSED, {"values": values})} if values else set()


_REFUSED = "SELECT value FROM scoring_identity WHERE value = ANY (%(values)b::text[]) AND refused_at IS NOT NULL"


def _components(calls: Iterable[Call], refused: set[str]) -> list[list[str]]:
    """Join the ids of each call; those that join nobody stay alone."""
    together: Iterable[Iterable[str]] = ([value for value in call.ids if value not in refused] for call in calls)
    alone = ([value] for call in calls for value in call.ids if value in refused)
    return joined([*together, *alone])


def _add_identities(c: Cursor, components: Sequence[Sequence[str]]) -> set[int]:
    """Make sure that all ids exist, and return the user ids that were taken for those of nobody known.

    Another process may add the same id at the same moment: then we wait for it, and its user is the id's.
    """
    stored = dict(c.execute(_USERS_OF, {"values": [v for ids in components for v in ids]}).fetchall())
    unknown = [ids for ids in components if not any(value in stored for value in ids)]
    fresh = sharing.fresh_users(c, len(unknown))
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
_NEW_IDENTITIES = """
INSERT INTO scoring_identity (value, user_id, known, refused_why)
SELECT value, user_id, false, '' FROM unnest(%(values)b::text[], %(users)s::bigint[]) AS n(value, user_id)
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


def _read_identities(c: Cursor, values: Sequence[str], *, allowed: set[int], refused: set[str]) -> dict[str, Known]:
    """Read the ids again now that nobody else can join them, or refuse to."""
    rows = c.execute(IDENTITIES, {"values": values})
    identities = {value: Known(*row) for value, *row in rows}
    if len(identities) < len(values) or any(known.user not in allowed for known in identities.values()):
        raise Moved
    if any(known.is_refused for value, known in identities.items() if value not in refused):
        raise Moved
    return identities


def _survivors(components: Sequence[Sequence[str]], identities: Mapping[str, Known]) -> dict[int, int]:
    """For each user of the ids, the user that it becomes: the lowest of all that are joined."""
    together = joined([identities[value].user for value in ids] for ids in components)
    return {user: users[0] for users in together for user in users}


def _move_identities(c: Cursor, survivors: Mapping[int, int]) -> None:
    moves = [(was, now) for was, now in survivors.items() if was != now]
    if moves:
        c.execute(_MOVE_IDENTITIES, {"was": [was for was, _ in moves], "now": [now for _, now in moves]})


_MOVE_IDENTITIES = """
UPDATE scoring_identity i SET user_id = m.now
FROM unnest(%(was)s::bigint[], %(now)s::bigint[]) AS m(was, now) WHERE i.user_id = m.was
"""


def _mark_user_ids(c: Cursor, calls: Iterable[Call]) -> list[int]:
    """Note which ids were given as user ids; return the identities that never were before."""
    user_ids = sorted({call.user_id for call in calls if call.user_id})
    return [one for (one,) in c.execute(_MARK_USER_IDS, {"values": user_ids})] if user_ids else []


_MARK_USER_IDS = """
UPDATE scoring_identity SET known = true WHERE value = ANY (%(values)b::text[]) AND NOT known RETURNING id
"""


def _columns(names: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, list[object]]:
    """Turn rows into parameters that are arrays."""
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _add_links(c: Cursor, calls: Iterable[Call], identities: Mapping[str, Known]) -> None:
    links = {link_of(identities[one], identities[other]) for call in calls for one, other in pairs(call)}
    if links:
        c.execute(_NEW_LINKS, _columns(("lows", "highs"), sorted(links)))


_NEW_LINKS = """
INSERT INTO scoring_identitylink (low_id, high_id) SELECT * FROM unnest(%(lows)s::bigint[], %(highs)s::bigint[])
ON CONFLICT (low_id, high_id) DO NOTHING
"""


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
