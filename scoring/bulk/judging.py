"""Judge many accounts on many days: on the mirror if it will do, else by PostgreSQL, slower, with the same answer."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import structlog

from scoring import engine
from scoring.bulk import copying, files
from scoring.bulk.files import Manifest
from scoring.bulk.refreshing import place, present
from scoring.bulk.said import NEVER, Kinds, Numbers, Said, day_of, of_judgements
from scoring.compiler import sql
from scoring.compiler.dialects import DUCKDB
from scoring.compiler.plan import Fold, Plan, plan
from scoring.compiler.query import Staged
from scoring.engine import Judgement
from scoring.language import Document

log = structlog.get_logger(__name__)

MEMORY = "2GB"  # that judging may take, before it goes on with files
DIGEST = 16  # bytes
VALUES_KEPT = 8  # of the documents that were judged last


# A file is gone or broken, or a number does not fit. Any other error of DuckDB is one of ours.
CANNOT_TELL = (
    duckdb.IOException,
    duckdb.OutOfRangeException,
    duckdb.ConversionException,
    duckdb.OutOfMemoryException,
    duckdb.InvalidInputException,
)


class NotOnMirror(Exception):
    """The mirror cannot judge this document as PostgreSQL would; the reason is the message."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a document says of many accounts on many days."""

    complete_at: datetime | None  # all that was committed by then was looked at; None: PostgreSQL looked just now
    why_not: str | None  # why the mirror was not asked; None: it was
    said: Said

    @property
    def judgements(self) -> Iterator[Judgement]:
        """By day and account the first judgement of each account, and then each that differs from the one before it.

        An account's judgement holds on all of the days until its next one.
        """
        return self.said.judgements()


def judge(
    document: Document,
    *,
    days: Sequence[date],
    accounts: Sequence[int] | None = None,
    since: datetime | None = None,
    on_day: Callable[[date], object] = lambda day: None,
) -> Judged:
    """Return what the document says of each account (of all if None) on each of the days, without detail.

    The mirror is asked if it is complete at `since` or later (None: however old it is). `on_day` is told of each day
    that was judged. Visitors and deserted homes are no subjects. Raises engine.SignalsMissing.
    """
    signal_ids = engine.stored_signals(document)
    span = sorted(set(days))
    try:
        mirror = _usable(document, since)
        said = _on_mirror(mirror, place(), document, signal_ids, span, accounts)
    except NotOnMirror as reason:
        return Judged(None, str(reason), _by_postgres(document, signal_ids, span, accounts, on_day))
    for day in span:
        on_day(day)
    return Judged(mirror.complete_at, None, said)


def judge_pairs(
    document: Document, *, pairs: Sequence[tuple[int, date]], since: datetime | None = None
) -> Iterable[Judgement]:
    """Return the judgement of each (account, day) pair, without detail; the mirror is asked as by `judge`.

    Raises engine.SignalsMissing.
    """
    try:
        mirror = _usable(document, since)
        return _pairs_on_mirror(mirror, place(), document, engine.stored_signals(document), pairs)
    except NotOnMirror:
        return engine.judge_pairs(document, pairs=pairs, detail=False)


def _usable(document: Document, since: datetime | None) -> Manifest:
    if document.level != "account":
        raise NotOnMirror("the mirror does not hold what is said of users")
    mirror = present()
    if mirror is None:
        raise NotOnMirror("there is no mirror")
    if since is not None and mirror.complete_at < since:
        raise NotOnMirror(f"the mirror is as of {mirror.complete_at:%Y-%m-%d %H:%M:%S} (UTC)")
    return mirror


def _by_postgres(
    document: Document,
    signal_ids: Mapping[str, int],
    days: Sequence[date],
    accounts: Sequence[int] | None,
    on_day: Callable[[date], object] = lambda day: None,
) -> Said:
    """One statement a day: PostgreSQL plans that much better than all days at once."""

    def judged() -> Iterator[list[Judgement]]:
        for day in days:
            yield engine.judge(document, as_of=day, accounts=accounts, detail=False, signal_ids=signal_ids)
            on_day(day)

    return of_judgements(document, days, judged())


def _on_mirror(
    mirror: Manifest,
    where: Path,
    document: Document,
    signal_ids: Mapping[str, int],
    days: Sequence[date],
    accounts: Sequence[int] | None,
) -> Said:
    """Judge all days at once. Raises NotOnMirror."""
    kinds, rows = _answer(ask(mirror, where, document, signal_ids, days, accounts), document)
    shape = len(days), len(rows["account_id"]) // len(days)
    subjects = [(account, None) for account in rows["account_id"][: shape[1]].tolist()]
    kind, goal_on, sign_up = (rows[name].reshape(shape) for name in ("n", "goal_on", "sign_up"))
    return Said(document, days, subjects, kinds, kind, goal_on, sign_up)


def _pairs_on_mirror(
    mirror: Manifest,
    where: Path,
    document: Document,
    signal_ids: Mapping[str, int],
    pairs: Sequence[tuple[int, date]],
) -> list[Judgement]:
    """Raises NotOnMirror."""
    if not pairs:
        return []
    kinds, rows = _answer(ask_pairs(mirror, where, document, signal_ids, pairs), document)
    columns = (rows[name].tolist() for name in ("account_id", "as_of", "n", "goal_on", "sign_up"))
    return [
        Judgement(account, date.fromordinal(day), *kinds.alike(n), day_of(goal_on), day_of(sign_up), None)
        for account, day, n, goal_on, sign_up in zip(*columns, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be judged, as DuckDB is asked for it."""

    where: Path
    relations: Mapping[str, str]  # by name, the SELECT of what the mirror holds
    staged: Staged
    params: Mapping[str, object]
    values: Path | None  # where what is read is kept, so that it is not read again for other points; None: nowhere

    def given(self, text: str) -> dict[str, object]:
        """Return the values of the places that are in the text: DuckDB takes no others."""
        return {name: value for name, value in self.params.items() if f"${name}::" in text}


def ask(
    mirror: Manifest,
    where: Path,
    document: Document,
    signal_ids: Mapping[str, int],
    days: Sequence[date],
    accounts: Sequence[int] | None,
) -> Asked:
    """Return how the mirror is asked for the judgements on all of the days. Raises NotOnMirror."""
    if not days:
        raise NotOnMirror("there is no day to judge")
    binding = replace(sql.EVERYONE if len(days) == 1 else sql.GRID, all_accounts=accounts is None, detail=False)
    params = {"as_of": days[0], "days": list(days)} | ({} if accounts is None else {"accounts": list(accounts)})
    asked = _asked(mirror, where, document, signal_ids, binding, (days[0], days[-1]), params)
    return asked if accounts is not None else replace(asked, values=where / f"values-{_digest(asked)}.parquet")


def ask_pairs(
    mirror: Manifest,
    where: Path,
    document: Document,
    signal_ids: Mapping[str, int],
    pairs: Sequence[tuple[int, date]],
) -> Asked:
    """Return how the mirror is asked for the judgements of (account, day) pairs. Raises NotOnMirror."""
    days = [day for _, day in pairs]
    params = {"accounts": [account for account, _ in pairs], "days": days}
    binding = replace(sql.PAIRS, detail=False)
    return _asked(mirror, where, document, signal_ids, binding, (min(days), max(days)), params)


def _asked(
    mirror: Manifest,
    where: Path,
    document: Document,
    signal_ids: Mapping[str, int],
    binding: sql.Binding,
    span: tuple[date, date],
    params: Mapping[str, object],
) -> Asked:
    laid_out = plan(document)
    _check(mirror, laid_out, signal_ids)
    staged = sql.compile_staged(laid_out, binding, signal_ids, DUCKDB)
    relations = _facts(mirror, where) | {
        f"tile_{signal_ids[fold.name]:d}": _tiles(mirror, where, signal_ids[fold.name], fold, span)
        for fold in laid_out.folds
    }
    return Asked(where, relations, staged, {**staged.params, **params}, None)


def _facts(mirror: Manifest, where: Path) -> dict[str, str]:
    return {
        relation.name: copying.relation_of([where / mirror.facts[relation.name]], relation)
        for relation in copying.FACTS
    }


def _tiles(mirror: Manifest, where: Path, signal: int, fold: Fold, days: tuple[date, date]) -> str:
    """The tiles of a signal, without the months that no window of any of the days reaches."""
    within = fold.windows[-1]
    first = date.min if within is None else (days[0] - timedelta(days=within - 1)).replace(day=1)
    months = mirror.tiles.get(str(signal), {})
    reached = [where / file for month, file in months.items() if first <= date.fromisoformat(month) <= days[-1]]
    return copying.relation_of(reached, copying.TILES)


def _digest(asked: Asked) -> str:
    """Return a digest of what is read: of the files by their names, which never stand for anything else later."""
    text = "\n".join([*asked.relations.values(), *asked.staged.tables, asked.staged.read])
    return hashlib.blake2b(f"{text}\n{sorted(asked.given(text).items())}".encode(), digest_size=DIGEST).hexdigest()


def _check(mirror: Manifest, laid_out: Plan, signal_ids: Mapping[str, int]) -> None:
    """Raise NotOnMirror if something that is read is not there, or not exactly."""
    for fold in laid_out.folds:
        signal = signal_ids[fold.name]
        if signal not in mirror.signals:
            raise NotOnMirror(f"the mirror does not have the signal {fold.name!r} yet")
        if str(signal) in mirror.unfit_signals and fold.signal.value is not None:
            raise NotOnMirror(f"the mirror cannot hold all values of {fold.name!r} exactly")
    if unfit := sorted(set(laid_out.traits) & set(mirror.unfit_traits)):
        raise NotOnMirror(f"the mirror cannot hold all values of the trait {unfit[0]!r} exactly")


Columns = Mapping[str, Numbers]


def _answer(asked: Asked, document: Document) -> tuple[Kinds, Columns]:
    try:
        with files.engine(asked.where, files.READING, memory_limit=MEMORY) as (duck, work):
            if asked.values is not None and asked.values.exists():
                os.utime(asked.values)
                duck.execute(f"CREATE TEMP VIEW read AS {kept(duck, asked.values)}")
            else:
                read(duck, asked)
                if asked.values is not None:
                    _keep(duck, work, asked.values)
            return conclude(duck, asked, document)
    except CANNOT_TELL as e:
        log.warning("mirror_not_used", reason=str(e))
        raise NotOnMirror(f"the mirror cannot tell: {e}") from e


def conclude(duck: files.Engine, asked: Asked, document: Document) -> tuple[Kinds, Columns]:
    """Return what follows from the table `read`: the kinds of judgements, and a row for each subject and day.

    A row has account_id, n (of its kind), and the ordinals as_of, goal_on and sign_up; they are in order of day and
    account.
    """
    staged, alike = asked.staged, ", ".join(asked.staged.alike)
    duck.execute(f"CREATE TEMP TABLE told AS {staged.told}", asked.given(staged.told))
    duck.execute(_KIND.format(alike))
    answer = duck.execute(f"{staged.answer} ORDER BY n", asked.given(staged.answer)).fetchnumpy()
    same = " AND ".join(f"told.{name} IS NOT DISTINCT FROM kind.{name}" for name in staged.alike)
    return Kinds.of_rows(document, answer), duck.execute(_ROWS.format(same)).fetchnumpy()


_KIND = "CREATE TEMP TABLE kind AS SELECT row_number() OVER () - 1 AS n, * FROM (SELECT DISTINCT {} FROM told)"
_ORDINALS = ", ".join(
    f"coalesce(told.{name} - DATE '0001-01-01' + 1, {NEVER}) AS {name}" for name in ("as_of", "goal_on", "sign_up")
)
_ROWS = f"SELECT account_id, n, {_ORDINALS} FROM told JOIN kind ON {{}} ORDER BY told.as_of, account_id"  # noqa: S608


def read(duck: files.Engine, asked: Asked) -> None:
    """Make the table `read`: all that the document asks of the accounts, before anything is concluded."""
    for name, rows in asked.relations.items():
        duck.execute(f"CREATE TEMP VIEW {name} AS {rows}")
    for table in (*asked.staged.tables, f"read AS ({asked.staged.read})"):
        duck.execute(f"CREATE TEMP TABLE {table}", asked.given(table))


# Parquet has no such integers and would round them; nothing else that is read has this type.
HUGE, AS_DECIMAL = "HUGEINT", "DECIMAL(38,0)"


def _keep(duck: files.Engine, work: Path, values: Path) -> None:
    """Keep what was read; for every one more than some, the one that was not asked for longest goes."""
    copying.pack(duck, f"SELECT {_retyped(duck, 'read', HUGE, AS_DECIMAL)} FROM read", work / values.name)  # noqa: S608
    (work / values.name).replace(values)
    there = sorted(values.parent.glob("values-*.parquet"), key=_last_asked, reverse=True)
    for path in there[VALUES_KEPT:]:
        path.unlink(missing_ok=True)


def _last_asked(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # somebody else made room
        return 0.0


def kept(duck: files.Engine, values: Path) -> str:
    """Return the SELECT of what was kept, in the types that it had."""
    file = f"read_parquet({copying.quoted(values)})"
    return f"SELECT {_retyped(duck, file, AS_DECIMAL, HUGE)} FROM {file}"  # noqa: S608


def _retyped(duck: files.Engine, rows: str, was: str, becomes: str) -> str:
    """Return all columns, those of one type as another."""
    columns = duck.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()  # noqa: S608
    retyped = [f"{name}::{becomes} AS {name}" for name, kind, *_ in columns if kind == was]
    return f"* REPLACE ({', '.join(retyped)})" if retyped else "*"
