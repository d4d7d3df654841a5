"""From signals to the query that folds events into tile partials. Pure.

Ingest, backfill and verification all run this one query; they differ only in where the events come from. The
relation of events, `fresh`, must have the columns message_id, at, name, properties, account_id (the account
that the event counts for), user_id and inherited (whether that account is only the user's home).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from scoring.compiler.filters import number, passes
from scoring.compiler.query import Binder, Query
from scoring.language import ANY_EVENT, CALLS_THAT_ARE_NOT_USE, Filter, Signal

KEY = "signal_id, account_id, user_id, inherited, day"
VALUES = "count, first_at, last_at, value_sum, value_max, value_last, limit_last, value_last_at, value_last_id"
TILE_COLUMNS = f"{KEY}, {VALUES}"
# What several partials of one key add up to: a SELECT list, grouped by KEY.
_LAST = 'ORDER BY value_last_at DESC, value_last_id COLLATE "C" DESC) FILTER (WHERE value_last IS NOT NULL))[1]'
MERGED = f"""sum(count)::bigint AS count, min(first_at) AS first_at, max(last_at) AS last_at,
       sum(value_sum) AS value_sum, max(value_max) AS value_max,
       (array_agg(value_last {_LAST} AS value_last,
       (array_agg(limit_last {_LAST} AS limit_last,
       max(value_last_at) AS value_last_at,
       (array_agg(value_last_id {_LAST} AS value_last_id"""
_EVENT = "e.message_id, e.at, e.name, e.properties, e.account_id, e.user_id, e.inherited"
_DAY = "(at AT TIME ZONE 'UTC')::date"
# A ready piece of array_agg: the first element is that of the newest event with a value.
_NEWEST = 'ORDER BY at DESC, message_id COLLATE "C" DESC) FILTER (WHERE value IS NOT NULL))[1]'


def signals_for(signals: Mapping[int, Signal], *, names: Iterable[str]) -> dict[int, Signal]:
    """Return those of the signals (by id) that an event with one of these names could match."""
    present = set(names)
    of_use = bool(present.difference(CALLS_THAT_ARE_NOT_USE))
    return {
        signal_id: signal
        for signal_id, signal in signals.items()
        if (of_use if ANY_EVENT in signal.events else not present.isdisjoint(signal.events))
    }


def fold_sql(signals: Mapping[int, Signal]) -> Query:
    """Return a SELECT of TILE_COLUMNS from `fresh`: one row for each signal (by id), account, user and day.

    Its placeholders begin with `fold`. Raises ValueError if there is no signal.
    """
    if not signals:
        raise ValueError("there is no signal to fold: leave the fold out")
    return _fold_sql(tuple(sorted(signals.items(), key=lambda item: item[0])))


@lru_cache(maxsize=256)
def _fold_sql(signals: tuple[tuple[int, Signal], ...]) -> Query:
    binder = Binder("fold")
    plain = {signal_id: signal for signal_id, signal in signals if signal.value is None}
    valued = {signal_id: signal for signal_id, signal in signals if signal.value is not None}
    parts = [_plain(plain, binder)] if plain else []
    parts += [_valued(valued, binder)] if valued else []
    return Query("\nUNION ALL\n".join(parts), binder.params)


def _plain(signals: Mapping[int, Signal], binder: Binder) -> str:
    return f"""SELECT {KEY}, count(*) AS count, min(at) AS first_at, max(at) AS last_at,
       NULL::numeric AS value_sum, NULL::numeric AS value_max, NULL::numeric AS value_last,
       NULL::numeric AS limit_last, NULL::timestamptz AS value_last_at, NULL::text AS value_last_id
FROM (SELECT *, {_DAY} AS day
      FROM ({_matched(signals, binder)}) AS matched
      WHERE {_passes(signals, binder)}) AS passed
GROUP BY {KEY}"""


def _valued(signals: Mapping[int, Signal], binder: Binder) -> str:
    value = _property_of({signal_id: signal.value for signal_id, signal in signals.items()}, binder)
    limit = _property_of({signal_id: s.limit.property for signal_id, s in signals.items() if s.limit}, binder)
    return f"""SELECT {KEY}, count(*) AS count, min(at) AS first_at, max(at) AS last_at,
       sum(value) AS value_sum, max(value) AS value_max,
       (array_agg(value {_NEWEST} AS value_last,
       (array_agg(most {_NEWEST} AS limit_last,
       (array_agg(at {_NEWEST} AS value_last_at,
       (array_agg(message_id {_NEWEST} AS value_last_id
FROM (SELECT *, {_DAY} AS day, {number("value_json", binder)} AS value, {number("limit_json", binder)} AS most
      FROM (SELECT *, {value} AS value_json, {limit} AS limit_json
            FROM ({_matched(signals, binder)}) AS matched
            WHERE {_passes(signals, binder)}) AS passed) AS read
GROUP BY {KEY}"""


def _matched(signals: Mapping[int, Signal], binder: Binder) -> str:
    """Each event with each signal that its name belongs to: one hash join. The filters come after."""
    named = [(name, id_) for id_, signal in signals.items() for name in signal.events if name != ANY_EVENT]
    anything = [id_ for id_, signal in signals.items() if ANY_EVENT in signal.events]
    parts = []
    if named:
        names, ids = binder.bind([n for n, _ in named], "text[]"), binder.bind([i for _, i in named], "bigint[]")
        parts.append(
            f"SELECT n.signal_id, {_EVENT} FROM fresh AS e "
            f"JOIN unnest({names}, {ids}) AS n(name, signal_id) ON n.name = e.name"
        )
    if anything:
        ids = binder.bind(anything, "bigint[]")
        calls = binder.bind(list(CALLS_THAT_ARE_NOT_USE), "text[]")
        parts.append(
            f"SELECT n.signal_id, {_EVENT} FROM fresh AS e "
            f"CROSS JOIN unnest({ids}) AS n(signal_id) WHERE e.name <> ALL ({calls})"
        )
    return " UNION ALL ".join(parts)


def _passes(signals: Mapping[int, Signal], binder: Binder) -> str:
    """Whether the event passes the filters of the signal that it was matched with."""
    cases = [
        f"WHEN {binder.bind(signal_id, 'bigint')} THEN {_all(signal.where, binder)}"
        for signal_id, signal in signals.items()
        if signal.where
    ]
    return f"CASE signal_id {' '.join(cases)} ELSE true END" if cases else "true"


def _all(where: Iterable[Filter], binder: Binder) -> str:
    return " AND ".join(passes(test, _property(test.key, binder), binder) for test in where)


def _property_of(keys: Mapping[int, str | None], binder: Binder) -> str:
    """The property that belongs to the event's signal, as jsonb."""
    cases = [
        f"WHEN {binder.bind(signal_id, 'bigint')} THEN {_property(key, binder)}"
        for signal_id, key in keys.items()
        if key is not None
    ]
    return f"CASE signal_id {' '.join(cases)} END" if cases else "NULL::jsonb"


def _property(key: str, binder: Binder) -> str:
    return f"(properties -> {binder.bind(key, 'text')})"
