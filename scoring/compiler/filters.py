"""A filter of the language as SQL over one JSON value: the same for event properties and for traits."""

from scoring.compiler.query import Binder
from scoring.language import Filter, Scalar

COMPARISONS = {"at_least": ">=", "at_most": "<=", "more_than": ">", "less_than": "<", "equals": "="}


def passes(test: Filter, value: str, binder: Binder) -> str:
    """Return a boolean SQL expression, never null: whether the JSON expression `value` passes the test.

    A value that is absent (null or JSON null) fails every test but `exists: false`.
    """
    say = binder.dialect
    match test.test:
        case "exists":
            return say.is_known(value) if test.operand else f"NOT {say.is_known(value)}"
        case "equals":
            return f"coalesce({say.equals(value, binder.bind_json(_one(test)))}, false)"
        case "in":
            options = (say.equals(value, binder.bind_json(option)) for option in _several(test))
            return f"coalesce({' OR '.join(options)}, false)"
        case "between":
            low, high = (binder.bind(bound, "numeric") for bound in _several(test))
            return _when(value, "number", f"{say.number(value)} BETWEEN {low} AND {high}", binder)
        case "starts_with":
            prefix = binder.bind(test.operand, "text")
            return _when(value, "string", f"starts_with({say.text(value)}, {prefix})", binder)
        case "contains":
            return _contains(_one(test), value, binder)
        case comparison:
            bound = binder.bind(test.operand, "numeric")
            return _when(value, "number", f"{say.number(value)} {COMPARISONS[comparison]} {bound}", binder)


def number(value: str, binder: Binder) -> str:
    """Return an SQL expression: the JSON expression as numeric if it is a JSON number, else null."""
    return f"CASE WHEN {binder.dialect.is_a(value, 'number')} THEN {binder.dialect.number(value)} END"


def _when(value: str, kind: str, test: str, binder: Binder) -> str:
    return f"CASE WHEN {binder.dialect.is_a(value, kind)} THEN {test} ELSE false END"


def _contains(operand: Scalar, value: str, binder: Binder) -> str:
    say = binder.dialect
    in_list = _when(value, "array", say.holds(value, binder.bind_json(operand)), binder)
    if not isinstance(operand, str):
        return in_list
    found = f"strpos({say.text(value)}, {binder.bind(operand, 'text')}) > 0"
    return f"({_when(value, 'string', found, binder)} OR {in_list})"


def _one(test: Filter) -> Scalar:
    if isinstance(test.operand, tuple):
        raise TypeError(f"{test.test} takes one value")
    return test.operand


def _several(test: Filter) -> tuple[Scalar, ...]:
    if not isinstance(test.operand, tuple):
        raise TypeError(f"{test.test} takes several values")
    return test.operand
