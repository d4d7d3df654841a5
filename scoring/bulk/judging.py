"""Judge many accounts on many days: on the mirror if it will do, else by PostgreSQL, slower, with the same answer."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import structlog

from scoring import engine
from scoring.bulk import copying, files
from scoring.bulk.files import Manifest
from scoring.bulk.refreshing import place, present
from scoring.compiler import sql
from scoring.compiler.dialects import DUCKDB
from scoring.compiler.plan import Fold, Plan, plan
from scoring.compiler.query import Staged
from scoring.engine import Judgement, Subject
from scoring.language import Document

log = structlog.get_logger(__name__)

MEMORY = "2GB"  # that judging may take, before it goes on with files
ROWS = 10_000  # read at once
ALIKE = ", ".join(engine.ALIKE)
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
    # By day and account. The first judgement of each account, and then each that differs from the one before it: an
    # account's judgement holds on all of the days until its next one.
    judgements: Iterator[Judgement]


def judge(
    document: Document, *, days: Sequence[date], accounts: Sequence[int] | None = None, since: datetime | None = None
) -> Judged:
    """Return the judgements of each account (of all if None) on each of the days, without detail.

    The mirror is asked if it is complete at `since` or later (None: however old it is). What is left unsaid of a day is
    what was said last. Visitors and deserted homes are no subjects. Raises engine.SignalsMissing.
    """
    signal_ids = engine.stored_signals(document)
    span = sorted(set(days))
    try:
        if document.level != "account":
            raise NotOnMirror("the mirror does not hold what is said of users")
        mirror = _usable(since)
        judgements = _on_mirror(mirror, place(), document, signal_ids, span, accounts)
        return Judged(mirror.complete_at, None, judgements)
    except NotOnMirror as reason:
        return Judged(None, str(reason), _by_postgres(document, signal_ids, span, accounts))


def _usable(since: datetime | None) -> Manifest:
    mirror = present()
    if mirror is None:
        raise NotOnMirror("there is no mirror")
    if since is not None and mirror.complete_at < since:
        raise NotOnMirror(f"the mirror is as of {mirror.complete_at:%Y-%m-%d %H:%M:%S} (UTC)")
    return mirror


def _by_postgres(
    document: Document, signal_ids: Mapping[str, int], days: Sequence[date], accounts: Sequence[int] | None
) -> Iterator[Judgement]:
    """One statement a day: PostgreSQL plans that much better than all days at once."""
    last: dict[Subject, Judgement] = {}
    for day in days:
        judged = engine.judge(document, as_of=day, accounts=accounts, detail=False, signal_ids=signal_ids)
        for judgement in sorted(judged, key=lambda j: (j.account_id, j.user_id or 0)):
            subject = judgement.account_id, judgement.user_id
            before = last.get(subject)
            if before is None or replace(before, as_of=day) != judgement:
                last[subject] = judgement
                yield judgement


def _on_mirror(
    mirror: Manifest,
    where: Path,
    document: Document,
    signal_ids: Mapping[str, int],
    days: Sequence[date],
    accounts: Sequence[int] | None,
) -> Iterator[Judgement]:
    """Judge all days at once. Raises NotOnMirror before anything is returned."""
    asked = ask(mirror, where, document, signal_ids, days, accounts)
    said = _said(asked)
    try:
        kinds = next(said)
    except CANNOT_TELL as e:
        log.warning("mirror_not_used", reason=str(e))
        raise NotOnMirror(f"the mirror cannot tell: {e}") from e
    return engine.read(document, kinds, said)


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
    """Return how the mirror is asked for the judgements. Raises NotOnMirror."""
    laid_out = plan(document)
    _check(mirror, laid_out, signal_ids)
    binding = replace(sql.EVERYONE if len(days) == 1 else sql.GRID, all_accounts=accounts is None, detail=False)
    staged = sql.compile_staged(laid_out, binding, signal_ids, DUCKDB)
    of_whom: dict[str, object] = {} if accounts is None else {"accounts": list(accounts)}
    params = {**staged.params, "as_of": days[0], "days": list(days), **of_whom}
    relations = _facts(mirror, where) | {
        f"tile_{signal_ids[fold.name]:d}": _tiles(mirror, where, signal_ids[fold.name], fold, days)
        for fold in laid_out.folds
    }
    asked = Asked(where, relations, staged, params, None)
    return asked if accounts is not None else replace(asked, values=where / f"values-{_digest(asked)}.parquet")


def _facts(mirror: Manifest, where: Path) -> dict[str, str]:
    return {
        relation.name: copying.relation_of([where / mirror.facts[relation.name]], relation)
        for relation in copying.FACTS
    }


def _tiles(mirror: Manifest, where: Path, signal: int, fold: Fold, days: Sequence[date]) -> str:
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


def _said(asked: Asked) -> Iterator[Any]:
    """Yield the kinds of judgements, when all is judged; then the turns (see engine.read)."""
    with judged(asked) as duck:
        for statement in TURNS:
            duck.execute(statement)
        kinds = duck.execute("SELECT * FROM kind")
        names = [column[0] for column in kinds.description or ()]
        yield [dict(zip(names, row, strict=True)) for row in kinds.fetchall()]
        duck.execute("SELECT * FROM turn ORDER BY as_of, account_id")
        while batch := duck.fetchmany(ROWS):
            yield from batch


# Many judgements are alike: each kind is handed over once. Of the days of an account those are left on which something
# differs from the day before among them.
_SAME_KIND = " AND ".join(f"said.{column} IS NOT DISTINCT FROM kind.{column}" for column in engine.ALIKE)
_BEFORE = "OVER (PARTITION BY account_id ORDER BY as_of)"
TURNS = (
    f"CREATE TEMP TABLE kind AS SELECT row_number() OVER () AS n, * FROM (SELECT DISTINCT {ALIKE} FROM said)",  # noqa: S608
    f"""CREATE TEMP TABLE turn AS
    SELECT account_id, said.as_of, n, goal_on, sign_up FROM said JOIN kind ON {_SAME_KIND}
    QUALIFY row_number() {_BEFORE} = 1
        OR row(n, goal_on, sign_up) IS DISTINCT FROM lag(row(n, goal_on, sign_up)) {_BEFORE}""",  # noqa: S608
)


@contextmanager
def judged(asked: Asked) -> Iterator[files.Engine]:
    """Give a DuckDB that has a table `said`: the rows that the document's statement answers with."""
    with files.engine(asked.where, files.READING, memory_limit=MEMORY) as (duck, work):
        if asked.values is not None and asked.values.exists():
            os.utime(asked.values)
            duck.execute(f"CREATE TEMP VIEW read AS {kept(duck, asked.values)}")
        else:
            read(duck, asked)
            if asked.values is not None:
                _keep(duck, work, asked.values)
        answer = asked.staged.answer
        duck.execute(f"CREATE TEMP TABLE said AS {answer}", asked.given(answer))
        yield duck


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
