"""A document as the cells of a form: nothing is lost on the way there and back, and buttons do what they say."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqlapp.desk.editor import acts, document, rows, writing
from pqlapp.desk.editor.kinds import KINDS, NEST_WORDS, WRITTEN
from pqlapp.desk.editor.sheet import condition_cells, data_of, sheet_of
from scoring import language
from scoring.language.parsing import LEAVES
from tests.examples import few
from tests.scoring.strategies import documents

RULES = """
slug: new-business
name: New business
motion: new-business
signals:
  invitations: {event: Teammate Invited}
groups: {activity: {score: usage, cap: 45}, company: {score: fit}}
rules:
  - {id: invites, name: They invite teammates, group: activity, points: 10,
     per: {count: invitations, within: 14}, max: 30}
  - {id: two, name: Two people, group: activity, points: 5, when: {users: any, within: 7, at_least: 2}}
  - id: size
    name: Large and not a school
    group: company
    points: 25
    when: {all: [{trait: employees, at_least: 50}, {not: {trait: industry, equals: education}}]}
tiers:
  - {name: hot, pql: true, enter: {usage: 40}, hold: {usage: 30}}
"""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda n: int(n) if n == int(n) else n),
    st.text(max_size=12),
    st.sampled_from(["true", "1", '"', '"a"', " a", "a,b", "a\nb", "null", "1e3", "-", "[x]", "é, ü", "\u2028"]),
)
PLAIN = st.recursive(
    SCALARS.filter(lambda value: not isinstance(value, float)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)),
    max_leaves=6,
)


def sheet_of_text(text: str) -> dict[str, Any]:
    return sheet_of(language.dump(language.parse(text)))


def as_form(sheet: dict[str, Any]) -> dict[str, Any]:
    """What a browser sends of the sheet."""
    return acts.sheet_from(dict(acts.fields_of(sheet)))


def data(sheet: dict[str, Any]) -> dict[str, Any]:
    found, faults = data_of(sheet)
    assert faults == []
    return found


class TestASheet:
    @given(documents())
    @settings(max_examples=few(25))
    def test_holds_all_of_a_document(self, drawn: language.Document) -> None:
        plain = language.dump(drawn)
        sheet = acts.settled(as_form(sheet_of(plain)))
        assert data_of(sheet) == (plain, [])
        assert language.load(data(sheet)) == drawn

    @given(documents())
    @settings(max_examples=few(10))
    def test_tells_every_condition_in_a_sentence(self, drawn: language.Document) -> None:
        cells = dict(acts.fields_of(sheet_of(language.dump(drawn))))
        assert WRITTEN not in [value for name, value in cells.items() if name.endswith(".kind")]
        assert not [name for name, value in cells.items() if name.endswith("when.more") and value]

    def test_has_a_sentence_for_every_measure(self) -> None:
        assert set(KINDS) == set(LEAVES)

    @given(st.one_of(PLAIN, st.dictionaries(st.sampled_from([*LEAVES, *NEST_WORDS, "within"]), PLAIN, max_size=3)))
    def test_keeps_what_it_has_no_sentence_for(self, plain: object) -> None:
        sheet = sheet_of_text(RULES)
        sheet["rules"][1]["when"] = condition_cells(plain)
        kept = data(as_form(sheet))["rules"][1].get("when")
        assert (kept == plain and repr(kept) == repr(plain)) or plain is None

    def test_keeps_fields_that_no_blank_shows(self) -> None:
        plain = language.dump(language.parse(RULES))
        plain["rules"][1]["decay"] = {"half_life": 14}  # type: ignore[index]
        plain["level"] = "user"
        assert data(as_form(sheet_of(plain))) == plain

    def test_says_that_two_signals_have_one_name(self) -> None:
        sheet = sheet_of_text(RULES)
        sheet["signals"].append(dict(sheet["signals"][0], events="Other"))
        assert [fault.path for fault in data_of(sheet)[1]] == ["signals#1"]


class TestABlank:
    @given(SCALARS)
    def test_is_read_as_it_was_written(self, value: object) -> None:
        words = writing.written(value)
        assert repr(writing.read(words)) == repr(value)
        assert "\n" not in words and "\r" not in words  # an input would drop them

    @given(st.text(max_size=20))
    def test_of_a_text_is_read_as_it_was_written(self, value: str) -> None:
        assert writing.read_text(writing.written_text(value)) == value

    @given(st.lists(SCALARS.filter(lambda value: value is not None), max_size=5))
    def test_of_a_list_is_read_as_it_was_written(self, values: list[object]) -> None:
        assert repr(writing.read_list(writing.written_list(values))) == repr(values)

    @given(st.lists(st.text(max_size=9), max_size=5))
    def test_of_texts_is_read_as_it_was_written(self, values: list[str]) -> None:
        assert writing.read_list(writing.written_list(values, texts=True), texts=True) == values


class TestAButton:
    def test_moves_a_rule(self) -> None:
        sheet, focus = acts.do(sheet_of_text(RULES), "down rules.0")
        assert ([rule["id"] for rule in sheet["rules"]], focus) == (["two", "invites", "size"], "rules.1")
        sheet, focus = acts.do(sheet, "up rules.0")
        assert ([rule["id"] for rule in sheet["rules"]], focus) == (["two", "invites", "size"], "rules.0")

    def test_takes_a_rule_away(self) -> None:
        sheet, focus = acts.do(sheet_of_text(RULES), "remove rules.2")
        assert ([rule["id"] for rule in sheet["rules"]], focus) == (["invites", "two"], "rules.1")

    def test_adds_a_rule_that_is_named_by_its_name(self) -> None:
        sheet, focus = acts.do(sheet_of_text(RULES), "add rules disqualify")
        sheet["rules"][3] |= {"name": "Gone quiet!"}
        sheet["rules"][3]["when"] |= {"signal": "any"}
        added = data(sheet)["rules"][3]
        assert (focus, added["id"], added["disqualify"]) == ("rules.3", "gone-quiet", True)
        assert language.load(data(sheet))

    @pytest.mark.parametrize("what", ["signals", "groups", "tiers", "signals.0.where", "rules.2.when.of"])
    def test_adds_a_row_to_every_list(self, what: str) -> None:
        sheet, focus = acts.do(sheet_of_text(RULES), f"add {what}")
        assert focus.startswith(f"{what}.")
        assert rows.page_of(as_form(sheet))

    def test_puts_a_condition_among_others_and_out_again(self) -> None:
        before = sheet_of_text(RULES)
        sheet, focus = acts.do(before, "nest rules.1.when any")
        assert focus == "rules.1.when.of.1"
        assert list(data(sheet)["rules"][1]["when"]) == ["any"]
        sheet, _ = acts.do(sheet, "remove rules.1.when.of.1")
        sheet, focus = acts.do(sheet, "flatten rules.1.when")
        assert (data(sheet), focus) == (data(before), "rules.1.when")

    def test_turns_a_condition_into_its_opposite(self) -> None:
        sheet, _ = acts.do(sheet_of_text(RULES), "nest rules.1.when not")
        assert data(sheet)["rules"][1]["when"] == {"not": {"users": "any", "within": 7, "at_least": 2}}

    @pytest.mark.parametrize(
        "act", ["up rules.9", "explode rules.1", "remove rules", "add nothing", "nest name all", ""]
    )
    def test_that_is_none_is_told(self, act: str) -> None:
        with pytest.raises(acts.NoSuchAct):
            acts.do(sheet_of_text(RULES), act)


class TestSettling:
    def test_carries_a_new_name_to_where_it_is_used(self) -> None:
        sheet = sheet_of_text(RULES)
        sheet["signals"][0]["name"] = "invites"
        sheet["groups"][0]["name"] = "habit"
        found = data(acts.settled(sheet))
        assert found["rules"][0]["per"]["count"] == "invites"
        assert [rule["group"] for rule in found["rules"]] == ["habit", "habit", "company"]
        assert language.load(found)

    def test_makes_a_signal_of_an_event_that_arrived(self) -> None:
        sheet = sheet_of_text(RULES)
        sheet["rules"][1]["when"]["signal"] = "event:Report, Exported"
        sheet["rules"][0]["per"]["signal"] = "event:Teammate Invited"
        found = data(acts.settled(sheet))
        assert found["signals"]["report-exported"] == {"event": "Report, Exported"}
        assert (found["rules"][1]["when"]["users"], found["rules"][0]["per"]["count"]) == (
            "report-exported",
            "invitations",
        )


class TestFaults:
    def test_stand_at_their_rows_all_at_once(self) -> None:
        sheet = sheet_of_text(RULES)
        sheet["rules"][1]["when"]["threshold"] = "many"
        sheet["rules"][2]["when"]["of"][1]["of"][0]["key"] = ""
        sheet["tiers"][0]["hold"]["usage"] = "50"
        sheet["groups"][0]["cap"] = "-1"
        sheet["name"] = ""
        edited = document.Edited("", document.SENTENCES, sheet)
        page = rows.page_of(sheet, faults=edited.faults)
        told = {row.name: row.faults for row in page.all() if row.faults}
        assert told == {
            "head": ["name must be text of 1 to 200 characters, not ''"],
            "rules.1.when": ["at_least must be a number, not 'many'"],
            "rules.2.when.of.1.of.0": ["trait must be text of 1 to 256 characters, not ''"],
            "tiers.0": ["hold must not be above `enter`: a tier is held longer than it is entered"],
            "groups.0": ["cap must be points with at most two decimals from 0 to 1000000"],
        }
        assert len(page.faults) == 5

    @given(documents(), st.data())
    @settings(max_examples=few(10))
    def test_each_has_a_row(self, drawn: language.Document, pick: st.DataObject) -> None:
        cells = dict(acts.fields_of(sheet_of(language.dump(drawn))))
        for name in pick.draw(st.lists(st.sampled_from(sorted(cells)), max_size=3)):
            cells[name] = pick.draw(st.sampled_from(["", "nonsense", "-1", "{"]))
        sheet = acts.sheet_from(cells)
        edited = document.Edited("", document.SENTENCES, sheet)
        page = rows.page_of(sheet, faults=edited.faults)
        assert sum(len(row.faults) for row in page.all()) == len(edited.faults) == len(page.faults)


class TestTheTwoViews:
    def test_keep_the_text_of_what_was_not_changed(self) -> None:
        text = RULES + "# nobody may lose this\n"
        edited = document.opened(text)
        assert document.done(edited, "show yaml").text == text

    def test_show_what_was_changed(self) -> None:
        edited = document.opened(RULES)
        edited.sheet["rules"][1]["when"]["threshold"] = "4"
        text = document.done(edited, "show yaml").text
        assert "at_least: 4" in text
        assert document.done(document.Edited(text), "show sentences").document == edited.document

    def test_stay_with_a_text_that_is_at_fault(self) -> None:
        edited = document.done(document.Edited(RULES + "oops: 1\n"), "show sentences")
        assert (edited.view, edited.text) == (document.YAML, RULES + "oops: 1\n")
        assert [fault.path for fault in edited.faults] == ["oops"]

    def test_keep_a_sheet_that_is_at_fault_as_yaml(self) -> None:
        edited = document.opened(RULES)
        edited.sheet["rules"][1]["when"]["threshold"] = ""
        written = document.done(edited, "show yaml")
        assert (written.view, "at_least: null" in written.text) == (document.YAML, True)
