"""The ledger: every point with its rule, what was observed, and what a cap or the floor took. Pure.

The lines of a score always sum to the score: usage lines to usage, fit lines to fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from scoring.language import (
    Age,
    All,
    Any,
    Condition,
    Converted,
    Document,
    Ever,
    Group,
    Leaf,
    Measured,
    Not,
    PerUnit,
    Points,
    Qualify,
    Rule,
    SinceLast,
    Trait,
    leaves,
)

Plain = dict[str, object]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a leaf or a `per` observed: a value, and the first and last day of its signal in the window."""

    value: object  # number, [value, limit], ISO day, or a trait's value; None: absent
    first: date | None = None
    last: date | None = None


def ledger(
    document: Document,
    *,
    met: Sequence[bool],
    raw: Sequence[int],
    seen: dict[Leaf | PerUnit, Seen],
) -> Plain:
    """Return {"lines": […], "usage": hundredths, "fit": hundredths}.

    `met` and `raw` are by rule, in the order of the document. A line of a rule has rule, name, kind, group, score, met,
    raw (points before clipping), points (counted) and conditions; a line of kind `floor` gives back what would take
    a group below zero. All points are hundredths.
    """
    counted = _clipped(document, raw)
    groups = {group.name: group for group in document.groups}
    lines = [_line(rule, groups, met[i], raw[i], counted[i], seen) for i, rule in enumerate(document.rules)]
    lines += _floors(document, counted)
    return {
        "lines": lines,
        "usage": sum(_points(line) for line in lines if line["score"] == "usage"),
        "fit": sum(_points(line) for line in lines if line["score"] == "fit"),
    }


def _points(line: Plain) -> int:
    points = line["points"]
    return points if isinstance(points, int) else 0


def _clipped(document: Document, raw: Sequence[int]) -> list[int]:
    """Points by rule after each group's cap has clipped its gains, one after another."""
    left = {group.name: group.cap for group in document.groups}
    counted = []
    for rule, points in zip(document.rules, raw, strict=True):
        room = left[rule.group] if isinstance(rule, Points) else None
        if isinstance(rule, Points) and points > 0 and room is not None:
            points = min(points, room)
            left[rule.group] = room - points
        counted.append(points)
    return counted


def _floors(document: Document, counted: Sequence[int]) -> Iterator[Plain]:
    for group in document.groups:
        total = sum(
            points
            for rule, points in zip(document.rules, counted, strict=True)
            if isinstance(rule, Points) and rule.group == group.name
        )
        if total < 0:
            yield {
                "rule": None,
                "name": f"{group.name} does not go below zero",
                "kind": "floor",
                "group": group.name,
                "score": group.score,
                "met": True,
                "raw": -total,
                "points": -total,
                "conditions": [],
            }


def _line(
    rule: Rule,
    groups: dict[str, Group],
    met: bool,
    raw: int,
    counted: int,
    seen: dict[Leaf | PerUnit, Seen],
) -> Plain:
    gives = isinstance(rule, Points)
    kind = "points" if gives else "qualify" if isinstance(rule, Qualify) else "disqualify"
    line: Plain = {
        "rule": rule.id,
        "name": rule.name,
        "kind": kind,
        "group": rule.group if isinstance(rule, Points) else None,
        "score": groups[rule.group].score if isinstance(rule, Points) else None,
        "met": met,
        "raw": raw,
        "points": counted,
        "conditions": list(_conditions(rule, seen)),
    }
    if isinstance(rule, Qualify):
        line["tier"] = rule.tier
    if isinstance(rule, Points):
        line["worth"] = rule.per.most * (1 if rule.points > 0 else -1) if rule.per else rule.points
    return line


def _conditions(rule: Rule, seen: dict[Leaf | PerUnit, Seen]) -> Iterator[Plain]:
    if isinstance(rule, Points) and rule.per is not None:
        yield _per(rule.per, seen[rule.per])
    for negated, leaf in _signed(rule.when, False) if rule.when else ():
        yield _condition(leaf, seen[leaf]) | {"negated": negated}


def _signed(condition: Condition, negated: bool) -> Iterator[tuple[bool, Leaf]]:
    """Yield the leaves, each with whether an odd number of `not` stands before it."""
    match condition:
        case All(of) | Any(of):
            for part in of:
                yield from _signed(part, negated)
        case Not(of):
            yield from _signed(of, not negated)
        case leaf:
            yield negated, leaf


def _common(measure: str, subject: str, seen: Seen) -> Plain:
    return {
        "measure": measure,
        "of": subject,
        "observed": seen.value,
        "first": seen.first.isoformat() if seen.first else None,
        "last": seen.last.isoformat() if seen.last else None,
    }


def _per(per: PerUnit, seen: Seen) -> Plain:
    return _common(per.measure, per.signal, seen) | {"within": per.within, "every": float(per.every), "negated": False}


def _condition(leaf: Leaf, seen: Seen) -> Plain:
    match leaf:
        case Measured():
            compared = {"comparator": leaf.comparator, "threshold": float(leaf.threshold), "within": leaf.within}
            return _common(leaf.measure, leaf.signal, seen) | compared
        case Ever(signal):
            return _common("ever", signal, seen)
        case SinceLast():
            compared = {"comparator": leaf.comparator, "threshold": leaf.threshold}
            return _common("since_last", leaf.signal, seen) | compared
        case Age():
            return _common("age", "account", seen) | {"comparator": leaf.comparator, "threshold": leaf.threshold}
        case Trait(test):
            operand = test.operand if isinstance(test.operand, tuple) else (test.operand,)
            plain = [option if isinstance(option, str | bool) else float(option) for option in operand]
            return _common("trait", test.key, seen) | {"comparator": test.test, "threshold": plain}
        case Converted(kinds):
            return _common("outcome", ", ".join(kinds), seen)


def parts(document: Document) -> list[Leaf | PerUnit]:
    """Return what `Seen` is needed for, in the order in which the compiled query observes it."""
    conditions = [document.population, *(rule.when for rule in document.rules)]
    distinct = dict.fromkeys(leaf for condition in conditions for leaf in leaves(condition))
    return [*distinct, *(rule.per for rule in document.rules if isinstance(rule, Points) and rule.per)]
