"""Rows of Parquet, as a warehouse exports them. The reader is heavy, so only formats.py imports this, when asked."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import orjson

from pqlapp.ingest.history.files import copied
from pqlapp.ingest.history.lines import Record
from pqlapp.ingest.history.tables import Mapped

ROWS = 2_000  # read at once
MEMORY = "256MB"


def rows(*, stream: BinaryIO, mapped: Mapped) -> Iterator[Record]:
    """Yield the rows as JSON objects, numbered from 1. Raises BadMapping, and OSError for what is no Parquet."""
    try:
        with _path_of(stream) as path, duckdb.connect(config={"threads": 1, "memory_limit": MEMORY}) as engine:
            found = engine.execute("SELECT * FROM read_parquet(?)", [str(path)])
            header = [column[0] for column in found.description or ()]
            mapped.check(header)
            number = 0
            while batch := found.fetchmany(ROWS):
                for row in batch:
                    number += 1
                    cells = dict(zip(header, row, strict=True))
                    yield Record(number, orjson.dumps(cells, default=_as_json, option=orjson.OPT_NON_STR_KEYS))
    except duckdb.Error as error:
        raise OSError(f"this is no readable Parquet: {error}") from error


@contextmanager
def _path_of(stream: BinaryIO) -> Iterator[Path]:
    """Give a path to read from: the file's own, or that of a copy of what is packed in another."""
    raw = getattr(stream, "raw", None)
    if isinstance(raw, io.FileIO) and isinstance(raw.name, str) and Path(raw.name).is_file():
        yield Path(raw.name)
        return
    with copied(stream=stream) as path:
        yield path


def _as_json(value: Any) -> Any:
    """Return what JSON has no word for as it would be written there."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
