"""Ids that too many people share, such as that of a kiosk or a hard-coded test user: refused as something to merge by.

The verdict is about the set of calls: how many ids, and how many user ids, they ever used together with this one. Both
only grow, so the order of calls does not matter. A refused id stays a person of its own; whom it had glued together
falls apart into the components of the links that remain.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from django.conf import settings

from scoring.identity.components import joined

Cursor = psycopg.Cursor[Any]


def suspects(c: Cursor, linked: Iterable[int], named_first: Sequence[int]) -> list[int]:
    """Return the identities whose verdict a batch may change, in order.

    These are those that it links, and the neighbours of those that it used as user ids for the first time.
    """
    beside = [one for (one,) in c.execute(_NEIGHBOURS, {"ids": named_first})] if named_first else []
    return sorted({*linked, *beside})


_NEIGHBOURS = """
SELECT high_id FROM scoring_identitylink WHERE low_id = ANY (%(ids)s::bigint[])
UNION SELECT low_id FROM scoring_identitylink WHERE high_id = ANY (%(ids)s::bigint[])
"""


def strangers(c: Cursor, suspects: Sequence[int], *, users: Iterable[int]) -> list[str]:
    """Return the values of those of the identities that belong to nobody of these users: they are not locked yet.

    A neighbour belongs to the same user, unless one of the two is refused.
    """
    return [value for (value,) in c.execute(_STRANGERS, {"ids": suspects, "users": list(users)})]


_STRANGERS = """
SELECT value FROM scoring_identity WHERE id = ANY (%(ids)s::bigint[]) AND user_id <> ALL (%(users)s::bigint[])
"""


def refuse(c: Cursor, suspects: Sequence[int], *, at: datetime) -> list[int]:
    """Refuse those of the identities that turn out to be shared by too many; return them. Their users are locked."""
    most = {"users": settings.MOST_USERS_OF_AN_ID, "most": settings.MOST_LINKS_OF_AN_ID}
    shared = c.execute(_SHARED, {"ids": suspects, **most}).fetchall() if suspects else []
    for identity, users, ids in shared:
        many = f"{users:,} user ids" if users > most["users"] else f"{ids:,} ids"
        c.execute(_REFUSE, {"id": identity, "why": f"Calls use it together with {many}.", "at": at})
    return [identity for identity, _, _ in shared]


_SHARED = """
SELECT s.id, count(*) FILTER (WHERE o.known), count(*)
FROM scoring_identity s CROSS JOIN LATERAL (
    SELECT high_id AS id FROM scoring_identitylink WHERE low_id = s.id
    UNION ALL SELECT low_id FROM scoring_identitylink WHERE high_id = s.id) AS n
JOIN scoring_identity o ON o.id = n.id
WHERE s.id = ANY (%(ids)s::bigint[]) AND s.refused_at IS NULL
GROUP BY s.id HAVING count(*) FILTER (WHERE o.known) > %(users)s::bigint OR count(*) > %(most)s::bigint
ORDER BY s.id
"""
_REFUSE = """
UPDATE scoring_identity SET refused_at = %(at)s::timestamptz, refused_why = %(why)s::text WHERE id = %(id)s::bigint
"""


@dataclass(frozen=True, slots=True)
class Split:
    """What came of users that fell apart."""

    heirs: dict[int, int] = field(default_factory=dict)  # a former user: who gets its tiles until they are folded anew
    users: list[int] = field(default_factory=list)  # those that it fell into
    identities: list[int] = field(default_factory=list)  # of all of them


def split(c: Cursor, refused: Sequence[int]) -> Split:
    """Give the components that are left, now that these identities join nobody, a new user each.

    The former user is merged away like any other, into that of the refused id: whoever waits for it looks again.
    """
    rows = c.execute(_IDENTITIES, {"refused": refused}).fetchall() if refused else []
    owners = {identity: user for identity, user in rows}
    links = c.execute(_LINKS, {"ids": list(owners)}).fetchall() if owners else []
    components = joined([*([identity] for identity in owners), *links])
    parts: dict[int, list[list[int]]] = {}
    for component in components:
        parts.setdefault(owners[component[0]], []).append(component)
    apart = [component for components in parts.values() if len(components) > 1 for component in components]
    if not apart:
        return Split()
    users = fresh_users(c, len(apart))
    new = {identity: user for component, user in zip(apart, users, strict=True) for identity in component}
    c.execute(_GIVE, {"ids": list(new), "users": list(new.values())})
    heirs = {owners[identity]: new[identity] for identity in sorted(refused, reverse=True) if identity in new}
    return Split(heirs, users, sorted(new))


_IDENTITIES = """
SELECT id, user_id FROM scoring_identity
WHERE user_id IN (SELECT user_id FROM scoring_identity WHERE id = ANY (%(refused)s::bigint[])) ORDER BY id
"""
_LINKS = """
SELECT l.low_id, l.high_id FROM scoring_identitylink l
JOIN scoring_identity a ON a.id = l.low_id JOIN scoring_identity b ON b.id = l.high_id
WHERE l.low_id = ANY (%(ids)s::bigint[]) AND a.refused_at IS NULL AND b.refused_at IS NULL
"""
_GIVE = """
UPDATE scoring_identity i SET user_id = n.user_id
FROM unnest(%(ids)s::bigint[], %(users)s::bigint[]) AS n(id, user_id) WHERE i.id = n.id
"""


def fresh_users(c: Cursor, n: int) -> list[int]:
    """Return so many ids for users to come."""
    return [user for (user,) in c.execute(_FRESH_USERS, {"n": n})] if n else []


_FRESH_USERS = """
SELECT nextval(pg_get_serial_sequence('scoring_productuser', 'id')) FROM generate_series(1, %(n)s::int)
"""
