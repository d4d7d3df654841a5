"""Rescore what was touched: scores, history, ledger, crossings and the day of the next look. Their one writer."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
import psycopg
from django.db import DatabaseError, transaction

from scoring import engine, handoffs, identity, language, rules
from scoring.engine import Judgement, Subject
from scoring.models import (
    SHARDS,
    Account,
    Crossed,
    Lane,
    Parked,
    RuleSet,
    RuleVersion,
    Score,
    Status,
    Touched,
    shard_of,
)
from scoring.models.raw import cursor

SHARD_LOCK = 7_301  # first key of the advisory lock that one scorer of a shard holds
BATCH = 1_000  # accounts rescored in one transaction
FIRST_RETRY = timedelta(seconds=30)
LAST_RETRY = timedelta(hours=6)
PASSING = ("08", "40", "53", "55", "57")  # classes of SQLSTATE: connection, rollback, resources, locks, operator
MERGED = "merge"  # with another account, whose lead may have come along: look at it, whatever the score says
MOTIVES = (MERGED, "event", "identity", "trait", "outcome", "exclusion", "request", "time", "version")


@dataclass(frozen=True, slots=True)
class Rescored:
    """What one batch did."""

    accounts: int = 0
    changed: int = 0
    crossed: int = 0
    parked: int = 0


class _Failed(Exception):
    """A batch could not be judged or written; carries the accounts that were claimed for it."""

    def __init__(self, accounts: Sequence[int], reason: str) -> None:
        super().__init__(reason)
        self.accounts = accounts


def rescore_touched(*, shard: int, as_of: date, at: datetime, most: int = BATCH) -> Rescored:
    """Rescore up to `most` touched accounts of the shard in one transaction, and return what came of it.

    A batch that fails is halved; an account that fails alone is parked with its reason and tried again later.
    """
    while True:
        try:
            with transaction.atomic():
                return _rescore(shard=shard, as_of=as_of, at=at, most=most)
        except _Failed as failed:
            if len(failed.accounts) == 1:
                return _park(account=failed.accounts[0], reason=str(failed), at=at)
            most = len(failed.accounts) // 2


def _rescore(*, shard: int, as_of: date, at: datetime, most: int) -> Rescored:
    with cursor() as db:
        db.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", [SHARD_LOCK, shard])
    claimed = handoffs.claim_touched(shard=shard, limit=most)
    if not claimed:
        return Rescored()
    causes = {touch.account: touch.causes for touch in claimed}
    parked = dict(Parked.objects.filter(account__in=causes).values_list("account", "retry_at"))
    accounts = sorted(account for account in causes if account not in parked or parked[account] <= at)
    if not accounts:
        return Rescored(accounts=len(causes))
    try:
        done = _judge_and_write(accounts=accounts, causes=causes, as_of=as_of, at=at)
    except (DatabaseError, psycopg.Error, ArithmeticError, ValueError, LookupError, TypeError) as error:
        if _passes_by_itself(error):
            raise
        raise _Failed(accounts, f"{type(error).__name__}: {error}") from error
    if parked:
        Parked.objects.filter(account__in=accounts).delete()
    return done


def _passes_by_itself(error: Exception) -> bool:
    """Whether the fault is the moment's (a deadlock, a lost connection), not the accounts'."""
    state = getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None) or ""
    return state[:2] in PASSING or (isinstance(error, DatabaseError | psycopg.Error) and not state)


def _judge_and_write(
    *, accounts: Sequence[int], causes: Mapping[int, frozenset[str]], as_of: date, at: datetime
) -> Rescored:
    total = Rescored(accounts=len(accounts))
    lives = _hold_live_versions()
    documents = [_document(live.version) for live in lives]
    signal_ids = [_signal_ids(live.version) for live in lives]
    together = engine.judge_together(documents, as_of=as_of, accounts=accounts, signal_ids=signal_ids) if lives else []
    for live, document, judged in zip(lives, documents, together, strict=True):
        batch = _Batch(live=live, rules=[rule.id for rule in document.rules], causes=causes, at=at)
        before = _prior(live.rule_set, accounts)
        gone = before.keys() - {_subject(judgement) for judgement in judged}
        inherited = _inherited(before, gone) if gone else {}
        for judgement in judged:
            subject = _subject(judgement)
            batch.add(judgement, before.get(subject), inherited.get(subject, []))
        if document.level == "user":
            batch.hint_at_merged(accounts)
        batch.write()
        crossings = len(batch.crossings) + (_forget(live, gone, at) if gone else 0)
        total = Rescored(
            accounts=total.accounts,
            changed=total.changed + len(batch.changes),
            crossed=total.crossed + crossings,
        )
    return total


def _subject(judgement: Judgement) -> Subject:
    return judgement.account_id, judgement.user_id


def _inherited(before: Mapping[Subject, "_Prior"], gone: Iterable[Subject]) -> dict[Subject, list["_Prior"]]:
    """Return what was thought of users who turned out to be one with another, by who they are now."""
    with cursor() as db:
        now = identity.survivors(db, {user for _, user in gone if user is not None})
    found: dict[Subject, list[_Prior]] = {}
    for account, user in gone:
        if user in now:
            found.setdefault((account, now[user]), []).append(before[account, user])
    return found


def _forget(live: "_Live", gone: Collection[Subject], at: datetime) -> int:
    """Delete the scores of what is no subject any more (everybody has left, a user is another); hint at their leads."""
    stored = Score.objects.filter(rule_set=live.rule_set, account__in={account for account, _ in gone})
    scores = [score for score in stored.defer("ledger") if (score.account_id, score.user_id) in gone]
    hints = [
        Crossed(
            rule_set_id=live.rule_set,
            account_id=score.account_id,
            user_id=score.user_id,
            from_tier=score.tier,
            from_version_id=score.version_id,
            to_version_id=live.version,
            cause="identity",
            at=at,
        )
        for score in scores
        if score.tier or score.held
    ]
    handoffs.cross(hints=hints)
    Score.objects.filter(pk__in=[score.pk for score in scores]).delete()
    return len(hints)


@dataclass(frozen=True, slots=True)
class _Live:
    """The ids of a rule set and its live version."""

    rule_set: int
    version: int


def _hold_live_versions() -> list[_Live]:
    """Return what is live, the pointers held until the transaction's end.

    A publish that moves a pointer waits for us, so whoever is touched after it is judged by the new version.
    """
    with cursor() as db:
        return [_Live(*row) for row in db.execute(LIVE)]


LIVE = "SELECT id, live_version_id FROM scoring_ruleset WHERE live_version_id IS NOT NULL ORDER BY id FOR SHARE"


@lru_cache(maxsize=256)
def _document(version: int) -> language.Document:
    """The document of a published version: it never changes."""
    return language.load(RuleVersion.objects.values_list("document", flat=True).get(pk=version))


@lru_cache(maxsize=256)
def _signal_ids(version: int) -> Mapping[str, int]:
    return engine.stored_signals(_document(version))


@dataclass(frozen=True, slots=True)
class _Prior:
    """What of the score before the next one is held against."""

    account_id: int
    user_id: int | None
    version_id: int
    usage: int
    fit: int
    tier: str
    is_pql: bool
    held: list[str]
    goal_on: date | None
    changed_at: datetime
    qualified_at: datetime | None
    result: bytes
    evidence: bytes


PRIOR = """
SELECT account_id, user_id, version_id, usage, fit, tier, is_pql,
    ARRAY(SELECT jsonb_array_elements_text(held)), goal_on, changed_at, qualified_at, result, evidence
FROM scoring_score WHERE rule_set_id = %(rule_set)s::bigint AND account_id = ANY (%(accounts)s::bigint[])
"""


def _prior(rule_set: int, accounts: Sequence[int]) -> dict[Subject, _Prior]:
    with cursor() as db:
        db.execute(PRIOR, {"rule_set": rule_set, "accounts": list(accounts)})
        return {(row[0], row[1]): _Prior(*row) for row in db}


@dataclass(slots=True)
class _Batch:
    """The judgements of one version on some accounts, beside the scores that they replace."""

    live: _Live
    rules: list[str]  # their ids, in order: what the result is about
    causes: Mapping[int, frozenset[str]]
    at: datetime
    scores: list[tuple[object, ...]] = field(default_factory=list)
    seen_again: list[tuple[object, ...]] = field(default_factory=list)  # nothing new to show but the day
    changes: list[tuple[object, ...]] = field(default_factory=list)
    crossings: list[tuple[object, ...]] = field(default_factory=list)

    def add(self, new: Judgement, old: _Prior | None, merged: Sequence[_Prior]) -> None:
        """Sort out what is to be written for one subject; `merged` was thought of those who are one with it now."""
        evidence = _digest(self.live.version, new.result, new.goal_on, new.observed, new.seen)
        cause = _motive(self.causes[new.account_id])
        subject = _subject(new)
        if _matters(new, old) or (cause == MERGED and new.user_id is None):
            hint = (*subject, old.tier if old else "", new.tier, old.version_id if old else None, cause)
            self.crossings.append(hint)
        if old is not None and old.evidence == evidence and not merged:
            self.seen_again.append((*subject, new.as_of, new.recheck_on))
            return
        result = _digest(self.rules, new.result)
        changed = old is None or old.result != result
        since = min((one.qualified_at for one in (old, *merged) if one and one.qualified_at), default=self.at)
        changed_at = self.at if old is None or changed else old.changed_at
        common = (new.usage, new.fit, new.status.value, new.tier)
        held, ledger = orjson.dumps(new.held).decode(), orjson.dumps(new.ledger).decode()
        row = (*subject, new.as_of, *common, new.is_pql, held, new.goal_on, ledger, result, evidence)
        self.scores.append((*row, new.recheck_on, changed_at, since if new.is_pql else None))
        if changed:
            self.changes.append((*subject, cause))

    def hint_at_merged(self, accounts: Iterable[int]) -> None:
        """Let the leads of accounts that another was merged into be looked at, whoever of their users qualifies."""
        self.crossings += [
            (account, None, "", "", None, MERGED) for account in accounts if MERGED in self.causes[account]
        ]

    def write(self) -> None:
        """A statement for each kind of row, sorted by account and user."""
        fixed = {"rule_set": self.live.rule_set, "version": self.live.version, "at": self.at}
        with cursor() as db:
            for statement, rows in (
                (UPSERT_SCORES, self.scores),
                (UPDATE_DAYS, self.seen_again),
                (INSERT_CHANGES, self.changes),
                (INSERT_CROSSINGS, self.crossings),
            ):
                if rows:
                    columns = zip(*sorted(rows, key=_in_order), strict=True)
                    db.execute(statement, fixed | {f"c{i}": list(column) for i, column in enumerate(columns)})


def _in_order(row: tuple[Any, ...]) -> tuple[int, int]:
    account, user, *_ = row
    return account, user or 0


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def _motive(causes: frozenset[str]) -> str:
    """The one cause that is told of several: what happened comes before what was only due."""
    return min(causes, key=lambda cause: MOTIVES.index(cause) if cause in MOTIVES else len(MOTIVES))


def _matters(new: Judgement, old: _Prior | None) -> bool:
    """Whether a lead may have to open, change or close."""
    if old is None:
        return bool(new.tier or new.held or new.goal_on)
    if (new.tier, list(new.held), new.goal_on) != (old.tier, old.held, old.goal_on):
        return True
    return new.is_pql and new.usage + new.fit > old.usage + old.fit


# The ledgers are bound in binary (%b): as text, each of their many quotes would be escaped in Python.
UPSERT_SCORES = """
INSERT INTO scoring_score (rule_set_id, version_id, scored_at, account_id, user_id, as_of, usage, fit, status, tier,
    is_pql, held, goal_on, ledger, result, evidence, recheck_on, changed_at, qualified_at)
SELECT %(rule_set)s, %(version)s, %(at)s, account, user_id, as_of, usage, fit, status, tier, is_pql,
    held::jsonb, goal_on, ledger::jsonb, result, evidence, recheck_on, changed_at, qualified_at
FROM unnest(%(c0)s::bigint[], %(c1)s::bigint[], %(c2)s::date[], %(c3)s::bigint[], %(c4)s::bigint[], %(c5)s::text[],
    %(c6)s::text[], %(c7)s::boolean[], %(c8)b::text[], %(c9)s::date[], %(c10)b::text[], %(c11)b::bytea[],
    %(c12)b::bytea[], %(c13)s::date[], %(c14)s::timestamptz[], %(c15)s::timestamptz[])
    AS new(account, user_id, as_of, usage, fit, status, tier, is_pql, held, goal_on, ledger, result, evidence,
    recheck_on, changed_at, qualified_at)
ON CONFLICT (rule_set_id, account_id, user_id) DO UPDATE SET version_id = excluded.version_id,
    scored_at = excluded.scored_at, as_of = excluded.as_of, usage = excluded.usage, fit = excluded.fit,
    status = excluded.status, tier = excluded.tier, is_pql = excluded.is_pql, held = excluded.held,
    goal_on = excluded.goal_on, ledger = excluded.ledger, result = excluded.result, evidence = excluded.evidence,
    recheck_on = excluded.recheck_on,
    changed_at = excluded.changed_at, qualified_at = excluded.qualified_at
"""

UPDATE_DAYS = """
UPDATE scoring_score s SET as_of = new.as_of, recheck_on = new.recheck_on, scored_at = %(at)s::timestamptz
FROM unnest(%(c0)s::bigint[], %(c1)s::bigint[], %(c2)s::date[], %(c3)s::date[])
    AS new(account, user_id, as_of, recheck_on)
WHERE s.rule_set_id = %(rule_set)s::bigint AND s.account_id = new.account AND s.version_id = %(version)s::bigint
    AND s.user_id IS NOT DISTINCT FROM new.user_id
"""

# From the scores that were just written: a ledger is large, and is sent, read and packed only once.
INSERT_CHANGES = """
INSERT INTO scoring_scorechange (rule_set_id, version_id, at, account_id, user_id, as_of, cause, usage, fit, status,
    tier, held, ledger)
SELECT s.rule_set_id, s.version_id, %(at)s, s.account_id, s.user_id, s.as_of, new.cause, s.usage, s.fit, s.status,
    s.tier, s.held, s.ledger
FROM unnest(%(c0)s::bigint[], %(c1)s::bigint[], %(c2)s::text[]) AS new(account, user_id, cause)
JOIN scoring_score s ON s.rule_set_id = %(rule_set)s::bigint AND s.account_id = new.account
    AND s.user_id IS NOT DISTINCT FROM new.user_id
ORDER BY s.account_id, s.user_id
"""

INSERT_CROSSINGS = """
INSERT INTO scoring_crossed (rule_set_id, to_version_id, at, account_id, user_id, from_tier, to_tier, from_version_id,
    cause, attempts, error)
SELECT %(rule_set)s, %(version)s, %(at)s, account, user_id, from_tier, to_tier, from_version, cause, 0, ''
FROM unnest(%(c0)s::bigint[], %(c1)s::bigint[], %(c2)s::text[], %(c3)s::text[], %(c4)s::bigint[], %(c5)s::text[])
    AS new(account, user_id, from_tier, to_tier, from_version, cause)
"""


def _park(*, account: int, reason: str, at: datetime) -> Rescored:
    """Put an account aside whose rescore fails on its own account; its touches are kept as this one row."""
    with transaction.atomic():
        old = Parked.objects.filter(account=account).first()
        attempts = old.attempts + 1 if old else 1
        wait = min(FIRST_RETRY * 2 ** (attempts - 1), LAST_RETRY)
        Parked.objects.update_or_create(
            account_id=account,
            defaults={"reason": reason, "attempts": attempts, "retry_at": at + wait},
            create_defaults={
                "reason": reason,
                "attempts": attempts,
                "retry_at": at + wait,
                "first_failed_at": at,
            },
        )
        # Touched first, so that it is rescored even if nothing happens to it until its retry.
        Touched.objects.filter(account=account).delete()
    return Rescored(accounts=1, parked=1)


def sweep(*, shard: int, as_of: date, at: datetime) -> int:
    """Touch the accounts of the shard whose score may change by silence today, or whose retry is due.

    Returns how many. The due mark is cleared in the same statement, under the shard's lock.
    """
    with transaction.atomic(), cursor() as db:
        locked = db.execute("SELECT pg_try_advisory_xact_lock(%s::int, %s::int)", [SHARD_LOCK, shard]).fetchone()
        if not locked or not locked[0]:
            return 0  # its scorer is at work; the next sweep comes in seconds
        due = db.execute(SWEEP_DUE, {"shard": shard, "as_of": as_of, "shards": SHARDS, "at": at}).rowcount
        return due + db.execute(SWEEP_PARKED, {"shard": shard, "shards": SHARDS, "at": at}).rowcount


SWEEP_DUE = """
WITH due AS (
    SELECT id, account_id, recheck_on FROM scoring_score
    WHERE recheck_on <= %(as_of)s AND account_id %% %(shards)s = %(shard)s),
cleared AS (UPDATE scoring_score s SET recheck_on = NULL FROM due WHERE s.id = due.id)
INSERT INTO scoring_touched (account_id, shard, lane, cause, at)
SELECT account_id, %(shard)s::smallint, 'live', 'time', least(%(at)s::timestamptz,
    min(recheck_on)::timestamp AT TIME ZONE 'UTC')
FROM due GROUP BY account_id ORDER BY account_id
"""

SWEEP_PARKED = """
INSERT INTO scoring_touched (account_id, shard, lane, cause, at)
SELECT account_id, %(shard)s::smallint, 'live', 'request', %(at)s::timestamptz FROM scoring_parked p
WHERE retry_at <= %(at)s AND account_id %% %(shards)s = %(shard)s
    AND NOT EXISTS (SELECT FROM scoring_touched t WHERE t.account_id = p.account_id)
ORDER BY account_id
"""


def request(*, accounts: Sequence[int] | None, at: datetime) -> int:
    """Touch the accounts, or all that are scored if None; return how many will be rescored."""
    if accounts is None:
        everyone = Account.objects.exclude(kind=Account.Kind.VISITOR)
        accounts = list(everyone.order_by("pk").values_list("pk", flat=True))
    handoffs.touch(accounts=accounts, cause="request", lane=Lane.LIVE, at=at)
    return len(accounts)


def fresh_as_of(*, at: datetime) -> datetime:
    """Return the moment up to which everything acknowledged is in the scores (parked accounts apart).

    What happened, what silence changed, and what was made live: never beyond the day whose sweep has begun, nor
    beyond a publication by which not everybody is scored.
    """
    moments = [handoffs.oldest_touch(lanes=Lane), _silent_since(at.date()), rules.worked_in_since()]
    return min([at, *(moment for moment in moments if moment is not None)])


def _silent_since(today: date) -> datetime | None:
    """Return the start of the first day whose silence is not swept; None: all are."""
    due = Score.objects.filter(recheck_on__lte=today).order_by("recheck_on").values_list("recheck_on", flat=True)
    first = due.first()
    return None if first is None else datetime(first.year, first.month, first.day, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a version would have said of one account, or of one of its users, over past days."""

    account_id: int
    qualified_on: date | None  # the first day with a PQL tier
    goal_on: date | None  # the day of the goal, as known on the last day
    sign_up: date | None
    user_id: int | None = None


def replay(
    *, document: language.Document, days: Sequence[date], on_day: Callable[[date], object] | None = None
) -> list[Replayed]:
    """Judge every account on each of the days, oldest first, and return what was first said of each. Writes nothing.

    Raises engine.SignalsMissing.
    """
    first: dict[Subject, date] = {}
    last: dict[Subject, Judgement] = {}
    for day in days:
        for judgement in engine.judge(document, as_of=day, detail=False):
            last[_subject(judgement)] = judgement
            if judgement.is_pql:
                first.setdefault(_subject(judgement), day)
        if on_day:
            on_day(day)
    return [
        Replayed(subject[0], first.get(subject), last[subject].goal_on, last[subject].sign_up, subject[1])
        for subject in sorted(last, key=_in_order)
    ]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A stored score that is not what the facts say; None on a side: there is no score, or no subject."""

    rule_set_id: int
    account_id: int
    user_id: int | None
    stored: Score | None
    judged: Judgement | None


def verify(*, as_of: date, on_progress: Callable[[int], object] = lambda accounts: None) -> Mismatch | None:
    """Judge every account anew by each live version and return the first whose stored score says something else.

    Accounts that wait for their rescore are left out: touched, due by silence, or parked. `on_progress` is told how
    many accounts were compared. Writes nothing; a difference is looked at again beside no scorer. Commits.
    """
    accounts = Account.objects.exclude(kind=Account.Kind.VISITOR).order_by("pk")
    last = 0
    while chunk := list(accounts.filter(pk__gt=last).values_list("pk", flat=True)[:BATCH]):
        for suspect in _mismatches(chunk, as_of):
            with transaction.atomic(), cursor() as db:
                db.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", [SHARD_LOCK, shard_of(suspect)])
                if sure := _mismatches([suspect], as_of):
                    return sure[suspect]
        on_progress(len(chunk))
        last = chunk[-1]
    return None


def _mismatches(accounts: Sequence[int], as_of: date) -> dict[int, Mismatch]:
    """Return by account one mismatch of each. Judges first: what is touched until then is seen as such."""
    found: dict[int, Mismatch] = {}
    lives = [(rule_set, version) for rule_set, version in RuleSet.objects.values_list("id", "live_version") if version]
    for rule_set, version in lives:
        document = _document(version)
        judged = {_subject(j): j for j in engine.judge(document, as_of=as_of, accounts=accounts)}
        rows = Score.objects.filter(rule_set=rule_set, account__in=accounts)
        stored = {(score.account_id, score.user_id): score for score in rows}
        rules = [rule.id for rule in document.rules]
        for subject in sorted(judged.keys() | stored.keys(), key=_in_order):
            judgement, score = judged.get(subject), stored.get(subject)
            if not (judgement and score and bytes(score.result) == _digest(rules, judgement.result)):
                found.setdefault(subject[0], Mismatch(rule_set, *subject, score, judgement))
    return {account: found[account] for account in found.keys() - _waiting(found.keys(), as_of)}


def _waiting(accounts: Iterable[int], as_of: date) -> set[int]:
    """Return those of the accounts whose scores are known to be behind."""
    wanted = list(accounts)
    due = Score.objects.filter(account__in=wanted, recheck_on__lte=as_of)
    return {
        account
        for rows in (Touched.objects.filter(account__in=wanted), Parked.objects.filter(account__in=wanted), due)
        for account in rows.values_list("account", flat=True)
    }


def mismatch_words(mismatch: Mismatch) -> str:
    """Return the mismatch in a sentence, by the names that people know."""
    account = Account.objects.get(pk=mismatch.account_id)
    rule_set = RuleSet.objects.get(pk=mismatch.rule_set_id)
    stored, judged = (_told(side) for side in (mismatch.stored, mismatch.judged))
    whom = f"account {account}" + (f", user {mismatch.user_id}" if mismatch.user_id else "")
    return f"{rule_set.slug}, {whom}: the stored score says {stored}, the facts say {judged}"


def _told(side: Score | Judgement | None) -> str:
    if side is None:
        return "nothing"
    status = Status(side.status).label
    return f"{status}, tier {side.tier or 'none'}, usage {side.usage / 100:g}, fit {side.fit / 100:g}"
