"""The ledger: every point with its rule, what was observed, and what a cap or the floor took. Pure.

The lines of a score always sum to the score: usage lines to usage, fit lines to fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any as Anything

from scoring.language import (
    Age,
    All,
    Any,
    Breadth,
    Condition,
    Converted,
    Decay,
    Document,
    Ever,
    FirstWithin,
    Leaf,
    Measured,
    Not,
    Part,
    Points,
    Qualify,
    Rule,
    SinceLast,
    Steps,
    Trait,
    parts_of,
)

Plain = dict[str, Anything]


@dataclass(frozen=True, slots=True)
class Form:
    """The ledger of a document, to be filled in for one account after another. Make it with `form`."""

    document: Document
    blanks: tuple[tuple[Plain, tuple[tuple[int, Plain], ...]], ...]  # by rule: its line, and conditions by part

    def fill(
        self, *, met: Sequence[bool], raw: Sequence[int], observed: Sequence[object], seen: Sequence[object]
    ) -> Plain:
        """Return {"lines": […], "usage": hundredths, "fit": hundredths}.

        `met` and `raw` are by rule; `observed` is by part (see language.parts_of), `seen` the first and last ISO day
        of each. A line of a rule has rule, name, kind, group, score, met, raw (points before clipping), points
        (counted) and conditions, and behind: the name of the rule that counts instead, where only the first does. A
        line of kind `floor` gives back what would take a group below zero. Points are hundredths.
        """
        beaten = _beaten(self.document, met)
        counted = _clipped(self.document, [0 if i in beaten else points for i, points in enumerate(raw)])
        lines = []
        for i, (line, conditions) in enumerate(self.blanks):
            filled = [
                {**blank, "observed": observed[k], "first": seen[2 * k], "last": seen[2 * k + 1]}
                for k, blank in conditions
            ]
            lines.append({**line, "met": met[i], "raw": raw[i], "points": counted[i], "conditions": filled})
            if i in beaten:
                lines[-1]["behind"] = beaten[i]
        lines += _floors(self.document, counted)
        return {
            "lines": lines,
            "usage": sum(line["points"] for line in lines if line["score"] == "usage"),
            "fit": sum(line["points"] for line in lines if line["score"] == "fit"),
        }


def form(document: Document) -> Form:
    """Return the document's ledger with everything in it that is the same for all accounts."""
    place = {part: k for k, part in enumerate(parts_of(document))}
    scores = {group.name: group.score for group in document.groups}
    return Form(document, tuple((_line(rule, scores), tuple(_conditions(rule, place))) for rule in document.rules))


def _beaten(document: Document, met: Sequence[bool]) -> dict[int, str]:
    """Return the met rules that count nothing because the first match of their group does, each with its name."""
    first: dict[str, str] = {}
    of_one = {group.name for group in document.groups if group.first_match}
    beaten = {}
    for i, rule in enumerate(document.rules):
        if met[i] and isinstance(rule, Points) and rule.group in of_one:
            if rule.group in first:
                beaten[i] = first[rule.group]
            first.setdefault(rule.group, rule.name)
    return beaten


def totals(document: Document, raw: Sequence[int]) -> tuple[int, int]:
    """Return usage and fit, in hundredths, of points by rule before clipping: capped, and never below zero."""
    scores = {group.name: group.score for group in document.groups}
    groups = dict.fromkeys(scores, 0)
    for rule, points in zip(document.rules, counted(document, raw), strict=True):
        if isinstance(rule, Points):
            groups[rule.group] += points
    usage = sum(max(0, total) for name, total in groups.items() if scores[name] == "usage")
    fit = sum(max(0, total) for name, total in groups.items() if scores[name] == "fit")
    return usage, fit


def counted(document: Document, raw: Sequence[int]) -> list[int]:
    """Return what points by rule before clipping come to: only the first of some groups, and up to a group's cap."""
    beaten = _beaten(document, [points != 0 for points in raw])
    return _clipped(document, [0 if i in beaten else points for i, points in enumerate(raw)])


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


def _line(rule: Rule, scores: dict[str, Anything]) -> Plain:
    kind = "points" if isinstance(rule, Points) else "qualify" if isinstance(rule, Qualify) else "disqualify"
    line: Plain = {"rule": rule.id, "name": rule.name, "kind": kind, "group": None, "score": None}
    if isinstance(rule, Qualify):
        line["tier"] = rule.tier
    if isinstance(rule, Points):
        worth = rule.per.most * (1 if rule.points > 0 else -1) if rule.per else rule.points
        line |= {"group": rule.group, "score": scores[rule.group], "worth": worth}
    return line


def _conditions(rule: Rule, place: dict[Part, int]) -> Iterator[tuple[int, Plain]]:
    """Yield what is tested for a rule: the place of its part, and what is always the same of it."""
    if isinstance(rule, Points) and rule.per is not None:
        per = rule.per
        fixed = {"within": per.within, "every": float(per.every), "negated": False}
        faded = {"decay": _decay(per.decay)} if per.decay else {}
        yield place[per], {"measure": per.measure, "of": per.signal, **fixed, **faded}
    for negated, leaf in signed(rule.when) if rule.when else ():
        yield place[leaf], {**_condition(leaf), "negated": negated}
    if isinstance(rule, Points) and rule.decay is not None:
        fading = {"measure": "decay", "of": rule.decay.signal, "decay": _decay(rule.decay), "negated": False}
        yield place[rule.decay], fading


def _decay(decay: Decay) -> Plain:
    return {"shape": decay.shape, "days": decay.days}


def signed(condition: Condition, *, negated: bool = False) -> Iterator[tuple[bool, Leaf]]:
    """Yield the leaves, each with whether an odd number of `not` stands before it."""
    match condition:
        case All(of) | Any(of):
            for part in of:
                yield from signed(part, negated=negated)
        case Not(of):
            yield from signed(of, negated=not negated)
        case leaf:
            yield negated, leaf


def _several(signals: Sequence[str]) -> Plain:
    return {"of": ", ".join(signals), "signals": list(signals)}


def _condition(leaf: Leaf) -> Plain:
    match leaf:
        case Measured():
            compared = {"comparator": leaf.comparator, "threshold": float(leaf.threshold), "within": leaf.within}
            return {"measure": leaf.measure, "of": leaf.signal, **compared}
        case Ever(signal):
            return {"measure": "ever", "of": signal}
        case FirstWithin():
            return {"measure": "first_within", "of": leaf.signal, "days": leaf.days}
        case SinceLast():
            compared = {"comparator": leaf.comparator, "threshold": leaf.threshold}
            return {"measure": "since_last", "of": leaf.signal, **compared}
        case Breadth():
            compared = {"comparator": leaf.comparator, "threshold": float(leaf.threshold), "within": leaf.within}
            return {"measure": "breadth", **_several(leaf.signals), **compared}
        case Steps():
            compared = {"comparator": "at_least", "threshold": len(leaf.signals), "within": leaf.within}
            return {"measure": "path", **_several(leaf.signals), **compared}
        case Age():
            compared = {"comparator": leaf.comparator, "threshold": leaf.threshold}
            return {"measure": "age", "of": leaf.of, **compared}
        case Trait(test):
            operand = test.operand if isinstance(test.operand, tuple) else (test.operand,)
            plain = [option if isinstance(option, str | bool) else float(option) for option in operand]
            return {"measure": "trait", "of": test.key, "comparator": test.test, "threshold": plain}
        case Converted(kinds):
            return {"measure": "outcome", "of": ", ".join(kinds)}
