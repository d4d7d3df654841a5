"""A ledger laid out as tables that add up."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from scoring import explain


@dataclass(frozen=True, slots=True)
class Line:
    """A rule with what it saw, what it asks for and what it gives. All points are hundredths."""

    name: str
    kind: str
    observed: str
    threshold: str
    points: int
    worth: int
    clipped: int  # what the cap of the group took; 0: nothing
    group: str
    behind: str  # the rule that counts instead, where only the first of the group does; empty: none


@dataclass(frozen=True, slots=True)
class Section:
    """The lines of one score; the points of `met` sum to `total`."""

    score: str
    met: list[Line]
    unmet: list[Line]
    total: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """Usage and fit, and the rules beside the points that decide by themselves."""

    sections: list[Section]
    gates: list[Line]  # met disqualify and qualify rules
    open_gates: list[Line]  # those that are not met
    blind_spots: list[str]  # sentences: of which signals not all days are known that rules ask for


def laid_out(ledger: Mapping[str, Any], *, as_of: date, known_from: Mapping[str, date]) -> Ledger:
    """Return the stored ledger in the form of its tables; `known_from` is that of its version's signals."""
    lines = ledger["lines"]
    deciding = [line for line in lines if line["kind"] in ("disqualify", "qualify")]
    return Ledger(
        sections=[_section(ledger, score, as_of) for score in ("usage", "fit")],
        gates=[_line(line, as_of) for line in deciding if line["met"]],
        open_gates=[_line(line, as_of) for line in deciding if not line["met"]],
        blind_spots=explain.blind_spots(ledger, known_from=known_from, as_of=as_of),
    )


def _section(ledger: Mapping[str, Any], score: str, as_of: date) -> Section:
    lines = [line for line in ledger["lines"] if line["score"] == score]
    return Section(
        score=score,
        met=[_line(line, as_of) for line in lines if line["met"] or line["points"]],
        unmet=[_line(line, as_of) for line in lines if not (line["met"] or line["points"])],
        total=ledger[score],
    )


def _line(line: Mapping[str, Any], as_of: date) -> Line:
    words = explain.line_words(line, as_of=as_of)
    return Line(
        name=line["name"],
        kind=line["kind"],
        observed=words.observed,
        threshold=words.threshold,
        points=line["points"],
        worth=line.get("worth", 0),
        clipped=line["raw"] - line["points"],
        behind=line.get("behind", ""),
        group=line["group"] or "",
    )
