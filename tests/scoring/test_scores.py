"""Rescoring: incremental = full = replay, history, crossings, parking and the sweep."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring import engine, facts, handoffs, language, rules, scores, tasks
from scoring.models import (
    SHARDS,
    Account,
    Crossed,
    Job,
    Lane,
    Parked,
    RuleSet,
    RuleVersion,
    Score,
    ScoreChange,
    Touched,
    shard_of,
)
from tests.examples import few
from tests.scoring import oracle
from tests.scoring.loading import NOW, Said, load, undone
from tests.scoring.strategies import documents, histories

pytestmark = pytest.mark.django_db

TODAY = date(2026, 3, 9)
slow = settings(max_examples=few(6), suppress_health_check=list(HealthCheck))

INVITES = """
slug: new-business
name: New business
motion: new_business
goal: {outcome: won}
signals:
  invited: {event: invited}
groups:
  team: {score: usage}
rules:
  - {id: invites, name: Invited teammates, group: team, points: 40, when: {count: invited, within: 14, at_least: 2}}
  - {id: active, name: Active, group: team, points: 10, when: {days: any, within: 7, at_least: 1}}
tiers:
  - {name: hot, pql: true, enter: {usage: 50}, hold: {usage: 40}}
  - {name: warm, enter: {usage: 10}}
"""


def publish(text: str, at: datetime = NOW) -> RuleVersion:
    version = rules.draft(text=text, by=None, at=at)
    job = rules.publish(version=version, note="test", by=None, at=at)
    assert tasks.carry_on(job=job).state == Job.State.DONE
    return RuleVersion.objects.get(pk=version.pk)


def rescore_all(*, as_of: date = TODAY, at: datetime = NOW) -> None:
    for shard in range(SHARDS):
        while scores.rescore_touched(shard=shard, as_of=as_of, at=at).accounts:
            pass


def event(message_id: str, user: str, *, days_ago: int = 0, name: str = "invited", **fields: Any) -> facts.Fact:
    at = datetime(2026, 3, 9, 9, tzinfo=UTC) - timedelta(days=days_ago)
    return facts.Fact(message_id=message_id, at=at, name=name, user_id=user, **fields)


def record(*given: facts.Fact) -> None:
    facts.record(source=facts.create_source(slug="app", at=NOW), facts=given, received_at=NOW)


def score_of(external_id: str) -> Score:
    return Score.objects.get(account__external_id=external_id)


def stored() -> dict[oracle.Key, Said]:
    """Return all stored scores in comparable form, by account."""
    return {
        oracle.Key(s.account.kind, s.account.external_id): Said(
            s.status,
            s.usage,
            s.fit,
            s.tier,
            tuple(s.held),
            s.goal_on,
            None,
            tuple(line["met"] for line in s.ledger["lines"] if line["rule"]),
            tuple(line["raw"] for line in s.ledger["lines"] if line["rule"]),
        )
        for s in Score.objects.select_related("account")
    }


class TestPurity:
    """A score is a function of the set of facts, however they came."""

    @given(document=documents(), history=histories(), data=st.data())
    @slow
    def test_incremental_is_full(self, document: language.Document, history: oracle.History, data: Any) -> None:
        calls = list(history.calls)
        order = data.draw(st.permutations(calls))
        repeated = data.draw(st.lists(st.sampled_from(calls), max_size=5)) if calls else []
        batches = _split(data, [*order, *repeated])
        with undone():
            publish(language.to_yaml(document))
            _load_and_rescore(history, batches)
            incremental = stored()
        with undone():
            load(history)
            publish(language.to_yaml(document))
            rescore_all()
            assert stored() == incremental
            assert sorted(incremental) == oracle.World(history).accounts

    @given(document=documents(), history=histories())
    @slow
    def test_silence_is_swept(self, document: language.Document, history: oracle.History) -> None:
        """Day after day, the sweep alone brings every score to what that day's judgement says."""
        with undone():
            publish(language.to_yaml(document))
            load(history)
            start = date(2026, 2, 1)
            tasks.scores.request(accounts=None, at=NOW)
            for day in (start + timedelta(days=n) for n in range(0, 45, 3)):
                for shard in range(SHARDS):
                    scores.sweep(shard=shard, as_of=day, at=NOW)
                rescore_all(as_of=day)
                judged = {j.account_id: j for j in engine.judge(document, as_of=day)}
                for score in Score.objects.all():
                    new = judged[score.account_id]
                    assert (score.usage, score.fit, score.status, score.tier, tuple(score.held)) == (
                        new.usage,
                        new.fit,
                        new.status,
                        new.tier,
                        new.held,
                    )


def _split(data: Any, calls: Sequence[oracle.Call]) -> list[Sequence[oracle.Call]]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(calls)), max_size=4)))
    bounds = [0, *cuts, len(calls)]
    return [calls[a:b] for a, b in pairwise(bounds)]


def _load_and_rescore(history: oracle.History, batches: list[Sequence[oracle.Call]]) -> None:
    for batch in batches:
        load(oracle.History(tuple(batch)))
        rescore_all()
    load(oracle.History((), history.outcomes, history.exclusions))
    scores.request(accounts=list(Account.objects.values_list("pk", flat=True)), at=NOW)
    rescore_all()


class TestRescore:
    def test_writes_score_history_and_crossing(self) -> None:
        version = publish(INVITES)
        record(event("m1", "ann", group_id="acme"), event("m2", "ben", group_id="acme"))
        rescore_all()
        score = score_of("acme")
        assert (score.usage, score.tier, score.is_pql, score.held) == (5000, "hot", True, ["hot", "warm"])
        assert (score.version, score.as_of, score.qualified_at) == (version, TODAY, NOW)
        assert ScoreChange.objects.get().cause == "event"
        hint = Crossed.objects.get()
        assert (hint.from_tier, hint.to_tier, hint.from_version, hint.to_version) == ("", "hot", None, version)

    def test_an_unchanged_result_leaves_no_trace_in_history(self) -> None:
        publish(INVITES)
        record(event("m1", "ann", group_id="acme"), event("m2", "ben", group_id="acme"))
        rescore_all()
        record(event("m3", "ben", group_id="acme"))
        rescore_all()
        assert ScoreChange.objects.count() == 1
        assert Crossed.objects.count() == 1
        assert score_of("acme").ledger["lines"][0]["conditions"][0]["observed"] == 3

    def test_a_score_with_nothing_new_to_show_is_only_dated(self) -> None:
        publish(INVITES)
        record(event("m1", "ann", group_id="acme"), event("m2", "ben", group_id="acme"))
        rescore_all()
        before = score_of("acme")
        scores.request(accounts=[before.account_id], at=NOW)
        rescore_all(as_of=TODAY + timedelta(days=1), at=NOW + timedelta(days=1))
        after = score_of("acme")
        assert (after.as_of, after.scored_at) == (TODAY + timedelta(days=1), NOW + timedelta(days=1))
        assert (after.ledger, after.recheck_on, after.changed_at) == (before.ledger, before.recheck_on, NOW)

    def test_claims_every_touch_of_an_account(self) -> None:
        publish(INVITES)
        for i in range(5):
            record(event(f"m{i}", "ann", group_id="acme"))
        rescore_all()
        assert not Touched.objects.exists()

    def test_a_visitor_is_not_scored(self) -> None:
        publish(INVITES)
        record(facts.Fact(message_id="m", at=NOW, name="invited", anonymous_id="someone"))
        rescore_all()
        assert not Score.objects.exists()

    def test_a_failing_account_is_parked_and_the_others_are_scored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        publish(INVITES)
        record(*(event(f"m{i}", f"user{i}", group_id=f"group{i}") for i in range(40)))
        bad = Account.objects.get(external_id="group7").pk
        judge = engine.judge

        def judge_badly(document: language.Document, *, accounts: Sequence[int], **rest: Any) -> Any:
            if bad in accounts:
                raise ArithmeticError("cannot be judged")
            return judge(document, accounts=accounts, **rest)

        monkeypatch.setattr(engine, "judge", judge_badly)
        rescore_all()
        assert Score.objects.count() == 39
        parked = Parked.objects.get()
        assert (parked.account_id, parked.attempts) == (bad, 1)
        assert "cannot be judged" in parked.reason
        monkeypatch.undo()
        later = parked.retry_at + timedelta(seconds=1)
        scores.sweep(shard=shard_of(bad), as_of=TODAY, at=later)
        rescore_all(at=later)
        assert Score.objects.count() == 40
        assert not Parked.objects.exists()

    def test_a_parked_account_waits_for_its_retry(self) -> None:
        publish(INVITES)
        record(event("m1", "ann", group_id="acme"))
        acme = Account.objects.get(external_id="acme")
        Parked.objects.create(
            account=acme, reason="x", attempts=1, first_failed_at=NOW, retry_at=NOW + timedelta(minutes=1)
        )
        rescore_all()
        assert not Score.objects.exists()
        assert Parked.objects.exists()

    def test_several_rule_sets_score_side_by_side(self) -> None:
        publish(INVITES)
        publish(INVITES.replace("new-business", "expansion").replace("points: 40", "points: 5"))
        record(event("m1", "ann", group_id="acme"), event("m2", "ben", group_id="acme"))
        rescore_all()
        tiers = dict(Score.objects.values_list("rule_set__slug", "tier"))
        assert tiers == {"new-business": "hot", "expansion": "warm"}

    def test_an_outcome_reaches_the_goal_and_hints_at_the_lead(self) -> None:
        publish(INVITES)
        record(event("m1", "ann", group_id="acme"))
        rescore_all()
        Crossed.objects.all().delete()
        acme = Account.objects.get(external_id="acme")
        facts.record_outcome(account=acme, kind="won", at=NOW, received_at=NOW, message_id="o1")
        rescore_all()
        assert score_of("acme").goal_on == TODAY
        assert Crossed.objects.count() == 1

    def test_an_exclusion_takes_the_tier_away(self) -> None:
        publish(INVITES)
        record(event("m1", "ann", group_id="acme"), event("m2", "ben", group_id="acme"))
        rescore_all()
        facts.exclude(
            kind="account", value="acme", why="internal", note="", starts_on=None, ends_on=None, by=None, at=NOW
        )
        rescore_all()
        assert (score_of("acme").status, score_of("acme").tier) == ("excluded", "")


class TestSweep:
    def test_touches_what_is_due_and_only_once(self) -> None:
        publish(INVITES)
        record(event("m1", "ann", group_id="acme"), event("m2", "ben", group_id="acme"))
        rescore_all()
        due = score_of("acme").recheck_on
        assert due == TODAY + timedelta(days=7)
        shard = shard_of(score_of("acme").account_id)
        assert scores.sweep(shard=shard, as_of=due - timedelta(days=1), at=NOW) == 0
        assert scores.sweep(shard=shard, as_of=due, at=NOW) == 1
        assert scores.sweep(shard=shard, as_of=due, at=NOW) == 0
        rescore_all(as_of=due)
        assert score_of("acme").usage == 4000
        assert score_of("acme").tier == "warm"
        assert score_of("acme").held == ["hot", "warm"]
        assert ScoreChange.objects.order_by("id").last().cause == "time"  # type: ignore[union-attr]


class TestPublish:
    def test_everybody_is_of_the_new_version(self) -> None:
        publish(INVITES)
        record(*(event(f"m{i}", f"user{i}", group_id=f"group{i}") for i in range(20)))
        rescore_all()
        second = publish(INVITES.replace("points: 10", "points: 12"))
        assert Touched.objects.filter(lane=Lane.BULK).count() == Account.objects.count()
        rescore_all()
        assert set(Score.objects.values_list("version", flat=True)) == {second.pk}

    def test_a_signal_of_a_new_version_is_backfilled(self) -> None:
        record(*(event(f"m{i}", "ann", name="exported", group_id="acme") for i in range(3)))
        publish(INVITES.replace("{event: invited}", "{event: exported}"))
        rescore_all()
        assert score_of("acme").tier == "hot"

    def test_publishing_the_live_version_is_refused(self) -> None:
        version = publish(INVITES)
        with pytest.raises(rules.AlreadyLive):
            rules.publish(version=version, note="test", by=None, at=NOW)

    def test_roll_back_brings_the_former_version_back(self) -> None:
        first = publish(INVITES)
        publish(INVITES.replace("points: 10", "points: 12"))
        rule_set = RuleSet.objects.get()
        tasks.carry_on(job=rules.roll_back(rule_set=rule_set, note="too loose", by=None, at=NOW))
        rule_set.refresh_from_db()
        assert rule_set.live_version == first

    def test_there_is_nothing_before_the_first_version(self) -> None:
        publish(INVITES)
        with pytest.raises(rules.NothingToRollBackTo):
            rules.roll_back(rule_set=RuleSet.objects.get(), note="", by=None, at=NOW)


class TestReplay:
    def test_says_when_an_account_first_qualified(self) -> None:
        version = publish(INVITES)
        record(
            event("m1", "ann", days_ago=20, group_id="acme"),
            event("m2", "ben", days_ago=17, group_id="acme"),
            event("m3", "cleo", days_ago=1, group_id="globex"),
        )
        acme = Account.objects.get(external_id="acme")
        facts.record_outcome(account=acme, kind="won", at=NOW - timedelta(days=5), received_at=NOW, message_id="o1")
        span = [TODAY - timedelta(days=n) for n in range(25, -1, -1)]
        before = Score.objects.count(), Touched.objects.count()
        found = {r.account_id: r for r in scores.replay(document=rules.document_of(version), days=span)}
        assert found[acme.pk].qualified_on == TODAY - timedelta(days=17)
        assert found[acme.pk].goal_on == TODAY - timedelta(days=5)
        globex = Account.objects.get(external_id="globex")
        assert (found[globex.pk].qualified_on, found[globex.pk].goal_on) == (None, None)
        assert (Score.objects.count(), Touched.objects.count()) == before


class TestHandoffs:
    def test_bulk_gets_its_share_beside_live(self) -> None:
        record(*(event(f"m{i}", f"user{i}", group_id=f"group{i}") for i in range(SHARDS * 40)))
        Touched.objects.all().delete()
        mine = [a for a in Account.objects.filter(kind="group").values_list("pk", flat=True) if a % SHARDS == 3]
        handoffs.touch(accounts=mine[:20], cause="event", lane=Lane.LIVE, at=NOW)
        handoffs.touch(accounts=mine[20:40], cause="version", lane=Lane.BULK, at=NOW)
        claimed = handoffs.claim_touched(shard=3, limit=10)
        assert sum(touch.lane == Lane.BULK for touch in claimed) == 2
