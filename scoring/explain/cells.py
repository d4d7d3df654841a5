"""What a condition saw and what it asks for, as the cells of a table."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from scoring.explain import holding, words
from scoring.language import ANY_SIGNAL

Plain = Mapping[str, Any]
SIGNS = {"at_least": "≥", "at_most": "≤", "more_than": ">", "less_than": "<", "equals": "="}
UNSEEN = {
    "trend": "none before",
    "trait": "not known",
    "age": "not known",
    "ratio": "no value",
    "ever": "never",
    "first_within": "never",
    "outcome": "never",
}
TESTS = {"in": "one of", "contains": "contains", "starts_with": "starts with", "equals": "is"}
# What a signal of a limit is called besides the thing that is limited.
ABOUT_LIMITS = frozenset({"used", "usage", "use", "limit", "reached", "near", "changed", "updated", "quota", "total"})


def observed(condition: Plain, as_of: date) -> str:
    value, measure = condition["observed"], condition["measure"]
    if holding.is_no_quotient(condition) or (measure == "first_within" and not value[0]):
        value = None
    if value is None:
        return UNSEEN.get(measure, "none")
    if value == 0 and measure in ("count", "users", "days", "streak"):
        return "none"
    if measure in ("age", "since_last"):
        since = date.fromisoformat(value)
        return f"{words.things((as_of - since).days, 'day')}, since {words.day(since, as_of)}"
    if measure == "decay":
        since = date.fromisoformat(value)
        age = words.things((as_of - since).days, "day")
        return f"{words.share(holding.left(condition, as_of))} left, {age} since {words.day(since, as_of)}"
    if measure == "outcome":
        return words.on(date.fromisoformat(str(value)[:10]), as_of)
    if measure == "first_within":
        return words.early(value)
    if measure == "ever":
        return f"first {words.on(date.fromisoformat(condition['first'] or str(value)[:10]), as_of)}"
    if measure == "trait":
        return words.value_words(value, condition["of"])
    last = f", last {words.on(date.fromisoformat(condition['last']), as_of)}" if condition["last"] else ""
    return quantity(condition) + last


def asked(condition: Plain) -> str:
    negation = "not " if condition["negated"] else ""
    return negation + _asked_plainly(condition)


def _asked_plainly(condition: Plain) -> str:
    measure = condition["measure"]
    if "every" in condition:
        each = "each" if condition["every"] == 1 else f"for each {words.number(condition['every'])}"
        return f"{each}{_unit(measure)}{_window(condition)}{_fading(condition)}"
    match measure:
        case "decay":
            return _fading(condition).removeprefix(", ")
        case "ever" | "outcome":
            return "at least once"
        case "trait":
            return _test(condition)
        case "first_within":
            return f"in the first {words.things(condition['days'], 'day')}"
        case "path":
            return f"{' → '.join(_subjects(condition))}{_window(condition)}"
    return f"{SIGNS[condition['comparator']]} {_threshold(condition)}"


def _threshold(condition: Plain) -> str:
    """Return with how much, and of what, the observation is compared."""
    threshold, measure, window = condition["threshold"], condition["measure"], _window(condition)
    match measure:
        case "age":
            return f"{words.things(threshold, 'day')} since sign-up"
        case "since_last":
            return f"{words.things(threshold, 'day')} since last seen"
        case "ratio":
            return f"{words.share(threshold)} of the limit{window}"
        case "trend":
            return f"{words.share(threshold)}{window}, of the {words.things(condition['within'], 'day')} before"
        case "breadth":
            return f"{words.number(threshold)} of {', '.join(_subjects(condition))}{window}"
    return f"{_measured(threshold, condition['of'], measure)}{window}"


def _test(condition: Plain) -> str:
    test, operands = condition["comparator"], [words.value_words(o, condition["of"]) for o in condition["threshold"]]
    if test == "exists":
        return "is known" if condition["threshold"][0] else "is not known"
    if test == "between":
        return f"{operands[0]} to {operands[1]}"
    shown = ", ".join(operands[:8]) + (f" and {len(operands) - 8} more" if len(operands) > 8 else "")
    return f"{SIGNS.get(test) if test != 'equals' and test in SIGNS else TESTS[test]} {shown}"


def missing(condition: Plain, as_of: date) -> str:
    """Return what would make an unmet condition hold."""
    value, measure = condition["observed"], condition["measure"]
    if measure == "trait":
        known = "not known" if value is None else words.value_words(value, condition["of"])
        return f"{words.spoken(condition['of'])}: {known}, asked is {_test(condition)}"
    if measure == "ratio" and value and not holding.is_no_quotient(condition) and not condition["negated"]:
        wanted = words.share(condition["threshold"])
        return f"{share_of_limit(condition)}, asked is {SIGNS[condition['comparator']]} {wanted}"
    if measure == "decay":
        return f"{subject(condition)}, once more"
    counts = measure in ("count", "users", "days", "sum") and not condition["negated"]
    if counts and condition.get("comparator", "at_least") == "at_least":
        lacking = condition.get("threshold", condition.get("every")) - (value or 0)
        amount = _measured(lacking, condition["of"], measure, "more ")
        return f"{amount}{_window(condition)} ({subject(condition)})"
    return f"{subject(condition)}: {observed(condition, as_of)}, asked is {asked(condition)}"


def _subjects(condition: Plain) -> list[str]:
    return ["any activity" if of == ANY_SIGNAL else words.spoken(of) for of in condition["signals"]]


def subject(condition: Plain) -> str:
    if "signals" in condition:
        return "steps in order" if condition["measure"] == "path" else "different things"
    return "any activity" if condition["of"] == ANY_SIGNAL else words.spoken(condition["of"])


def _window(condition: Plain) -> str:
    return f" in {words.things(condition['within'], 'day')}" if condition.get("within") else ""


def _fading(condition: Plain) -> str:
    """Return ", halved every 14 days"; empty of what does not fade."""
    if not (decay := condition.get("decay")):
        return ""
    span = words.things(decay["days"], "day")
    return f", halved every {span}" if decay["shape"] == "half_life" else f", fading to nothing in {span}"


def quantity(condition: Plain) -> str:
    if "signals" in condition:
        steps = " steps" if condition["measure"] == "path" else ""
        return f"{words.number(condition['observed'])} of {len(condition['signals'])}{steps}"
    if condition["measure"] == "trend":
        now, before = condition["observed"]
        return f"{words.percent(condition['observed'])} ({words.number(now)}, before {words.number(before)})"
    if condition["measure"] == "ratio":
        value, limit = condition["observed"]
        return f"{words.percent(condition['observed'])} ({words.number(value)} of {words.number(limit)})"
    measured = _measured(condition["observed"], condition["of"], condition["measure"])
    return f"{measured} after fading" if "decay" in condition else measured


def _measured(value: Any, of: str, measure: str, more: str = "") -> str:
    match measure:
        case "users":
            return f"{words.number(value)} {more}{'person' if value == 1 else 'people'}"
        case "days":
            return f"{words.number(value)} {more}{'day' if value == 1 else 'days'}"
        case "streak":
            return words.in_a_row(value)
        case "count":
            return f"{words.number(value)} {more}".strip()
    return f"{words.value_words(value, of)} {more}".strip()


def _unit(measure: str) -> str:
    return {"users": " people", "days": " days", "streak": " days in a row"}.get(measure, "")


def share_of_limit(condition: Plain) -> str:
    thing = " ".join(
        word for word in words.tokens(condition["of"]) if word not in ABOUT_LIMITS and word not in words.BYTES
    )
    return f"{words.percent(condition['observed'])} of the {thing} limit".replace("  ", " ")
