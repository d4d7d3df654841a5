"""A filter of the language as SQL over one JSON value: the same for event properties and for traits."""

import json
from decimal import Decimal

from scoring.compiler.query import Binder
from scoring.language import Filter, Scalar

COMPARISONS = {"at_least": ">=", "at_most": "<=", "more_than": ">", "less_than": "<", "equals": "="}


def passes(test: Filter, value: str, binder: Binder) -> str:
    """Return a boolean SQL expression, never null: whether the jsonb expression `value` passes the test.

    A value that is absent (null or JSON null) fails every test but `exists: false`.
    """
    known = f"({value} IS NOT NULL AND {value} <> 'null'::jsonb)"
    match test.test:
        case "exists":
            return known if test.operand else f"NOT {known}"
        case "equals":
            return f"coalesce({value} = {_json(_one(test), binder)}, false)"
        case "in":
            options = ", ".join(_json(option, binder) for option in _several(test))
            return f"coalesce({value} IN ({options}), false)"
        case "between":
            low, high = (binder.bind(bound, "numeric") for bound in _several(test))
            return _when(value, "number", f"({value})::numeric BETWEEN {low} AND {high}")
        case "starts_with":
            return _when(value, "string", f"starts_with({value} #>> '{{}}', {binder.bind(test.operand, 'text')})")
        case "contains":
            return _contains(_one(test), value, binder)
        case comparison:
            bound = binder.bind(test.operand, "numeric")
            return _when(value, "number", f"({value})::numeric {COMPARISONS[comparison]} {bound}")


def number(value: str) -> str:
    """Return an SQL expression: the jsonb expression as numeric if it is a JSON number, else null."""
    return f"CASE WHEN jsonb_typeof({value}) = 'number' THEN ({value})::numeric END"


def _when(value: str, kind: str, test: str) -> str:
    return f"CASE WHEN jsonb_typeof({value}) = '{kind}' THEN {test} ELSE false END"


def _contains(operand: Scalar, value: str, binder: Binder) -> str:
    element = f"{value} @> jsonb_build_array({_json(operand, binder)})"
    in_list = _when(value, "array", element)
    if not isinstance(operand, str):
        return in_list
    in_text = _when(value, "string", f"strpos({value} #>> '{{}}', {binder.bind(operand, 'text')}) > 0")
    return f"({in_text} OR {in_list})"


def _json(scalar: Scalar, binder: Binder) -> str:
    plain = scalar if not isinstance(scalar, Decimal) else int(scalar) if scalar == int(scalar) else float(scalar)
    return binder.bind(json.dumps(plain, ensure_ascii=False), "jsonb")


def _one(test: Filter) -> Scalar:
    if isinstance(test.operand, tuple):
        raise TypeError(f"{test.test} takes one value")
    return test.operand


def _several(test: Filter) -> tuple[Scalar, ...]:
    if not isinstance(test.operand, tuple):
        raise TypeError(f"{test.test} takes several values")
    return test.operand
