"""What a version would change: what judging everybody by both says. Nothing is published unseen."""

from datetime import UTC, date, datetime, timedelta
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scoring import engine, facts, jobs, language, rules, scores
from scoring.models import SHARDS, Account, Parked, RuleSet, RuleVersion, Score, Touched
from scoring.rules import comparing
from tests.examples import few
from tests.scoring import oracle
from tests.scoring.loading import fold, load, undone
from tests.scoring.strategies import documents, histories

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
TODAY = date(2026, 3, 9)
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # it would take minutes
TEXT = """\
slug: new-business
name: New business
motion: new_business
signals:
  invited: {event: invited}
groups:
  team: {score: usage}
rules:
  - {id: invites, name: Invited teammates, group: team, points: 40, when: {count: invited, within: 14, at_least: 2}}
  - {id: active, name: Active, group: team, points: 10, when: {days: any, within: 7, at_least: 1}}
tiers:
  - {name: hot, pql: true, enter: {usage: 50}}
  - {name: warm, enter: {usage: 10}}
"""
STRICTER = TEXT.replace("at_least: 2", "at_least: 3")
LOOSER = TEXT.replace("at_least: 2", "at_least: 1")


def publish(text: str) -> RuleVersion:
    version = rules.draft(text=text, by=None, at=NOW)
    job = jobs.claim(job=rules.publish(version=version, note="test", by=None, at=NOW), at=NOW)
    assert job is not None
    rules.run_publish(job=job, clock=lambda: NOW)
    return RuleVersion.objects.select_related("rule_set").get(pk=version.pk)


def use(account: str, *, times: int, name: str = "invited", first: int = 0) -> None:
    calls = [
        facts.Fact(
            message_id=f"{account} {name} {n}", at=NOW, name=name, user_id=f"somebody of {account}", group_id=account
        )
        for n in range(first, first + times)
    ]
    facts.record(source=facts.create_source(slug="app", at=NOW), facts=calls, received_at=NOW)


def rescore(as_of: date = TODAY) -> None:
    for shard in range(SHARDS):
        while scores.rescore_touched(shard=shard, as_of=as_of, at=NOW).accounts:
            pass


def diff(text: str, at: datetime = NOW) -> rules.Diff:
    return rules.diff(version=rules.draft(text=text, by=None, at=NOW), at=at)


def standing(judged: engine.Judgement) -> engine.Standing:
    return engine.Standing(judged.status.value, judged.tier, judged.is_pql, judged.usage, judged.fit)


def said(found: rules.Diff) -> dict[str, tuple[str, str, str]]:
    """By account what happens, and the tiers before and after."""
    names = dict(Account.objects.values_list("pk", "external_id"))
    return {names[c.account_id]: (c.kind, c.before.tier, c.after.tier) for c in found.changes}


@pytest.fixture
def world() -> None:
    """acme has invited three, globex two, initech one; umbrella only opened something."""
    for account, times in (("acme", 3), ("globex", 2), ("initech", 1)):
        use(account, times=times)
    use("umbrella", times=1, name="opened")
    publish(TEXT)
    rescore()


@pytest.mark.usefixtures("world")
class TestADiff:
    def test_names_who_leaves_and_who_enters(self) -> None:
        stricter, looser = diff(STRICTER), diff(LOOSER)
        assert said(stricter) == {"globex": ("leaves", "hot", "warm")}
        assert said(looser) == {"initech": ("enters", "warm", "hot")}
        assert stricter.counts == {"enters": 0, "leaves": 1, "moves": 0, "rescored": 0, "accounts": 4}
        assert stricter.sizes == {"hot": (2, 1), "warm": (2, 3)}
        (change,) = stricter.changes
        assert (change.before.usage, change.after.usage) == (5000, 1000)

    def test_counts_who_only_gets_other_points(self) -> None:
        found = diff(TEXT.replace("points: 40", "points: 41"))
        assert found.counts == {"enters": 0, "leaves": 0, "moves": 0, "rescored": 2, "accounts": 4}

    def test_of_a_tier_that_becomes_one_of_pqls(self) -> None:
        found = diff(TEXT.replace("{name: warm,", "{name: warm, pql: true,"))
        assert said(found) == {"initech": ("enters", "warm", "warm"), "umbrella": ("enters", "warm", "warm")}

    def test_of_a_first_version_counts_everybody_in(self) -> None:
        found = diff(TEXT.replace("slug: new-business", "slug: other"))
        assert found.live is None
        assert said(found) == {
            "acme": ("enters", "", "hot"),
            "globex": ("enters", "", "hot"),
            "initech": ("moves", "", "warm"),
            "umbrella": ("moves", "", "warm"),
        }
        assert found.sizes == {"hot": (0, 2), "warm": (0, 2), "": (4, 0)}

    def test_is_no_diff_of_facts_whose_rescore_waits(self) -> None:
        use("initech", times=2, first=10)
        use("newcomer", times=2)
        assert said(diff(STRICTER)) == {
            "globex": ("leaves", "hot", "warm"),
            "newcomer": ("leaves", "hot", "warm"),
        }
        Touched.objects.all().delete()  # parked instead
        for name in ("initech", "newcomer"):
            parked = {"reason": "x", "attempts": 1, "first_failed_at": NOW, "retry_at": NOW}
            Parked.objects.create(account=Account.objects.get(external_id=name), **parked)
        assert set(said(diff(STRICTER))) == {"globex", "newcomer"}

    def test_is_no_diff_of_silence_that_is_not_swept(self) -> None:
        tomorrow_week = NOW + timedelta(days=8)  # nobody is active any more
        assert said(diff(STRICTER, at=tomorrow_week)) == {"globex": ("moves", "warm", "")}
        assert diff(LOOSER, at=tomorrow_week).sizes == {"hot": (0, 0), "warm": (2, 3), "": (2, 1)}
        assert Score.objects.filter(tier="hot").count() == 2

    def test_while_another_version_is_worked_in_is_against_that(self) -> None:
        publish(LOOSER)  # and nobody is rescored yet
        assert said(diff(STRICTER)) == {"globex": ("leaves", "hot", "warm"), "initech": ("leaves", "hot", "warm")}

    def test_writes_nothing(self) -> None:
        version = rules.draft(text=STRICTER, by=None, at=NOW)
        before = list(Score.objects.order_by("pk").values())
        rules.diff(version=version, at=NOW)
        assert list(Score.objects.order_by("pk").values()) == before
        assert not Touched.objects.exists()

    def test_of_a_text_is_that_of_its_draft(self) -> None:
        found = rules.diff_of_text(text=STRICTER, at=NOW)
        assert said(found) == said(diff(STRICTER))
        assert found.words.startswith("new-business v2 against new-business v1, 4 accounts as of 9 March 2026 (UTC)")
        assert RuleVersion.objects.count() == 2  # of the second one's draft

    def test_waits_for_the_history_of_a_new_signal(self) -> None:
        version = rules.draft(text=TEXT.replace("event: invited", "event: opened"), by=None, at=NOW)
        with pytest.raises(engine.SignalsMissing, match="invited"):
            rules.diff(version=version, at=NOW)
        job = rules.prepare(version=version, by=None, at=NOW)
        assert job is not None and rules.prepare(version=version, by=None, at=NOW) == job
        with pytest.raises(engine.SignalsMissing):
            rules.diff(version=version, at=NOW)
        claimed = jobs.claim(job=job, at=NOW)
        assert claimed is not None
        rules.run_prepare(job=claimed, clock=lambda: NOW)
        assert rules.prepare(version=version, by=None, at=NOW) is None
        assert said(rules.diff(version=version, at=NOW)) == {
            "acme": ("leaves", "hot", "warm"),
            "globex": ("leaves", "hot", "warm"),
        }


@pytest.mark.usefixtures("world")
class TestPublishingNeedsTheDiff:
    def publish(self, version: RuleVersion, seen: str, at: datetime = NOW) -> None:
        rules.publish(version=version, note="fewer", by=None, at=at, seen=seen)

    def test_of_this_version(self) -> None:
        version, other = (rules.draft(text=text, by=None, at=NOW) for text in (STRICTER, LOOSER))
        seen = rules.diff(version=other, at=NOW).seen
        with pytest.raises(rules.NotSeen, match="another text"):
            self.publish(version, seen)
        self.publish(other, seen)

    def test_of_this_text(self) -> None:
        version = rules.draft(text=STRICTER, by=None, at=NOW)
        seen = rules.diff(version=version, at=NOW).seen
        changed = rules.change(version=version, text=LOOSER, revision=1)
        with pytest.raises(rules.NotSeen, match="as it is now"):
            self.publish(changed, seen)

    def test_against_what_is_live(self) -> None:
        version = rules.draft(text=STRICTER, by=None, at=NOW)
        seen = rules.diff(version=version, at=NOW).seen
        publish(LOOSER)
        with pytest.raises(rules.NotSeen, match="another version went live"):
            self.publish(version, seen)

    def test_of_the_last_hour(self) -> None:
        version = rules.draft(text=STRICTER, by=None, at=NOW)
        seen = rules.diff(version=version, at=NOW).seen
        with pytest.raises(rules.NotSeen, match="61 minutes old"):
            self.publish(version, seen, at=NOW + timedelta(minutes=61))
        with pytest.raises(rules.NotSeen):
            self.publish(version, seen, at=NOW - timedelta(minutes=1))
        self.publish(version, seen, at=NOW + comparing.SEEN_FOR)

    @pytest.mark.parametrize("seen", ["", "x", "eyJ2ZXJzaW9uIjoxfQ:x"])
    def test_and_none_that_is_made_up(self, seen: str) -> None:
        with pytest.raises(rules.NotSeen, match="the diff gives the token"):
            self.publish(rules.draft(text=STRICTER, by=None, at=NOW), seen)

    def test_which_the_publication_keeps(self) -> None:
        version = rules.draft(text=STRICTER, by=None, at=NOW)
        job = rules.publish(
            version=version, note="fewer", by=None, at=NOW, seen=rules.diff(version=version, at=NOW).seen
        )
        claimed = jobs.claim(job=job, at=NOW)
        assert claimed is not None
        rules.run_publish(job=claimed, clock=lambda: NOW)
        newest = RuleSet.objects.get().publications.order_by("id").last()
        assert newest is not None
        assert (newest.expected["leaves"], newest.expected["enters"]) == (1, 0)


class TestOnAnyHistory:
    @given(
        live=documents(),
        other=documents(),
        history=histories(20),
        late=st.integers(0, 5),
        as_of=st.integers(0, 20),
        a_lot=st.sampled_from([0, 10_000]),
    )
    @settings(max_examples=few(8), suppress_health_check=list(HealthCheck), deadline=None, phases=NO_SHRINKING)
    def test_is_what_judging_by_both_says(
        self,
        live: language.Document,
        other: language.Document,
        history: oracle.History,
        late: int,
        as_of: int,
        a_lot: int,
    ) -> None:
        """Some calls come after the last rescore, and the sweep is some days behind."""
        cut = max(len(history.calls) - late, 0)
        with undone(), mock.patch.object(comparing, "A_LOT", a_lot):
            load(oracle.History(history.calls[:cut], history.outcomes, history.exclusions))
            publish(language.to_yaml(live))
            rescore(date(2026, 3, 1))
            load(oracle.History(history.calls[cut:]))
            fold(other)
            at = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(days=as_of)
            found = rules.diff(version=rules.draft(text=language.to_yaml(other), by=None, at=NOW), at=at)
            nowhere = engine.Standing.none()
            judged = [
                {j.account_id: standing(j) for j in engine.judge(document, as_of=at.date())}
                for document in (live, other)
            ]
            expected = {
                account: (judged[0].get(account, nowhere), judged[1].get(account, nowhere))
                for account in judged[0].keys() | judged[1].keys()
            }
            changed = {a: pair for a, pair in expected.items() if rules.Change(a, *pair).kind}
            assert {c.account_id: (c.before, c.after) for c in found.changes} == changed
            assert found.rescored == sum(b != a for b, a in expected.values()) - sum(
                b != a for b, a in changed.values()
            )
