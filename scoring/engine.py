"""Judge accounts by a document: the one place where facts become scores. Reads, and never writes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import orjson
from django.db.models import F
from psycopg.rows import dict_row

from scoring import language, models
from scoring.compiler import sql
from scoring.compiler.plan import Plan, for_users, plan, plan_together
from scoring.compiler.query import Query
from scoring.language import Document, signal_digest, signals_of
from scoring.ledger import Form, Plain, form
from scoring.models.raw import cursor

A_HANDFUL = 20  # accounts
MOST_SILENT_DAYS = 90  # how far ahead next_change looks


Subject = tuple[int, int | None]  # an account, and the user of it who is judged at `level: user`


class SignalsMissing(Exception):
    """The document reads signals whose tiles do not hold all of history yet: register and backfill them first."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account stands, in short. Points are hundredths."""

    status: str
    tier: str  # empty: none
    is_pql: bool
    usage: int
    fit: int

    @classmethod
    def none(cls) -> "Standing":
        """Where nobody stands whom no version has judged."""
        return cls("", "", False, 0, 0)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a document says of one account, or of one of its users, on one day. All points are hundredths."""

    account_id: int
    as_of: date
    usage: int
    fit: int
    status: models.Status
    why: str | None  # of an exclusion
    tier: str  # empty: none
    is_pql: bool
    held: tuple[str, ...]  # best first
    met: tuple[bool, ...]  # by rule
    raw: tuple[int, ...]  # points by rule, before clipping
    goal_on: date | None
    sign_up: date | None
    recheck_on: date | None  # the first day on which silence may change the result; None: never
    observed: str = ""  # JSON: what was seen of each part of the document
    seen: tuple[str | None, ...] = ()  # the first and last ISO day of each part
    user_id: int | None = None  # whom it is about; None: the account
    form: Form | None = field(default=None, repr=False, compare=False)

    @property
    def ledger(self) -> Plain:
        """The ledger, filled in; empty if the judgement was asked for without detail."""
        if self.form is None:
            return {}
        return self.form.fill(met=self.met, raw=self.raw, observed=orjson.loads(self.observed), seen=self.seen)

    @property
    def result(self) -> tuple[object, ...]:
        """What counts as a change of the score: rules met, points, disqualification, tier and held."""
        return self.met, self.usage, self.fit, self.raw, self.status, self.tier, self.held


def judge(
    document: Document,
    *,
    as_of: date,
    accounts: Sequence[int] | None = None,
    detail: bool = True,
    signal_ids: Mapping[str, int] | None = None,
) -> list[Judgement]:
    """Return the judgement of each account on the day, by one statement; of all accounts if None.

    At `level: user` it is one of each of their known users. Visitors and homes that everybody has left are no subjects:
    for them nothing is returned. Without `detail` the ledger is empty and recheck_on None, which is faster. Raises
    SignalsMissing.
    """
    binding = sql.Binding(constant=True, all_accounts=accounts is None, detail=detail)
    params: dict[str, object] = {"as_of": as_of}
    if accounts is not None:
        params["accounts"] = list(accounts)
    return list(_judge(document, binding, params, signal_ids))


def judge_together(
    documents: Sequence[Document],
    *,
    as_of: date,
    accounts: Sequence[int] | None = None,
    signal_ids: Sequence[Mapping[str, int]] | None = None,
) -> list[list[Judgement]]:
    """Return the judgements by each of the documents, as `judge` does. Raises SignalsMissing.

    One statement does it for all that judge accounts, and one for all that judge users: it reads what they share once.
    """
    stored = signal_ids or [stored_signals(document) for document in documents]
    judged: dict[int, list[Judgement]] = {}
    for level in language.LEVELS:
        places = [i for i, document in enumerate(documents) if document.level == level]
        if len(places) == 1:
            one = places[0]
            judged[one] = judge(documents[one], as_of=as_of, accounts=accounts, signal_ids=stored[one])
        elif places:
            of_level = [documents[i] for i in places], [stored[i] for i in places]
            judged |= zip(places, _judge_together(*of_level, as_of, accounts), strict=True)
    return [judged[i] for i in range(len(documents))]


def _judge_together(
    documents: Sequence[Document], stored: Sequence[Mapping[str, int]], as_of: date, accounts: Sequence[int] | None
) -> list[list[Judgement]]:
    binding = sql.Binding(constant=True, all_accounts=accounts is None)
    params: dict[str, object] = {"as_of": as_of} | ({} if accounts is None else {"accounts": list(accounts)})
    query = _query_together(tuple(documents), binding, tuple(tuple(sorted(ids.items())) for ids in stored))
    readers = [_Reader(document, detail=True) for document in documents]
    judged: list[list[Judgement]] = [[] for _ in documents]
    for row in _run(query, params):
        judged[row["which"]].append(readers[row["which"]].read(row))
    return judged


def judge_pairs(document: Document, *, pairs: Sequence[tuple[int, date]], detail: bool = True) -> list[Judgement]:
    """Return the judgement of each (account, day) pair, by one statement; of users, of each who is known there.

    Raises SignalsMissing.
    """
    params: dict[str, object] = {"accounts": [account for account, _ in pairs], "days": [day for _, day in pairs]}
    return list(_judge(document, sql.Binding(constant=False, detail=detail), params, None))


@dataclass(frozen=True, slots=True)
class BesideScores:
    """A document's judgement of everybody beside the stored scores of a rule set."""

    rows: list[tuple[Subject, Standing | None, Standing | None]]  # whom, stored, judged: where they may differ
    same: dict[tuple[str, str], int]  # by (stored tier, judged tier), how many stand where they stood
    unsettled: list[Subject]  # those of `rows` whose stored score may not be what the live version says today


def judge_beside_scores(document: Document, *, rule_set: int | None, live: int | None, as_of: date) -> BesideScores:
    """Return the judgement of every account on the day beside its stored score, by one statement of one snapshot.

    At `level: user` it is one of every known user in each account. `live` is the id of the rule set's live version;
    None: none, and no score. Raises SignalsMissing.
    """
    judged_sql, params = _standing_sql(document, as_of, accounts=None)
    params |= {"rule_set": rule_set, "live": live}
    told = BesideScores([], {}, [])
    with cursor() as c:
        c.execute("SELECT set_config('plan_cache_mode', 'force_custom_plan', true)")
        text = _BESIDE_SCORES.replace("{judged}", judged_sql)
        for name, (of_accounts, of_users) in _BY_LEVEL.items():
            text = text.replace(name, of_users if document.level == "user" else of_accounts)
        for account, user, unsettled, number, *stored_and_judged in c.execute(text, params):
            stored, judged = _standing(stored_and_judged[:5]), _standing(stored_and_judged[5:])
            if account is None:
                told.same[stored.tier if stored else "", judged.tier if judged else ""] = number
                continue
            told.rows.append(((account, user), stored, judged))
            if unsettled:
                told.unsettled.append((account, user))
    return told


def standings(document: Document, *, as_of: date, accounts: Sequence[int] | None) -> dict[Subject, Standing]:
    """Return where the document puts each account on the day, of all accounts if None; less than `judge`, and sooner.

    At `level: user` it is where it puts each of their known users. Raises SignalsMissing.
    """
    judged_sql, params = _standing_sql(document, as_of, accounts)
    with cursor() as c:
        c.execute("SELECT set_config('plan_cache_mode', 'force_custom_plan', true)")
        return {(account, user): Standing(*columns) for account, user, *columns in c.execute(judged_sql, params)}


def _standing_sql(document: Document, as_of: date, accounts: Sequence[int] | None) -> tuple[str, dict[str, object]]:
    binding = sql.Binding(constant=True, all_accounts=accounts is None, detail=False)
    query = _query(_plan(document), binding, tuple(sorted(stored_signals(document).items())))
    params = {
        **query.params,
        "as_of": as_of,
        "tiers": [tier.name for tier in document.tiers],
        "pqls": [tier.pql for tier in document.tiers],
    }
    if accounts is not None:
        params["accounts"] = list(accounts)
    user = "user_id" if document.level == "user" else "NULL::bigint AS user_id"
    return _STANDINGS.replace("{judged}", query.sql).replace("{user}", user), params


_STANDINGS = """
SELECT account_id, {user}, status, coalesce((%(tiers)s::text[])[tier + 1], '') AS tier,
    coalesce((%(pqls)s::boolean[])[tier + 1], false) AS is_pql, usage, fit
FROM ({judged}) AS judged
"""


def _standing(columns: Sequence[Any]) -> Standing | None:
    return None if columns[0] is None else Standing(*columns)


# Those who stand where they stood are only counted. A stored score is not settled while its rescore waits: it was
# touched, is due by silence, is parked, is of another version or of nobody, or is not there yet.
_BESIDE_SCORES = """
WITH waiting AS (SELECT account_id FROM scoring_touched UNION SELECT account_id FROM scoring_parked),
judged AS ({judged}),
stored AS (
    SELECT account_id, user_id, status, tier, is_pql, usage, fit,
        version_id <> %(live)s::bigint OR recheck_on <= %(as_of)s::date AS behind
    FROM scoring_score WHERE rule_set_id = %(rule_set)s::bigint),
beside AS MATERIALIZED (
    SELECT coalesce(n.account_id, o.account_id) AS account_id, {user},
        %(live)s::bigint IS NOT NULL AND (o.account_id IS NULL OR n.account_id IS NULL OR coalesce(o.behind, false)
            OR w.account_id IS NOT NULL) AS unsettled,
        o.status AS s0, o.tier AS t0, o.is_pql AS q0, o.usage AS u0, o.fit AS f0,
        n.status AS s1, n.tier AS t1, n.is_pql AS q1, n.usage AS u1, n.fit AS f1
    FROM judged n FULL JOIN stored o ON o.account_id = n.account_id{same_user}
    LEFT JOIN waiting w ON w.account_id = coalesce(n.account_id, o.account_id)),
sorted AS (
    SELECT *, unsettled OR (s0, t0, q0, u0, f0) IS DISTINCT FROM (s1, t1, q1, u1, f1) AS differs FROM beside)
SELECT account_id, user_id, unsettled, 1::bigint, s0, t0, q0, u0, f0, s1, t1, q1, u1, f1 FROM sorted WHERE differs
UNION ALL
SELECT NULL, NULL, false, count(*), s0, t0, false, 0, 0, s1, t1, false, 0, 0 FROM sorted WHERE NOT differs
GROUP BY s0, t0, s1, t1
"""


_BY_LEVEL = {
    "{user}": ("NULL::bigint AS user_id", "coalesce(n.user_id, o.user_id) AS user_id"),
    "{same_user}": ("", " AND o.user_id = n.user_id"),
}


def rank_users(document: Document, *, account: int, as_of: date) -> list[tuple[int, int, int]]:
    """Return (user id, usage in hundredths, rules met) of the account's users, the strongest first.

    Only the rules that make sense for one person count; at `level: user` those are all. Raises SignalsMissing.
    """
    return rank_users_of(document, accounts=[account], as_of=as_of)[account]


def rank_users_of(document: Document, *, accounts: Sequence[int], as_of: date) -> dict[int, list[tuple[int, int, int]]]:
    """Return for each of the accounts what `rank_users` does of one; as many statements as for one."""
    found: dict[int, list[tuple[int, int, int]]] = {account: [] for account in accounts}
    if document.level == "user":
        for j in judge(document, as_of=as_of, accounts=accounts, detail=False):
            found[j.account_id].append((j.user_id or 0, j.usage, sum(j.met)))
    else:
        binding = sql.Binding(constant=True, by_user=True, detail=False)
        for row in _rows(for_users(document), binding, {"as_of": as_of, "accounts": list(accounts)}, None):
            found[row["account_id"]].append((row["user_id"], row["usage"], sum(row["met"])))
    return {account: _ranked(people) for account, people in found.items()}


def _ranked(people: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return sorted(people, key=lambda row: (-row[1], -row[2], row[0]))


def next_change(
    document: Document, *, account: int, as_of: date, user: int | None = None
) -> tuple[date, Judgement] | None:
    """Return the first day after `as_of` on which the result differs if nothing more happens, with that result.

    It is the account's, or at `level: user` that of the user, who has to be named. None: not within MOST_SILENT_DAYS
    days. Raises SignalsMissing.
    """
    days = [as_of + timedelta(days=n) for n in range(MOST_SILENT_DAYS + 1)]
    params: dict[str, object] = {"accounts": [account] * len(days), "days": days}
    if user is not None:
        params["users"] = [user] * len(days)
    binding = sql.Binding(constant=False, named=user is not None)
    judged = sorted(_judge(document, binding, params, None), key=lambda j: j.as_of)
    changed = (later for later in judged[1:] if later.result != judged[0].result)
    return next(((later.as_of, later) for later in changed), None)


def _judge(
    document: Document,
    binding: sql.Binding,
    params: Mapping[str, object],
    signal_ids: Mapping[str, int] | None,
) -> Iterator[Judgement]:
    reader = _Reader(document, detail=binding.detail)
    return map(reader.read, _rows(document, binding, params, signal_ids))


# The fields of a judgement from usage to raw, which many of them have alike.
Alike = tuple[int, int, models.Status, str | None, str, bool, tuple[str, ...], tuple[bool, ...], tuple[int, ...]]


class _Reader:
    """Makes judgements of the rows that a document's statement answers with."""

    def __init__(self, document: Document, *, detail: bool) -> None:
        self.names = [tier.name for tier in document.tiers]
        self.pql = {tier.name for tier in document.tiers if tier.pql}
        self.blank = _form(document) if detail else None

    def alike(self, row: Mapping[str, Any]) -> Alike:
        """Return the fields of a judgement from usage to raw."""
        tier = "" if row["tier"] is None else self.names[row["tier"]]
        held = tuple(self.names[i] for i in row["held"])
        status = models.Status(row["status"])
        met, raw = tuple(row["met"]), tuple(row["raw"])
        return row["usage"], row["fit"], status, row["why"], tier, tier in self.pql, held, met, raw

    def read(self, row: Mapping[str, Any]) -> Judgement:
        return Judgement(
            row["account_id"],
            row["as_of"],
            *self.alike(row),
            goal_on=row["goal_on"],
            sign_up=row["sign_up"],
            recheck_on=row.get("recheck_on"),
            observed=row.get("observed", ""),
            seen=tuple(row.get("seen", ())),
            user_id=row.get("user_id"),
            form=self.blank,
        )


def _rows(
    document: Document, binding: sql.Binding, params: Mapping[str, object], signal_ids: Mapping[str, int] | None
) -> Iterable[dict[str, Any]]:
    ids = signal_ids or stored_signals(document)
    return _run(_query(_plan(document), binding, tuple(sorted(ids.items()))), params)


def _run(query: Query, params: Mapping[str, object]) -> Iterable[dict[str, Any]]:
    accounts = params.get("accounts")
    with cursor() as c:
        c.row_factory = dict_row
        # Of a handful the planning takes longer than the judging: take the general plan, which is kept. Of many it
        # would be a bad one: PostgreSQL plans it for ten.
        few = isinstance(accounts, list) and len(accounts) <= A_HANDFUL
        c.execute("SELECT set_config('plan_cache_mode', %s, true)", [f"force_{'generic' if few else 'custom'}_plan"])
        return c.execute(query.sql, {**query.params, **params}, prepare=True).fetchall()


def stored_signals(document: Document) -> dict[str, int]:
    """Return the stored id of each signal that the document reads, by name. Raises SignalsMissing."""
    digests = {name: signal_digest(signal) for name, signal in signals_of(document).items()}
    ready = models.Signal.objects.filter(digest__in=digests.values(), backfilled_to__gte=F("barrier"))
    found = dict(ready.values_list("digest", "id"))
    if missing := sorted(name for name, digest in digests.items() if digest not in found):
        raise SignalsMissing(
            f"history has not been read for these signals: {', '.join(missing)}; publish the version first, or wait "
            "for the job that does so"
        )
    return {name: found[digest] for name, digest in digests.items()}


@lru_cache(maxsize=256)
def _form(document: Document) -> Form:
    return form(document)


@lru_cache(maxsize=256)
def _plan(document: Document) -> Plan:
    return plan(document)


@lru_cache(maxsize=256)
def _query(plan: Plan, binding: sql.Binding, signal_ids: tuple[tuple[str, int], ...]) -> Query:
    return sql.compile(plan, binding, _by_fold([plan], [dict(signal_ids)]))


@lru_cache(maxsize=64)
def _query_together(
    documents: tuple[Document, ...], binding: sql.Binding, signal_ids: tuple[tuple[tuple[str, int], ...], ...]
) -> Query:
    plans = plan_together(documents)
    return sql.compile_together(plans, binding, _by_fold(plans, list(map(dict, signal_ids))))


def _by_fold(plans: Sequence[Plan], signal_ids: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the stored id of each fold's signal by the fold's name, which may be another in each document."""
    folds = plans[0].folds
    both = zip(plans, signal_ids, strict=True)
    return {folds[place].name: ids[name] for plan, ids in both for name, place in plan.places}
