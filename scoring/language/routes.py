"""Conditions on a lead and its account, as routing rules ask them, in the words of the rule language.

`{trait: country, in: [DE, AT]}` tests a trait of the account, `{lead: tier, equals: hot}` what is known of the lead;
`all`, `any` and `not` nest. What is absent fails every test but `exists: false`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any as Anything
from typing import cast

from scoring.language.document import TESTS, All, Any, Condition, Filter, Not, Scalar, Trait
from scoring.language.parsing import _Parser
from scoring.language.reading import Path, near, read

OF_LEAD = ("tier", "rule_set", "motion", "stage", "origin", "owner")


@dataclass(frozen=True, slots=True)
class OfLead:
    """Test what is known of the lead: one of OF_LEAD."""

    filter: Filter


Where = Condition | OfLead


def parse_route(text: str) -> Where:
    """Return the condition that the YAML text says; `always` matches every lead.

    Raises Invalid with every fault, path and line.
    """
    if text.strip() in ("always", "{}"):
        return All(())
    parser = _Routes(read(text))
    return cast(Where, parser.result(parser.condition(parser.text.data, ())))


def holds(condition: Where, *, traits: Mapping[str, object], lead: Mapping[str, object]) -> bool:
    """Return whether the condition holds of a lead and the traits of its account: plain data by name."""
    match condition:
        case All(of):
            return all(holds(part, traits=traits, lead=lead) for part in of)
        case Any(of):
            return any(holds(part, traits=traits, lead=lead) for part in of)
        case Not(of):
            return not holds(of, traits=traits, lead=lead)
        case OfLead(test):
            return passes(test, lead.get(test.key))
        case Trait(test):
            return passes(test, traits.get(test.key))
    raise TypeError(f"{condition} is no condition on a lead")


def filters(condition: Where) -> Iterator[Trait | OfLead]:
    """Yield every test of the condition."""
    match condition:
        case All(of) | Any(of):
            for part in of:
                yield from filters(part)
        case Not(of):
            yield from filters(of)
        case Trait() | OfLead():
            yield condition


def passes(test: Filter, value: Anything) -> bool:
    """Return whether a plain JSON value passes the test, as the engine judges it."""
    operand: Anything = test.operand
    match test.test:
        case "exists":
            return (value is not None) == bool(operand)
        case "equals":
            return _same(value, operand)
        case "in":
            return any(_same(value, option) for option in operand)
        case "starts_with":
            return isinstance(value, str) and value.startswith(str(operand))
        case "contains":
            in_list = isinstance(value, list) and any(_same(item, operand) for item in value)
            return in_list or (isinstance(value, str) and isinstance(operand, str) and operand in value)
    number = _number(value)
    return number is not None and _in_range(test, number)


def _in_range(test: Filter, number: Decimal) -> bool:
    operand: Anything = test.operand
    match test.test:
        case "between":
            return bool(operand[0] <= number <= operand[1])
        case "at_least":
            return bool(number >= operand)
        case "at_most":
            return bool(number <= operand)
        case "more_than":
            return bool(number > operand)
    return bool(number < operand)


def _same(value: object, operand: Scalar) -> bool:
    if isinstance(operand, Decimal):
        return _number(value) == operand
    return type(value) is type(operand) and value == operand


def _number(value: object) -> Decimal | None:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return Decimal(str(value)) if is_number else None


class _Routes(_Parser):
    """Reads a condition that knows traits and leads alone."""

    def leaf(self, fields: dict[str, object], path: Path) -> Anything:
        kinds = [kind for kind in ("trait", "lead") if kind in fields]
        if len(kinds) != 1:
            words = ("trait", "lead", "all", "any", "not")
            meant = next((near(key, words) for key in fields if near(key, words)), "")
            self.fault(path, f"must be a condition with exactly one of: {', '.join(words)}{meant}")
            return None
        self.mapping(fields, path, (kinds[0], *TESTS))
        if kinds[0] == "trait":
            return self.trait(fields, path)
        name = self.one_of(fields["lead"], (*path, "lead"), "fact of a lead", set(OF_LEAD))
        test = self.test(fields, "lead", path)
        return None if name is None or test is None else OfLead(test)
