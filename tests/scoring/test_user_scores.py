"""Scores of users: incremental = full = replay; who turns out to be somebody else; whom a trait touches."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring import bulk, engine, facts, language, rules, scores
from scoring.models import SHARDS, Crossed, Identity, Score, ScoreChange
from tests.scoring import oracle
from tests.scoring.loading import NOW, Said, load, undone
from tests.scoring.strategies import at_level_user, documents, histories, of_people
from tests.scoring.test_scores import _load_and_rescore, _split, event, publish, record, rescore_all, slow
from tests.scoring.test_user_level import CHAMPIONS

pytestmark = pytest.mark.django_db

of_users = documents().map(at_level_user)
told = histories(most_calls=20).map(of_people)


def stored() -> dict[tuple[str, str], Said]:
    """All stored scores in comparable form, by account and by the least of the user's ids that are user ids."""
    names = dict(Identity.objects.filter(known=True).order_by("-value").values_list("user", "value"))
    return {
        (f"{s.account.kind} {s.account.external_id}", names[s.user_id or 0]): Said(
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


def user(value: str) -> int:
    return Identity.objects.get(value=value).user_id


class TestPurity:
    @given(document=of_users, history=told, data=st.data())
    @slow
    def test_incremental_is_full(self, document: language.Document, history: oracle.History, data: Any) -> None:
        calls = list(history.calls)
        order = data.draw(st.permutations(calls))
        with undone():
            publish(language.to_yaml(document))
            _load_and_rescore(history, _split(data, order))
            incremental = stored()
            assert scores.verify(as_of=date(2026, 3, 9)) is None
        with undone():
            load(history)
            publish(language.to_yaml(document))
            rescore_all()
            assert stored() == incremental
            world = oracle.World(history)
            people = {
                (f"{account.kind} {account.external_id}", min(person.known_ids))
                for account in world.accounts
                for person in world.members(account)
            }
            assert incremental.keys() == people

    @given(document=of_users, history=told)
    @slow
    def test_silence_is_swept(self, document: language.Document, history: oracle.History) -> None:
        with undone():
            publish(language.to_yaml(document))
            load(history)
            start = date(2026, 2, 1)
            scores.request(accounts=None, at=NOW)
            for day in (start + timedelta(days=n) for n in range(0, 45, 5)):
                for shard in range(SHARDS):
                    scores.sweep(shard=shard, as_of=day, at=NOW)
                rescore_all(as_of=day)
                judged = {(j.account_id, j.user_id): j for j in engine.judge(document, as_of=day)}
                kept = Score.objects.all()
                assert {(s.account_id, s.user_id) for s in kept} == judged.keys()
                for score in kept:
                    new = judged[score.account_id, score.user_id]
                    assert (score.usage, score.fit, score.status, score.tier, tuple(score.held)) == (
                        *(new.usage, new.fit, new.status, new.tier, new.held),
                    )


HEAD: dict[str, Any] = {"user_traits": {"title": "Head of sales"}}


class TestPersons:
    def test_each_is_scored_by_what_they_did_themselves(self) -> None:
        publish(CHAMPIONS)
        record(
            event("1", "ann", group_id="acme", **HEAD),
            event("2", "ann", group_id="acme"),
            event("3", "ben", group_id="acme"),
            event("4", "ann", group_id="globex"),
        )
        rescore_all()
        found = {(s.account.external_id, s.user_id): (s.usage, s.tier) for s in Score.objects.all()}
        ann, ben = user("ann"), user("ben")
        assert found == {("acme", ann): (4000, "hot"), ("acme", ben): (0, ""), ("globex", ann): (0, "")}
        assert list(Crossed.objects.values_list("account__external_id", "user", "to_tier")) == [("acme", ann, "hot")]
        assert ScoreChange.objects.filter(user=ann, account__external_id="acme").count() == 1

    def test_what_is_said_of_a_person_counts_wherever_they_are(self) -> None:
        publish(CHAMPIONS)
        record(event("1", "ann", group_id="acme"), event("2", "ann", group_id="globex"), event("3", "ann"))
        rescore_all()
        record(event("4", "ann", name="$identify", **HEAD))
        rescore_all()
        fits = dict(Score.objects.values_list("account__external_id", "fit"))
        assert fits == {"acme": 2500, "globex": 2500, "ann": 2500}

    def test_two_who_turn_out_to_be_one_have_one_score_and_its_age(self) -> None:
        publish(CHAMPIONS)
        record(event("1", "zoe", group_id="acme"))
        record(event("2", "ann", group_id="acme", **HEAD), event("3", "ann", group_id="acme"))
        rescore_all()
        gone, stays = user("ann"), user("zoe")
        assert gone > stays  # the lowest survives
        before = Score.objects.get(user=gone)
        Crossed.objects.all().delete()
        record(event("4", "zoe", name="$alias", aliases=("ann",), days_ago=1))
        rescore_all(at=NOW + timedelta(hours=1))
        score = Score.objects.get()
        assert (score.user_id, score.tier, score.usage) == (stays, "hot", 4000)
        assert score.qualified_at == before.qualified_at
        assert set(Crossed.objects.values_list("user", "to_tier")) == {(gone, ""), (stays, "hot")}

    def test_an_excluded_person_has_no_tier_and_the_others_theirs(self) -> None:
        publish(CHAMPIONS)
        record(*(event(f"{who}{n}", who, group_id="acme", **HEAD) for who in ("ann", "ben") for n in (1, 2)))
        rescore_all()
        assert set(Score.objects.values_list("tier", flat=True)) == {"hot"}
        facts.exclude(kind="user", value="ann", why="bot", by=None, at=NOW)
        rescore_all()
        said = set(Score.objects.values_list("user", "status", "tier"))
        assert said == {(user("ann"), "excluded", ""), (user("ben"), "scored", "hot")}


class TestBulkWork:
    def test_is_done_by_postgresql_which_knows_what_is_said_of_users(self) -> None:
        publish(CHAMPIONS)
        record(event("1", "ann", group_id="acme", **HEAD), event("2", "ben", group_id="acme"))
        document = language.parse(CHAMPIONS)
        judged = bulk.judge(document, days=[NOW.date()])
        assert judged.why_not == "the mirror does not hold what is said of users"
        said = {(j.account_id, j.user_id): j.fit for j in judged.judgements}
        assert said == {(j.account_id, j.user_id): j.fit for j in engine.judge(document, as_of=NOW.date())}


class TestVersions:
    def test_of_one_rule_set_judge_alike(self) -> None:
        publish(CHAMPIONS)
        accounts = CHAMPIONS.replace("level: user\n", "").replace("age: user", "age: account")
        with pytest.raises(language.Invalid, match="level: must stay user; another level is another rule set"):
            rules.draft(text=accounts, by=None, at=NOW)

    def test_a_lone_draft_may_change_its_level(self) -> None:
        draft = rules.draft(text=CHAMPIONS, by=None, at=NOW)
        accounts = CHAMPIONS.replace("level: user\n", "").replace("age: user", "age: account")
        assert rules.change(version=draft, text=accounts, revision=1).document.get("level") is None
