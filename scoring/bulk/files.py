"""The mirror as files: a manifest that names them all, so that one rename puts a new state in the place of the old."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import orjson

FORMAT = 1  # another one is no mirror of ours: it is made anew
MANIFEST = "manifest.json"
WRITING, READING = "write-", "read-"  # directories of whoever works now, or was killed

Engine = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Manifest:
    """One state of the mirror: what PostgreSQL held in one snapshot. Files are named relative to its place."""

    token: str
    complete_at: datetime  # everything that was committed by this moment is in it
    settled_to: int  # no tile id up to here was still to come
    signals: list[int]  # those whose tiles held all of history
    tiles: dict[str, dict[str, str]]  # signal id: first day of the month: file
    facts: dict[str, str]  # relation: file
    # Numbers that its decimals cannot hold: the signals and the traits that have some.
    unfit_signals: dict[str, list[str]]  # signal id: first days of months
    unfit_traits: list[str]
    format: int = FORMAT

    @property
    def files(self) -> set[str]:
        """Every file that it is made of."""
        return {*self.facts.values(), *(file for months in self.tiles.values() for file in months.values())}


def load(place: Path) -> Manifest | None:
    """Return the state that the directory holds; None if there is none, or one of another format."""
    try:
        stored = orjson.loads((place / MANIFEST).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    if stored.get("format") != FORMAT:
        return None
    return Manifest(**{**stored, "complete_at": datetime.fromisoformat(stored["complete_at"])})


def store(manifest: Manifest, place: Path) -> None:
    """Put the state in the place of the one before, at one blow."""
    fresh = place / f"{MANIFEST}.{manifest.token}"
    with fresh.open("wb") as file:
        file.write(orjson.dumps(asdict(manifest)))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(place / MANIFEST)


@contextmanager
def engine(place: Path, prefix: str, **config: Any) -> Iterator[tuple[Engine, Path]]:
    """Give a DuckDB of one's own and a directory to work in, which is removed afterwards."""
    with (
        TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as work,
        duckdb.connect(config={"temp_directory": work, "autoinstall_known_extensions": False, **config}) as duck,
    ):
        yield duck, Path(work)
