"""The compiled query says what the naive oracle says, row by row, on random documents and histories."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring import engine, language, tiles
from tests.examples import few
from tests.scoring import oracle
from tests.scoring.loading import NOW, Said, fold, ids, load, said_by_engine, undone
from tests.scoring.strategies import (
    BUSY_DAYS,
    LAST_DAY,
    busy_accounts,
    days,
    documents,
    histories,
    of_every_measure,
)
from tests.scoring.test_scores import INVITES
from tests.scoring.world import TODAY, call, send

pytestmark = pytest.mark.django_db

slow = settings(max_examples=few(15), suppress_health_check=list(HealthCheck))


def said_by_oracle(document: language.Document, judgement: oracle.Judgement) -> Said:
    verdicts = [judgement.rules[rule.id] for rule in document.rules]
    return Said(
        judgement.status,
        judgement.usage,
        judgement.fit,
        judgement.tier,
        judgement.held,
        judgement.goal_on,
        judgement.sign_up,
        tuple(verdict.met for verdict in verdicts),
        tuple(verdict.raw for verdict in verdicts),
    )


PLAN = """
name: once
slug: once
motion: test
groups: {company: {score: fit}}
rules:
  - {id: free, group: company, points: 1, when: {trait: plan, equals: free}}
  - {id: pro, group: company, points: 2, when: {trait: plan, equals: pro}}
  - {id: max, group: company, points: 4, when: {trait: plan, equals: max}}
tiers: [{name: hot, enter: {fit: 2}}]
"""


def test_signals_whose_history_is_not_read_yet_are_refused() -> None:
    document = language.parse(INVITES)
    send(call(into="acme"))
    with pytest.raises(engine.SignalsMissing, match="invited"):
        engine.judge(document, as_of=TODAY)
    signals = tiles.register(signals=language.signals_of(document).values(), at=NOW)
    with pytest.raises(engine.SignalsMissing, match="invited"):
        engine.judge(document, as_of=TODAY)
    tiles.backfill(signals=signals)
    assert engine.judge(document, as_of=TODAY)[0].usage == 1000


KINDS = st.sampled_from(["account_traits", "account_traits_once"])
SAID = st.tuples(st.integers(0, 3), KINDS, st.sampled_from(["free", "pro", "max", None]))


class TestTraitsToBeSetOnce:
    @given(st.lists(SAID, min_size=1, max_size=6))
    @slow
    def test_the_first_counts_and_only_while_nothing_else_is_said(
        self, said: list[tuple[int, str, str | None]]
    ) -> None:
        document = language.parse(PLAN)
        joins: dict[str, Any] = {"name": "$group", "user_id": "ann", "group_id": "acme", "joins": True}
        calls = [
            oracle.Call(message_id=f"m{number}", at=NOW - timedelta(days=ago), **{**joins, kind: {"plan": plan}})
            for number, (ago, kind, plan) in enumerate(said)
        ]
        history = oracle.History(tuple(calls))
        with undone():
            load(history)
            fold(document)
            world = oracle.World(history)
            rows = ids(world.accounts)
            (judged,) = engine.judge(document, as_of=NOW.date())
            expected = world.judge_all(document, NOW.date())
            assert {rows[key]: said_by_oracle(document, verdict) for key, verdict in expected.items()} == {
                judged.account_id: said_by_engine(judged)
            }


class TestJudge:
    @given(document=documents(), history=histories(), as_of=days(), fold_first=st.booleans())
    @slow
    def test_agrees_with_the_oracle(
        self, document: language.Document, history: oracle.History, as_of: date, fold_first: bool
    ) -> None:
        with undone():
            if fold_first:
                fold(document)
            load(history)
            if not fold_first:
                fold(document)
            world = oracle.World(history)
            rows = ids(world.accounts)
            judged = {j.account_id: j for j in engine.judge(document, as_of=as_of)}
            assert sorted(judged) == sorted(rows.values())
            for key, expected in world.judge_all(document, as_of).items():
                assert said_by_engine(judged[rows[key]]) == said_by_oracle(document, expected), key

    @given(document=documents(), history=histories(), as_of=days())
    @slow
    def test_is_the_same_by_any_binding(
        self, document: language.Document, history: oracle.History, as_of: date
    ) -> None:
        with undone():
            load(history)
            fold(document)
            rows = sorted(ids(oracle.World(history).accounts).values())
            everyone = {j.account_id: j for j in engine.judge(document, as_of=as_of)}
            some = {j.account_id: j for j in engine.judge(document, as_of=as_of, accounts=rows)}
            assert some == {row: everyone[row] for row in rows}
            span = [as_of + timedelta(days=n) for n in range(-2, 3)]
            pairs = [(row, day) for row in rows for day in span]
            by_pair = {(j.account_id, j.as_of): j for j in engine.judge_pairs(document, pairs=pairs)}
            assert sorted(by_pair) == pairs
            for day in span:
                for judgement in engine.judge(document, as_of=day, accounts=rows):
                    assert by_pair[judgement.account_id, day] == judgement

    @given(several=st.lists(documents(), min_size=2, max_size=3), history=histories(), as_of=days())
    @settings(slow, max_examples=few(8))
    def test_together_documents_say_what_each_says_alone(
        self, several: list[language.Document], history: oracle.History, as_of: date
    ) -> None:
        with undone():
            load(history)
            for document in several:
                fold(document)
            rows = sorted(ids(oracle.World(history).accounts).values())
            for accounts in (rows, None):
                together = engine.judge_together(several, as_of=as_of, accounts=accounts)
                for document, judged in zip(several, together, strict=True):
                    alone = {j.account_id: j for j in engine.judge(document, as_of=as_of, accounts=accounts)}
                    assert sorted(alone) == sorted(j.account_id for j in judged)
                    for judgement in judged:
                        one = alone[judgement.account_id]
                        assert said_by_engine(judgement) == said_by_engine(one)
                        assert judgement.ledger == one.ledger
                        # What another document reads may be a reason to look earlier, never later.
                        assert one.recheck_on is None or (judgement.recheck_on or date.max) <= one.recheck_on

    @given(document=documents(), history=histories(), as_of=days())
    @slow
    def test_recheck_is_never_late(self, document: language.Document, history: oracle.History, as_of: date) -> None:
        with undone():
            load(history)
            fold(document)
            world = oracle.World(history)
            rows = ids(world.accounts)
            judged = {j.account_id: j for j in engine.judge(document, as_of=as_of)}
            for key in world.accounts:
                changes = world.next_change(document, as_of, as_of + timedelta(days=50), key)
                recheck = judged[rows[key]].recheck_on
                assert changes is None or (recheck is not None and as_of < recheck <= changes), (key, changes, recheck)

    @given(document=documents(), history=histories(most_calls=20), as_of=days())
    @settings(slow, max_examples=few(8))
    def test_next_change_is_exact(self, document: language.Document, history: oracle.History, as_of: date) -> None:
        with undone():
            load(history)
            fold(document)
            world = oracle.World(history)
            for key, row in ids(world.accounts).items():
                expected = world.next_change(document, as_of, as_of + timedelta(days=engine.MOST_SILENT_DAYS), key)
                found = engine.next_change(document, account=row, as_of=as_of)
                assert (found[0] if found else None) == expected, key

    @given(document=documents(), history=histories(), as_of=days())
    @slow
    def test_the_ledger_adds_up(self, document: language.Document, history: oracle.History, as_of: date) -> None:
        with undone():
            load(history)
            fold(document)
            for judgement in engine.judge(document, as_of=as_of):
                lines = judgement.ledger["lines"]
                assert isinstance(lines, list)
                for score, total in (("usage", judgement.usage), ("fit", judgement.fit)):
                    assert sum(line["points"] for line in lines if line["score"] == score) == total
                    assert judgement.ledger[score] == total
                assert [line["met"] for line in lines if line["rule"]] == list(judgement.met)


class TestEveryMeasure:
    """All of them in one document, day after day of one busy account, beside the oracle."""

    @given(document=of_every_measure(), history=busy_accounts())
    @settings(slow, max_examples=few(10))
    def test_says_each_day_what_the_oracle_says_and_no_change_comes_before_the_recheck(
        self, document: language.Document, history: oracle.History
    ) -> None:
        with undone():
            load(history)
            fold(document)
            world = oracle.World(history)
            span = [LAST_DAY + timedelta(days=n) for n in range(-BUSY_DAYS // 2, BUSY_DAYS // 2)]
            for key, row in ids(world.accounts).items():
                judged = sorted(engine.judge_pairs(document, pairs=[(row, day) for day in span]), key=lambda j: j.as_of)
                expected = [world.judge(document, day, key) for day in span]
                for day, judgement, verdict in zip(span, judged, expected, strict=True):
                    assert said_by_engine(judgement) == said_by_oracle(document, verdict), day
                    totals = {score: judgement.ledger[score] for score in ("usage", "fit")}
                    assert totals == {"usage": verdict.usage, "fit": verdict.fit}, day
                for i, judgement in enumerate(judged):
                    later = zip(span[i:], expected[i:], strict=True)
                    changed = next((day for day, then in later if then.result != expected[i].result), date.max)
                    assert (judgement.recheck_on or date.max) <= changed, span[i]
