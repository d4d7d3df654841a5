"""Bulk judging: the mirror against raw events in columns, PostgreSQL's tiles against its raw events; all in one run.

The raw side runs the very same compiled statement, only that each "tile" is an event: so the answers must be equal,
and are compared row by row. A tenth by default: 10,000 accounts and two million events; `full` as argument for all.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from bench.tree import database, say
from scoring.compiler.dialects import Postgres

TENTH = (10_000, 2_000_000)  # accounts, events
FULL = (100_000, 20_000_000)
DAYS, NAMES, ROUNDS = 182, 40, 3
NOW = datetime(2026, 6, 30, 23, tzinfo=UTC)
TODAY = NOW.date()
WEEKS = [TODAY - timedelta(days=7 * n) for n in range(26)][::-1]
MEASURES = ("count", "users", "days", "count", "sum")
WINDOWS = (7, 14, 30, 60)


def main() -> None:
    """Fill, mirror, measure, compare, print."""
    sizes_of = {"full": FULL, "try": (500, 50_000)}
    accounts, events = next((sizes_of[word] for word in sys.argv[1:] if word in sizes_of), TENTH)
    with database(), tempfile.TemporaryDirectory(prefix="pql-bench-mirror-") as place:
        from django.conf import settings
        from django.core.management import call_command

        settings.MIRROR = Path(place) / "mirror"
        call_command("migrate", verbosity=0)
        print(f"{accounts:,} accounts, {events:,} events in {DAYS} days, {NAMES} names", flush=True)
        fill(accounts, events)
        mirror = mirrored()
        raw = Raw(Path(place))
        everybody(mirror, raw)
        rescoring()
        backtest()
        thresholds()
        one_account()


# ---- what is judged


def rules(conditions: int, points: int = 5) -> str:
    """Return a definition of so many conditions, each over a signal of its own as far as there are names."""
    signals = [
        f"  s{n}: {{event: e{n % NAMES}{'' if n < NAMES else ', where: [{property: plan, equals: pro}]'}, value: n}}"
        for n in range(conditions)
    ]
    lines = [
        f"  - {{id: r{n}, group: use, points: {points}, when: {{{MEASURES[n % 5]}: s{n}, within: {WINDOWS[n % 4]}, "
        f"at_least: {1 + n % 7}}}}}"
        for n in range(conditions)
    ]
    tier = conditions * points // 3
    return "\n".join(
        [
            f"slug: bench{conditions}",
            "name: Bench",
            "motion: bench",
            "signals:",
            *signals,
            "groups: {use: {score: usage}}",
            "rules:",
            *lines,
            f"tiers: [{{name: hot, pql: true, enter: {{usage: {tier}}}}}]",
        ]
    )


def document(conditions: int, points: int = 5) -> Any:
    """Return the parsed definition."""
    from scoring import language

    return language.parse(rules(conditions, points))


# ---- the data


def fill(accounts: int, events: int) -> None:
    """Make accounts of which few do most, three users each, and their events; then fold them."""
    from django.db import connection

    from scoring import facts, tiles
    from scoring.language import signals_of
    from scoring.models import Signal

    facts.create_source(slug="bench", at=NOW - timedelta(days=DAYS))
    facts.prepare_partitions(at=NOW)
    with connection.cursor() as c:
        for week in range(DAYS // 7 + 2):
            facts.prepare_partitions(at=NOW - timedelta(days=7 * week))
        c.execute("SELECT setseed(0.5)")
        for statement in FILLING:
            c.execute(statement, {"accounts": accounts, "events": events, "now": NOW, "days": DAYS, "names": NAMES})
    # These came past the doors, so nobody has folded them live: `any` is to read them as history, too.
    Signal.objects.update(barrier=events, backfilled_to=0)
    began = time.perf_counter()
    tiles.backfill(signals=tiles.register(signals=signals_of(document(50)).values(), at=NOW))
    idle = 0  # ids are settled only when it was seen twice that nobody writes
    while idle < 3:
        idle = 0 if tiles.compact(size=50_000, least=1).ids else idle + 1
    with connection.cursor() as c:
        c.execute("VACUUM ANALYZE")
        c.execute("SELECT count(*) FROM scoring_tile")
        print(f"folded to {c.fetchone()[0]:,} tiles in {time.perf_counter() - began:.0f} s", flush=True)


FILLING = (
    """INSERT INTO scoring_account (id, kind, external_id, created_at)
    SELECT n, 'group', 'account ' || n, %(now)s FROM generate_series(1, %(accounts)s) AS n""",
    """INSERT INTO scoring_productuser (id, home_id, known, created_at)
    SELECT n, 1 + (n - 1) / 3, true, %(now)s FROM generate_series(1, 3 * %(accounts)s) AS n""",
    """INSERT INTO scoring_identity (id, value, user_id, known, refused_why)
    SELECT n, 'user ' || n, n, true, '' FROM generate_series(1, 3 * %(accounts)s) AS n""",
    # An account's weight falls with its number, as in life: the first has some eight per cent of all.
    """INSERT INTO scoring_event (id, source_id, message_id, at, received_at, identity_id, account_id, name, properties)
    SELECT nextval('scoring_event_id_seq'), (SELECT id FROM scoring_source), 'm' || n, at, at,
           3 * account - who, account, 'e' || name, jsonb_build_object('plan', plan, 'n', amount)
    FROM (SELECT n, %(now)s::timestamptz - random() * %(days)s * interval '1 day' AS at,
                 floor(power(%(accounts)s, random()))::bigint AS account, floor(random() * 3)::int AS who,
                 floor(%(names)s * power(random(), 2))::int AS name,
                 CASE WHEN random() < 0.3 THEN 'pro' ELSE 'free' END AS plan, floor(random() * 100)::int AS amount
          FROM generate_series(1, %(events)s) AS n) AS drawn ORDER BY at""",
)


def mirrored() -> Any:
    """Make the mirror and return its state."""
    from scoring import bulk

    began = time.perf_counter()
    mirror = bulk.refresh(at=NOW)
    print(f"mirrored in {time.perf_counter() - began:.1f} s", flush=True)
    began = time.perf_counter()
    again = bulk.refresh(at=NOW)
    print(f"refreshed without news in {time.perf_counter() - began:.1f} s", flush=True)
    assert mirror is not None
    assert again is not None
    return again


# ---- the raw side: an event for a tile


def chosen(name: str, plan: str) -> str:
    """Return the test that leaves the events of the name (all, if it is any), and of `pro` by a plan's column."""
    return ("true" if name == "*" else f"name = '{name}'") + (f" AND {plan} = 'pro'" if plan else "")


class EventsInPostgres(Postgres):
    """PostgreSQL, where each tile is an event."""

    def __init__(self, signals: dict[int, tuple[str, bool]]) -> None:
        self.signals = signals

    def tiles(self, signal: int, bind: Callable[[object, str], str]) -> tuple[str, str]:
        """Return the events as if each were a tile. (`where` is small: before the first large one go the joins.)"""
        name, only_pro = self.signals[signal]
        where = (
            "true" if name == "*" else f"name = '{name}'" + (" AND properties ->> 'plan' = 'pro'" if only_pro else "")
        )
        value = "(properties -> 'n')::numeric"
        return (
            f"(SELECT account_id, identity_id AS user_id, (at AT TIME ZONE 'UTC')::date AS day, 1 AS count,"  # noqa: S608
            f" {value} AS value_sum, {value} AS value_max, {value} AS value_last, NULL::numeric AS limit_last,"
            f" at AS value_last_at, message_id AS value_last_id FROM scoring_event where {where})",
            "true",
        )


@dataclass
class Raw:
    """The same events in columns: as Parquet with JSON, and as DuckDB's own table with the properties taken apart."""

    place: Path

    def __post_init__(self) -> None:
        from scoring.bulk import copying
        from scoring.models.raw import cursor

        csv, self.parquet = self.place / "events.csv", self.place / "events.parquet"
        with cursor() as c:
            copying.copy(c, EVENTS, csv)
        self.own = self.place / "own.duckdb"
        with duckdb.connect(str(self.own)) as duck:
            rows = f"read_csv('{csv}', columns = {COLUMNS}, {AS_WRITTEN})"
            duck.execute(f"COPY (SELECT * FROM {rows}) TO '{self.parquet}' (FORMAT parquet, COMPRESSION zstd)")  # noqa: S608
            duck.execute(
                "CREATE TABLE events AS SELECT * EXCLUDE (properties), properties ->> '$.plan' AS plan,"  # noqa: S608
                f" (properties ->> '$.n')::DECIMAL(38,18) AS n FROM read_parquet('{self.parquet}')"
            )
        csv.unlink()

    def run(self, asked: Any, doc: Any, signals: dict[int, tuple[str, bool]], *, own: bool) -> Any:
        """Return the answer of the same small statements, over events."""
        from scoring.bulk import judging

        with duckdb.connect(str(self.own), read_only=True) if own else duckdb.connect() as duck:
            tiles = {f"tile_{signal}": self.tiles(*of, own=own) for signal, of in signals.items()}
            judging.read(duck, replace(asked, relations={**asked.relations, **tiles}))
            return judging.conclude(duck, asked, doc)

    def tiles(self, name: str, only_pro: bool, *, own: bool) -> str:
        """Return the SELECT of the events of a signal as if each were a tile."""
        source = "events" if own else f"read_parquet('{self.parquet}')"
        plan, value = ("plan", "n") if own else ("properties ->> '$.plan'", "(properties ->> '$.n')::DECIMAL(38,18)")
        return (
            "SELECT account_id, user_id, e.at::date AS day, 1 AS count,"  # noqa: S608
            f" {value} AS value_sum, {value} AS value_max, {value} AS value_last,"
            f" NULL::DECIMAL(38,18) AS limit_last, e.at AS value_last_at, message_id AS value_last_id"
            f" FROM {source} AS e WHERE {chosen(name, plan if only_pro else '')}"
        )


def in_full(answer: Any) -> list[Any]:
    """Return what was said of each account, in full."""
    kinds, rows = answer
    columns = (rows[name].tolist() for name in ("account_id", "as_of", "n", "goal_on", "sign_up"))
    return [(account, *kinds.alike(n), *days) for account, as_of, n, *days in zip(*columns, strict=True)]


EVENTS = """SELECT account_id, identity_id AS user_id, name, at AT TIME ZONE 'UTC' AS at, message_id, properties
FROM scoring_event ORDER BY id"""
AS_WRITTEN = "header = false, quote = '\"', escape = '\"', auto_detect = false"
COLUMNS = (
    "{'account_id': 'BIGINT', 'user_id': 'BIGINT', 'name': 'VARCHAR', 'at': 'TIMESTAMP', 'message_id': 'VARCHAR',"
    " 'properties': 'VARCHAR'}"
)


def by_id(doc: Any) -> dict[int, tuple[str, bool]]:
    """Return the event name of each signal by its id, and whether only those of the plan pro count."""
    from scoring import engine
    from scoring.language import signals_of

    ids = engine.stored_signals(doc)
    return {ids[name]: (signal.events[0], bool(signal.where)) for name, signal in signals_of(doc).items()}


# ---- the measurements


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long it took, and what came of it."""
    began = time.perf_counter()
    answer = run()
    return time.perf_counter() - began, answer


def in_turns(runs: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> tuple[dict[str, float], dict[str, Any]]:
    """Run each in turn, some rounds; return the medians and the last answers."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    answers: dict[str, Any] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            seconds, answers[name] = timed(run)
            took[name].append(seconds)
    return {name: statistics.median(times) for name, times in took.items()}, answers


def everybody(mirror: Any, raw: Raw) -> None:
    """Judge everybody at 50 conditions: the mirror, and raw events in columns."""
    from scoring import engine
    from scoring.bulk import files, judging, refreshing

    doc = document(50)
    signals = by_id(doc)
    asked = judging.ask(mirror, refreshing.place(), doc, engine.stored_signals(doc), [TODAY], None)

    def on_mirror() -> Any:
        with files.engine(refreshing.place(), files.READING) as (duck, _):
            judging.read(duck, asked)
            return judging.conclude(duck, asked, doc)

    took, answers = in_turns(
        {
            "mirror": on_mirror,
            "parquet": lambda: raw.run(asked, doc, signals, own=False),
            "own": lambda: raw.run(asked, doc, signals, own=True),
        }
    )
    rows = {name: in_full(answer) for name, answer in answers.items()}
    equal = rows["mirror"] == rows["parquet"] == rows["own"]
    say(f"equal rows, {len(rows['mirror']):,} of each", "yes" if equal else "NO", "yes", holds=equal)
    for name, words in (("parquet", "raw Parquet with JSON"), ("own", "DuckDB's own table of raw events")):
        ratio = took[name] / took["mirror"]
        told = f"{ratio:.1f} times faster than {words} ({took['mirror']:.2f} and {took[name]:.2f} s)"
        say("everybody at 50 conditions on the mirror", told, "4 times", holds=ratio >= 4)


def rescoring() -> None:
    """Judge everybody at 50 conditions by PostgreSQL, of tiles and of raw events; and rescore, with all writes."""
    from scoring import engine, handoffs, scores
    from scoring import rules as versions
    from scoring.compiler import sql
    from scoring.compiler.plan import plan
    from scoring.models import SHARDS, Account, Lane, RuleSet, RuleVersion
    from scoring.models.raw import cursor

    doc = document(50)
    version = versions.draft(text=rules(50), by=None, at=NOW)
    RuleVersion.objects.filter(pk=version.pk).update(published_at=NOW)
    RuleSet.objects.update(live_version=version)
    accounts = list(Account.objects.values_list("pk", flat=True))

    def rescore() -> None:
        handoffs.touch(accounts=accounts, cause="bench", lane=Lane.BULK, at=NOW)
        for shard in range(SHARDS):
            while scores.rescore_touched(shard=shard, as_of=TODAY, at=NOW).accounts:
                pass

    binding = replace(sql.EVERYONE, detail=False)
    raw = sql.compile(plan(doc), binding, engine.stored_signals(doc), EventsInPostgres(by_id(doc)))
    tiles = sql.compile(plan(doc), binding, engine.stored_signals(doc))

    def run(query: Any) -> list[Any]:
        with cursor() as c:
            return sorted(c.execute(query.sql, {**query.params, "as_of": TODAY}).fetchall())

    took, answers = in_turns({"rescore": rescore, "tiles": lambda: run(tiles), "raw": lambda: run(raw)}, 2)
    equal = answers["tiles"] == answers["raw"]
    say("equal rows in PostgreSQL, tiles and raw events", "yes" if equal else "NO", "yes", holds=equal)
    ratio = took["raw"] / took["rescore"]
    told = f"{took['rescore']:.2f} s with all writes (judging alone {took['tiles']:.2f}), raw events {took['raw']:.2f}"
    say("everybody at 50 conditions in PostgreSQL", f"{ratio:.1f} times: {told}", "5 times", holds=ratio >= 5)


def backtest() -> None:
    """26 weeks at 10 conditions: the mirror, and PostgreSQL day by day."""
    from scoring import bulk, engine
    from scoring.bulk import judging, refreshing

    doc = document(10)
    ids = engine.stored_signals(doc)

    def on_mirror() -> Any:
        for kept in refreshing.place().glob("values-*"):
            kept.unlink()
        judged = bulk.judge(doc, days=WEEKS)
        assert judged.why_not is None, judged.why_not
        return judged.said

    mirror = statistics.median(timed(on_mirror)[0] for _ in range(ROUNDS))
    loop, by_postgres = timed(lambda: judging._by_postgres(doc, ids, WEEKS, None))
    turns = list(on_mirror().judgements())
    equal = turns == list(by_postgres.judgements())
    say(f"equal turns of 26 weeks, {len(turns):,}", "yes" if equal else "NO", "yes", holds=equal)
    told = f"{mirror:.2f} s, {loop / mirror:.1f} times faster than PostgreSQL ({loop:.1f} s)"
    say("26 weeks at 10 conditions", told, "5 s, 8 times", holds=mirror <= 5 and loop >= 8 * mirror)


def thresholds() -> None:
    """Judge everybody by the same conditions with other points."""
    from scoring import bulk

    def judged(points: int) -> Any:
        return bulk.judge(document(50, points), days=[TODAY]).said

    judged(5)
    took = statistics.median(timed(partial(judged, points))[0] for points in (6, 7, 8))
    say("other points for everybody at 50 conditions", f"{took:.2f} s", "0.5 s", holds=took <= 0.5)


def one_account() -> None:
    """Rescore single accounts by how much they did; and the largest, of tiles and of raw events."""
    from scoring import engine
    from scoring.compiler import sql
    from scoring.compiler.plan import plan
    from scoring.models.raw import cursor

    doc = document(50)
    ids = engine.stored_signals(doc)
    raw = sql.compile(plan(doc), sql.FEW, ids, EventsInPostgres(by_id(doc)))

    def of_raw(account: int) -> None:
        with cursor() as c:
            c.execute(raw.sql, {**raw.params, "as_of": TODAY, "accounts": [account]}).fetchall()

    def of_tiles(account: int) -> None:
        engine.judge(doc, as_of=TODAY, accounts=[account])

    curve = [(number, account) for account, number in sizes()]
    for _, account in curve:
        of_tiles(account)
    costs = [(number, statistics.median(timed(partial(of_tiles, a))[0] for _ in range(5))) for number, a in curve]
    print("a rescore by events of the account: " + ", ".join(f"{n:,}: {s * 1000:.0f} ms" for n, s in costs), flush=True)
    number, largest = curve[-1]
    took, _ = in_turns({"tiles": lambda: of_tiles(largest), "raw": lambda: of_raw(largest)})
    ratio = took["raw"] / took["tiles"]
    told = f"{ratio:.0f} times faster than from raw ({took['tiles'] * 1000:.0f} and {took['raw'] * 1000:.0f} ms)"
    say(f"the largest account, {number:,} events", told, "20 times", holds=ratio >= 20)


def sizes() -> Iterator[tuple[int, int]]:
    """Yield (account, events) of accounts that did ever more, up to the largest."""
    from django.db import connection

    with connection.cursor() as c:
        c.execute("SELECT account_id, count(*) FROM scoring_event GROUP BY 1 ORDER BY 2, 1")
        rows: Sequence[tuple[int, int]] = c.fetchall()
    for share in (0.1, 0.5, 0.9, 0.99, 0.999):
        yield rows[int(share * (len(rows) - 1))]
    yield rows[-1]


if __name__ == "__main__":
    main()
