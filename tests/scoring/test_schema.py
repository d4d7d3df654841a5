"""The JSON Schema of rule documents says what the parser says, but for what is listed as beyond it."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring import language
from scoring.language.reading import read
from scoring.language.schema import BEYOND
from tests.examples import few
from tests.scoring.strategies import documents
from tests.scoring.test_cases import GOOD, TEXT

SCHEMA = language.json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
ROOT = Path(__file__).resolve().parents[2]
slow = settings(max_examples=few(50), suppress_health_check=list(HealthCheck), deadline=None)

# What takes the place of a value somewhere in a document.
WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, -1, 0.001, 1.5, 10**7, 4000, "", "x", "X y", "hot", "any", "80%", "14 days", [], ["x"], {}]
)
WORDS = st.sampled_from(
    [
        *("id", "name", "points", "group", "per", "max", "when", "within", "at_least", "at_most", "equals", "count"),
        *("ratio", "all", "not", "signal", "event", "limit", "pql", "unknown", "streak", "trend", "path", "decay"),
        *("first_within", "after_sign_up", "breadth", "first_match", "half_life", "linear", "of"),
    ]
)


def places(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in the data, the whole left out."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [place for key, value in items for place in [(*path, key), *places(value, (*path, key))]]


def at(plain: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        plain = plain[key]
    return plain


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid document with one to three places put wrong."""
    plain = json.loads(json.dumps(language.dump(draw(documents()))))
    for _ in range(draw(st.integers(1, 3))):
        found = places(plain)
        *path, key = draw(st.sampled_from(found))
        around = at(plain, tuple(path))
        match draw(st.sampled_from(["drop", "replace", "add", "double"])):
            case "drop":
                del around[key]
            case "replace":
                around[key] = draw(WRONG)
            case "add" if isinstance(around, dict):
                around[draw(WORDS)] = draw(WRONG)
            case _:
                around[key] = [around[key], copy.deepcopy(around[key])]
    return plain


def faults(plain: Any) -> list[language.Fault]:
    try:
        language.load(plain)
    except language.Invalid as invalid:
        return invalid.faults
    return []


class TestTheSchema:
    def test_is_a_schema(self) -> None:
        jsonschema.Draft202012Validator.check_schema(SCHEMA)

    @given(documents())
    @slow
    def test_takes_what_the_parser_takes(self, document: language.Document) -> None:
        VALIDATOR.validate(language.dump(document))

    @given(mutated())
    @slow
    def test_refuses_what_the_parser_refuses_and_nothing_else(self, plain: Any) -> None:
        found, told = faults(plain), VALIDATOR.is_valid(plain)
        if not found:
            assert told, [error.message for error in VALIDATOR.iter_errors(plain)]
        elif told:
            beyond = [any(part in fault.message for part in BEYOND) for fault in found]
            assert all(beyond), [f"{fault}" for fault in found]

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("slug: new-business\n", ""),
            ("score: usage", "score: use"),
            ("points: 40", "points: forty"),
            ("points: 40", "points: 0"),
            ("within: 14, ", "within: 0, "),
            ("within: 14, ", "at_most: 9, "),
            ("at_least: 2", "at_least: two"),
            (", max: 10", ""),
            ("disqualify: true", "disqualify: false"),
            ("mb, at_least: 10", "mb"),
            ("expect: {tier: none, usage: 0}", "expect: {}"),
            ("days_ago: 13, times: 3", "days_ago: 13, times: 0"),
            ("motion:", "motions:"),
        ],
    )
    def test_refuses(self, old: str, new: str) -> None:
        text = TEXT + GOOD
        VALIDATOR.validate(plain_of(text))
        worse = text.replace(old, new, 1)
        assert worse != text
        assert not VALIDATOR.is_valid(plain_of(worse))
        with pytest.raises(language.Invalid):
            language.parse(worse)

    def test_of_the_docs_is_this_one(self) -> None:
        stored = json.loads((ROOT / "docs/rules.schema.json").read_text())
        assert stored == json.loads(json.dumps(SCHEMA)), (
            "write it anew: manage.py rules schema > docs/rules.schema.json"
        )

    @pytest.mark.parametrize(
        "path", sorted(ROOT.glob("docs/examples/*.yaml")) + sorted(ROOT.glob("pqlapp/demo/**/*.yaml"))
    )
    def test_takes_our_own_documents(self, path: Path) -> None:
        VALIDATOR.validate(plain_of(path.read_text()))


def plain_of(text: str) -> Any:
    """The data of a YAML text, as the strict reader reads it."""
    return json.loads(json.dumps(read(text).data, default=float))


class TestNoPatternOfAUser:
    def test_is_given_to_an_engine_of_regular_expressions(self) -> None:
        """There is no test by pattern: if one comes, it must go through RE2."""
        assert not [test for test in language.TESTS if re.search("match|regex|like|pattern", test)]
        for path in (ROOT / "scoring/compiler").glob("*.py"):
            assert not re.search(r"regexp_|similar to|\bI?LIKE\b|!?~\*? ", path.read_text(), re.IGNORECASE), path
