"""What a document needs to know of an account, each thing once: the first stage of the compiler."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from scoring.language import (
    ANY_SIGNAL,
    Breadth,
    Converted,
    Decay,
    Disqualify,
    Document,
    Ever,
    FirstWithin,
    Leaf,
    Limit,
    Measured,
    Part,
    PerUnit,
    Points,
    Qualify,
    Signal,
    SinceLast,
    Steps,
    Trait,
    conditions_of,
    leaves,
    signals_of,
)


class Reading(NamedTuple):
    """What is read of a signal: a measure over a window, of which each event may count less with its age."""

    measure: str
    within: int | None
    decay: Decay | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """One signal as the document reads it: these measures over these windows, in one pass over its tiles."""

    name: str
    signal: Signal
    measures: tuple[Reading, ...]  # each once, sorted

    @property
    def windows(self) -> tuple[int | None, ...]:
        """The distinct windows, all of history last; the one before a window ends with one twice as long."""
        found = {window * 2 if window and measure == "before" else window for measure, window, _ in self.measures}
        return tuple(sorted(found, key=lambda w: (w is None, w or 0)))


@dataclass(frozen=True, slots=True)
class Plan:
    """A document with everything that it reads laid out: signals, traits, kinds of outcome, and leaves."""

    document: Document
    places: tuple[tuple[str, int], ...]  # of each signal that is read, by its name, the place of its fold
    folds: tuple[Fold, ...]
    traits: tuple[str, ...]
    outcomes: tuple[tuple[str, ...], ...]
    leaves: tuple[Leaf, ...]  # distinct, in the order of the text


def plan(document: Document) -> Plan:
    """Return the plan of a document; the same plan serves one account, all of them, and history."""
    return plan_together((document,))[0]


def plan_together(documents: Sequence[Document]) -> tuple[Plan, ...]:
    """Return the plans of the documents, which share what they read: a signal of several is folded once for all."""
    found = [tuple(dict.fromkeys(leaf for c in conditions_of(d) for leaf in leaves(c))) for d in documents]
    both = list(zip(documents, found, strict=True))
    folds, places = _folds([(document, dict(_grouped(document, of))) for document, of in both])
    traits = tuple(sorted({trait for document, of in both for trait in _traits(document, of)}))
    outcomes = tuple(sorted({kinds for document, of in both for kinds in _outcomes(document, of)}))
    return tuple(
        Plan(document, tuple(sorted(named.items())), folds, traits, outcomes, of)
        for (document, of), named in zip(both, places, strict=True)
    )


def for_users(document: Document) -> Document:
    """Return the part of a document that makes sense for one user: usage points from what one person did."""
    usage = {group.name for group in document.groups if group.score == "usage"}
    rules = tuple(
        rule for rule in document.rules if isinstance(rule, Points) and rule.group in usage and _is_personal(rule)
    )
    return replace(document, rules=rules, population=None)


def _is_personal(rule: Points) -> bool:
    measured: list[Part] = [*leaves(rule.when), *([rule.per] if rule.per else [])]
    personal = (Measured, PerUnit, Breadth, Steps)
    return all(isinstance(part, personal) and getattr(part, "measure", None) != "users" for part in measured)


def _measured(document: Document, found: tuple[Leaf, ...]) -> Iterator[tuple[str, Reading]]:
    """Yield (signal, reading) of everything that is read from tiles."""
    yield ANY_SIGNAL, Reading("first_day", None)  # sign-up
    if document.sign_up.signal:
        yield document.sign_up.signal, Reading("first_day", None)
    if document.goal.signal:
        yield document.goal.signal, Reading("first_day", None)
    for leaf in found:
        yield from _read(leaf)
    for rule in document.rules:
        if isinstance(rule, Points) and rule.per is not None:
            yield rule.per.signal, Reading(rule.per.measure, rule.per.within, rule.per.decay)
        if isinstance(rule, Points) and rule.decay is not None:
            yield rule.decay.signal or "", Reading("last_day", None)


def _read(leaf: Leaf) -> Iterator[tuple[str, Reading]]:
    """Yield (signal, reading) of what one leaf reads from tiles."""
    match leaf:
        case Measured(measure="trend"):
            yield leaf.signal, Reading("count", leaf.within)
            yield leaf.signal, Reading("before", leaf.within)
        case Measured():
            yield leaf.signal, Reading(leaf.measure, leaf.within)
        case SinceLast() | Ever():
            yield leaf.signal, Reading("last_day", None)
        case FirstWithin():
            yield leaf.signal, Reading("first_day", None)
        case Breadth():
            yield from ((signal, Reading("last_day", leaf.within)) for signal in leaf.signals)
        case Steps():
            yield from ((signal, Reading("first_at", leaf.within)) for signal in leaf.signals)


def _grouped(document: Document, found: tuple[Leaf, ...]) -> Iterator[tuple[str, set[Reading]]]:
    """Yield each signal that is read, by its name in order, with everything that is read of it."""
    needs: dict[str, set[Reading]] = {}
    for name, reading in _measured(document, found):
        needs.setdefault(name, set()).add(reading)
    yield from sorted(needs.items())


def _folds(
    needs: Sequence[tuple[Document, dict[str, set[Reading]]]],
) -> tuple[tuple[Fold, ...], list[dict[str, int]]]:
    """Return a fold for each signal by content, and for each document where its signals are, by their names."""
    readings: dict[Signal, set[Reading]] = {}
    names: dict[Signal, str] = {}
    for document, needed in needs:
        signals = signals_of(document)
        for name, read in needed.items():
            readings.setdefault(signals[name], set()).update(read)
            # A name that stands for something else in a document before gets a number.
            names.setdefault(signals[name], name if name not in names.values() else f"{name}#{len(names)}")
    folds = tuple(Fold(names[one], one, tuple(sorted(read, key=_in_order))) for one, read in readings.items())
    place = {signal: i for i, signal in enumerate(readings)}
    return folds, [{name: place[signals_of(document)[name]] for name in needed} for document, needed in needs]


def _in_order(reading: Reading) -> tuple[str, int, bool, str, int]:
    measure, within, decay = reading
    return measure, within or 0, within is None, decay.shape if decay else "", decay.days if decay else 0


def _limit_traits(limit: Limit | None) -> Iterator[str]:
    if limit and (trait := limit.trait or limit.by_trait):
        yield trait


def _traits(document: Document, found: tuple[Leaf, ...]) -> Iterator[str]:
    yield document.sign_up.trait
    signals = signals_of(document)
    for leaf in found:
        if isinstance(leaf, Trait):
            yield leaf.filter.key
        elif isinstance(leaf, Measured) and leaf.measure == "ratio":
            yield from _limit_traits(signals[leaf.signal].limit)


def _outcomes(document: Document, found: tuple[Leaf, ...]) -> Iterator[tuple[str, ...]]:
    if document.goal.kinds:
        yield document.goal.kinds
    yield from (leaf.kinds for leaf in found if isinstance(leaf, Converted))


def verdicts(document: Document) -> tuple[tuple[int, Disqualify | Qualify], ...]:
    """Return the rules that disqualify or qualify, each with its place among all rules."""
    return tuple((i, rule) for i, rule in enumerate(document.rules) if isinstance(rule, Disqualify | Qualify))
