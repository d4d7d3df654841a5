"""Judge many accounts on many days: on the mirror if it will do, else by PostgreSQL, slower, with the same answer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
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
from scoring.compiler.plan import Plan, plan
from scoring.compiler.query import Query
from scoring.engine import Judgement, Subject
from scoring.language import Document

log = structlog.get_logger(__name__)

MEMORY = "2GB"  # that judging may take, before it goes on with files
ROWS = 10_000  # read at once
# What of a judgement may differ from one day to the next.
SAID = "usage, fit, status, why, tier, held, met, raw, goal_on, sign_up"


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
    """Judge all days in one statement. Raises NotOnMirror before anything is returned."""
    laid_out = plan(document)
    _check(mirror, laid_out, signal_ids)
    binding = replace(sql.GRID, all_accounts=accounts is None)
    query = sql.compile(laid_out, binding, signal_ids, DUCKDB)
    params: dict[str, object] = {"days": list(days)} | ({} if accounts is None else {"accounts": list(accounts)})
    rows = _rows(mirror, where, _turns(query, len(days)), params, sorted(set(signal_ids.values())))
    return engine.read(document, rows)


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


def _turns(query: Query, days: int) -> Query:
    """Leave of the days of an account only those on which something differs from the day before among them."""
    if days == 1:
        return Query(f"{query.sql} ORDER BY account_id", query.params)
    said = f"row({SAID})"
    window = "OVER (PARTITION BY account_id ORDER BY as_of)"
    return Query(
        f"SELECT * FROM ({query.sql}) QUALIFY row_number() {window} = 1 OR {said} IS DISTINCT FROM lag({said}) {window}"  # noqa: S608
        " ORDER BY as_of, account_id",
        query.params,
    )


def _rows(
    mirror: Manifest, where: Path, query: Query, params: Mapping[str, object], signals: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Run the statement and return its rows. Raises NotOnMirror if it cannot be run: at once, not at the first row."""
    rows = _read(mirror, where, query, params, signals)
    try:
        next(rows)
    except CANNOT_TELL as e:
        log.warning("mirror_not_used", reason=str(e))
        raise NotOnMirror(f"the mirror cannot tell: {e}") from e
    return rows


def _read(
    mirror: Manifest, where: Path, query: Query, params: Mapping[str, object], signals: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield {} when the statement has run, then its rows."""
    with opened(mirror, where, signals) as duck:
        duck.execute(query.sql, {**query.params, **params})
        names = [column[0] for column in duck.description or ()]
        yield {}
        while batch := duck.fetchmany(ROWS):
            yield from (dict(zip(names, row, strict=True)) for row in batch)


@contextmanager
def opened(mirror: Manifest, where: Path, signals: Sequence[int]) -> Iterator[files.Engine]:
    """Give a DuckDB that has the mirror's relations, of tiles those of the signals."""
    with files.engine(where, files.READING, memory_limit=MEMORY) as (duck, _):
        for relation in copying.FACTS:
            rows = copying.relation_of([where / mirror.facts[relation.name]], relation)
            duck.execute(f"CREATE VIEW {relation.name} AS {rows}")
        for signal in signals:
            months = [where / file for file in mirror.tiles.get(str(signal), {}).values()]
            duck.execute(f"CREATE VIEW tile_{signal:d} AS {copying.relation_of(months, copying.TILES)}")
        yield duck
