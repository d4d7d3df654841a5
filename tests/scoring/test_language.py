"""The rule language: what is written reads back the same, what is wrong is told with path and line."""

from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import language
from tests.examples import few
from tests.scoring.strategies import documents

TEXT = """\
slug: new-business
name: New business
motion: new_business
signals:
  invited: {event: invited}
  storage: {event: saved, value: used_mb, limit: {property: quota_mb}}
groups:
  team: {score: usage, cap: 60}
rules:
  - {id: invites, name: Invited teammates, group: team, points: 40, when: {count: invited, within: 14d, at_least: 2}}
  - id: nearly-full
    group: team
    points: 12.5
    when:
      all:
        - {ratio: storage, at_least: 80%}
        - not: {trait: plan, equals: free}
  - {id: asked, qualify: hot, when: {count: invited, within: 7, at_least: 9}}
  - {id: students, name: A school, disqualify: true, when: {trait: industry, in: [education, school]}}
tiers:
  - {name: hot, pql: true, enter: {usage: 50}, hold: {usage: 40}}
  - {name: warm, enter: {usage: 10}}
"""


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new)


def faults(text: str) -> list[tuple[str, int | None]]:
    """Return path and line of everything that is wrong with the text."""
    with pytest.raises(language.Invalid) as invalid:
        language.parse(text)
    return [(fault.path, fault.line) for fault in invalid.value.faults]


def message(text: str) -> str:
    """Return what is said of the one thing that is wrong."""
    with pytest.raises(language.Invalid) as invalid:
        language.parse(text)
    (fault,) = invalid.value.faults
    return fault.message


class TestRoundTrip:
    @pytest.mark.parametrize(
        "word", ["1e3", "0E0", "-1e5", "1", "true", "~", "0.5", "no", "2026-01-01", "a\x85b", "\u2028"]
    )
    def test_a_text_that_looks_like_a_number_stays_a_text(self, word: str) -> None:
        named = replace(language.parse(TEXT), name=word)
        assert language.parse(language.to_yaml(named)) == named

    @given(documents())
    @settings(max_examples=few(30))
    def test_load_reads_what_dump_writes(self, document: language.Document) -> None:
        assert language.load(language.dump(document)) == document

    @given(documents())
    @settings(max_examples=few(20))
    def test_parse_reads_what_to_yaml_writes(self, document: language.Document) -> None:
        text = language.to_yaml(document)
        assert language.parse(text) == document
        assert language.digest(language.parse(text)) == language.digest(document)

    @given(documents(), documents())
    @settings(max_examples=few(20))
    def test_documents_that_differ_have_digests_that_differ(
        self, one: language.Document, other: language.Document
    ) -> None:
        assert (language.digest(one) == language.digest(other)) == (one == other)

    @pytest.mark.parametrize(
        "other",
        [
            f"# with a remark\n{TEXT}",
            changed("14d", "14"),
            changed("14d", "14 days"),
            changed("80%", "0.8"),
            changed("points: 40", "points: 40.00"),
            changed("[education, school]", "[school, education, school]").replace(
                "[school, education, school]", "[education, school]"
            ),
        ],
    )
    def test_texts_that_mean_the_same_share_a_digest(self, other: str) -> None:
        assert language.digest(language.parse(other)) == language.digest(language.parse(TEXT))

    @pytest.mark.parametrize(
        "other", [changed("at_least: 2", "at_least: 3"), changed("cap: 60", "cap: 61"), changed("not: {", "all: [{")]
    )
    def test_a_change_of_meaning_changes_the_digest(self, other: str) -> None:
        if "all: [{" in other:
            other = other.replace("equals: free}", "equals: free}]")
        assert language.digest(language.parse(other)) != language.digest(language.parse(TEXT))

    def test_the_name_of_a_signal_is_no_part_of_it(self) -> None:
        one = language.signals_of(language.parse(TEXT))["invited"]
        renamed = language.parse(changed("  invited:", "  called:").replace("count: invited", "count: called"))
        assert language.signal_digest(language.signals_of(renamed)["called"]) == language.signal_digest(one)


class TestNumbers:
    def test_points_are_hundredths(self) -> None:
        points = [rule.points for rule in language.parse(TEXT).rules if isinstance(rule, language.Points)]
        assert points == [4000, 1250]

    @pytest.mark.parametrize("points", ["0.001", "1e9", "abc", "'40'", "true", ".inf", ".nan", "[]", ""])
    def test_points_that_are_none_are_refused(self, points: str) -> None:
        assert ("rules[0].points", 10) in faults(changed("points: 40,", f"points: {points},"))

    @pytest.mark.parametrize("window", ["0", "-1", "3651", "1.5", "2 weeks", "1e400"])
    def test_windows_that_are_none_are_refused(self, window: str) -> None:
        assert ("rules[0].when.within", 10) in faults(changed("14d", window))

    def test_a_number_that_a_float_would_change_is_refused(self) -> None:
        text = changed("at_least: 2}", "at_least: 0.1234567890123456789}")
        assert faults(text) == [("rules[0].when.at_least", 10)]

    def test_words_of_other_yaml_dialects_are_words(self) -> None:
        document = language.parse(changed("equals: free", "equals: no"))
        condition = language.dump(document)["rules"][1]["when"]["all"][1]  # type: ignore[index]
        assert condition == {"not": {"trait": "plan", "equals": "no"}}


class TestWindows:
    def test_a_streak_has_one_said_or_not(self) -> None:
        said = language.parse(changed("count: invited, within: 14d", "streak: invited, within: 63"))
        unsaid = language.parse(changed("count: invited, within: 14d", "streak: invited"))
        assert language.digest(said) == language.digest(unsaid)


class TestDecay:
    @pytest.mark.parametrize("days", [1, 2, 3, 5, 7, 30, 3650])
    @pytest.mark.parametrize("shape", ["half_life", "linear"])
    def test_weights_begin_in_full_and_fall_to_nothing(self, shape: Literal["half_life", "linear"], days: int) -> None:
        steps = language.weights(language.Decay(shape, days))
        ages, left = zip(*steps, strict=True)
        assert (ages[0], left[0], left[-1]) == (0, language.FULL, 0)
        assert list(ages) == sorted(set(ages))
        assert list(left) == sorted(set(left), reverse=True)
        assert ages[-1] == (4 * days if shape == "half_life" else days)

    def test_a_half_life_halves(self) -> None:
        decay = language.Decay("half_life", 14)
        assert [language.weight_at(decay, age) for age in (0, 14, 28, 42, 55, 56)] == [1000, 500, 250, 125, 74, 0]

    def test_a_fraction_of_a_hundredth_is_cut_off_on_either_side_of_zero(self) -> None:
        assert [language.faded(points, 841) for points in (1001, -1001, 1, -1)] == [841, -841, 0, 0]

    def test_the_signal_may_be_left_out_where_there_is_only_one(self) -> None:
        text = changed("points: 40, ", "points: 40, decay: {linear: 9}, ")
        said = text.replace("linear: 9", "linear: 9, of: invited")
        assert language.digest(language.parse(text)) == language.digest(language.parse(said))

    def test_beside_units_it_needs_what_adds_up_and_no_signal(self) -> None:
        per = "per: {users: invited}, max: 9, decay: {linear: 9}, when: {count: invited, within: 14d"
        assert faults(changed("when: {count: invited, within: 14d", per)) == [("rules[0].decay", 10)]
        per = per.replace("users", "count").replace("linear: 9", "linear: 9, of: invited")
        assert faults(changed("when: {count: invited, within: 14d", per)) == [("rules[0].decay.of", 10)]


class TestFaults:
    def test_all_are_told_at_once_in_order_of_the_text(self) -> None:
        text = (
            TEXT.replace("score: usage", "score: use")
            .replace("count: invited, within: 14d", "count: invitd, within: 14d")
            .replace("enter: {usage: 10}", "enter: {usage: ten}")
        )
        assert faults(text) == [("groups.team.score", 8), ("rules[0].when.count", 10), ("tiers[1].enter.usage", 22)]

    @pytest.mark.parametrize(
        ("old", "new", "path", "line"),
        [
            ("slug: new-business", "slug: New Business", "slug", 1),
            ("motion: new_business\n", "", "motion", 1),
            ("motion:", "motoin: x\nmotion:", "motoin", 3),
            ("id: asked", "id: invites", "rules[2].id", 18),
            ("qualify: hot", "qualify: hottest", "rules[2].qualify", 18),
            ("group: team, points: 40, ", "", "rules[0]", 10),
            ("{ratio: storage,", "{ratio: invited,", "rules[1].when.all[0].ratio", 16),
            ("hold: {usage: 40}", "hold: {usage: 60}", "tiers[0].hold", 21),
            ("name: warm", "name: hot", "tiers[1].name", 22),
            ("at_least: 2}", "at_least: 2, at_most: 3}", "rules[0].when", 10),
            ("count: invited, within: 14d", "streak: invited, within: 64", "rules[0].when.within", 10),
            ("count: invited, within: 14d", "trend: invited", "rules[0].when", 10),
            ("count: invited, within: 14d, at_least: 2", "first_within: invited", "rules[0].when.after_sign_up", 10),
            ("count: invited, within: 14d", "breadth: [invited, invitd], within: 14d", "rules[0].when.breadth[1]", 10),
            ("count: invited, within: 14d", "breadth: invited, within: 14d", "rules[0].when.breadth", 10),
            ("count: invited, within: 14d, at_least: 2", "path: [invited]", "rules[0].when.path", 10),
            ("count: invited, within: 14d, at_least: 2", "path: [any, invited, any]", "rules[0].when.path", 10),
            ("points: 40, ", "points: 40, decay: {half_life: 0}, ", "rules[0].decay.half_life", 10),
            ("points: 40, ", "points: 40, decay: {}, ", "rules[0].decay", 10),
            ("points: 12.5", "points: 12.5\n    decay: {linear: 9, of: storag}", "rules[1].decay.of", 14),
            ("qualify: hot", "qualify: hot, decay: {linear: 9}", "rules[2].decay", 18),
            ("cap: 60", "cap: 60, first_match: 1", "groups.team.first_match", 8),
            ("within: 7, ", "", "rules[2].when", 18),  # a hand-raiser would qualify for ever
        ],
    )
    def test_say_where(self, old: str, new: str, path: str, line: int) -> None:
        assert (path, line) in faults(changed(old, new))

    def test_a_field_given_twice_is_told_where_it_is_given_again(self) -> None:
        assert faults(changed("motion: new_business", "motion: a\nmotion: b")) == [("motion", 4)]

    def test_a_typing_error_is_told_what_was_meant(self) -> None:
        assert "invited" in message(changed("count: invited, within: 14d", "count: invitde, within: 14d"))
        assert "at_least" in message(changed("at_least: 80%", "atleast: 80%, at_least: 80%"))


class TestPoison:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "\t",
            "null",
            "5",
            "[]",
            "- a",
            "a: [",
            "{" * 3000,
            "[" * 3000,
            "- " * 3000,
            "a: &x [1]\nb: *x",
            "!!python/object/apply:os.system [ls]",
            "? [a]\n: b",
            "slug: !!binary aGk=",
            "%YAML 9.9\n---\nslug: a",
            "--- a\n--- b",
            "slug: \x00",
            "slug: \ud800",
            "slug: '\\ud800'",
            "1e999999999: 1",
            "slug: 1e99",
            "9" * 10_000,
            "x" * 300_000,
            "a: " + "9" * 5000,
        ],
    )
    def test_is_refused_and_nothing_worse(self, text: str) -> None:
        assert faults(text)

    @given(st.text(max_size=200))
    @settings(max_examples=few(80))
    def test_any_text_is_refused_or_read(self, text: str) -> None:
        try:
            language.parse(text)
        except language.Invalid as invalid:
            assert invalid.faults

    @given(st.integers(0, len(TEXT) - 1), st.sampled_from("{}[]:,-&*!|>'\"%@`#?~0 \n\t\x00é"))
    @settings(max_examples=few(80))
    def test_one_wrong_character_is_refused_or_read(self, at: int, character: str) -> None:
        text = TEXT[:at] + character + TEXT[at + 1 :]
        try:
            document = language.parse(text)
        except language.Invalid as invalid:
            assert invalid.faults
        else:
            assert language.load(language.dump(document)) == document

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        )
    )
    def test_any_stored_data_is_refused_or_read(self, data: Any) -> None:
        with pytest.raises(language.Invalid):
            language.load(data)

    @given(
        st.sampled_from(["signals", "groups", "rules", "tiers", "goal", "sign_up", "population"]),
        st.recursive(
            st.sampled_from([None, True, 1, -1, 0.5, "any", "count", "all", "not", "usage", 10**30]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["count", "within", "at_least", "all", "not", "id", "event", "score", "name"]),
                    inner,
                    max_size=3,
                )
            ),
        ),
    )
    @settings(max_examples=few(80))
    def test_any_part_may_be_anything(self, part: str, data: Any) -> None:
        plain = language.dump(language.parse(TEXT)) | {part: data}
        try:
            document = language.load(plain)
        except language.Invalid as invalid:
            assert invalid.faults
        else:
            assert language.load(language.dump(document)) == document
