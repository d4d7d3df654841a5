"""From signals to the query that folds events into tile partials. Pure.

Ingest, backfill and verification all run this one query; they differ only in where the events come from. The
relation of events, `fresh`, must have the columns message_id, at, name, properties, account_id (the account
that the event counts for), user_id and inherited (whether that account is only the user's home).
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache

from scoring.compiler.query import Binder, Query
from scoring.language import ANY_EVENT, CALLS_THAT_ARE_NOT_USE, Filter, Scalar, Signal

TILE_COLUMNS = (
    "signal_id, account_id, user_id, inherited, day, count, first_at, last_at, "
    "value_sum, value_max, value_last, limit_last, value_last_at, value_last_id"
)
_KEY = "signal_id, account_id, user_id, inherited, day"
_EVENT = "e.message_id, e.at, e.name, e.properties, e.account_id, e.user_id, e.inherited"
_DAY = "(at AT TIME ZONE 'UTC')::date"
_NEWEST_FIRST = 'ORDER BY at DESC, message_id COLLATE "C" DESC'


def signals_for(signals: Mapping[int, Signal], *, names: Iterable[str]) -> dict[int, Signal]:
    """Return those of the signals (by id) that an event of one of these names could match."""
    present = set(names)
    use = bool(present.difference(CALLS_THAT_ARE_NOT_USE))
    return {
        number: signal
        for number, signal in signals.items()
        if (use if signal.events == (ANY_EVENT,) else not present.isdisjoint(signal.events))
    }


def fold_sql(signals: Mapping[int, Signal]) -> Query:
    """Return a SELECT of TILE_COLUMNS from `fresh`: one row per (signal, account, user, inherited, day).

    Its placeholders begin with `fold_`. Raises ValueError without a signal.
    """
    return _fold_sql(tuple(sorted(signals.items(), key=lambda item: item[0])))


@lru_cache(maxsize=256)
def _fold_sql(signals: tuple[tuple[int, Signal], ...]) -> Query:
    if not signals:
        raise ValueError("no signal to fold: leave the fold out")
    binder = Binder("fold_")
    plain = {number: signal for number, signal in signals if signal.value is None}
    valued = {number: signal for number, signal in signals if signal.value is not None}
    parts = []
    if plain:
        parts.append(_plain(plain, binder))
    if valued:
        parts.append(_valued(valued, binder))
    return binder.query("\nUNION ALL\n".join(parts))


def _plain(signals: Mapping[int, Signal], binder: Binder) -> str:
    return f"""SELECT {_KEY}, count(*) AS count, min(at) AS first_at, max(at) AS last_at,
       NULL::numeric AS value_sum, NULL::numeric AS value_max, NULL::numeric AS value_last,
       NULL::numeric AS limit_last, NULL::timestamptz AS value_last_at, NULL::text AS value_last_id
FROM (SELECT *, {_DAY} AS day FROM ({_matched(signals, binder)}) AS matched
      WHERE {_passes(signals, binder)}) AS passed
GROUP BY {_KEY}"""  # noqa: S608


def _valued(signals: Mapping[int, Signal], binder: Binder) -> str:
    newest = f"{_NEWEST_FIRST}) FILTER (WHERE value IS NOT NULL))[1]"
    value = _property_by_signal({n: s.value for n, s in signals.items()}, binder)
    limit = _property_by_signal({n: s.limit.property for n, s in signals.items() if s.limit}, binder)
    return f"""SELECT {_KEY}, count(*) AS count, min(at) AS first_at, max(at) AS last_at,
       sum(value) AS value_sum, max(value) AS value_max,
       (array_agg(value {newest} AS value_last,
       (array_agg(lim {newest} AS limit_last,
       (array_agg(at {newest} AS value_last_at,
       (array_agg(message_id {newest} AS value_last_id
FROM (SELECT *, {_DAY} AS day, {_number("value_json")} AS value, {_number("limit_json")} AS lim
      FROM (SELECT *, {value} AS value_json, {limit} AS limit_json
            FROM ({_matched(signals, binder)}) AS matched
            WHERE {_passes(signals, binder)}) AS passed) AS read
GROUP BY {_KEY}"""  # noqa: S608


def _matched(signals: Mapping[int, Signal], binder: Binder) -> str:
    """Events with each signal that their name belongs to; filters come after."""
    pairs = [(name, number) for number, signal in signals.items() for name in signal.events]
    named = [(name, number) for name, number in pairs if name != ANY_EVENT]
    anything = [number for name, number in pairs if name == ANY_EVENT]
    parts = []
    if named:
        names = binder.bind([name for name, _ in named], "text[]")
        numbers = binder.bind([number for _, number in named], "bigint[]")
        parts.append(
            f"SELECT n.signal_id, {_EVENT} FROM fresh AS e "  # noqa: S608
            f"JOIN unnest({names}, {numbers}) AS n(name, signal_id) ON n.name = e.name"
        )
    if anything:
        numbers = binder.bind(anything, "bigint[]")
        calls = binder.bind(list(CALLS_THAT_ARE_NOT_USE), "text[]")
        parts.append(
            f"SELECT n.signal_id, {_EVENT} FROM fresh AS e "  # noqa: S608
            f"CROSS JOIN unnest({numbers}) AS n(signal_id) WHERE e.name <> ALL ({calls})"
        )
    return " UNION ALL ".join(parts)


def _passes(signals: Mapping[int, Signal], binder: Binder) -> str:
    cases = [
        f"WHEN {binder.bind(number, 'bigint')} THEN {predicate(signal.where, 'properties', binder)}"
        for number, signal in signals.items()
        if signal.where
    ]
    return f"CASE signal_id {' '.join(cases)} ELSE true END" if cases else "true"


def _property_by_signal(keys: Mapping[int, str | None], binder: Binder) -> str:
    cases = [
        f"WHEN {binder.bind(number, 'bigint')} THEN properties -> {binder.bind(key, 'text')}"
        for number, key in keys.items()
        if key is not None
    ]
    return f"CASE signal_id {' '.join(cases)} END" if cases else "NULL::jsonb"


def _number(json: str) -> str:
    """The JSON value as numeric; null where it is no JSON number."""
    return f"CASE WHEN jsonb_typeof({json}) = 'number' THEN ({json})::numeric END"


def predicate(where: Iterable[Filter], properties: str, binder: Binder) -> str:
    """Return the SQL that is true where the JSON object `properties` (an SQL expression) passes all filters.

    It is false or null otherwise. A property that is absent or JSON null fails every test but `exists: false`.
    """
    tests = [test_sql(test, f"({properties} -> {binder.bind(test.key, 'text')})", binder) for test in where]
    return " AND ".join(tests) if tests else "true"


def test_sql(test: Filter, json: str, binder: Binder) -> str:
    """Return the SQL of one filter on a JSON value (an SQL expression), in brackets; see `predicate`."""
    return f"({_TESTS[test.test](test.operand, json, binder)})"


def _json(value: Scalar, binder: Binder) -> str:
    kind = "boolean" if isinstance(value, bool) else "numeric" if isinstance(value, Decimal) else "text"
    return f"to_jsonb({binder.bind(value, kind)})"


def _equals(operand: object, json: str, binder: Binder) -> str:
    return f"{json} = {_json(_scalar(operand), binder)}"


def _in(operand: object, json: str, binder: Binder) -> str:
    assert isinstance(operand, tuple)  # noqa: S101 (the parser has checked it)
    return f"{json} IN ({', '.join(_json(value, binder) for value in operand)})"


def _between(operand: object, json: str, binder: Binder) -> str:
    assert isinstance(operand, tuple)  # noqa: S101
    low, high = (binder.bind(bound, "numeric") for bound in operand)
    return f"{_number(json)} BETWEEN {low} AND {high}"


def _contains(operand: object, json: str, binder: Binder) -> str:
    element = f"jsonb_typeof({json}) = 'array' AND {json} @> {_json(_scalar(operand), binder)}"
    if not isinstance(operand, str):
        return element
    substring = f"jsonb_typeof({json}) = 'string' AND strpos({json} #>> '{{}}', {binder.bind(operand, 'text')}) > 0"
    return f"({element}) OR ({substring})"


def _starts_with(operand: object, json: str, binder: Binder) -> str:
    return f"jsonb_typeof({json}) = 'string' AND starts_with({json} #>> '{{}}', {binder.bind(operand, 'text')})"


def _exists(operand: object, json: str, binder: Binder) -> str:
    return f"coalesce(jsonb_typeof({json}), 'null') {'<>' if operand else '='} 'null'"


def _compared(operator: str) -> Callable[[object, str, Binder], str]:
    def compare(operand: object, json: str, binder: Binder) -> str:
        return f"{_number(json)} {operator} {binder.bind(operand, 'numeric')}"

    return compare


def _scalar(operand: object) -> Scalar:
    assert isinstance(operand, str | bool | Decimal)  # noqa: S101
    return operand


_TESTS: Mapping[str, Callable[[object, str, Binder], str]] = {
    "equals": _equals,
    "in": _in,
    "between": _between,
    "contains": _contains,
    "starts_with": _starts_with,
    "exists": _exists,
    "at_least": _compared(">="),
    "at_most": _compared("<="),
    "more_than": _compared(">"),
    "less_than": _compared("<"),
}
