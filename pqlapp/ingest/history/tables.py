"""Tables: rows of CSV, and the mapping that says which column is what. A row becomes an item of the native wire."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, BinaryIO

import orjson
import yaml

from pqlapp import parser
from pqlapp.ingest import native
from pqlapp.ingest.fields import Unusable, instant, unix_time
from pqlapp.ingest.fields import mapping as mapping_of
from pqlapp.ingest.history.exports import embedded
from pqlapp.ingest.history.lines import Record
from pqlapp.parser import Rejected
from scoring.facts import Fact

FIELDS = ("id", "event", "user", "anonymous", "account", "at", "properties")
TRAITS = ("traits", "account_traits")
CONSTANT = "="  # what begins so is not the name of a column but the value itself
SEPARATORS = ",;\t|"
SURE_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,9})?")  # reads back as it stands: no "007", no "1e5"
UNIX_TIME = re.compile(r"\d{9,16}(?:\.\d+)?")
MICROSECONDS_FROM = 10**14
HELP = "say which column is what: event=…,at=… and user=…, anonymous=… or account=…"

csv.field_size_limit(parser.ITEM_LIMIT)


class BadMapping(Exception):
    """The mapping does not fit; the message says how to put it right."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """Which column holds what. Columns that are not named become properties under their own names."""

    columns: Mapping[str, str]  # a field, traits.NAME or account_traits.NAME -> a column, or "=constant"

    def check(self, header: Sequence[str]) -> None:
        """Raise BadMapping if the table lacks a column that the mapping names, or has one twice."""
        if twice := next((name for name in header if header.count(name) > 1), None):
            raise BadMapping(f"there are several columns {twice!r}: which one counts?")
        for field, column in self.columns.items():
            if column not in header and not column.startswith(CONSTANT):
                there = ", ".join(header[:40])
                raise BadMapping(f"{field}={column}: there is no column {column!r}; there are {there}")

    def item(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the native item that a row states. Raises Unusable."""
        rest = dict(row)
        item: dict[str, Any] = {}
        for field, column in self.columns.items():
            value = column[1:] if column.startswith(CONSTANT) else rest.pop(column, None)
            kind, _, trait = field.partition(".")
            if value in (None, ""):
                continue
            if trait:
                item.setdefault(kind, {})[trait] = _plain(value)
            else:
                item[field] = value
        item["properties"] = _properties(item.get("properties")) | {
            name: _plain(value) for name, value in rest.items() if value not in (None, "")
        }
        item["at"] = _time(item.get("at")).isoformat()
        return item

    def read(self, row: Mapping[str, Any], received_at: datetime) -> Sequence[Fact] | Rejected:
        """Return the fact that a row states, or why it states none."""
        try:
            fact = native.read(item=self.item(row), received_at=received_at)
        except Unusable as error:
            return error.rejected
        return fact if isinstance(fact, Rejected) else (fact,)


def mapping(*, pairs: Sequence[str] = (), document: str = "") -> Mapped:
    """Return the mapping that is written as `field=column` pairs, or as a YAML document of `field: column`.

    Pairs win over the document. Raises BadMapping.
    """
    columns = _from_document(document) if document.strip() else {}
    for pair in (piece for text in pairs for piece in text.split(",") if piece.strip()):
        field, equals, column = pair.strip().partition("=")
        if not equals or not column:
            raise BadMapping(f"{pair!r} is not FIELD=COLUMN")
        columns[field.strip()] = column.strip()
    return _checked(columns)


def rows(*, stream: BinaryIO, mapped: Mapped) -> Iterator[Record]:
    """Yield the rows of a CSV, the first of which names the columns, as JSON objects. Raises BadMapping."""
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _rows(text, mapped)
    finally:
        text.detach()  # or it would close the stream, which is not its own


def _rows(text: io.TextIOWrapper, mapped: Mapped) -> Iterator[Record]:
    first = text.readline()
    if not first:
        return
    reader = csv.reader(chain([first], text), delimiter=max(SEPARATORS, key=first.count))
    header = [name.strip() for name in next(reader)]
    mapped.check(header)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(number, b"", Rejected("bad_row", f"this is no row of a CSV: {error}"))
            continue
        if row:
            yield _record(number, header, row)


def _record(number: int, header: Sequence[str], row: Sequence[str]) -> Record:
    if len(row) != len(header):
        text = json.dumps(row).encode()
        return Record(number, text, Rejected("bad_row", f"{len(row)} cells under {len(header)} columns"))
    cells = dict(zip(header, row, strict=True))
    try:
        return Record(number, orjson.dumps(cells))
    except orjson.JSONEncodeError:  # bytes that are no text: the parser will say so
        return Record(number, json.dumps(cells, ensure_ascii=False).encode("utf-8", "surrogateescape"))


def _from_document(document: str) -> dict[str, str]:
    try:
        stated = yaml.safe_load(document)
    except yaml.YAMLError as error:
        raise BadMapping(f"the mapping is no YAML: {error}") from error
    if not isinstance(stated, dict):
        raise BadMapping("the mapping is lines of `field: column`")
    flat: dict[str, str] = {}
    for field, column in stated.items():
        nested = {f"{field}.{name}": inner for name, inner in column.items()} if isinstance(column, dict) else None
        flat |= {str(name): str(inner) for name, inner in (nested or {field: column}).items()}
    return flat


def _checked(columns: dict[str, str]) -> Mapped:
    for field in columns:
        kind, dot, name = field.partition(".")
        if field not in FIELDS and not (kind in TRAITS and dot and name):
            known = ", ".join(FIELDS)
            raise BadMapping(f"{field!r} is none of {known}, traits.NAME, account_traits.NAME")
    if columns.get("id", "").startswith(CONSTANT):
        raise BadMapping("an id that is the same for all rows would make one event of them")
    if not {"event", "at"} <= columns.keys() or not {"user", "anonymous", "account"} & columns.keys():
        raise BadMapping(HELP)
    return Mapped(columns)


def _properties(value: object) -> dict[str, Any]:
    """Return the properties of a row that has them in one column, as an object or as JSON."""
    return mapping_of("properties", embedded("properties", value))


def _plain(value: object) -> object:
    """Return a cell's text as the number or truth that it surely is; any other value as it is."""
    if not isinstance(value, str):
        return value
    if SURE_NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    return {"true": True, "false": False}.get(value.lower(), value)


def _time(value: object) -> datetime:
    """Return a time as warehouses write them: ISO 8601, "… UTC", or a unix time down to microseconds."""
    if isinstance(value, str) and not UNIX_TIME.fullmatch(value):
        at = instant("at", value.removesuffix(" UTC"))
    else:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        at = unix_time("at", number / 1000 if number and number >= MICROSECONDS_FROM else number)
    if at is None:
        raise Unusable("no_time", "the row does not say when it happened")
    return at
