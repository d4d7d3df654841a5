"""The compiled statement, as text: a change of the compiler shows as a diff of a golden file."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings

from scoring import language
from scoring.compiler import sql
from scoring.compiler.plan import for_users, plan
from tests.examples import few
from tests.scoring.strategies import documents

GOLDEN = Path(__file__).parent / "golden"
BINDINGS = {"pairs": sql.PAIRS, "few": sql.FEW, "everyone": sql.EVERYONE, "users": sql.USERS}

DOCUMENT = """
slug: golden
name: Golden
motion: new_business
goal: {outcome: won}
signals:
  invited: {event: invited}
  stored: {event: saved, value: used_mb, limit: {trait: plan, table: {free: 5, pro: 50}}}
population: {not: {outcome: won}}
groups:
  team: {score: usage, cap: 30}
  company: {score: fit}
rules:
  - {id: invites, group: team, points: 20, when: {users: invited, within: 14, at_least: 3}}
  - {id: more, group: team, points: 1, per: {count: invited, within: 30, every: 2}, max: 5}
  - {id: full, group: team, points: 10, when: {ratio: stored, within: 30, at_least: 80%}}
  - {id: small, group: company, points: -5, when: {trait: employees, less_than: 5}}
  - {id: quiet, disqualify: true, when: {since_last: any, at_least: 21}}
  - {id: demo, qualify: hot, when: {count: invited, within: 7, at_least: 9}}
tiers:
  - {name: hot, pql: true, enter: {usage: 20}, hold: {usage: 10}}
"""


def pretty(text: str) -> str:
    """Break the statement where a reader would: diffs of one long line tell nothing."""
    for word in (" FROM ", " LEFT JOIN ", " WHERE ", " GROUP BY ", " ORDER BY ", " OFFSET "):
        text = text.replace(word, f"\n{word.lstrip()}")
    return text.replace("), ", "),\n").rstrip() + "\n"


@pytest.mark.parametrize("name", BINDINGS)
def test_statement_is_the_golden_one(name: str) -> None:
    """To accept a change on purpose: UPDATE_GOLDEN=1 make test ARGS="tests/scoring/test_compiler.py"."""
    document = language.parse(DOCUMENT)
    document = for_users(document) if BINDINGS[name].by_user else document
    query = sql.compile(plan(document), BINDINGS[name], {"any": 1, "invited": 2, "stored": 3})
    text = pretty(query.sql) + "".join(f"-- {key} = {value!r}\n" for key, value in query.params.items())
    file = GOLDEN / f"{name}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


@given(document=documents())
@settings(max_examples=few(25))
def test_no_value_is_pasted_into_the_statement(document: language.Document) -> None:
    """Texts of a document reach PostgreSQL as parameters only."""
    ids = {name: i for i, name in enumerate(language.signals_of(document))}
    query = sql.compile(plan(document), sql.FEW, ids)
    texts = {
        leaf.filter.key
        for condition in language.conditions_of(document)
        for leaf in language.leaves(condition)
        if isinstance(leaf, language.Trait)
    }
    assert not any(f"'{text}'" in query.sql for text in texts)
