"""What is stored about the people and groups of some calls, and whether the calls say anything new."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from scoring.identity.calls import Call, Turn, pairs

Cursor = psycopg.Cursor[Any]

LINKS_REMEMBERED = 200_000
# Links that this process has seen stored. A link stays for ever and no id is used twice, so it is not asked for again.
_stored_links: set[tuple[int, int]] = set()


def forget() -> None:
    """Ask again next time: what this process has seen may be gone, and its ids used anew."""
    _stored_links.clear()


class Moved(Exception):
    """Somebody else joined these users meanwhile. Roll back and begin again: nothing is wrong."""


class Known(NamedTuple):
    """An identity as it is stored."""

    identity: int
    user: int
    is_user_id: bool
    is_refused: bool  # joins nobody


@dataclass(slots=True)
class Directory:
    """What is stored about the ids, groups and addresses of some calls."""

    identities: dict[str, Known] = field(default_factory=dict)
    links: set[tuple[int, int]] = field(default_factory=set)  # (lower identity, higher identity)
    groups: dict[str, int] = field(default_factory=dict)
    joined: dict[tuple[str, str], Turn] = field(default_factory=dict)  # (identity, group): earliest call
    emails: dict[tuple[str, str], Turn] = field(default_factory=dict)  # (identity, address): earliest call


class Resident(NamedTuple):
    """An identity with its user and that user's home; both stay so until the end of the transaction."""

    identity: int
    user: int
    home: int


def look_up(c: Cursor, calls: Sequence[Call]) -> Directory:
    """Return what is stored about the calls' ids, groups, memberships and addresses. `c` is of a raw.pipeline()."""
    ids, joining, writing = set[str](), set[str](), set[str]()
    for call in calls:
        ids.update(call.ids)
        if call.joins:
            joining.add(call.ids[0])
        if call.email:
            writing.add(call.ids[0])
    identities, joined, emails = (
        c.execute(sql, {"values": sorted(values)}) if values else ()
        for sql, values in ((IDENTITIES, ids), (_JOINED, joining), (_EMAILS, writing))
    )
    directory = Directory(groups=groups(c, calls))
    directory.identities = {value: Known(*row) for value, *row in identities}
    directory.links = _links(c, calls, directory.identities)
    directory.joined = {(value, group): (at, message) for value, group, at, message in joined}
    directory.emails = {(value, email): (at, message) for value, email, at, message in emails}
    return directory


def _links(c: Cursor, calls: Iterable[Call], identities: Mapping[str, Known]) -> set[tuple[int, int]]:
    wanted = {
        link_of(identities[one], identities[other])
        for call in calls
        for one, other in pairs(call)
        if one in identities and other in identities
    }
    unsure = sorted(wanted - _stored_links)
    if not unsure:
        return wanted
    lows, highs = map(list, zip(*unsure, strict=True))
    found = set(c.execute(_LINKS, {"lows": lows, "highs": highs}))
    if len(_stored_links) > LINKS_REMEMBERED:
        _stored_links.clear()
    _stored_links.update(found)
    return found | wanted.intersection(_stored_links)


def link_of(one: Known, other: Known) -> tuple[int, int]:
    """Return the key under which the link of two identities is stored."""
    return min(one.identity, other.identity), max(one.identity, other.identity)


def groups(c: Cursor, calls: Iterable[Call]) -> dict[str, int]:
    """Return the ids of the accounts that the calls name, as far as they exist."""
    names = sorted({call.group for call in calls if call.group})
    return dict(c.execute(_GROUPS, {"groups": names}).fetchall()) if names else {}


IDENTITIES = """
SELECT value, id, user_id, known, refused_at IS NOT NULL FROM scoring_identity WHERE value = ANY (%(values)b::text[])
"""
_LINKS = """
SELECT l.low_id, l.high_id FROM scoring_identitylink l
JOIN unnest(%(lows)s::bigint[], %(highs)s::bigint[]) AS w(low_id, high_id) USING (low_id, high_id)
"""
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
    if len(call.ids) > 1 and not _is_linked(call, directory):
        return True
    turn = (call.at, call.message_id)
    if call.joins and not _holds(directory.joined.get((call.ids[0], call.group or "")), turn):
        return True
    return call.email is not None and not _holds(directory.emails.get((call.ids[0], call.email)), turn)


def _is_linked(call: Call, directory: Directory) -> bool:
    """Whether all links that the call states are stored: then whatever follows from them was done with them."""
    known = directory.identities
    return all(value in known for value in call.ids) and all(
        link_of(known[one], known[other]) in directory.links for one, other in pairs(call)
    )


def _holds(stored: Turn | None, turn: Turn) -> bool:
    return stored is not None and stored <= turn


def ask_residents(c: Cursor, values: Iterable[str]) -> Callable[[], dict[str, Resident]]:
    """Ask for the identities (by value) with users and homes, the users locked so that neither can change.

    One statement, in user order. What is returned reads the answer, and raises Moved if an identity went to another
    user while it waited: the lock shows the newest version of the user, and a merged one says so.
    """
    wanted = sorted(set(values))
    answer = c.execute(_RESIDENTS, {"values": wanted}) if wanted else None

    def read() -> dict[str, Resident]:
        rows = answer.fetchall() if answer else []
        if len(rows) < len(wanted) or any(merged_into for *_, merged_into in rows):
            raise Moved
        return {value: Resident(identity, user, home) for value, identity, user, home, _ in rows}

    return read


def survivors(c: Cursor, users: Iterable[int]) -> dict[int, int]:
    """Return those of the users that were merged away, each with the one that it is now."""
    wanted = sorted(set(users))
    return dict(c.execute(_SURVIVORS, {"users": wanted}).fetchall()) if wanted else {}


_SURVIVORS = """
WITH RECURSIVE way(was, now) AS (
    SELECT id, merged_into_id FROM scoring_productuser WHERE id = ANY (%(users)s::bigint[])
    UNION ALL SELECT w.was, u.merged_into_id FROM way w JOIN scoring_productuser u ON u.id = w.now)
SELECT w.was, w.now FROM way w JOIN scoring_productuser u ON u.id = w.now AND u.merged_into_id IS NULL
"""
_RESIDENTS = """
SELECT i.value, i.id, u.id, u.home_id, u.merged_into_id
FROM scoring_identity i JOIN scoring_productuser u ON u.id = i.user_id
WHERE i.value = ANY (%(values)b::text[]) ORDER BY u.id FOR KEY SHARE OF u
"""
