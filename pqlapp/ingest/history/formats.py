"""The kinds of files that history comes in, and how to tell them apart."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BufferedReader
from typing import Any

import orjson

from pqlapp import parser
from pqlapp.ingest import amplitude, mixpanel, native, posthog, segment
from pqlapp.ingest.fields import Unusable
from pqlapp.ingest.history import exports, lines, tables
from pqlapp.ingest.history.files import HEAD
from pqlapp.ingest.history.lines import Record
from pqlapp.ingest.history.tables import BadMapping, Mapped
from pqlapp.parser import Rejected
from scoring.facts import Fact

Item = dict[str, Any]
Read = Callable[[Item, datetime], Sequence[Fact] | Rejected]
ROW_ID = "\x1fid"  # stands for the id column of a table without one
LOOKED_AT = 20  # lines, until one of them tells the format


class UnknownFormat(Exception):
    """What the file is cannot be told; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a file of this kind is cut into records, and how one of them states facts."""

    name: str
    records: Callable[[BufferedReader], Iterator[Record]]
    read: Read
    id_at: tuple[str, ...]  # where an item has its message id


def _segment(item: Item, received_at: datetime, types: Sequence[str]) -> Sequence[Fact] | Rejected:
    # Its sentAt would move the call to the day of the import.
    call = {key: value for key, value in item.items() if key != "sentAt"} if "sentAt" in item else item
    return _one(segment.read(call=call, received_at=received_at))


def _native(item: Item, received_at: datetime, types: Sequence[str]) -> Sequence[Fact] | Rejected:
    return _one(native.read(item=item, received_at=received_at))


def _posthog(item: Item, received_at: datetime, types: Sequence[str]) -> Sequence[Fact] | Rejected:
    try:
        event = exports.posthog(item)
    except Unusable as error:
        return error.rejected
    return _one(posthog.read(event=event, group_types=types, received_at=received_at))


def _mixpanel(item: Item, received_at: datetime, types: Sequence[str]) -> Sequence[Fact] | Rejected:
    return mixpanel.read_past(item=item, received_at=received_at, types=types)


def _amplitude(item: Item, received_at: datetime, types: Sequence[str]) -> Sequence[Fact] | Rejected:
    try:
        event = exports.amplitude(item)
    except Unusable as error:
        return error.rejected
    return amplitude.read(item=event, received_at=received_at, types=types)


def _one(read: Fact | Rejected) -> Sequence[Fact] | Rejected:
    return read if isinstance(read, Rejected) else (read,)


@dataclass(frozen=True, slots=True)
class _Lines:
    """A format of JSON lines: how it reads an item, where its id is, and by what an item is known."""

    read: Callable[[Item, datetime, Sequence[str]], Sequence[Fact] | Rejected]
    id_at: tuple[str, ...]
    is_like: Callable[[Mapping[str, Any]], bool]


def _has(item: Mapping[str, Any], *names: str) -> bool:
    return all(name in item for name in names)


LINES = {
    "segment": _Lines(_segment, ("messageId",), lambda item: item.get("type") in segment.TYPES),
    "posthog": _Lines(_posthog, ("uuid",), lambda item: _has(item, "event", "distinct_id", "properties")),
    "mixpanel": _Lines(_mixpanel, ("properties", "$insert_id"), lambda item: item.keys() == {"event", "properties"}),
    "amplitude": _Lines(_amplitude, ("uuid",), lambda item: _has(item, "event_type", "event_time")),
    "native": _Lines(_native, ("id",), lambda item: item.keys() <= native.FIELDS and _has(item, "event", "at")),
}
# The readers of these are heavy: a module is loaded when its format is asked for.
TABLES = {"csv": "pqlapp.ingest.history.tables", "parquet": "pqlapp.ingest.history.parquet"}
NAMES = (*LINES, *TABLES)


def named(*, name: str, mapped: Mapped | None, group_types: Sequence[str] = ()) -> Format:
    """Return the format with one of NAMES; `group_types` are the source's own for accounts.

    Raises BadMapping for a table whose columns are not mapped.
    """
    if name in LINES:
        like = LINES[name]
        return Format(name, _lines, lambda item, at: like.read(item, at, group_types), like.id_at)
    if mapped is None:
        raise BadMapping(f"this is {name}: {tables.HELP}")
    rows = importlib.import_module(TABLES[name]).rows
    with_id = Mapped({"id": ROW_ID, **mapped.columns})
    return Format(name, partial(_rows, rows, mapped), with_id.read, (with_id.columns["id"],))


def _lines(stream: BufferedReader) -> Iterator[Record]:
    return lines.numbered(stream=stream)


def _rows(rows: Callable[..., Iterator[Record]], mapped: Mapped, stream: BufferedReader) -> Iterator[Record]:
    return rows(stream=stream, mapped=mapped)


def guess(*, name: str, stream: BufferedReader, has_mapping: bool) -> str:
    """Return which of NAMES the file with this name is, by its beginning; nothing of the stream is used up.

    Raises UnknownFormat.
    """
    head = stream.peek(HEAD)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        raise UnknownFormat(f"{name} is a zip, which cannot be read in passing; save it to a file first")
    suffixes = name.lower().removesuffix(".gz").rsplit(".", 1)
    if suffixes[-1] in ("csv", "tsv"):
        return "csv"
    start = head.removeprefix(parser.BOM).lstrip()[:1]
    if start == b"[":
        raise UnknownFormat(f"{name} is one JSON list; make it lines, such as with: jq -c '.[]' FILE")
    if has_mapping and start != b"{":
        return "csv"
    found = [kind for line in head.split(b"\n")[:LOOKED_AT] if (kind := _kind(line))]
    if found or not head.strip():
        return found[0] if found else "segment"
    raise UnknownFormat(f"cannot tell what {name} is; say --format, one of {', '.join(NAMES)}")


def _kind(line: bytes) -> str | None:
    try:
        item = orjson.loads(line.removeprefix(parser.BOM))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(item, dict):
        return None
    return next((kind for kind, like in LINES.items() if like.is_like(item)), None)
