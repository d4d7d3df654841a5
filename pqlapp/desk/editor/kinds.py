"""The sentences of the editor: one entry for each kind of condition, which is all that a new measure needs. Pure.

A blank stands in braces where it is filled in; `{kind}` is where the kind itself is chosen, under its label.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pqlapp.desk.editor import writing
from scoring.language import COMPARATORS, TESTS
from scoring.language.parsing import LEAVES

Plain = dict[str, Any]
Cells = dict[str, Any]  # what stands in the blanks of a form, by name

BEHAVIOUR, COMPANY, NESTING = "What they do", "Who they are", "Several conditions"
COMPARATOR_WORDS = {
    "at_least": "at least",
    "at_most": "at most",
    "more_than": "more than",
    "less_than": "less than",
    "equals": "exactly",
}
KNOWN, UNKNOWN = "is known", "is not known"
TEST_WORDS = {
    "equals": "is",
    "in": "is one of",
    "between": "is between",
    "contains": "contains",
    "starts_with": "starts with",
    KNOWN: KNOWN,
    UNKNOWN: UNKNOWN,
    **{name: f"is {words}" for name, words in COMPARATOR_WORDS.items() if name != "equals"},
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of condition as a sentence."""

    word: str  # the field of the language that names it
    label: str
    sentence: str
    family: str = BEHAVIOUR
    unit: str = ""  # for `per`: "for every {every} …"; empty: no points are given for each of it


ENTRIES = (
    Kind("count", "times", "{signal} was done {compared} {kind} {within}", unit="times"),
    Kind("users", "distinct users", "{signal} was done by {compared} {kind} {within}", unit="distinct users"),
    Kind("days", "different days", "{signal} was done on {compared} {kind} {within}", unit="different days"),
    Kind("streak", "days in a row", "{signal} was done on {compared} {kind} {within}", unit="days in a row"),
    Kind("sum", "in sum", "the value of {signal} is {compared} {kind} {within}", unit="in sum"),
    Kind("max", "at its largest", "the value of {signal} is {compared} {kind} {within}", unit="at its largest"),
    Kind("last", "at its last", "the value of {signal} is {compared} {kind} {within}", unit="at its last"),
    Kind("ratio", "as a share of the limit", "the value of {signal} is {compared} {kind} {within}"),
    Kind("trend", "times as often as before that", "{signal} was done {compared} {kind} {within}"),
    Kind("breadth", "different ones", "of {signals} {compared} {kind} were done {within}", unit="different ones"),
    Kind("path", "in this order", "{signals} were first done {kind} {within}"),
    Kind("ever", "was ever done", "{signal} {kind}"),
    Kind("first_within", "was first done within", "{signal} {kind} {after_sign_up} days of sign-up"),
    Kind("since_last", "days since they last did", "{compared} {kind} {signal}"),
    Kind("age", "days since sign-up", "{compared} {kind} {about}", COMPANY),
    Kind("trait", "the trait", "{kind} {key} {test}", COMPANY),
    Kind("outcome", "they already", "{kind} {kinds}", COMPANY),
)
KINDS = {entry.word: entry for entry in ENTRIES if entry.word in LEAVES}
NEST_WORDS = {"all": "all of these", "any": "any of these", "not": "none of these"}
WRITTEN = "written"  # a condition that no sentence tells: it stands as YAML


def sentence_of(kind: str) -> str:
    """Return the sentence of a kind; of one that has none, its YAML."""
    return KINDS[kind].sentence if kind in KINDS else "{text}"


# ---- the blanks: how the fields of a condition come into the form, and out again

Take = Callable[[str, Plain], Cells]  # takes its fields out of what is left of the condition
Give = Callable[[str, Mapping[str, str]], Plain]


class Unspeakable(Exception):
    """No sentence tells this condition."""


def _take_signal(word: str, left: Plain) -> Cells:
    return {"signal": _text(left.pop(word, None))}


def _give_signal(word: str, cells: Mapping[str, str]) -> Plain:
    return {word: cells.get("signal", "")}


def _take_list(name: str) -> Take:
    def take(word: str, left: Plain) -> Cells:
        values = left.pop(word, None)
        if not isinstance(values, list):
            raise Unspeakable
        return {name: writing.written_list([_text(value) for value in values], texts=True)}

    return take


def _give_list(name: str) -> Give:
    return lambda word, cells: {word: writing.read_list(cells.get(name, ""), texts=True)}


def _take_within(word: str, left: Plain) -> Cells:
    return {"within": writing.written(left.pop("within", None))}


def _give_within(word: str, cells: Mapping[str, str]) -> Plain:
    days = writing.read(cells.get("within", ""))
    return {} if days is None else {"within": days}


def _take_compared(word: str, left: Plain) -> Cells:
    found = [name for name in COMPARATORS if name in left]
    if len(found) != 1:
        raise Unspeakable
    return {"comparator": found[0], "threshold": writing.written(left.pop(found[0]))}


def _give_compared(word: str, cells: Mapping[str, str]) -> Plain:
    return {cells.get("comparator") or COMPARATORS[0]: writing.read(cells.get("threshold", ""))}


def _take_field(name: str, default: str = "") -> Take:
    return lambda word, left: {name: writing.written(left.pop(name, None))}


def _give_field(name: str) -> Give:
    return lambda word, cells: {name: writing.read(cells.get(name, ""))}


def _take_about(word: str, left: Plain) -> Cells:
    return {"about": writing.written_text(_text(left.pop(word, None)))}


def _give_about(word: str, cells: Mapping[str, str]) -> Plain:
    return {word: writing.read_text(cells.get("about", "")) or "account"}


def _take_key(word: str, left: Plain) -> Cells:
    return {"key": writing.written_text(_text(left.pop(word, None)))}


def _give_key(word: str, cells: Mapping[str, str]) -> Plain:
    return {word: writing.read_text(cells.get("key", ""))}


def take_test(word: str, left: Plain) -> Cells:
    """Take the one test of a property or trait."""
    found = [name for name in TESTS if name in left]
    if len(found) != 1:
        raise Unspeakable
    test, operand = found[0], left.pop(found[0])
    if test == "exists":
        return {"test": KNOWN if operand is True else UNKNOWN, "operand": ""}
    if isinstance(operand, list):
        return {"test": test, "operand": writing.written_list(operand)}
    if test == "starts_with":
        return {"test": test, "operand": writing.written_text(_text(operand))}
    return {"test": test, "operand": writing.written(operand)}


def give_test(word: str, cells: Mapping[str, str]) -> Plain:
    """Return the test as the language has it."""
    test, operand = cells.get("test") or "equals", cells.get("operand", "")
    if test in (KNOWN, UNKNOWN):
        return {"exists": test == KNOWN}
    if test in ("in", "between"):
        return {test: writing.read_list(operand)}
    return {test: writing.read_text(operand) if test == "starts_with" else writing.read(operand)}


BLANKS: dict[str, tuple[Take, Give]] = {
    "signal": (_take_signal, _give_signal),
    "signals": (_take_list("signals"), _give_list("signals")),
    "kinds": (_take_list("kinds"), _give_list("kinds")),
    "within": (_take_within, _give_within),
    "compared": (_take_compared, _give_compared),
    "after_sign_up": (_take_field("after_sign_up"), _give_field("after_sign_up")),
    "about": (_take_about, _give_about),
    "key": (_take_key, _give_key),
    "test": (take_test, give_test),
}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unspeakable
    return value
