"""What is missing to the next tier: held to a search by brute force, and to what really happens when it is done."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from fractions import Fraction
from itertools import product
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import language, reaching
from scoring.language import Document
from scoring.ledger import form
from scoring.reaching import Reach

TODAY = date(2026, 3, 31)
HEAD = {
    "slug": "new-business",
    "name": "New business",
    "motion": "new_business",
    "goal": {"outcome": ["won"]},
    "signals": {"invited": {"event": "invited"}, "saved": {"event": "saved", "value": "mb"}},
}
GROUPS = {"activity": {"score": "usage"}, "company": {"score": "fit"}}
TIERS = [
    {"name": "hot", "pql": True, "enter": {"usage": 40, "fit": 20}},
    {"name": "warm", "enter": {"usage": 20}},
]


def document(*rules: dict[str, Any], groups: Any = GROUPS, tiers: Any = TIERS) -> Document:
    named = [{"id": f"r{i}", "name": f"Rule {i}", **rule} for i, rule in enumerate(rules)]
    return language.parse(json.dumps(HEAD | {"groups": groups, "rules": named, "tiers": tiers}))


def usage(points: int, when: Any = None, **more: Any) -> dict[str, Any]:
    return {"group": "activity", "points": points} | ({"when": when} if when else {}) | more


Seen = Mapping[str, Any]  # count, users, ever and last by signal; traits by key


def observed_of(part: language.Part, seen: Seen) -> Any:
    """What a world of numbers shows of a part."""
    match part:
        case language.Trait(test):
            return seen.get(test.key)
        case language.Ever(signal) | language.SinceLast(signal) | language.Decay(signal=signal):
            return (TODAY - timedelta(days=seen[f"{signal} age"])).isoformat() if seen[f"count {signal}"] else None
        case language.Measured() | language.PerUnit():
            return seen[f"{part.measure} {part.signal}"]
    raise AssertionError(part)


def holds(condition: language.Condition | None, seen: Seen) -> bool:
    match condition:
        case None:
            return True
        case language.All(of):
            return all(holds(one, seen) for one in of)
        case language.Any(of):
            return any(holds(one, seen) for one in of)
        case language.Not(of):
            return not holds(of, seen)
        case language.Ever(signal):
            return seen[f"count {signal}"] > 0
        case language.Measured(measure, signal, _, comparator, threshold):
            value, wanted = Fraction(seen[f"{measure} {signal}"]), Fraction(threshold)
            return {"at_least": value >= wanted, "at_most": value <= wanted}[comparator]
        case language.Trait(test):
            known, operand = seen.get(test.key), cast("Any", test.operand)
            return known is not None and bool(known in operand if test.test == "in" else known >= operand)
    raise AssertionError(condition)


def verdict(doc: Document, seen: Seen) -> tuple[str, list[bool], list[int]]:
    """Return tier, rules met, and points by rule: what docs/rule-language.md says, word by word."""
    met, raw, totals = [], [], {"usage": 0, "fit": 0}
    for rule in doc.rules:
        is_met, points = holds(rule.when, seen), 0
        if isinstance(rule, language.Points):
            left = language.weight_at(rule.decay, seen[f"{rule.decay.signal} age"]) if rule.decay else 1000
            points = rule.points * left // 1000 if is_met else 0
            if rule.per:
                units = int(Fraction(seen[f"{rule.per.measure} {rule.per.signal}"]) // Fraction(rule.per.every))
                points, is_met = min(rule.points * units, rule.per.most), units > 0
        met.append(is_met)
        raw.append(points)
    for group in doc.groups:
        given_points = [p for rule, p in zip(doc.rules, raw, strict=True) if getattr(rule, "group", "") == group.name]
        gains, losses = sum(p for p in given_points if p > 0), sum(p for p in given_points if p < 0)
        totals[group.score] += max(0, min(gains, group.cap if group.cap is not None else gains) + losses)
    raised = {r.tier for r, is_met in zip(doc.rules, met, strict=True) if is_met and isinstance(r, language.Qualify)}
    barred = any(m and isinstance(r, language.Disqualify) for r, m in zip(doc.rules, met, strict=True))
    for tier in doc.tiers:
        enough = totals["usage"] >= tier.enter.usage and totals["fit"] >= tier.enter.fit
        if not barred and (enough or tier.name in raised):
            return tier.name, met, raw
    return "", met, raw


def ledger_of(doc: Document, seen: Seen) -> tuple[dict[str, Any], str, str]:
    """Return the ledger that the world would have, its tier and its status."""
    tier, met, raw = verdict(doc, seen)
    parts = language.parts_of(doc)
    filled = form(doc).fill(
        met=met, raw=raw, observed=[observed_of(p, seen) for p in parts], seen=[None] * 2 * len(parts)
    )
    barred = any(m and isinstance(r, language.Disqualify) for r, m in zip(doc.rules, met, strict=True))
    return filled, tier, "disqualified" if barred else "scored"


def reach(doc: Document, **changed: Any) -> Reach:
    seen = {f"{what} {of}": 0 for what in ("count", "users") for of in ("invited", "saved", "any")}
    seen |= {f"{of} age": 3 for of in ("invited", "saved", "any")} | {
        k.replace("_", " "): v for k, v in changed.items()
    }
    ledger, tier, status = ledger_of(doc, seen)
    return reaching.reach(ledger, document=doc, tier=tier, status=status, as_of=TODAY)


def missing(found: Reach) -> list[list[str]]:
    return [[step.missing for step in way.steps] for way in found.ways]


COUNT = {"count": "invited", "within": 14}


class TestWhatIsMissing:
    def test_the_shortest_comes_first_and_says_how_much_is_missing(self) -> None:
        doc = document(
            usage(20, COUNT | {"at_least": 3}),
            usage(10, {"users": "saved", "within": 14, "at_least": 2}),
            usage(10, {"trait": "seats", "at_least": 5}),
        )
        found = reach(doc, count_invited=1)
        assert found.tier == "warm"
        assert found.is_shortest
        assert missing(found) == [
            ["2 more in 14 days (invited)"],
            ["2 more people in 14 days (saved)", "seats: not known, asked is ≥ 5"],
        ]
        assert found.ways[0].steps[0].rules == ("Rule 0",)
        assert (found.ways[0].usage, found.ways[0].tier) == (2000, "warm")

    def test_units_are_asked_for_only_as_far_as_they_are_needed(self) -> None:
        doc = document(usage(5, per=COUNT, max=50))
        assert missing(reach(doc, count_invited=1)) == [["3 more in 14 days (invited)"]]

    def test_one_more_event_is_a_step_for_all_that_read_it(self) -> None:
        doc = document(
            usage(10, COUNT | {"at_least": 3}), usage(10, {"ever": "invited"}), usage(20, COUNT | {"at_least": 9})
        )
        found = reach(doc)
        assert missing(found) == [["3 more in 14 days (invited)"]]
        assert found.ways[0].steps[0].rules == ("Rule 0", "Rule 1")

    def test_what_fades_is_fresh_again_after_what_is_done(self) -> None:
        fading = {"half_life": 1, "of": "invited"}
        doc = document(usage(20, COUNT | {"at_least": 2}, decay=fading))
        assert missing(reach(doc, count_invited=1)) == [["1 more in 14 days (invited)"]]
        assert missing(reach(doc, count_invited=2)) == [["invited, once more"]]

    def test_a_raised_hand_is_one_step(self) -> None:
        asked = {"qualify": "hot", "when": {"count": "saved", "within": 14, "at_least": 1}}
        found = reach(document(usage(10, COUNT | {"at_least": 3}), asked))
        assert missing(found) == [["1 more in 14 days (saved)"]]
        assert found.ways[0].tier == "hot"

    def test_what_is_known_of_a_company_is_no_step(self) -> None:
        doc = document(usage(20, {"trait": "seats", "at_least": 5}))
        assert missing(reach(doc)) == [["seats: not known, asked is ≥ 5"]]
        found = reach(doc, seats=2)
        assert found.ways == ()
        assert found.why_not == "There is no way to warm by what can be done or found out."

    def test_does_not_lead_into_a_disqualification(self) -> None:
        doc = document(
            usage(20, COUNT | {"at_least": 3}),
            {"disqualify": True, "when": COUNT | {"at_least": 3}},
            usage(20, {"ever": "saved"}),
        )
        assert missing(reach(doc)) == [["saved: never, asked is at least once"]]

    def test_what_it_takes_off_counts_too(self) -> None:
        alone = usage(-10, COUNT | {"at_least": 2})
        doc = document(usage(20, COUNT | {"at_least": 3}), alone, usage(10, {"ever": "saved"}))
        (way,) = reach(doc).ways
        assert [step.missing for step in way.steps] == [
            "3 more in 14 days (invited)",
            "saved: never, asked is at least once",
        ]

    def test_more_people_do_more(self) -> None:
        people = {"users": "invited", "within": 14, "at_least": 3}
        doc = document(usage(10, people), usage(10, COUNT | {"at_least": 3}))
        assert missing(reach(doc)) == [["3 more people in 14 days (invited)"]]

    def test_says_why_there_is_nothing_to_do(self) -> None:
        barred = document(usage(20, {"ever": "saved"}), {"name": "Bots", "disqualify": True, "when": {"ever": "any"}})
        assert reach(barred, count_any=1).why_not == "It is disqualified: Bots. Points give it no tier meanwhile."
        assert reach(document(usage(50, {"ever": "any"}), tiers=TIERS[1:]), count_any=1).why_not.startswith(
            "It is of the best"
        )
        for status in ("outside", "excluded"):
            found = reaching.reach({"lines": []}, document=barred, tier="", status=status, as_of=TODAY)
            assert "no points give it a tier" in found.why_not

    def test_many_small_rules_are_a_long_way_and_it_is_said(self) -> None:
        doc = document(*(usage(4, {"trait": f"t{i}", "exists": True}) for i in range(12)))
        found = reach(doc)
        assert [len(way.steps) for way in found.ways] == [5]
        assert not found.is_shortest

    def test_a_large_document_is_searched_within_a_budget(self) -> None:
        doc = document(*(usage(1, {"trait": f"t{i}", "exists": True}) for i in range(200)))
        found = reach(doc)
        assert [len(way.steps) for way in found.ways] == [20]
        assert not found.is_shortest


# ---- by brute force

LEAVES = st.one_of(
    st.builds(
        lambda measure, signal, n: {measure: signal, "within": 14, "at_least": n},
        st.sampled_from(["count", "users"]),
        st.sampled_from(["invited", "saved"]),
        st.integers(1, 3),
    ),
    st.builds(lambda signal: {"ever": signal}, st.sampled_from(["invited", "saved", "any"])),
    st.builds(lambda n: {"trait": "seats", "at_least": n}, st.sampled_from([5, 50])),
    st.just({"trait": "industry", "in": ["it", "bank"]}),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda of: {"all": of}, st.lists(inner, min_size=2, max_size=2)),
        st.builds(lambda of: {"any": of}, st.lists(inner, min_size=2, max_size=2)),
        st.builds(lambda of: {"not": of}, inner),
    ),
    max_leaves=3,
)
RULES = st.one_of(
    st.builds(lambda when, n: usage(n, when), CONDITIONS, st.sampled_from([10, 20, 30, -10])),
    st.builds(lambda when, n: {"group": "company", "points": n, "when": when}, CONDITIONS, st.sampled_from([10, 20])),
    st.builds(
        lambda s, n: usage(n, per={"count": s, "within": 14}, max=3 * n),
        st.sampled_from(["invited", "saved"]),
        st.just(8),
    ),
    st.builds(lambda when: {"qualify": "hot", "when": when}, LEAVES.filter(lambda leaf: "within" in leaf)),
)
WORLDS = st.fixed_dictionaries(
    {f"{what} {of}": st.integers(0, 2) for what in ("count", "users") for of in ("invited", "saved")}
    | {"seats": st.sampled_from([None, 1, 7]), "industry": st.sampled_from([None, "it", "tv"])}
)


def worlds_from(seen: Seen) -> Iterator[tuple[frozenset[str], dict[str, Any]]]:
    """Yield every world that steps lead to, with what was stepped on."""
    more = {f"{what} {of}": range(4) for what in ("count", "users") for of in ("invited", "saved")}
    more["any"] = range(2)  # something is done that is neither
    told: dict[str, list[Any]] = {"seats": [None, 5, 50], "industry": [None, "it", "bank"]}
    unknown = {key: values for key, values in told.items() if seen[key] is None}
    for deltas in product(*list(more.values())):
        by = dict(zip(more, deltas, strict=True))
        for values in product(*list(unknown.values())):
            found = {key: value for key, value in zip(unknown, values, strict=True) if value is not None}
            world = {**seen, **found}
            events = {of: max(by[f"count {of}"], by[f"users {of}"]) for of in ("invited", "saved")}
            for of, extra in events.items():
                world[f"count {of}"] += extra
                world[f"users {of}"] += by[f"users {of}"]
            world["count any"] = seen["count any"] + max(*events.values(), by["any"])
            yield frozenset([*(key for key, n in by.items() if n), *found]), world


def quantities(doc: Document, seen: Seen) -> set[frozenset[str]]:
    """Return by brute force the smallest sets of quantities by which the next tier can be reached."""
    names = [tier.name for tier in doc.tiers]
    present = verdict(doc, seen)[0]
    better = names[: names.index(present) if present else len(names)]
    reached = {stepped for stepped, world in worlds_from(seen) if verdict(doc, world)[0] in better}
    least = min(map(len, reached), default=0)
    return {stepped for stepped in reached if len(stepped) == least}


class TestByBruteForce:
    @given(rules=st.lists(RULES, min_size=1, max_size=4), world=WORLDS, cap=st.sampled_from([None, 25]))
    @settings(max_examples=30, deadline=None)
    def test_the_first_way_is_as_short_as_any(self, rules: list[dict[str, Any]], world: Seen, cap: int | None) -> None:
        groups = GROUPS | ({"activity": {"score": "usage", "cap": cap}} if cap else {})
        doc = document(*rules, groups=groups)
        seen = {**world, **{f"{of} age": 0 for of in ("invited", "saved", "any")}}
        for of in ("invited", "saved"):
            seen[f"users {of}"] = min(seen[f"users {of}"], seen[f"count {of}"])
        seen["count any"] = seen["count invited"] + seen["count saved"]
        ledger, tier, status = ledger_of(doc, seen)
        if status != "scored" or tier == "hot":
            return
        found = reaching.reach(ledger, document=doc, tier=tier, status=status, as_of=TODAY)
        best = quantities(doc, seen)
        assert [len(way.steps) for way in found.ways[:1]] == [len(next(iter(best)))] if best else not found.ways
        assert found.is_shortest or not best
