"""From PostgreSQL to Parquet: what is read, in which types, and how it gets there.

Rows come out as CSV, texts in hexadecimal, so that no text can be taken for anything else. DuckDB sorts and packs them.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from scoring.compiler.dialects import CANONICAL, EXACT, EXCLUDED_ACCOUNT, EXCLUDED_USER, IS_SUBJECT, SCALE
from scoring.tiles.locks import Cursor

LARGEST = 10**19  # numbers beyond it are not kept: sums of some would not fit


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation of the mirror."""

    name: str
    kind: str  # DuckDB's type
    source: str  # what PostgreSQL selects

    @property
    def exported(self) -> str:
        """What PostgreSQL writes."""
        if self.kind == "VARCHAR":
            return _hex(self.source)
        if self.kind == EXACT:
            return f"CASE WHEN {fits(self.source)} THEN trim_scale({self.source}) END"
        return self.source

    @property
    def arrives(self) -> str:
        """As what it is read from the CSV."""
        return "VARCHAR" if self.kind == "VARCHAR[]" else self.kind

    @property
    def imported(self) -> str:
        """What DuckDB makes of it. (Some names are words of its own.)"""
        name = f'"{self.name}"'
        if self.kind == "VARCHAR":
            return f"{_text(f'substr({name}, 2)')} AS {name}"
        if self.kind == "VARCHAR[]":
            texts = f"string_split(substr({name}, 2), ';')"
            return f"list_transform({texts}, lambda item: {_text('substr(item, 2)')}) AS {name}"
        return name


@dataclass(frozen=True, slots=True)
class Relation:
    """What the mirror keeps of one kind of facts."""

    name: str
    columns: tuple[Column, ...]
    source: str  # FROM and WHERE, for PostgreSQL
    order: str
    ctes: str = ""

    def query(self, where: str = "true") -> str:
        """Return the SELECT for PostgreSQL."""
        columns = ", ".join(f'{column.exported} AS "{column.name}"' for column in self.columns)
        return f"{self.ctes} SELECT {columns} FROM {self.source} AND {where}"  # noqa: S608

    def reading(self, file: Path) -> str:
        """Return the SELECT for DuckDB that reads what was copied to the file."""
        columns = ", ".join(column.imported for column in self.columns)
        types = ", ".join(f"'{column.name}': '{column.arrives}'" for column in self.columns)
        return (
            f"SELECT {columns} FROM read_csv({quoted(file)}, columns = {{{types}}}, auto_detect = false,"  # noqa: S608
            " header = false, delim = ',', quote = '\"', escape = '\"', nullstr = '', max_line_size = 600000000)"
        )


def quoted(file: Path) -> str:
    """Return a file's name as a word of SQL."""
    return "'" + str(file).replace("'", "''") + "'"


def fits(number: str) -> str:
    """Return SQL: whether the mirror's decimals hold the number exactly. Null of null."""
    return f"(abs({number}) < {LARGEST} AND {number} = round({number}, {SCALE}))"


def _hex(text: str) -> str:
    """Return SQL for PostgreSQL; the x tells an empty text from none."""
    return f"'x' || encode(convert_to({text}, 'UTF8'), 'hex')"


def _text(digits: str) -> str:
    return f"decode(unhex({digits}))"


def _moment(column: str) -> str:
    return f"{column} AT TIME ZONE 'UTC'"


MONTH = "date_trunc('month', t.day)::date"
_VALUES = ("t.value_sum", "t.value_max", "t.value_last", "t.limit_last")
TILES = Relation(
    name="tiles",
    columns=(
        Column("signal_id", "BIGINT", "t.signal_id"),
        Column("month", "DATE", MONTH),
        Column("account_id", "BIGINT", "t.account_id"),
        Column("user_id", "BIGINT", "t.user_id"),
        Column("day", "DATE", "t.day"),
        Column("count", "BIGINT", "t.count"),
        Column("first_at", "TIMESTAMP", _moment("t.first_at")),
        Column("last_at", "TIMESTAMP", _moment("t.last_at")),
        *(Column(value[2:], EXACT, value) for value in _VALUES),
        Column("value_last_at", "TIMESTAMP", _moment("t.value_last_at")),
        Column("value_last_id", "VARCHAR", "t.value_last_id"),
        Column("is_unfit", "BOOLEAN", " OR ".join(f"NOT coalesce({fits(value)}, true)" for value in _VALUES)),
    ),
    source="scoring_tile t WHERE true",
    order="account_id, day",
)
NOT_PACKED = [column for column in TILES.columns if column.name in ("signal_id", "month", "is_unfit")]  # named by files
_ELEMENTS = f"""CASE jsonb_typeof(c.value) WHEN 'array' THEN 'x' || (
    SELECT coalesce(string_agg({_hex(CANONICAL.format(value="e"))}, ';'), '')
    FROM jsonb_array_elements(c.value) AS e WHERE jsonb_typeof(e) IN ('string', 'number', 'boolean')) END"""  # noqa: S608
_JSON_NUMBER = "CASE jsonb_typeof(c.value) WHEN 'number' THEN (c.value)::numeric END"
TRAITS = Relation(
    name="scoring_traitchange",
    columns=(
        Column("account_id", "BIGINT", "c.account_id"),
        Column("key", "VARCHAR", "c.key"),
        Column("kind", "VARCHAR", "jsonb_typeof(c.value)"),
        Column("canonical", "VARCHAR", CANONICAL.format(value="c.value")),
        Column("text", "VARCHAR", "c.value #>> '{}'"),
        Column("json_number", EXACT, _JSON_NUMBER),
        Column("elements", "VARCHAR[]", _ELEMENTS),
        Column("number", EXACT, "c.number"),
        Column("day", "DATE", "c.day"),
        Column("precedence", "INTEGER", "c.precedence"),
        Column("at", "TIMESTAMP", _moment("c.at")),
        Column("message_id", "VARCHAR", "c.message_id"),
        Column("id", "BIGINT", "c.id"),
    ),
    source="scoring_traitchange c WHERE c.account_id IS NOT NULL",
    order='key, account_id, "at"',
)
UNFIT_TRAITS = f"""SELECT DISTINCT c.key FROM scoring_traitchange c
WHERE c.account_id IS NOT NULL AND NOT (coalesce({fits("c.number")}, true) AND coalesce({fits(_JSON_NUMBER)}, true))"""  # noqa: S608
_DATED = (Column("starts_on", "DATE", "x.starts_on"), Column("ends_on", "DATE", "x.ends_on"))
FACTS = (
    TRAITS,
    Relation(
        name="scoring_outcome",
        columns=(
            Column("account_id", "BIGINT", "o.account_id"),
            Column("kind", "VARCHAR", "o.kind"),
            Column("at", "TIMESTAMP", _moment("o.at")),
        ),
        source="scoring_outcome o WHERE true",
        order='account_id, "at"',
    ),
    Relation(
        name="scoring_productuser",  # those who are counted by name
        columns=(Column("id", "BIGINT", "u.id"), Column("known", "BOOLEAN", "u.known")),
        source="scoring_productuser u WHERE u.known",
        order="id",
    ),
    Relation(
        name="subject",
        columns=(Column("id", "BIGINT", "a.id"),),
        source=f"scoring_account a WHERE {IS_SUBJECT}",
        order="id",
    ),
    Relation(
        name="excluded_user",
        columns=(Column("user_id", "BIGINT", "x.user_id"), *_DATED),
        source="excluded_user x WHERE true",
        order="user_id",
        ctes=f"WITH {EXCLUDED_USER}",
    ),
    Relation(
        name="excluded_account",
        columns=(Column("account_id", "BIGINT", "x.account_id"), Column("why", "VARCHAR", "x.why"), *_DATED),
        source="excluded_account x WHERE true",
        order="account_id",
        ctes=f"WITH {EXCLUDED_ACCOUNT}",
    ),
)


def copy(c: Cursor, query: str, file: Path) -> None:
    """Write what PostgreSQL answers to the file."""
    with file.open("wb") as out, c.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as rows:
        for block in rows:
            out.write(block)


def of_months(dirty: Iterable[tuple[int, date]]) -> str:
    """Return the test of TILES that leaves only these signals and months."""
    pairs = ", ".join(f"({signal:d}, date '{month}')" for signal, month in sorted(dirty))
    return f"(t.signal_id, {MONTH}) IN ({pairs})"


def write_tiles(
    duck: duckdb.DuckDBPyConnection, csv: Path, place: Path, token: str
) -> tuple[dict[tuple[int, date], str], set[tuple[int, date]]]:
    """Pack what was copied of TILES; return a file for each (signal, month), and those with numbers that do not fit."""
    duck.execute(f"CREATE TABLE staged AS {TILES.reading(csv)} ORDER BY signal_id, month, {TILES.order}")
    found = duck.execute(
        "SELECT signal_id, month, bool_or(is_unfit) FROM staged GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    files = {}
    for signal, month, _ in found:
        files[signal, month] = file = f"tiles-{signal}-{month:%Y%m}-{token}.parquet"
        of_month = f"FROM staged WHERE signal_id = {signal:d} AND month = '{month}' ORDER BY {TILES.order}"
        pack(duck, f"SELECT * EXCLUDE (signal_id, month, is_unfit) {of_month}", place / file)
    duck.execute("DROP TABLE staged")
    return files, {(signal, month) for signal, month, is_unfit in found if is_unfit}


def write_facts(duck: duckdb.DuckDBPyConnection, relation: Relation, csv: Path, place: Path, token: str) -> str:
    """Pack what was copied of a relation; return the file."""
    file = f"{relation.name}-{token}.parquet"
    pack(duck, f"{relation.reading(csv)} ORDER BY {relation.order}", place / file)
    return file


def pack(duck: duckdb.DuckDBPyConnection, rows: str, file: Path) -> None:
    """Write the rows of the SELECT to a Parquet file that is on the disk when this returns."""
    duck.execute(f"COPY ({rows}) TO {quoted(file)} (FORMAT parquet, COMPRESSION zstd)")
    with file.open("rb+") as packed:
        os.fsync(packed.fileno())


def packed(files: Sequence[Path], relation: Relation) -> str:
    """Return SQL for DuckDB: what was packed, as it is; without files, no rows."""
    if files:
        return f"SELECT * FROM read_parquet([{', '.join(map(quoted, files))}])"  # noqa: S608
    columns = (column for column in relation.columns if column not in NOT_PACKED)
    return "SELECT " + ", ".join(f'NULL::{column.kind} AS "{column.name}"' for column in columns) + " WHERE false"


def relation_of(files: Sequence[Path], relation: Relation) -> str:
    """Return SQL for DuckDB: what was packed, as it is asked for."""
    rows = packed(files, relation)
    if relation is not TRAITS:
        return rows
    value = (
        "CASE WHEN kind IS NOT NULL THEN {'kind': kind, 'canonical': canonical, 'text': text,"
        " 'number': json_number, 'elements': elements} END AS value"
    )
    return f"SELECT * EXCLUDE (kind, canonical, text, json_number, elements), {value} FROM ({rows})"  # noqa: S608
