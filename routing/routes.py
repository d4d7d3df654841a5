"""Routing rules in order: which one matches a lead, and which can never match or overlap another. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice, permutations, product

from scoring import language
from scoring.language import Filter, OfLead, Trait, Where

MOST_WORLDS = 20_000  # leads that are looked at in the search for one that a rule gets
STEP = Decimal("0.000001")

Key = tuple[str, str]  # "lead" or "trait", and its name
World = Mapping[Key, object]


@dataclass(frozen=True, slots=True)
class Route:
    """A rule as the search for a match needs it."""

    id: int
    name: str
    where: Where
    goes_to: str  # pool and what is asked for, for the linter: an overlap is harmless where both say the same


@dataclass(frozen=True, slots=True)
class Finding:
    """What the linter says of a rule."""

    route: int
    message: str


def first_match(routes: Sequence[Route], *, traits: Mapping[str, object], lead: Mapping[str, object]) -> Route | None:
    """Return the first rule that matches a lead and the traits of its account; None if none does."""
    return next((route for route in routes if language.holds(route.where, traits=traits, lead=lead)), None)


def why_none(routes: Sequence[Route], *, traits: Mapping[str, object], lead: Mapping[str, object]) -> str:
    """Return in a sentence what the rules asked for and what the lead has: `No routing rule matches country = null.`"""
    keys = sorted({key for route in routes for key in _keys(route.where)})
    told = [f"{name} = {_word((lead if kind == 'lead' else traits).get(name))}" for kind, name in keys]
    return f"No routing rule matches {', '.join(told)}." if told else "There is no active routing rule."


def traits_read(routes: Sequence[Route]) -> set[str]:
    """Return the names of the traits that the rules ask for."""
    return {name for route in routes for kind, name in _keys(route.where) if kind == "trait"}


def lint(routes: Sequence[Route]) -> list[Finding]:
    """Return which rules no lead can ever reach, and which overlap an earlier one that sends leads elsewhere.

    Each test reads one trait or fact, so it is enough to try, for each of them, a value on either side of every
    constant. Beyond MOST_WORLDS combinations a rule is held against each earlier one alone.
    """
    found = []
    for place, route in enumerate(routes):
        earlier = routes[:place]
        if unreachable := _unreachable(route, earlier):
            found.append(Finding(route.id, unreachable))
            continue
        for other in earlier:
            if other.goes_to != route.goes_to and (shared := _overlap(route, other)):
                found.append(Finding(route.id, f"overlaps {other.name!r}, which comes first and gets {shared}."))
    return found


def _unreachable(route: Route, earlier: Sequence[Route]) -> str:
    """Return in a sentence why no lead reaches a rule; empty if one does, or if there are too many to try."""
    own = list(islice(_worlds(route), MOST_WORLDS))
    if not any(_holds(route, world) for world in own):
        return "never matches: its conditions contradict each other."
    for other in earlier:
        both = list(islice(_worlds(route, other), MOST_WORLDS + 1))
        if len(both) <= MOST_WORLDS and not any(_holds(route, w) and not _holds(other, w) for w in both):
            return f"is never reached: {other.name!r} comes first and takes all of its leads."
    together = list(islice(_worlds(route, *earlier), MOST_WORLDS + 1))
    if len(together) > MOST_WORLDS:
        return ""
    if any(_holds(route, w) and not any(_holds(other, w) for other in earlier) for w in together):
        return ""
    return "is never reached: the rules before it take all of its leads together."


def _overlap(route: Route, other: Route) -> str:
    """Return in words a lead of both rules; empty if there is none, or if the earlier is an exception to the later."""
    shared, beyond = None, False
    for world in islice(_worlds(route, other), MOST_WORLDS):
        if _holds(other, world):
            beyond = beyond or not _holds(route, world)
            shared = shared or (world if _holds(route, world) else None)
    return f"for example {_spoken(shared)}" if shared and beyond else ""


def _holds(route: Route, world: World) -> bool:
    traits = {name: value for (kind, name), value in world.items() if kind == "trait"}
    lead = {name: value for (kind, name), value in world.items() if kind == "lead"}
    return language.holds(route.where, traits=traits, lead=lead)


def _worlds(*routes: Route) -> Iterator[World]:
    """Yield a lead for every way in which the tests of the rules can come out."""
    tests: dict[Key, list[Filter]] = {}
    for route in routes:
        for leaf in language.filters(route.where):
            tests.setdefault(_key(leaf), []).append(leaf.filter)
    values = [_values(of) for of in tests.values()]
    for drawn in product(*values):
        yield dict(zip(tests, drawn, strict=True))


def _values(tests: Sequence[Filter]) -> list[object]:
    """Return values of one trait or fact, such that every way in which the tests can come out is among them."""
    constants = [c for test in tests for c in (test.operand if isinstance(test.operand, tuple) else (test.operand,))]
    texts = [c for c in constants if isinstance(c, str)]
    numbers = sorted({c for c in constants if isinstance(c, Decimal)})
    around = [n for number in numbers for n in (number - STEP, number, number + STEP)]
    flags = [True, False] if any(test.test == "equals" and isinstance(test.operand, bool) for test in tests) else []
    within = any(test.test in ("starts_with", "contains") for test in tests)
    # A text that goes on after a constant, and one that begins with one and contains another.
    joined = [*(f"{text}…" for text in texts), *(a + b for a, b in permutations(texts, 2))] if within else []
    lists = [[text] for text in texts] if any(test.test == "contains" for test in tests) else []
    return [*dict.fromkeys(texts), *around, *flags, *joined, *lists, "something else", None]


def _keys(where: Where) -> Iterator[Key]:
    yield from (_key(leaf) for leaf in language.filters(where))


def _key(leaf: Trait | OfLead) -> Key:
    return "lead" if isinstance(leaf, OfLead) else "trait", leaf.filter.key


def _spoken(world: World) -> str:
    return ", ".join(f"{name} = {_word(value)}" for (_, name), value in sorted(world.items(), key=lambda item: item[0]))


def _word(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
