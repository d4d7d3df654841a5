"""Whether a single condition of a ledger holds, and how far it is from it: the ledger says it only of whole rules."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from scoring.explain import words
from scoring.language import FULL, QUOTIENTS, Decay, weight_at

Plain = Mapping[str, Any]


def holds(condition: Plain, as_of: date) -> bool:
    return bool(is_true(condition, as_of)) != bool(condition["negated"])


def is_true(condition: Plain, as_of: date) -> bool:
    """Whether what was observed passes, before any `not`."""
    value, measure = condition["observed"], condition["measure"]
    if value is None:
        return measure == "trait" and condition["comparator"] == "exists" and not condition["threshold"][0]
    if "every" in condition:
        return bool(value >= condition["every"])
    match measure:
        case "ever" | "outcome":
            return True
        case "decay":
            return left(condition, as_of) > 0
        case "first_within":
            return None not in value and words.days_between(value) < condition["days"]
        case "trait":
            return _passes(value, condition["comparator"], condition["threshold"])
        case "age" | "since_last":
            value = (as_of - date.fromisoformat(value)).days
        case "ratio" | "trend":
            if is_no_quotient(condition):
                return False
            return _compares(value[0], condition["comparator"], condition["threshold"] * value[1])
    return _compares(value, condition["comparator"], condition["threshold"])


def is_no_quotient(condition: Plain) -> bool:
    """Whether a side of a quotient is missing, or it would be divided by zero or less: then it is absent."""
    sides = condition["observed"]
    if condition["measure"] not in QUOTIENTS or sides is None:
        return False
    return None in sides or sides[1] <= 0


def _compares(value: Any, comparator: str, threshold: Any) -> bool:
    return bool(
        {
            "at_least": value >= threshold,
            "at_most": value <= threshold,
            "more_than": value > threshold,
            "less_than": value < threshold,
            "equals": value == threshold,
        }[comparator]
    )


def _passes(value: Any, test: str, operands: Sequence[Any]) -> bool:
    match test:
        case "exists":
            return bool(operands[0])
        case "between":
            return words.is_number(value) and bool(operands[0] <= value <= operands[1])
        case "equals" | "in":
            return value in operands
        case "contains":
            return operands[0] in value if isinstance(value, str | list) else False
        case "starts_with":
            return isinstance(value, str) and value.startswith(operands[0])
    return words.is_number(value) and _compares(value, test, operands[0])


def gap(condition: Plain) -> float:
    """Return how far an unmet condition is from holding: 0 is near, 1 is nothing yet; 2 is not a matter of degree."""
    value, wanted = condition["observed"], condition.get("threshold", condition.get("every"))
    if condition["measure"] in QUOTIENTS and value and not is_no_quotient(condition):
        value = value[0] / value[1]
    if condition["negated"] or not words.is_number(wanted) or not wanted or not words.is_number(value or 0):
        return 2.0
    return float(min(1.0, abs(wanted - (value or 0)) / abs(wanted)))


def left(condition: Plain, as_of: date) -> float:
    """Return which share of a rule's points is left on the day."""
    age = (as_of - date.fromisoformat(condition["observed"])).days
    return weight_at(Decay(**condition["decay"]), age) / FULL
