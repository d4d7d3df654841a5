"""Accounts that turn out to be one. Events never change: the account that they name counts for the other from then on.

A merge is a pointer from the one account to the other, so it does not matter whether events come before or after it.
Homes, tiles, traits and outcomes follow at once, of a large account the rest by a job, in steps for which senders need
not wait long; scores when the touched accounts are judged, leads by the hint that is left for them. Taking it back
removes the pointer; events that named the account are folded anew by a job.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q

from scoring import handoffs, identity, jobs, tiles
from scoring.facts import outcomes
from scoring.facts.people import with_users
from scoring.jobs import Progress
from scoring.language import signal_digest
from scoring.language.document import ANYTHING
from scoring.models import Account, Crossed, Job, Lane, ProductUser, RuleSet, Score
from scoring.models.raw import cursor

Cursor = psycopg.Cursor[Any]

MERGE = "merge"
MOVED_AT_ONCE = 2_000  # rows of each table, while senders wait: less than 200 ms
WINDOW = 28  # days of events that a preview counts


class CannotMerge(ValueError):
    """The two accounts cannot become one, or the account was not merged; the text says why."""


@dataclass(frozen=True, slots=True)
class Side:
    """What there is of an account."""

    account: Account
    users: int  # who live here
    events: int  # within the window
    outcomes: int
    scores: list[Score]  # of users, of those with a tier


@dataclass(frozen=True, slots=True)
class MergePreview:
    """What two accounts are, and what the one that stays will be."""

    other: Side
    into: Side
    users: int
    events: int
    outcomes: int


def preview_merge(*, other: Account, into: Account, as_of: date) -> MergePreview:
    """Return what a merge would bring together; events are those of the 28 days up to `as_of`. Raises CannotMerge."""
    _check(other, into)
    one, two = _side(other, as_of), _side(into, as_of)
    return MergePreview(
        other=one,
        into=two,
        users=one.users + two.users,
        events=one.events + two.events,
        outcomes=one.outcomes + two.outcomes,
    )


def _check(other: Account, into: Account) -> None:
    if other.pk == into.pk:
        raise CannotMerge("An account cannot be merged into itself: choose another one.")
    for account in (other, into):
        if account.merged_into_id is not None:
            raise CannotMerge(f"{account} was merged into {account.merged_into} before: choose that one.")
        if account.kind == Account.Kind.VISITOR:
            raise CannotMerge(f"{account} is a visitor who never said who they are: nobody scores or calls them.")


def _side(account: Account, as_of: date) -> Side:
    with cursor() as c:
        digest = signal_digest(ANYTHING)
        params = {"account": account.pk, "digest": digest, "first": as_of - timedelta(days=WINDOW - 1), "last": as_of}
        row = c.execute(_EVENTS, params).fetchone()
    scores = account.scores.select_related("rule_set", "version").filter(Q(user=None) | ~Q(tier=""))
    return Side(
        account=account,
        users=ProductUser.objects.filter(home=account, merged_into=None).count(),
        events=int(row[0]) if row else 0,
        outcomes=account.outcomes.count(),
        scores=list(with_users(scores).order_by("rule_set", "pk")),
    )


_EVENTS = """
SELECT coalesce(sum(t.count), 0) FROM scoring_tile t JOIN scoring_signal s ON s.id = t.signal_id
WHERE s.digest = %(digest)s::text AND t.account_id = %(account)s::bigint
AND t.day BETWEEN %(first)s::date AND %(last)s::date
"""


def merge_accounts(*, other: Account, into: Account, by: AbstractBaseUser | None, at: datetime) -> Account:
    """Let `other` count for `into` from now on, for ever back, and return `into`.

    Accounts that were merged into `other` before go along. Stops senders while it moves what is there; of a large
    account a job moves the rest. Commits. Raises CannotMerge.
    """
    with transaction.atomic(durable=True), cursor() as c:
        tiles.stop_senders(c)
        other, into = _locked(other, into)
        _check(other, into)
        Account.objects.filter(merged_into=other).update(merged_into=into)
        Account.objects.filter(pk=other.pk).update(merged_into=into, merged_at=at, merged_by_id=by.pk if by else None)
        _, is_all = _move_some(c, was=other.pk, now=into.pk)
        if not is_all:
            jobs.create(kind=MERGE, arguments={"account": other.pk, "label": f"{other} into {into}"}, by=by, at=at)
        handoffs.touch(accounts=[other.pk], cause="identity", lane=Lane.LIVE, at=at)
        handoffs.touch(accounts=[into.pk], cause="merge", lane=Lane.LIVE, at=at)
        _hint_at_leads(other, at)
    into.refresh_from_db()
    return into


def run_merge(*, job: Job, clock: Callable[[], datetime]) -> None:
    """Move what is left at a merged account to the one that counts for it, step by step, to the end.

    Whoever lives at the account meanwhile may still add to it. Raises jobs.LeaseLost if somebody else took it over.
    """
    moved, is_all = job.cursor.get("moved", 0), False
    while not is_all:
        with transaction.atomic(durable=True), cursor() as c:
            tiles.stop_senders(c)
            account = Account.objects.get(pk=job.arguments["account"])
            if account.merged_into_id is None:
                break  # they were parted meanwhile
            some, is_all = _move_some(c, was=account.pk, now=account.merged_into_id)
            moved += some
            cause = "merge" if is_all else "identity"
            handoffs.touch(accounts=[account.merged_into_id], cause=cause, lane=Lane.BULK, at=clock())
            jobs.report(job=job, progress=Progress("moving what it counted", moved, None, {"moved": moved}), at=clock())
    jobs.finish(job=job, result={"moved": moved}, at=clock())


def _move_some(c: Cursor, *, was: int, now: int) -> tuple[int, bool]:
    """Move the account's residents, tiles, traits and outcomes, so many of each; return how many, and if that was all.

    Nobody folds or stores events meanwhile. Where people live counts first: what they do comes to their home.
    """
    moved = [
        identity.rehouse(c, was=was, now=now, most=MOVED_AT_ONCE),
        tiles.follow_account(c, was=was, now=now, most=MOVED_AT_ONCE),
        outcomes.follow_account(c, was=was, now=now, most=MOVED_AT_ONCE),
        c.execute(_MOVE_TRAITS, {"was": was, "now": now, "most": MOVED_AT_ONCE}).rowcount,
    ]
    return sum(moved), max(moved) < MOVED_AT_ONCE


def separate_account(*, account: Account, at: datetime) -> Account:
    """Let a merged account stand for itself again, and return it.

    Homes, traits and outcomes are parted at once; what is counted, by a job that folds the events anew. Leads stay
    where they are, and accounts that came along with it stay merged. Commits. Raises CannotMerge.
    """
    with transaction.atomic(durable=True), cursor() as c:
        tiles.stop_senders(c)
        account = Account.objects.select_for_update().get(pk=account.pk)
        into = account.merged_into
        if into is None:
            raise CannotMerge(f"{account} is not merged into another account.")
        Account.objects.filter(pk=account.pk).update(merged_into=None, merged_at=None, merged_by=None)
        touched = {account.pk, into.pk} | _move_in(c, residents_of=into, at=at)
        for statement in (_PART_TRAITS, _PART_OUTCOMES):
            c.execute(statement, {"account": account.pk})
        why = f"{account} stands for itself again"
        tiles.refold_later(accounts=sorted([account.pk, into.pk]), why=why, at=at)
        handoffs.touch(accounts=touched, cause="identity", lane=Lane.LIVE, at=at)
    account.refresh_from_db()
    return account


def _locked(*accounts: Account) -> Iterable[Account]:
    """Return the accounts as they are now; who records an outcome of one waits."""
    rows = Account.objects.select_for_update().order_by("pk").in_bulk([account.pk for account in accounts])
    return [rows[account.pk] for account in accounts]


def _move_in(c: Cursor, *, residents_of: Account, at: datetime) -> set[int]:
    """Give its residents the homes that they have now, with all that is theirs; return the accounts concerned."""
    users = list(ProductUser.objects.filter(home=residents_of, merged_into=None).values_list("pk", flat=True))
    accounts = tiles.follow(c, identity.settle(c, users, at=at))
    return accounts | outcomes.follow(c, users)


def _hint_at_leads(account: Account, at: datetime) -> None:
    """Let whoever keeps the leads look at those of the account, whatever its score was."""
    live = RuleSet.objects.filter(live_version__isnull=False).values_list("pk", "live_version")
    handoffs.cross(
        hints=[
            Crossed(rule_set_id=rule_set, account=account, to_version_id=version, cause="identity", at=at)
            for rule_set, version in live
        ]
    )


_MOVE_TRAITS = """
UPDATE scoring_traitchange SET account_id = %(now)s::bigint, named_id = coalesce(named_id, account_id)
WHERE id IN (SELECT id FROM scoring_traitchange WHERE account_id = %(was)s::bigint LIMIT %(most)s::int)
"""
_PART_TRAITS = """
UPDATE scoring_traitchange SET account_id = named_id, named_id = NULL WHERE named_id = %(account)s::bigint
"""
_PART_OUTCOMES = """
UPDATE scoring_outcome SET account_id = named_id, named_id = NULL WHERE named_id = %(account)s::bigint
"""
