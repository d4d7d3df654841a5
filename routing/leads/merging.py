"""What becomes of the leads of an account that was merged into another: one open lead for each motion stays."""

from collections.abc import Iterable
from datetime import datetime

from routing.leads import assigning, moves
from routing.models import Lead, Refund, Stage
from scoring.models import Account, raw


class MergedMeanwhile(Exception):
    """The account was merged while its lane was awaited. Try again: nothing is wrong."""


def lock_lanes(*, account_id: int) -> Account | None:
    """Take the lane of the account, and of the one that it was merged into; return that one, None if it was not.

    Belongs in a transaction. Raises MergedMeanwhile.
    """
    into = _into(account_id)
    for each in sorted({account_id, into.pk} if into else {account_id}):
        moves.lock_lane(account_id=each)
    if _into(account_id) != into:
        raise MergedMeanwhile(f"account {account_id} was merged or parted just now; look at it again")
    return into


def lock_free_lanes(*, account_ids: Iterable[int]) -> set[int]:
    """Take the lanes of the accounts that nobody holds and that were not merged into others; returns those accounts.

    It waits for nobody, so many may be taken. Belongs in a transaction.
    """
    wanted = list(account_ids)
    with raw.cursor() as cursor:
        cursor.execute(MAKE_LANES, {"accounts": wanted})
        taken = [account for (account,) in cursor.execute(TAKE_LANES, {"accounts": wanted})]
    # Asked once they are held, as above.
    return set(Account.objects.filter(pk__in=taken, merged_into=None).values_list("pk", flat=True))


MAKE_LANES = """
INSERT INTO routing_lane (account_id)
SELECT id FROM scoring_account a WHERE id = ANY (%(accounts)s::bigint[])
    AND NOT EXISTS (SELECT FROM routing_lane l WHERE l.account_id = a.id)
ORDER BY id ON CONFLICT DO NOTHING
"""
TAKE_LANES = """
SELECT account_id FROM routing_lane WHERE account_id = ANY (%(accounts)s::bigint[])
ORDER BY account_id FOR UPDATE SKIP LOCKED
"""


def _into(account_id: int) -> Account | None:
    account = Account.objects.select_related("merged_into").get(pk=account_id)
    return account.merged_into


def move_in(*, account_id: int, into: Account, motion: str, at: datetime) -> Lead | None:
    """Move the open lead of the motion to the account that counts now, and return the one that stays there, if any.

    Of two, the one that somebody works already stays, else the one of the account that counts. Both lanes are held.
    """
    lead, there = _locked(account_id, motion), _locked(into.pk, motion)
    if lead is None:
        return there
    was = lead.account.external_id
    if there is not None and _worked(there) >= _worked(lead):
        _absorb(lead, by=there, at=at, why=f"{was} was merged into {into}, which has lead {there.pk}.")
        return there
    if there is not None:
        _absorb(there, by=lead, at=at, why=f"{was} was merged into this account, and lead {lead.pk} came with it.")
    note, data = f"{was} was merged into {into}.", {"from_account": account_id, "to_account": into.pk}
    return moves.make(lead=lead, verb="move", by=None, at=at, note=note, data=data, account=into)


def _locked(account_id: int, motion: str) -> Lead | None:
    lead = moves.open_lead(account_id=account_id, motion=motion)
    return moves.lock(lead=lead) if lead else None


def _worked(lead: Lead) -> int:
    """How far somebody is with the lead."""
    return 2 if lead.stage == Stage.SQL else 1 if lead.first_touched_at else 0


def _absorb(lead: Lead, *, by: Lead, at: datetime, why: str) -> None:
    data = {"lead": by.pk}
    assigning.close(lead=lead, verb="absorb", by=None, at=at, reason=why, cause=Refund.DUPLICATE, data=data)
    if lead.mql_at and by.mql_at is None:
        moves.put(lead=by, changes={"mql_at": lead.mql_at})
