"""From a rule document to plain data, YAML and a digest."""

import hashlib
import json
from decimal import Decimal

import yaml

from scoring.language.document import (
    Age,
    All,
    Any,
    Breadth,
    Condition,
    Converted,
    Decay,
    Disqualify,
    Document,
    Ever,
    Filter,
    FirstWithin,
    Group,
    Leaf,
    Limit,
    Line,
    Measured,
    Not,
    PerUnit,
    Points,
    Qualify,
    Rule,
    Scalar,
    Signal,
    SinceLast,
    Steps,
    Tier,
    Trait,
)
from scoring.language.reading import NUMBER

Plain = dict[str, object]
WIDTH, WITHOUT_END = 110, 1_000_000  # characters


class _Dumper(yaml.SafeDumper):
    """Quotes every text that the strict reader would take for a number, or whose breaks of lines it would fold."""

    def text(self, value: str) -> yaml.ScalarNode:
        """A text; rare breaks of lines are kept only where they are escaped."""
        breaks = any(character in value for character in "\x85\u2028\u2029")
        return self.represent_scalar("tag:yaml.org,2002:str", value, style='"' if breaks else None)


_Dumper.add_representer(str, _Dumper.text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-0123456789"))


def dump(document: Document) -> Plain:
    """Return the document as plain JSON data in its normal form: `load(dump(d)) == d`."""
    plain: Plain = {"slug": document.slug, "name": document.name, "motion": document.motion}
    if document.level != "account":
        plain["level"] = document.level
    goal: Plain = {}
    if document.goal.kinds:
        goal["outcome"] = list(document.goal.kinds)
    if document.goal.signal:
        goal["signal"] = document.goal.signal
    if goal:
        plain["goal"] = goal
    plain["sign_up"] = {"trait": document.sign_up.trait} | (
        {"signal": document.sign_up.signal} if document.sign_up.signal else {}
    )
    plain["signals"] = {name: dump_signal(signal) for name, signal in document.signals}
    if document.population is not None:
        plain["population"] = _condition(document.population)
    plain["groups"] = {group.name: _group(group) for group in document.groups}
    plain["rules"] = [_rule(rule) for rule in document.rules]
    plain["tiers"] = [_tier(tier) for tier in document.tiers]
    return plain


def to_yaml(document: Document) -> str:
    """Return the document as YAML text in its normal form: `parse(to_yaml(d)) == d`."""
    return as_yaml(dump(document))


def as_yaml(plain: object, *, on_one_line: bool = False) -> str:
    """Return plain data as YAML that the strict reader reads as the same: `1e3` as a text is quoted."""
    width = WITHOUT_END if on_one_line else WIDTH
    return str(
        yaml.dump(
            plain,
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=width,
            default_flow_style=on_one_line,
        )
    )


def digest(document: Document) -> str:
    """Return 64 hex digits that name the document's meaning: texts that parse alike share it."""
    return _sha256(dump(document))


def signal_digest(signal: Signal) -> str:
    """Return 64 hex digits that name the signal's content."""
    return _sha256(dump_signal(signal))


def dump_signal(signal: Signal) -> Plain:
    """Return the signal as plain JSON data: `load_signal(dump_signal(s)) == s`."""
    plain: Plain = {"event": signal.events[0] if len(signal.events) == 1 else list(signal.events)}
    if signal.where:
        plain["where"] = [{"property": test.key} | _test(test) for test in signal.where]
    if signal.value is not None:
        plain["value"] = signal.value
    if signal.limit is not None:
        plain["limit"] = _limit(signal.limit)
    return plain


def _sha256(plain: Plain) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _number(value: Decimal | int) -> int | float:
    """A number as JSON writes it; the parser lets no number in that a float would change."""
    return int(value) if value == int(value) else float(value)


def _scalar(value: Scalar) -> str | bool | int | float:
    return _number(value) if isinstance(value, Decimal) else value


def _points(hundredths: int) -> int | float:
    return _number(Decimal(hundredths) / 100)


def _test(test: Filter) -> Plain:
    operand = test.operand
    return {test.test: [_scalar(o) for o in operand] if isinstance(operand, tuple) else _scalar(operand)}


def _limit(limit: Limit) -> Plain:
    if limit.property is not None:
        return {"property": limit.property}
    if limit.trait is not None:
        return {"trait": limit.trait}
    return {"trait": limit.by_trait, "table": {name: _number(value) for name, value in limit.table}}


def _window(within: int | None) -> Plain:
    return {} if within is None else {"within": within}


def _condition(condition: Condition) -> Plain:
    match condition:
        case All(of):
            return {"all": [_condition(part) for part in of]}
        case Any(of):
            return {"any": [_condition(part) for part in of]}
        case Not(of):
            return {"not": _condition(of)}
        case leaf:
            return _leaf(leaf)


def _leaf(condition: Leaf) -> Plain:
    match condition:
        case Measured():
            window = _window(condition.within)
            return {
                condition.measure: condition.signal,
                **window,
                condition.comparator: _number(condition.threshold),
            }
        case Ever(signal):
            return {"ever": signal}
        case FirstWithin():
            return {"first_within": condition.signal, "after_sign_up": condition.days}
        case SinceLast():
            return {"since_last": condition.signal, condition.comparator: condition.threshold}
        case Breadth():
            window = _window(condition.within)
            return {"breadth": list(condition.signals), **window, condition.comparator: _number(condition.threshold)}
        case Steps():
            return {"path": list(condition.signals), **_window(condition.within)}
        case Age():
            return {"age": condition.of, condition.comparator: condition.threshold}
        case Trait(test):
            return {"trait": test.key} | _test(test)
        case Converted(kinds):
            return {"outcome": list(kinds)}


def _per(per: PerUnit) -> Plain:
    return {per.measure: per.signal, **_window(per.within), "every": _number(per.every)}


def _decay(decay: Decay) -> Plain:
    return {decay.shape: decay.days} | ({"of": decay.signal} if decay.signal else {})


def _rule(rule: Rule) -> Plain:
    plain: Plain = {"id": rule.id, "name": rule.name}
    match rule:
        case Points():
            plain |= {"group": rule.group, "points": _points(rule.points)}
            if rule.per is not None:
                plain |= {"per": _per(rule.per), "max": _points(rule.per.most)}
            if decay := rule.decay or (rule.per and rule.per.decay):
                plain["decay"] = _decay(decay)
        case Disqualify():
            plain["disqualify"] = True
        case Qualify():
            plain["qualify"] = rule.tier
    if rule.when is not None:
        plain["when"] = _condition(rule.when)
    return plain


def _group(group: Group) -> Plain:
    plain: Plain = {"score": group.score} | ({} if group.cap is None else {"cap": _points(group.cap)})
    return plain | ({"first_match": True} if group.first_match else {})


def _line(line: Line) -> Plain:
    return {side: _points(value) for side, value in (("usage", line.usage), ("fit", line.fit)) if value}


def _tier(tier: Tier) -> Plain:
    return {"name": tier.name, "pql": tier.pql, "enter": _line(tier.enter), "hold": _line(tier.hold)}
