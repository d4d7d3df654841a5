"""Rule documents that are wrong, hostile or far too large: told politely, at once, all of it."""

import pytest

from scoring import language
from scoring.language.reading import MOST_CHARACTERS, MOST_DEPTH, MOST_VALUES

HEAD = "slug: x\nname: X\nmotion: x\ngroups: {team: {score: usage}}\ntiers: [{name: hot, enter: {usage: 1}}]\n"
RULE = "{id: r%d, group: team, points: 1, when: {age: account, at_least: 1}}"


def faults(text: str) -> list[language.Fault]:
    with pytest.raises(language.Invalid) as invalid:
        language.parse(text)
    return invalid.value.faults


class TestTooMuch:
    def test_ten_thousand_rules_are_told_by_their_length(self) -> None:
        text = HEAD + "rules:\n" + "".join(f"  - {RULE % n}\n" for n in range(10_000))
        (fault,) = faults(text)
        assert f"at most {MOST_CHARACTERS:,} characters, not {len(text):,}" in fault.message

    def test_too_many_rules_are_counted_and_those_that_are_read_are_checked(self) -> None:
        text = HEAD + "rules:\n" + "".join(f"  - {RULE % n}\n" for n in range(400)).replace("points: 1", "points: 0", 1)
        told = [(fault.path, fault.message, fault.line) for fault in faults(text)]
        assert ("rules", "has 400 items; at most 300 are allowed", 7) in told
        assert ("rules[0].points", "must not be 0", 7) in told

    def test_too_many_values_are_not_read_to_the_end(self) -> None:
        (fault,) = faults("a: [" + "1," * (MOST_VALUES + 1) + "]")
        assert (fault.message, fault.line) == (f"a rule document has at most {MOST_VALUES:,} values", 1)

    @pytest.mark.parametrize(
        "text",
        [
            "[" * 1000 + "]" * 1000,
            "{a: " * 1000 + "1" + "}" * 1000,
            "".join(f"{'  ' * n}a:\n" for n in range(300)),
            "- " * 1000 + "x",
            HEAD
            + "rules: [{id: r, group: team, points: 1, when: "
            + "{not: " * 1000
            + "{ever: any}"
            + "}" * 1000
            + "}]",
            "? " * 1000,
        ],
    )
    def test_nesting_of_a_thousand_is_refused_at_its_line(self, text: str) -> None:
        (fault,) = faults(text)
        assert fault.message == f"nested deeper than {MOST_DEPTH} levels"
        assert fault.line is not None

    def test_nesting_beyond_what_conditions_may_is_told_at_its_place(self) -> None:
        text = (
            HEAD
            + "rules:\n  - id: r\n    group: team\n    points: 1\n    when: "
            + "{not: " * 9
            + "{ever: any}"
            + "}" * 9
        )
        (fault,) = faults(text)
        assert (fault.path, fault.line) == (f"rules[0].when{'.not' * 9}", 10)
        assert fault.message == "is nested deeper than 8 levels"


class TestBombs:
    def test_a_billion_laughs_are_refused_at_the_first_alias(self) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
        (fault,) = faults("\n".join(lines))
        assert fault.message == "aliases (*name) are not allowed; write the value out"
        assert fault.line == 2

    @pytest.mark.parametrize("text", ["a: &a {b: *a}", "<<: *x", "a: &a 1\nb: {<<: *a}"])
    def test_aliases_of_any_kind_are_refused(self, text: str) -> None:
        assert "aliases" in faults(text)[0].message

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("!!python/object/apply:os.system [x]", 1),
            ("slug: !!python/name:os.system x", 1),
            ("slug: !!binary aGVsbG8=", 1),
            ("slug: x\nname: !own x", 2),
            ("slug: !!timestamp 2026-01-01", 1),
        ],
    )
    def test_tags_make_nothing(self, text: str, line: int) -> None:
        assert all(fault.message for fault in faults(text))
        assert any(fault.line == line for fault in faults(text))

    @pytest.mark.parametrize("number", ["1" * 5000, "-" + "9" * 400, "1e99", "0." + "1" * 3000, ".inf", ".nan", "0x10"])
    def test_numbers_without_measure_are_no_numbers(self, number: str) -> None:
        text = HEAD + f"rules: [{{id: r, group: team, points: {number}, when: {{age: account, at_least: {number}}}}}]"
        assert {fault.path for fault in faults(text)} == {"rules[0].points", "rules[0].when.at_least"}


class TestEveryFaultAtOnce:
    def test_of_the_text_and_of_the_document(self) -> None:
        text = """\
slug: New Business
name: X
name: Y
motion: x
signels: {}
groups:
  team: {score: use}
rules:
  - {id: r, group: taem, points: !own 1, when: {count: nothing, within: 0, at_least: some}}
  - {id: r, group: team, points: 1.001, per: {count: any}}
  - {id: s, disqualify: perhaps, when: {age: account}}
tiers:
  - {name: hot, enter: {usage: 1}, hold: {usage: 2}}
"""
        told = [(fault.line, fault.path) for fault in faults(text)]
        assert told == sorted(told, key=lambda fault: fault[0] or 0)
        assert set(told) == {
            (1, "slug"),
            (3, "name"),
            (5, "signels"),
            (7, "groups.team.score"),
            (9, "rules[0].group"),
            (9, "rules[0].points"),
            (9, "rules[0].when.count"),
            (9, "rules[0].when.within"),
            (9, "rules[0].when.at_least"),
            (10, "rules[1].points"),
            (10, "rules[1]"),
            (11, "rules[2].disqualify"),
            (11, "rules[2].when"),
            (13, "tiers[0].hold"),
        }
        assert all(len(fault.message) > 8 for fault in faults(text))
