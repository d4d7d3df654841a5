"""What databases say differently: each method returns a piece of SQL in the words of one of them. Pure.

The compiler writes every statement once, and asks its dialect for the few pieces that are not the same everywhere.
What both engines say alike (FILTER, DISTINCT ON, LEAST that skips nulls, `= ANY`) is written plainly. JSON pieces take
an expression of one JSON value: a property of an event, or the value of a trait.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Protocol

from scoring.language import Scalar, signal_digest
from scoring.language.document import ANYTHING

Bind = Callable[[object, str], str]  # Binder.bind


class Dialect(Protocol):
    """The words of one database."""

    fence: str  # ends a layer that must not be merged with the one above
    gathers: bool  # whether one pass over several signals, read alike, is sooner there than one over each

    def shared(self, *, why: bool) -> tuple[str, ...]:
        """Common table expressions: excluded_user and excluded_account, where they are no relations already.

        With `why`, excluded_user says it too.
        """

    # -- values and relations

    def placeholder(self, name: str, value: object, kind: str) -> str:
        """The place of a bound value, as a `kind`: bigint, date, numeric, text, boolean, or an array of these."""

    def rows(self, arrays: Iterable[tuple[str, str]], columns: Sequence[str]) -> str:
        """A relation `p` of these columns: arrays of one length side by side, each the (name, kind) of a parameter."""

    def among(self, column: str, array: str) -> str:
        """Whether the column is one of the values of the array, a place of many."""

    def tiles(self, signal: int, bind: Bind) -> tuple[str, str]:
        """The relation that holds a signal's tiles, and the test of `t` that leaves only those of the signal."""

    def without(self, relation: str, on: str) -> tuple[str, str]:
        """What FROM and WHERE need to leave out the rows of which the relation has one that passes the test."""

    def subjects(self) -> tuple[str, str]:
        """The relation of accounts, and the test of `a` that leaves only those that are judged."""

    # -- days

    def day_of(self, moment: str) -> str:
        """The UTC day of a moment."""

    def days_between(self, later: str, earlier: str) -> str:
        """How many days lie between two days."""

    # -- aggregates

    def newest(self, column: str, *, by: Sequence[str], among: str) -> str:
        """The column in the row that is greatest by moments, then by text, of those that pass the test."""

    def bytewise(self, text: str) -> str:
        """The text, in the order of its code points."""

    def bit(self, place: str) -> str:
        """A number in which only the bit at this place (0 to 62) is set."""

    def bits_set(self, number: str) -> str:
        """How many bits of the number are set."""

    def longest_run(self, mask: str) -> str:
        """How many bits at most are set side by side in the number; it is not null."""

    # -- numbers and arrays

    def units(self, value: str, every: str) -> str:
        """How often `every` goes into the value, in full: exact, where a division would round."""

    def array(self, items: Iterable[str], kind: str) -> str:
        """An array of the items."""

    def without_nulls(self, items: Sequence[str], kind: str) -> str:
        """An array of those items that are not null."""

    # -- JSON

    def scalar(self, name: str, scalar: Scalar) -> tuple[str, object]:
        """The place of a bound JSON scalar, and what is bound there."""

    def is_known(self, value: str) -> str:
        """Whether the value is there and is not JSON's null. Never null."""

    def is_a(self, value: str, kind: str) -> str:
        """Whether the value is a JSON number, string or array."""

    def number(self, value: str) -> str:
        """The number that the value is, if it is one."""

    def text(self, value: str) -> str:
        """The value as text; a JSON string without its quotes."""

    def equals(self, value: str, scalar: str) -> str:
        """Whether the value is this scalar: 1 is 1.0, but not "1" nor true. Null of an absent value."""

    def holds(self, value: str, scalar: str) -> str:
        """Whether the array has the scalar as an element."""


class Postgres:
    """PostgreSQL, 15 or newer, on the tables of the house."""

    fence = " OFFSET 0"
    gathers = False

    def shared(self, *, why: bool) -> tuple[str, ...]:
        return EXCLUDED_USER_WHY if why else EXCLUDED_USER, EXCLUDED_ACCOUNT

    def placeholder(self, name: str, value: object, kind: str) -> str:
        return f"%({name})s::{kind}"

    def rows(self, arrays: Iterable[tuple[str, str]], columns: Sequence[str]) -> str:
        places = ", ".join(f"%({name})s::{kind}[]" for name, kind in arrays)
        return f"unnest({places}) AS p({', '.join(columns)})"

    def among(self, column: str, array: str) -> str:
        return f"{column} = ANY({array})"

    def tiles(self, signal: int, bind: Bind) -> tuple[str, str]:
        return "scoring_tile", f"t.signal_id = {bind(signal, 'bigint')}"

    def without(self, relation: str, on: str) -> tuple[str, str]:
        return "", f"NOT EXISTS (SELECT 1 FROM {relation} WHERE {on})"

    def subjects(self) -> tuple[str, str]:
        return "scoring_account", IS_SUBJECT

    def day_of(self, moment: str) -> str:
        return f"(({moment}) AT TIME ZONE 'UTC')::date"

    def days_between(self, later: str, earlier: str) -> str:
        return f"{later} - {earlier}"

    def newest(self, column: str, *, by: Sequence[str], among: str) -> str:
        moment, text = by
        order = f"{moment} DESC, {self.bytewise(text)} DESC"
        return f"(array_agg({column} ORDER BY {order}) FILTER (WHERE {among}))[1]"

    def bytewise(self, text: str) -> str:
        return f'{text} COLLATE "C"'

    def bit(self, place: str) -> str:
        return f"(1::bigint << ({place})::int)"

    def bits_set(self, number: str) -> str:
        return f"bit_count(({number})::bigint::bit(64))"

    def longest_run(self, mask: str) -> str:
        runs = f"string_to_table(({mask})::bit(64)::text, '0') AS run"
        return f"(SELECT max(length(run)) FROM {runs})"

    def units(self, value: str, every: str) -> str:
        return f"div({value}, {every})"

    def array(self, items: Iterable[str], kind: str) -> str:
        return f"ARRAY[{', '.join(items)}]::{kind}[]"

    def without_nulls(self, items: Sequence[str], kind: str) -> str:
        return f"array_remove({self.array(items, kind)}, NULL)"

    def scalar(self, name: str, scalar: Scalar) -> tuple[str, object]:
        return f"%({name})s::jsonb", as_json(scalar)

    def is_known(self, value: str) -> str:
        return f"({value} IS NOT NULL AND {value} <> 'null'::jsonb)"

    def is_a(self, value: str, kind: str) -> str:
        return f"jsonb_typeof({value}) = '{kind}'"

    def number(self, value: str) -> str:
        return f"({value})::numeric"

    def text(self, value: str) -> str:
        return f"{value} #>> '{{}}'"

    def equals(self, value: str, scalar: str) -> str:
        return f"{value} = {scalar}"

    def holds(self, value: str, scalar: str) -> str:
        return f"{value} @> jsonb_build_array({scalar})"


# How the mirror keeps a number. One that does not fit is marked there: then PostgreSQL judges.
PRECISION, SCALE = 38, 18
EXACT = f"DECIMAL({PRECISION},{SCALE})"


class DuckDB:
    """DuckDB, on the mirror (scoring.bulk): a relation `tile_N` for each signal, and the value of a trait as a struct.

    It is asked without detail only. What does not fit into its numbers is an error there, never another answer.
    """

    fence = ""
    gathers = True  # a small statement costs it a few milliseconds, however little it reads

    def shared(self, *, why: bool) -> tuple[str, ...]:
        return ()

    def placeholder(self, name: str, value: object, kind: str) -> str:
        return f"${name}::{_decimal(value) if kind == 'numeric' else kind}"

    def rows(self, arrays: Iterable[tuple[str, str]], columns: Sequence[str]) -> str:
        places = (f"unnest(${name}::{kind}[]) AS {c}" for (name, kind), c in zip(arrays, columns, strict=True))
        return f"(SELECT {', '.join(places)}) AS p"

    def among(self, column: str, array: str) -> str:
        return f"{column} IN (SELECT unnest({array}))"

    def tiles(self, signal: int, bind: Bind) -> tuple[str, str]:
        return f"tile_{signal:d}", "true"

    def without(self, relation: str, on: str) -> tuple[str, str]:
        return f" ANTI JOIN {relation} ON {on}", "true"  # NOT EXISTS takes twice as long

    def subjects(self) -> tuple[str, str]:
        return "subject", "true"

    def day_of(self, moment: str) -> str:
        return f"({moment})::date"

    def days_between(self, later: str, earlier: str) -> str:
        return f"{later} - {earlier}"

    def newest(self, column: str, *, by: Sequence[str], among: str) -> str:
        return f"arg_max_null({column}, ({', '.join(by)})) FILTER (WHERE {among})"

    def bytewise(self, text: str) -> str:
        return text

    def bit(self, place: str) -> str:
        return f"(1::bigint << ({place})::int)"

    def bits_set(self, number: str) -> str:
        return f"bit_count({number})"

    def longest_run(self, mask: str) -> str:
        return f"list_max(list_transform(string_split(bin({mask}), '0'), lambda run: length(run)))"

    def units(self, value: str, every: str) -> str:
        # The remainder is exact, so the quotient is a whole number; more than MOST_UNITS are clipped by any maximum.
        quotient = f"round(({value} - {value} % {every}) / {every})"
        whole = f"GREATEST(-{MOST_UNITS}, LEAST({MOST_UNITS}, {quotient}))::bigint"
        return f"CASE WHEN {value} IS NOT NULL THEN {whole} END"

    def array(self, items: Iterable[str], kind: str) -> str:
        return f"[{', '.join(items)}]::{kind}[]"

    def without_nulls(self, items: Sequence[str], kind: str) -> str:
        return f"list_filter({self.array(items, kind)}, lambda item: item IS NOT NULL)"

    def scalar(self, name: str, scalar: Scalar) -> tuple[str, object]:
        return f"${name}::text", canonical(scalar)

    def is_known(self, value: str) -> str:
        return f"coalesce({value}.kind <> 'null', false)"

    def is_a(self, value: str, kind: str) -> str:
        return f"{value}.kind = '{kind}'"

    def number(self, value: str) -> str:
        return f"{value}.number"

    def text(self, value: str) -> str:
        return f"{value}.text"

    def equals(self, value: str, scalar: str) -> str:
        return f"{value}.canonical = {scalar}"

    def holds(self, value: str, scalar: str) -> str:
        return f"list_contains({value}.elements, {scalar})"


MOST_UNITS = 10**12


def _decimal(value: object) -> str:
    """Return the narrowest type that holds a number: of a wide one, products would overflow."""
    if not isinstance(value, Decimal):
        return EXACT
    scale = max(0, -int(value.as_tuple().exponent))
    whole = max(1, value.adjusted() + 1)
    return f"DECIMAL({whole + scale},{scale})"


def canonical(scalar: Scalar) -> str:
    """Return a text that is the same for JSON scalars that are equal: what CANONICAL makes of them in PostgreSQL."""
    if isinstance(scalar, str):
        return f"s{scalar}"
    if isinstance(scalar, bool):
        return f"b{str(scalar).lower()}"
    number = format(Decimal(as_json(scalar)), "f")
    plain = number.rstrip("0").rstrip(".") if "." in number else number
    return f"n{0 if plain == '-0' else plain}"


# The canonical text of a JSON scalar; null of arrays and objects.
CANONICAL = """CASE jsonb_typeof({value}) WHEN 'string' THEN 's' || ({value} #>> '{{}}')
WHEN 'boolean' THEN 'b' || ({value} #>> '{{}}') WHEN 'null' THEN '0'
WHEN 'number' THEN 'n' || trim_scale(({value})::numeric) END"""


def as_json(scalar: Scalar) -> str:
    """Return the JSON text of a scalar of the language."""
    plain = scalar if not isinstance(scalar, Decimal) else int(scalar) if scalar == int(scalar) else float(scalar)
    return json.dumps(plain, ensure_ascii=False)


# Whatever somebody did, as `any` counts it.
USED = f"""t.signal_id = (SELECT id FROM scoring_signal WHERE digest = '{signal_digest(ANYTHING)}')"""

# Visitors are nobody to call. A home that everybody has left is no account: whether there was one depends on the
# order of calls. Nor is the own account of somebody whose calls all name another one: a company has it. (What was
# done in it, or an outcome, makes an account real, whoever left it.)
IS_SUBJECT = f"""a.merged_into_id IS NULL AND (a.kind = 'group' OR a.kind <> 'visitor' AND (
    EXISTS (SELECT FROM scoring_tile t WHERE t.account_id = a.id AND {USED})
    OR EXISTS (SELECT FROM scoring_productuser u WHERE u.home_id = a.id AND u.merged_into_id IS NULL
        AND NOT EXISTS (SELECT FROM scoring_tile t WHERE t.user_id = u.id AND NOT t.inherited AND {USED}))
    OR EXISTS (SELECT FROM scoring_outcome o WHERE o.account_id = a.id)))"""

EXCLUDED_USER = """excluded_user AS (
    SELECT i.user_id, x.starts_on, x.ends_on
    FROM scoring_exclusion x JOIN scoring_identity i ON i.value = x.value WHERE x.kind = 'user'
    UNION
    SELECT i.user_id, x.starts_on, x.ends_on
    FROM scoring_exclusion x JOIN scoring_emaillink e ON e.email = lower(x.value)
    JOIN scoring_identity i ON i.id = e.identity_id WHERE x.kind = 'email'
    UNION
    SELECT i.user_id, x.starts_on, x.ends_on
    FROM scoring_exclusion x JOIN scoring_emaillink e ON e.domain = lower(x.value)
    JOIN scoring_identity i ON i.id = e.identity_id WHERE x.kind = 'domain')"""

EXCLUDED_USER_WHY = EXCLUDED_USER.replace("SELECT i.user_id,", "SELECT i.user_id, x.why,")

EXCLUDED_ACCOUNT = """excluded_account AS (
    SELECT coalesce(a.merged_into_id, a.id) AS account_id, x.why, x.starts_on, x.ends_on
    FROM scoring_exclusion x JOIN scoring_account a ON a.external_id = x.value WHERE x.kind = 'account'
    UNION
    SELECT coalesce(a.merged_into_id, a.id), x.why, x.starts_on, x.ends_on
    FROM scoring_exclusion x JOIN scoring_account a ON a.external_id = lower(x.value) AND a.kind = 'domain'
    WHERE x.kind = 'domain')"""


POSTGRES = Postgres()
DUCKDB = DuckDB()
