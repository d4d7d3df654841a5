"""What a draft would find today: counted in one statement, and the same as the engine says."""

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings

from scoring import engine, language, previews
from tests.examples import few
from tests.pqlapp.desk_world import NOW, RULES, Desk, account
from tests.scoring import oracle
from tests.scoring.loading import fold, load, undone
from tests.scoring.strategies import days, documents, histories

TODAY = NOW.date()


def preview(text: str = RULES, **options: int) -> previews.Preview:
    return previews.preview(document=language.parse(text), as_of=TODAY, **options)


class TestAPreview(Desk):
    def test_counts_who_meets_each_row_and_with_one_step_more_or_less(self) -> None:
        met = preview().met
        # Of acme, globex and hooli (initech has paid): acme invited four times, hooli twice.
        assert met["rules[0].per"] == previews.Met(2, stricter=(Decimal(2), 2))
        assert met["rules[1].when"].now == 1
        assert met["rules[3].when"] == previews.Met(2, (Decimal(45), 2), (Decimal(55), 2))
        assert met["population"].now == 3

    def test_says_how_many_are_in_each_tier(self) -> None:
        found = preview()
        assert sorted(found.tiers) == [
            ("outside", "", 1),
            ("scored", "", 1),
            ("scored", "hot", 1),
            ("scored", "warm", 1),
        ]
        assert (found.judged, found.of, found.population, found.is_sample) == (4, 4, 3, False)

    def test_names_the_accounts_beside_the_line(self) -> None:
        found = preview()
        acme, hooli, globex = account("acme").pk, account("hooli").pk, account("globex").pk
        assert [(near.account, near.by) for near in found.below] == [(globex, 2000)]
        assert [(near.account, near.by) for near in found.above] == [(hooli, 0), (acme, 2500)]

    def test_lists_signals_whose_history_was_not_read(self) -> None:
        found = preview(RULES.replace("event: Report Exported", "event: Brand New"))
        assert found.missing == ["exports"]
        assert (found.met["rules[2].when"].reads_missing, found.met["rules[2].when"].now) == (True, 0)
        assert not found.met["rules[1].when"].reads_missing

    def test_judges_a_sample_of_many(self) -> None:
        found = preview(most=2)
        assert (found.judged, found.of, found.is_sample) == (2, 4, True)
        assert found == preview(most=2)  # always the same ones

    def test_is_one_statement_for_all_rows(self) -> None:
        with self.assertNumQueries(3):  # the savepoint, and the signals
            preview()


class TestSteps:
    @pytest.mark.parametrize(
        ("threshold", "step"), [("3", "1"), ("50", "5"), ("1000", "100"), ("0.8", "0.05"), ("0", "1"), ("140", "10")]
    )
    def test_are_about_a_tenth(self, threshold: str, step: str) -> None:
        assert previews.step_of(Decimal(threshold), whole=False) == Decimal(step)

    def test_of_counts_are_whole(self) -> None:
        assert previews.step_of(Decimal("0.5"), whole=True) == 1


class TestTheEngine:
    @pytest.mark.django_db
    @given(documents(), histories(), days())
    @settings(max_examples=few(10), suppress_health_check=list(HealthCheck))
    def test_says_the_same_of_every_part(self, document: language.Document, history: oracle.History, day: date) -> None:
        with undone():
            load(history)
            fold(document)
            found = previews.preview(document=document, as_of=day)
            judged = engine.judge(document, as_of=day, detail=False)
            inside = [one.account_id for one in judged if one.status in ("scored", "disqualified")]
            assert (found.judged, found.population) == (len(judged), len(inside))
            assert sum(n for *_, n in found.tiers) == len(judged)
            assert {tier: n for status, tier, n in found.tiers if tier} == Counter(j.tier for j in judged if j.tier)
            for path, part in previews.parts(document):
                asked = probe(document, part)
                of = [j for j in engine.judge(asked, as_of=day, detail=False) if j.status != "excluded"]
                counted = of if path.startswith("population") else [j for j in of if j.account_id in inside]
                assert found.met[path].now == sum(j.met[0] for j in counted), path


def probe(document: language.Document, part: language.Condition | language.PerUnit) -> language.Document:
    """The document with one rule that is met where the part is."""
    if isinstance(part, language.PerUnit):
        rule = language.Points("probe", "", document.groups[0].name, 100, per=part)
    else:
        rule = language.Points("probe", "", document.groups[0].name, 100, when=part)
    return replace(document, rules=(rule,))
