"""What people and other systems tell of accounts: outcomes, and who must not count."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Case, IntegerField, Value, When

from scoring import handoffs
from scoring.models import Account, Exclusion, Lane, Outcome, Source
from scoring.models.raw import cursor

Cursor = psycopg.Cursor[Any]


def record_outcome(
    *,
    account: Account,
    kind: str,
    at: datetime,
    received_at: datetime,
    message_id: str,
    source: Source | None = None,
    amount: Decimal | None = None,
) -> tuple[Outcome, bool]:
    """Record a conversion once, touch its account, and return it with whether it was new.

    The same message id is the same outcome, whatever else is said. `amount` has two decimals. An account that was
    merged into another counts for that one. May be part of the caller's transaction.
    """
    with transaction.atomic():
        into = _held(account)
        outcome, is_new = Outcome.objects.get_or_create(
            message_id=message_id,
            defaults={
                "account_id": into or account.pk,
                "named": account if into else None,
                "kind": kind,
                "at": at,
                "received_at": received_at,
                "source": source,
                "amount": amount,
            },
        )
        if is_new:
            handoffs.touch(accounts=[outcome.account_id], cause="outcome", lane=Lane.LIVE, at=received_at)
    return outcome, is_new


def retract_outcome(*, message_id: str, at: datetime) -> bool:
    """Take back an outcome that was told by mistake, and touch its account; returns whether there was one.

    What it was is then with whoever told it: here it never happened, so that it may be told again.
    """
    with transaction.atomic():
        told = Outcome.objects.select_for_update().filter(message_id=message_id).first()
        if told is None:
            return False
        told.delete()
        handoffs.touch(accounts=[told.account_id], cause="outcome", lane=Lane.LIVE, at=at)
    return True


def _held(account: Account) -> int | None:
    """Return into which account it was merged, if it was, and let nobody change that until the transaction's end."""
    with cursor() as c:
        row = c.execute(_HELD, {"account": account.pk}).fetchone()
    return row[0] if row else None


_HELD = "SELECT merged_into_id FROM scoring_account WHERE id = %(account)s::bigint FOR KEY SHARE"


def follow_account(c: Cursor, *, was: int, now: int, most: int) -> int:
    """Let outcomes that count for the one account count for the other, at most so many; return how many."""
    return c.execute(_MOVE, {"was": was, "now": now, "most": most}).rowcount


# Of one that came to somebody's home nobody named an account.
_MOVE = """
UPDATE scoring_outcome SET account_id = %(now)s::bigint,
    named_id = CASE WHEN identity_id IS NULL THEN coalesce(named_id, account_id) END
WHERE id IN (SELECT id FROM scoring_outcome WHERE account_id = %(was)s::bigint LIMIT %(most)s::int)
"""


def follow(c: Cursor, users: Iterable[int]) -> set[int]:
    """Move the outcomes that count for the homes of these users there where they are now; return all accounts."""
    return {account for (account,) in c.execute(_FOLLOW, {"users": sorted(set(users))})}


_FOLLOW = """
WITH astray AS (
    SELECT o.id, o.account_id AS was, u.home_id AS now
    FROM scoring_productuser u JOIN scoring_identity i ON i.user_id = u.id
    JOIN scoring_outcome o ON o.identity_id = i.id
    WHERE u.id = ANY (%(users)s::bigint[]) AND o.account_id <> u.home_id
), moved AS (
    UPDATE scoring_outcome o SET account_id = a.now FROM astray a WHERE o.id = a.id
)
SELECT was FROM astray UNION SELECT now FROM astray
"""


def exclude(
    *,
    kind: str,
    value: str,
    why: str,
    note: str = "",
    starts_on: date | None = None,
    ends_on: date | None = None,
    by: User | None,
    at: datetime,
) -> Exclusion:
    """Let somebody not count from `starts_on` (None: since ever) to the day before `ends_on` (None: for ever).

    Touches every account that this changes, and returns the exclusion. Domains and addresses are taken in lower case.
    """
    value = value.strip()
    if kind in (Exclusion.Kind.DOMAIN, Exclusion.Kind.EMAIL):
        value = value.lower()
    with transaction.atomic():
        exclusion = Exclusion.objects.create(
            kind=kind,
            value=value,
            why=why,
            note=note,
            starts_on=starts_on,
            ends_on=ends_on,
            created_by=by,
            created_at=at,
        )
        _touch_excluded(exclusion, at)
    return exclusion


def lift_exclusion(*, exclusion: Exclusion, at: datetime) -> None:
    """Let them count again from today (UTC) on; the past stays as it was. Touches every account that this changes."""
    today = at.astimezone(UTC).date()
    with transaction.atomic():
        still = Exclusion.objects.filter(pk=exclusion.pk).exclude(ends_on__lte=today)
        if still.update(ends_on=today):
            _touch_excluded(exclusion, at)
    exclusion.refresh_from_db()


def _touch_excluded(exclusion: Exclusion, at: datetime) -> None:
    with cursor() as c:
        rows = c.execute(_EXCLUDED[exclusion.kind], {"value": exclusion.value})
        accounts = {account for (account,) in rows}
    handoffs.touch(accounts=accounts, cause="exclusion", lane=Lane.LIVE, at=at)


_WHERE_THEY_COUNT = """
SELECT DISTINCT t.account_id FROM scoring_tile t JOIN scoring_identity i ON i.user_id = t.user_id WHERE i.user_id IN
"""
_EXCLUDED: Mapping[str, str] = {
    Exclusion.Kind.DOMAIN: f"""{_WHERE_THEY_COUNT} (
        SELECT i.user_id FROM scoring_emaillink e JOIN scoring_identity i ON i.id = e.identity_id
        WHERE e.domain = %(value)s::text)
    UNION SELECT id FROM scoring_account WHERE kind = 'domain' AND external_id = %(value)s::text""",  # noqa: S608
    Exclusion.Kind.EMAIL: f"""{_WHERE_THEY_COUNT} (
        SELECT i.user_id FROM scoring_emaillink e JOIN scoring_identity i ON i.id = e.identity_id
        WHERE e.email = %(value)s::text)""",  # noqa: S608
    Exclusion.Kind.USER: f"""{_WHERE_THEY_COUNT} (
        SELECT user_id FROM scoring_identity WHERE value = %(value)s::text)""",  # noqa: S608
    Exclusion.Kind.ACCOUNT: "SELECT id FROM scoring_account WHERE external_id = %(value)s::text",
}


def account_named(*, external_id: str) -> Account | None:
    """Return the account with this id; of several the group's, then the domain's, user's and visitor's."""
    order = [When(kind=kind, then=Value(rank)) for rank, kind in enumerate(Account.Kind.values)]
    ranked = Account.objects.filter(external_id=external_id).order_by(Case(*order, output_field=IntegerField()))
    return ranked.first()
