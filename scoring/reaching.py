"""What is missing to reach the next tier: the fewest things that, done or found out, would get an account there. Pure.

A step raises one quantity that the rules read (events, people, days, a value, a share of a limit), does something
once more, or finds out a trait that is not known. What follows from it follows: with two more invitations comes a
last one of today, and one more event of any kind. A trait that is known, age, outcomes and what only waiting brings
are no steps. All sets of steps are tried, the small ones first, as long as the budget lasts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from itertools import combinations
from math import ceil, floor
from typing import Any as Anything

from scoring import ledger as ledgers
from scoring.explain import cells, holding, words
from scoring.language import (
    ANY_SIGNAL,
    CALLS_THAT_ARE_NOT_USE,
    All,
    Any,
    Breadth,
    Condition,
    Decay,
    Disqualify,
    Document,
    Ever,
    FirstWithin,
    Leaf,
    Measured,
    Not,
    Part,
    PerUnit,
    Points,
    Qualify,
    Rule,
    SinceLast,
    Steps,
    Trait,
    faded,
    leaves,
    weight_at,
)

Plain = Mapping[str, Anything]
MOST_WAYS = 3
MOST_STEPS = 4  # of a way that is searched for; a longer one is found by leaving out what is not needed
BUDGET = 1_000  # sets that are tried; a fifth of a millisecond each
MOST_LEVELS = 6  # of one quantity; of more the first, the last and some between them are tried
WHOLE = ("count", "users", "days", "streak")  # they are counted, so the next one is one more
ADDS_UP = ("count", "users", "days", "sum")  # what is added today is in every window
OPPOSITE = {"at_least": "less_than", "less_than": "at_least", "at_most": "more_than", "more_than": "at_most"}
A_BIT = 1e-6


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is missing."""

    rules: tuple[str, ...]  # names of the rules that it helps
    observed: str  # "2, last on 3 Nov"
    needed: str  # "≥ 3 in 14 days"
    missing: str  # "1 more in 14 days (invited teammate)"


@dataclass(frozen=True, slots=True)
class Way:
    """Steps that together reach the tier, none of which can be left out; and where they lead. Points are hundredths."""

    steps: tuple[Step, ...]
    tier: str
    usage: int
    fit: int


@dataclass(frozen=True, slots=True)
class Reach:
    """The next tier and the shortest ways there; without any, why there is none."""

    tier: str  # the next one; empty: there is none above
    ways: tuple[Way, ...]
    is_shortest: bool  # no way has fewer steps than the first: all smaller sets of steps were tried
    why_not: str  # empty: there are ways


def reach(ledger: Plain, *, document: Document, tier: str, status: str, as_of: date) -> Reach:
    """Return what is missing from a score of this ledger, tier and status to the next better tier.

    Ways are sorted by the number of their steps, then by how far they are from what was observed. Whether an account
    would still belong to the population is not asked.
    """
    if status != "scored":
        return Reach("", (), True, _out_of_it(ledger, status))
    names = [one.name for one in document.tiers]
    place = names.index(tier) if tier in names else len(names)
    if not place:
        return Reach("", (), True, f"It is of the best tier{f', {tier}' if tier else ''}.")
    account = _Account(ledger, document, as_of)
    if account.after(()).tier != (place if tier else None):
        return Reach(names[place - 1], (), False, "Its score is about to be judged again.")
    return _Search(account, place - 1).found(names[place - 1])


def _out_of_it(ledger: Plain, status: str) -> str:
    if status == "disqualified":
        met = [line["name"] for line in ledger["lines"] if line["met"] and line["kind"] == "disqualify"]
        return f"It is disqualified: {words.listed(met)}. Points give it no tier meanwhile."
    return {
        "outside": "It is outside of whom the rules are for: no points give it a tier.",
        "excluded": "It is excluded: no points give it a tier.",
    }[status]


@dataclass(frozen=True, slots=True)
class _Deed:
    """A step with what it does to all that was observed."""

    quantity: tuple[Anything, ...]  # of each quantity a way has one deed
    condition: Plain  # in whose words it is told
    effort: float  # 0: nothing is left to do; 1: everything; 2: not a matter of degree
    effects: Mapping[Part, Anything]  # what will be observed of a part


@dataclass(frozen=True, slots=True)
class _Verdict:
    tier: int | None
    usage: int
    fit: int
    rules: Mapping[int, tuple[bool, int]]  # met and raw points of those that may have changed


class _Account:
    """What was observed of an account, and what the document would say of other observations."""

    def __init__(self, ledger: Plain, document: Document, as_of: date) -> None:
        self.document, self.as_of = document, as_of
        self.base = [(line["met"], line["raw"]) for line in ledger["lines"][: len(document.rules)]]
        self.seen: dict[Part, Plain] = {}
        self.readers: dict[Part, list[int]] = {}
        for place, (rule, line) in enumerate(zip(document.rules, ledger["lines"], strict=False)):
            for part, condition in zip(_parts(rule), line["conditions"], strict=True):
                self.seen[part] = condition
                self.readers.setdefault(part, []).append(place)

    def after(self, deeds: Sequence[_Deed]) -> _Verdict:
        """Return the verdict when all of it is done."""
        seen: dict[Part, Anything] = {}
        for deed in deeds:
            for part, value in deed.effects.items():
                seen[part] = value if part not in seen else max(seen[part], value)
        read = {place for part in seen for place in self.readers[part]}
        again = {place: self._rule(self.document.rules[place], seen) for place in sorted(read)}
        rules = [again.get(place, base) for place, base in enumerate(self.base)]
        usage, fit = ledgers.totals(self.document, [raw for _, raw in rules])
        return _Verdict(self._tier([met for met, _ in rules], usage, fit), usage, fit, again)

    def _tier(self, met: Sequence[bool], usage: int, fit: int) -> int | None:
        decided = [rule for rule, is_met in zip(self.document.rules, met, strict=True) if is_met]
        if any(isinstance(rule, Disqualify) for rule in decided):
            return None
        raised = {rule.tier for rule in decided if isinstance(rule, Qualify)}
        for place, tier in enumerate(self.document.tiers):
            if tier.name in raised or (usage >= tier.enter.usage and fit >= tier.enter.fit):
                return place
        return None

    def _rule(self, rule: Rule, seen: Mapping[Part, Anything]) -> tuple[bool, int]:
        """Return whether it is met and its points before clipping; as compiler.sql says it."""
        met = rule.when is None or self.holds(rule.when, seen)
        if not isinstance(rule, Points):
            return met, 0
        if rule.per is not None:
            units = self._units(rule.per, seen) if met else 0
            amount = min(abs(rule.points) * units, rule.per.most)
            return units >= 1, amount if rule.points > 0 else -amount
        if rule.decay is not None:
            raw = faded(rule.points, self._weight(rule.decay, seen)) if met else 0
            return raw != 0, raw
        return met, rule.points if met else 0

    def _units(self, per: PerUnit, seen: Mapping[Part, Anything]) -> int:
        value = seen.get(per, self.seen[per]["observed"])
        return 0 if value is None or value < 0 else int(Decimal(str(value)) // per.every)

    def _weight(self, decay: Decay, seen: Mapping[Part, Anything]) -> int:
        last = seen.get(decay, self.seen[decay]["observed"])
        return weight_at(decay, (self.as_of - date.fromisoformat(last)).days) if last else 0

    def holds(self, condition: Condition, seen: Mapping[Part, Anything]) -> bool:
        """Whether the condition is true of these observations, and of the ledger's where there are none."""
        match condition:
            case All(of):
                return all(self.holds(part, seen) for part in of)
            case Any(of):
                return any(self.holds(part, seen) for part in of)
            case Not(of):
                return not self.holds(of, seen)
            case leaf if leaf in seen:
                return holding.is_true({**self.seen[leaf], "observed": seen[leaf]}, self.as_of)
            case leaf:
                return leaf in self.true

    @cached_property
    def true(self) -> frozenset[Part]:
        """The leaves that are true of what the ledger observed."""
        tested = [part for part in self.seen if not isinstance(part, PerUnit | Decay)]
        return frozenset(part for part in tested if holding.is_true(self.seen[part], self.as_of))


def _parts(rule: Rule) -> list[Part]:
    """The parts of a rule in the order of its ledger line."""
    parts: list[Part] = [rule.per] if isinstance(rule, Points) and rule.per else []
    parts += leaves(rule.when)
    return [*parts, rule.decay] if isinstance(rule, Points) and rule.decay else parts


# ---- what can be done


class _Deeds:
    """All that can be done to help."""

    def __init__(self, account: _Account, goal: int) -> None:
        self.account, self.goal = account, goal

    def found(self) -> list[_Deed]:
        """Return each deed once, in the order of the text."""
        deeds: dict[tuple[Anything, ...], _Deed] = {}
        for rule in self.account.document.rules:
            for deed in self._of_rule(rule):
                deeds.setdefault((deed.quantity, tuple(sorted(map(str, deed.effects.items())))), deed)
        return _thinned(list(deeds.values()))

    def _of_rule(self, rule: Rule) -> Iterator[_Deed]:
        wanted = self._wanted(rule)
        if wanted is None:
            return
        for negated, leaf in ledgers.signed(rule.when) if rule.when else ():
            truth = wanted != negated
            if (leaf in self.account.true) != truth:
                yield from self._of_leaf(leaf, truth)
        if wanted and isinstance(rule, Points):
            if rule.per:
                yield from self._of_units(rule, rule.per)
            if rule.decay and rule.decay.signal:
                yield self._event(rule.decay.signal, rule.decay)

    def _wanted(self, rule: Rule) -> bool | None:
        """Whether it should be met; None: it is as it should be, or it does not matter."""
        match rule:
            case Points():
                return rule.points > 0
            case Qualify():
                places = [tier.name for tier in self.account.document.tiers]
                return True if places.index(rule.tier) <= self.goal else None
            case _:
                return None

    def _of_leaf(self, leaf: Leaf, truth: bool) -> Iterator[_Deed]:
        match leaf:
            case Measured(measure="ratio" | "trend"):
                yield from self._share(leaf, truth)
            case Measured():
                yield from self._level(leaf, truth)
            case Ever(signal) if truth:
                yield self._event(signal, leaf)
            case FirstWithin(signal) if truth and self._is_early(leaf):
                yield self._event(signal, leaf)
            case SinceLast(signal) if self._tells(leaf, self.account.as_of.isoformat()) == truth:
                yield self._event(signal, leaf)
            case Breadth() | Steps():
                yield from self._several(leaf, truth)
            case Trait() if truth:
                yield from self._trait(leaf)

    def _tells(self, leaf: Leaf, value: Anything) -> bool:
        """Whether the leaf would be true of this observation."""
        return holding.is_true({**self.account.seen[leaf], "observed": value}, self.account.as_of)

    def _is_early(self, leaf: FirstWithin) -> bool:
        first, sign_up = self.account.seen[leaf]["observed"] or (None, None)
        return not first and (not sign_up or (self.account.as_of - date.fromisoformat(sign_up)).days < leaf.days)

    # -- quantities

    def _level(self, leaf: Measured, truth: bool) -> Iterator[_Deed]:
        old = self.account.seen[leaf]["observed"]
        value = _target(leaf.measure, leaf.comparator, float(leaf.threshold), old, truth)
        # What a window has seen goes by waiting only; but the next value may be a smaller one.
        if value is not None and (leaf.measure == "last" or old is None or value > old):
            yield self._raised(leaf, self.account.seen[leaf], value)

    def _of_units(self, rule: Points, per: PerUnit) -> Iterator[_Deed]:
        condition = self.account.seen[per]
        old = condition["observed"]
        most = -(-per.most // abs(rule.points))
        had = 0 if old is None or old < 0 else int(Decimal(str(old)) // per.every)
        for units in range(had + 1, most + 1):
            value = float(per.every * units)
            if old is None or value > old:
                told = {k: v for k, v in condition.items() if k not in ("every", "decay")}
                told |= {"comparator": "at_least", "threshold": value}
                yield self._raised(per, told, value)

    def _raised(self, part: Measured | PerUnit, condition: Plain, value: float) -> _Deed:
        """Return the deed that brings a measure to a value, with what it does to the same measure elsewhere."""
        measure, signal, old = part.measure, part.signal, self.account.seen[part]["observed"]
        more = value - (old or 0)
        effects: dict[Part, Anything] = {}
        for other, seen in self.account.seen.items():
            if isinstance(other, Measured | PerUnit) and (other.measure, other.signal) == (measure, signal):
                before = seen["observed"]
                if measure in ADDS_UP:
                    effects[other] = (before or 0) + more
                else:
                    effects[other] = value if measure == "last" or before is None else max(before, value)
        effects[part] = value
        events = ceil(more) if measure in ("users", "days", "count") else 1
        return self._deed((measure, signal), condition, effects, self._happens(signal, events))

    def _share(self, leaf: Measured, truth: bool) -> Iterator[_Deed]:
        sides = self.account.seen[leaf]["observed"]
        if sides is not None and holding.is_no_quotient(self.account.seen[leaf]):
            sides = sides if leaf.measure == "ratio" and sides[0] is None and (sides[1] or 0) > 0 else None
            if sides is None:
                return  # there is no limit, or nothing before to compare with
        if sides is None and leaf.measure == "trend":
            return
        of = sides[1] if sides else 1
        kind = "count" if leaf.measure == "trend" else "last"
        old = sides[0] if sides else None
        value = _target(kind, leaf.comparator, float(leaf.threshold) * of, old, truth)
        if value is None or (kind == "count" and old is not None and value <= old):
            return
        alike = [
            part
            for part, seen in self.account.seen.items()
            if isinstance(part, Measured)
            and (part.measure, part.signal) == (leaf.measure, leaf.signal)
            and (leaf.measure == "ratio" or part.within == leaf.within)
        ]
        events = ceil(value - (old or 0)) if kind == "count" else 1
        effects: dict[Part, Anything] = {part: [value, of] for part in alike}
        yield self._deed(
            (leaf.measure, leaf.signal), self.account.seen[leaf], effects, self._happens(leaf.signal, events)
        )

    def _several(self, leaf: Breadth | Steps, truth: bool) -> Iterator[_Deed]:
        condition = self.account.seen[leaf]
        comparator, threshold = condition["comparator"], condition["threshold"]
        value = _target("count", comparator, threshold, condition["observed"], truth)
        if value is not None and (condition["observed"] or 0) < value <= len(leaf.signals):
            yield self._deed(("several", leaf.signals), condition, {leaf: value}, {})

    # -- deeds and traits

    def _event(self, signal: str, part: Part) -> _Deed:
        return self._deed(("count", signal), self.account.seen[part], {}, self._happens(signal, 1))

    def _trait(self, leaf: Trait) -> Iterator[_Deed]:
        condition = self.account.seen[leaf]
        if condition["observed"] is not None:
            return
        same = [part for part in self.account.seen if isinstance(part, Trait) and part.filter.key == leaf.filter.key]
        for value in _witnesses(condition):
            yield self._deed(("trait", leaf.filter.key), condition, dict.fromkeys(same, value), {})

    def _happens(self, signal: str, events: int) -> dict[Part, Anything]:
        """Return what is observed of other parts once so many more events of the signal came in today."""
        of = dict(self.account.document.signals).get(signal)
        is_use = of is None or not set(of.events) <= set(CALLS_THAT_ARE_NOT_USE)
        signals = {signal, ANY_SIGNAL} if is_use else {signal}
        today = self.account.as_of.isoformat()
        effects: dict[Part, Anything] = {}
        for part, seen in self.account.seen.items():
            if getattr(part, "signal", None) not in signals:
                continue
            match part:
                case Measured(measure="count") | PerUnit(measure="count"):
                    effects[part] = (seen["observed"] or 0) + events
                case Ever():
                    effects[part] = seen["observed"] or today
                case SinceLast() | Decay():
                    effects[part] = today
                case FirstWithin() if not (seen["observed"] or [None])[0]:
                    effects[part] = [today, (seen["observed"] or [None, None])[1] or today]
        return effects

    def _deed(
        self,
        quantity: tuple[Anything, ...],
        condition: Plain,
        effects: Mapping[Part, Anything],
        follows: Mapping[Part, Anything],
    ) -> _Deed:
        return _Deed(quantity, condition, holding.gap(condition), {**follows, **effects})


def _target(measure: str, comparator: str, threshold: float, old: float | None, truth: bool) -> float | None:
    """Return the value nearest to the old one that compares as it should; None if there is none to be had."""
    if not truth:
        if old is None:
            return None
        if comparator == "equals":
            return old + 1
        comparator = OPPOSITE[comparator]
    if measure not in WHOLE:
        return threshold + {"more_than": A_BIT, "less_than": -A_BIT}.get(comparator, 0)
    whole = {"at_least": ceil(threshold), "more_than": floor(threshold) + 1}
    whole |= {"at_most": floor(threshold), "less_than": ceil(threshold) - 1}
    value = whole.get(comparator, threshold)
    return value if value >= 0 and float(value).is_integer() else None


def _witnesses(condition: Plain) -> list[Anything]:
    """Return values of a trait that pass the test."""
    operands = condition["threshold"]
    match condition["comparator"]:
        case "exists":
            return [True]
        case "in":
            return list(operands)
        case "more_than":
            return [operands[0] + A_BIT]
        case "less_than":
            return [operands[0] - A_BIT]
    return [operands[0]]


def _thinned(deeds: list[_Deed]) -> list[_Deed]:
    """Leave out levels of quantities that have very many: the first, the last and some between them stay."""
    by_quantity: dict[tuple[Anything, ...], list[_Deed]] = {}
    for deed in deeds:
        by_quantity.setdefault(deed.quantity, []).append(deed)
    kept: list[_Deed] = []
    for levels in by_quantity.values():
        if len(levels) > MOST_LEVELS and len(deeds) > 60:
            last = len(levels) - 1
            levels = [levels[round(last * k / (MOST_LEVELS - 1))] for k in range(MOST_LEVELS)]
        kept += levels
    return kept


# ---- the search


class _Search:
    """Tries sets of deeds, the small ones first."""

    def __init__(self, account: _Account, goal: int) -> None:
        self.account, self.goal, self.left = account, goal, BUDGET
        self.deeds = _Deeds(account, goal).found()

    def found(self, tier: str) -> Reach:
        """Return the ways to the tier of that name, or why there is none."""
        ways: list[tuple[_Deed, ...]] = []
        for size in range(1, MOST_STEPS + 1):
            # One step more than the first way takes may be less to do; still more steps are no help.
            if self.left <= 0 or len(ways) >= MOST_WAYS or (ways and size > len(ways[0]) + 1):
                break
            ways += self._of_size(size, ways)
        is_shortest = bool(ways)  # sizes are tried one after another, so all smaller sets were tried before
        ways = ways or self._long_way()
        if not ways:
            return Reach(tier, (), self.left > 0, f"There is no way to {tier} by what can be done or found out.")
        return Reach(tier, tuple(self._told(way) for way in ways[:MOST_WAYS]), is_shortest, "")

    def _of_size(self, size: int, known: Iterable[tuple[_Deed, ...]]) -> list[tuple[_Deed, ...]]:
        """Return ways of so many steps, the nearest first, as long as the budget lasts."""
        shorter = [{deed.quantity for deed in way} for way in known]
        reached: list[tuple[_Deed, ...]] = []
        for deeds in combinations(self.deeds, size):
            quantities = {deed.quantity for deed in deeds}
            if len(quantities) < size or any(short <= quantities for short in shorter):
                continue
            if self.left <= 0:
                break
            if self._reaches(deeds):
                reached.append(deeds)
        return _nearest(reached)

    def _reaches(self, deeds: Sequence[_Deed]) -> bool:
        self.left -= 1
        tier = self.account.after(deeds).tier
        return tier is not None and tier <= self.goal

    def _long_way(self) -> list[tuple[_Deed, ...]]:
        """Return a way of many steps: all that can be done, without what is not needed."""
        furthest = list({deed.quantity: deed for deed in self.deeds}.values())
        if not self._reaches(furthest):
            return []
        for deed in sorted(furthest, key=lambda deed: -deed.effort):
            fewer = [one for one in furthest if one is not deed]
            if self._reaches(fewer):
                furthest = fewer
        return [tuple(furthest)]

    def _told(self, deeds: Sequence[_Deed]) -> Way:
        then = self.account.after(deeds)
        steps = tuple(self._step(deed, then) for deed in deeds)
        names = [tier.name for tier in self.account.document.tiers]
        return Way(steps, names[self.goal if then.tier is None else then.tier], then.usage, then.fit)

    def _step(self, deed: _Deed, then: _Verdict) -> Step:
        rules, as_of = self.account.document.rules, self.account.as_of
        read = {place for part in deed.effects for place in self.account.readers[part]}
        helped = [rules[place].name for place in sorted(read) if then.rules[place] > self.account.base[place]]
        return Step(
            rules=tuple(helped),
            observed=cells.observed(deed.condition, as_of),
            needed=cells.asked(deed.condition),
            missing=cells.missing(deed.condition, as_of),
        )


def _nearest(ways: list[tuple[_Deed, ...]]) -> list[tuple[_Deed, ...]]:
    """Sort by how far they are; of those of the same quantities keep the nearest."""
    nearest: dict[frozenset[Anything], tuple[_Deed, ...]] = {}
    for way in sorted(ways, key=lambda way: sum(deed.effort for deed in way)):
        nearest.setdefault(frozenset(deed.quantity for deed in way), way)
    return list(nearest.values())
