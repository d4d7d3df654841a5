"""PQL definitions: drafts change, published versions never do, and a publish leaves nobody behind."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection, transaction

from scoring import facts, jobs, language, rules, scores, tiles
from scoring.models import SHARDS, Account, Job, Lane, Publication, RuleSet, RuleVersion, Score, Signal, Touched
from scoring.rules import publishing

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
TODAY = date(2026, 3, 9)
TEXT = """\
slug: new-business
name: New business
motion: new_business
signals:
  invited: {event: invited}
groups:
  team: {score: usage}
rules:
  - {id: invites, name: Invited teammates, group: team, points: 40, when: {count: invited, at_least: 1}}
tiers:
  - {name: hot, pql: true, enter: {usage: 40}}
"""
OTHER = TEXT.replace("points: 40", "points: 50")
WITH_SIGNAL = TEXT.replace("  invited:", "  exported: {event: exported}\n  invited:").replace(
    "{count: invited, at_least: 1}", "{any: [{count: invited, at_least: 1}, {count: exported, at_least: 2}]}"
)


def clock() -> datetime:
    return NOW


def draft(text: str = TEXT, by: User | None = None) -> RuleVersion:
    return rules.draft(text=text, by=by, at=NOW)


def start(version: RuleVersion, at: datetime = NOW) -> Job:
    """Begin to publish, and claim the job as a worker does."""
    job = jobs.claim(job=rules.publish(version=version, note="test", by=None, at=at), at=at)
    assert job is not None
    return job


def publish(text: str = TEXT) -> RuleVersion:
    version = draft(text)
    rules.run_publish(job=start(version), clock=clock)
    return RuleVersion.objects.get(pk=version.pk)


def use(*users: str, name: str = "invited") -> None:
    calls = [
        facts.Fact(message_id=f"{name} {user}", at=NOW, name=name, user_id=user, group_id=f"{user}'s") for user in users
    ]
    facts.record(source=facts.create_source(slug="app", at=NOW), facts=calls, received_at=NOW)


def rescore() -> None:
    for shard in range(SHARDS):
        while scores.rescore_touched(shard=shard, as_of=TODAY, at=NOW).accounts:
            pass


def live() -> RuleVersion | None:
    return RuleSet.objects.get().live_version


class TestDraft:
    def test_makes_the_rule_set_and_its_first_version(self) -> None:
        ann = User.objects.create_user("ann")
        version = draft(by=ann)
        assert (str(version), version.text, version.created_by) == ("new-business v1", TEXT, ann)
        assert (version.rule_set.name, version.rule_set.motion) == ("New business", "new_business")
        assert live() is None

    def test_of_the_same_text_is_the_same_version(self) -> None:
        assert draft() == draft()
        assert draft(OTHER).number == 2
        assert draft().number == 3  # the newest one counts: this is a change back

    def test_of_a_remark_is_a_version_of_its_own(self) -> None:
        first, second = draft(), draft(f"# why\n{TEXT}")
        assert first != second
        assert first.digest == second.digest

    def test_stores_nothing_of_a_wrong_text(self) -> None:
        with pytest.raises(language.Invalid):
            draft(TEXT.replace("points: 40", "points: many"))
        assert not RuleSet.objects.exists()

    def test_touches_nobody(self) -> None:
        use("acme")
        Touched.objects.all().delete()
        draft()
        assert not Touched.objects.exists()

    def test_is_what_its_text_says(self) -> None:
        assert rules.document_of(draft()) == language.parse(TEXT)


class TestChange:
    def test_gives_a_draft_a_new_text(self) -> None:
        changed = rules.change(version=draft(), text=OTHER, revision=1)
        assert (changed.number, changed.revision, changed.text) == (1, 2, OTHER)
        assert rules.document_of(changed) == language.parse(OTHER)

    def test_keeps_to_its_rule_set(self) -> None:
        with pytest.raises(language.Invalid) as invalid:
            rules.change(version=draft(), text=TEXT.replace("slug: new-business", "slug: churn"), revision=1)
        assert [fault.path for fault in invalid.value.faults] == ["slug"]

    def test_of_a_published_version_is_refused(self) -> None:
        with pytest.raises(rules.IsPublished, match="make a new draft"):
            rules.change(version=publish(), text=OTHER, revision=1)

    def test_of_a_text_that_somebody_else_changed_overwrites_nothing(self) -> None:
        version = draft()
        rules.change(version=version, text=OTHER, revision=1)
        with pytest.raises(rules.EditedMeanwhile, match="at revision 2, your text is of revision 1"):
            rules.change(version=version, text=WITH_SIGNAL, revision=1)
        version.refresh_from_db()
        assert (version.text, version.revision) == (OTHER, 2)

    def test_to_the_same_text_is_no_change(self) -> None:
        assert rules.change(version=draft(), text=TEXT, revision=1).revision == 1

    def test_of_what_is_about_to_go_live_is_refused(self) -> None:
        version = draft()
        start(version)
        with pytest.raises(rules.IsScheduled, match="about to go live"):
            rules.change(version=version, text=OTHER, revision=1)


class TestAPublishedVersion:
    @pytest.mark.parametrize(
        "change",
        [
            "text = 'x'",
            "digest = 'x'",
            "document = '{}'",
            "number = 7",
            "revision = 7",
            "published_at = NULL",
            "published_at = published_at + interval '1 day'",
            "created_by_id = NULL, created_at = now()",
            "review_on = '2030-01-01', text = 'x'",
        ],
    )
    def test_cannot_be_changed_even_by_the_database(self, change: str) -> None:
        version = publish()
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic(), connection.cursor() as c:
            c.execute(f"UPDATE scoring_ruleversion SET {change} WHERE id = %s", [version.pk])
        assert RuleVersion.objects.get() == version

    def test_may_get_another_owner_and_day_of_review(self) -> None:
        ann = User.objects.create_user("ann")
        version = rules.review(version=publish(), owner=ann, on=date(2027, 1, 1))
        assert (version.owner, version.review_on) == (ann, date(2027, 1, 1))

    def test_cannot_be_deleted(self) -> None:
        version = publish()
        with pytest.raises((DatabaseError, IntegrityError)), transaction.atomic(), connection.cursor() as c:
            c.execute("DELETE FROM scoring_ruleversion WHERE id = %s", [version.pk])
            c.execute("SET CONSTRAINTS ALL IMMEDIATE")


class TestPublish:
    def test_moves_the_pointer_and_keeps_a_record(self) -> None:
        ann = User.objects.create_user("ann")
        version = draft()
        rules.publish(version=version, note="the first", by=ann, at=NOW)
        job = jobs.claim(job=Job.objects.get(), at=NOW)
        assert job is not None
        rules.run_publish(job=job, clock=clock)
        assert live() == version
        record = Publication.objects.get()
        assert (record.version, record.replaced, record.note, record.by, record.is_rollback) == (
            version,
            None,
            "the first",
            ann,
            False,
        )
        assert Job.objects.get().result == {"version": "new-business v1", "touched": 0}

    def test_takes_the_new_name_and_motion(self) -> None:
        publish()
        publish(TEXT.replace("name: New business", "name: Self-serve").replace("new_business", "expansion"))
        rule_set = RuleSet.objects.get()
        assert (rule_set.name, rule_set.motion) == ("Self-serve", "expansion")

    def test_leaves_no_account_on_the_old_version(self) -> None:
        publish()
        use("acme", "globex", "initech")
        rescore()
        second = publish(OTHER)
        rescore()
        assert Account.objects.filter(kind="group").count() == Score.objects.filter(version=second).count() == 3
        assert not Score.objects.exclude(version=second).exists()
        assert not Touched.objects.exists()
        assert Score.objects.get(account__external_id="acme's").usage == 5000

    def test_touches_in_the_bulk_lane(self) -> None:
        publish()
        use("acme")
        rescore()
        publish(OTHER)
        assert set(Touched.objects.values_list("lane", "cause")) == {(Lane.BULK, "version")}

    def test_reads_history_for_new_signals_before_it_is_live(self) -> None:
        use("acme", name="exported")
        use("globex")
        publish(WITH_SIGNAL)
        assert all(signal.is_ready for signal in Signal.objects.all())
        rescore()
        assert Score.objects.get(account__external_id="globex's").tier == "hot"
        assert Score.objects.get(account__external_id="acme's").tier == ""

    def test_of_the_live_version_is_refused(self) -> None:
        with pytest.raises(rules.AlreadyLive):
            rules.publish(version=publish(), note="test", by=None, at=NOW)

    def test_waits_for_the_end_of_another(self) -> None:
        job = start(draft())
        with pytest.raises(rules.PublishRunning, match=f"job {job.pk}"):
            rules.publish(version=draft(OTHER), note="test", by=None, at=NOW)
        rules.run_publish(job=job, clock=clock)
        rules.publish(version=draft(OTHER), note="test", by=None, at=NOW)

    def test_of_another_rule_set_need_not_wait(self) -> None:
        start(draft())
        start(draft(TEXT.replace("slug: new-business", "slug: churn")))

    @pytest.mark.parametrize("step", ["_make_live", "_touch_all"])
    def test_that_was_killed_is_carried_on(self, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
        publish()
        use("acme", "globex")
        rescore()
        job, real = start(draft(OTHER)), getattr(publishing, step)
        monkeypatch.setattr(publishing, step, _killed_after(real))
        with pytest.raises(KeyboardInterrupt):
            rules.run_publish(job=job, clock=clock)
        monkeypatch.setattr(publishing, step, real)
        late = NOW + jobs.LEASE + timedelta(seconds=1)
        again = jobs.claim(job=job, at=late)
        assert again is not None
        rules.run_publish(job=again, clock=lambda: late)
        rescore()
        assert Publication.objects.count() == 2
        assert not Score.objects.exclude(version__number=2).exists()


def _killed_after(real: Callable[..., object]) -> Callable[..., object]:
    def run_and_die(**named: object) -> object:
        real(**named)
        raise KeyboardInterrupt

    return run_and_die


class TestRollBack:
    def test_brings_the_former_version_back(self) -> None:
        first = publish()
        use("acme")
        publish(OTHER)
        rescore()
        job = jobs.claim(job=rules.roll_back(rule_set=RuleSet.objects.get(), note="too hot", by=None, at=NOW), at=NOW)
        assert job is not None
        rules.run_publish(job=job, clock=clock)
        rescore()
        assert live() == first
        assert Score.objects.get(account__external_id="acme's").usage == 4000
        assert Publication.objects.order_by("id").last().is_rollback is True  # type: ignore[union-attr]

    def test_needs_a_version_before(self) -> None:
        publish()
        with pytest.raises(rules.NothingToRollBackTo):
            rules.roll_back(rule_set=RuleSet.objects.get(), note="", by=None, at=NOW)

    def test_of_a_draft_is_nothing(self) -> None:
        draft()
        with pytest.raises(rules.NothingToRollBackTo):
            rules.roll_back(rule_set=RuleSet.objects.get(), note="", by=None, at=NOW)


class TestExport:
    def test_is_the_live_text(self) -> None:
        publish()
        draft(OTHER)
        assert rules.export(rule_set=RuleSet.objects.get()) == TEXT

    def test_is_the_newest_draft_where_nothing_is_live(self) -> None:
        draft()
        draft(OTHER)
        assert rules.export(rule_set=RuleSet.objects.get()) == OTHER


class TestRegister:
    def test_signals_of_the_same_content_are_shared(self) -> None:
        publish()
        count = Signal.objects.count()
        publish(TEXT.replace("invited:", "called:").replace("count: invited", "count: called"))
        assert Signal.objects.count() == count
        assert tiles.verify() is None
