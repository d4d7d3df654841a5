"""Check that the mirror is what PostgreSQL holds: both are compared row by row in one snapshot."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from scoring.bulk import copying, files
from scoring.bulk.copying import Relation
from scoring.bulk.refreshing import MEMORY, only_one, place, present, put_in_place, snapshot, take, token
from scoring.models import Account, Signal
from scoring.tiles.locks import Cursor


class Busy(Exception):
    """Somebody is refreshing the mirror: check again in a moment."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is on one side only."""

    relation: str
    signal: int | None  # of tiles
    on_mirror: bool  # else only in PostgreSQL
    row: dict[str, Any]


def verify(*, at: datetime, on_progress: Callable[[int], object] = lambda rows: None) -> Difference | None:
    """Bring the mirror up to date, compare all of it with PostgreSQL, and return the first difference.

    Raises Busy, Overtaken, and FileNotFoundError if there is no mirror. `on_progress` is told how many rows were
    compared. Writes nothing but the mirror. Commits: not to be called in a transaction.
    """
    with only_one() as is_mine:
        if not is_mine:
            raise Busy("somebody is refreshing the mirror: verify again when it is done")
        began_with, old = token(), present()
        if old is None:
            raise FileNotFoundError("there is no mirror")
        with snapshot() as c:
            taken = take(c, place(), old, at=at)
            difference = compare(c, place(), taken.manifest, on_progress)
        put_in_place(taken, old, began_with, at=at)
        return difference


def compare(
    c: Cursor, place: Path, mirror: files.Manifest, on_progress: Callable[[int], object] = lambda rows: None
) -> Difference | None:
    """Return the first row that the mirror's state and the cursor's snapshot do not share."""
    signals = {int(signal) for signal in mirror.tiles} | {s for (s,) in c.execute("SELECT id FROM scoring_signal")}
    with files.engine(place, files.WRITING, memory_limit=MEMORY) as (duck, work):
        for signal in sorted(signals):
            months = [place / file for file in mirror.tiles.get(str(signal), {}).values()]
            copying.copy(c, copying.TILES.query(f"t.signal_id = {signal:d}"), work / "rows.csv")
            found = _first(duck, copying.TILES, work / "rows.csv", months, on_progress)
            if found:
                return Difference(copying.TILES.name, signal, *found)
        for relation in copying.FACTS:
            copying.copy(c, relation.query(), work / "rows.csv")
            found = _first(duck, relation, work / "rows.csv", [place / mirror.facts[relation.name]], on_progress)
            if found:
                return Difference(relation.name, None, *found)
    return None


def _first(
    duck: files.Engine, relation: Relation, csv: Path, packed: list[Path], on_progress: Callable[[int], object]
) -> tuple[bool, dict[str, Any]] | None:
    """Return whether the first row of one side only is on the mirror, and the row."""
    kept = ", ".join(f'"{column.name}"' for column in relation.columns if column not in copying.NOT_PACKED)
    duck.execute(f"CREATE OR REPLACE TEMP TABLE stored AS SELECT {kept} FROM ({relation.reading(csv)})")  # noqa: S608
    rows = duck.execute("SELECT count(*) FROM stored").fetchone() or (0,)
    duck.execute(f"CREATE OR REPLACE TEMP VIEW mirrored AS SELECT {kept} FROM ({copying.packed(packed, relation)})")  # noqa: S608
    answer = duck.execute(
        f"""SELECT * FROM (
    (SELECT true AS on_mirror, * FROM (SELECT * FROM mirrored EXCEPT ALL SELECT * FROM stored))
    UNION ALL
    (SELECT false, * FROM (SELECT * FROM stored EXCEPT ALL SELECT * FROM mirrored))
) ORDER BY {relation.order}, on_mirror LIMIT 1"""  # noqa: S608
    )
    names = [column[0] for column in answer.description or ()]
    row = answer.fetchone()
    on_progress(rows[0])
    return (row[0], dict(zip(names[1:], row[1:], strict=True))) if row else None


def words(difference: Difference) -> str:
    """Return the difference in a sentence."""
    row = {name: value for name, value in difference.row.items() if value is not None}
    account = Account.objects.filter(pk=row.get("account_id", 0)).first()
    of = f"account {account}, " if account else ""
    signal = Signal.objects.filter(pk=difference.signal or 0).first()
    about = f"signal {signal.pk} {signal.definition}, " if signal else ""
    side = "only in the mirror" if difference.on_mirror else "missing in the mirror"
    shown = ", ".join(f"{name}: {value}" for name, value in row.items())
    return f"{difference.relation}: {about}{of}{side}: {shown}"
