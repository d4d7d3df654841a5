"""A publication beside live traffic: nobody is left on the old version, and nobody is told so too early."""

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from threading import Event

import pytest
import time_machine
from django.contrib.auth.models import User

from scoring import facts, jobs, rules, scores, tasks
from scoring.models import SHARDS, Account, Job, Lane, RuleSet, RuleVersion, Score, Touched
from scoring.rules import publishing
from tests.scoring.meeting import PATIENCE, Meeting, let_go, meeting

__all__ = ["meeting"]  # the fixture

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
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
  - {id: invites, name: Invited teammates, group: team, points: 40, when: {count: invited, within: 14, at_least: 1}}
tiers:
  - {name: hot, pql: true, enter: {usage: 40}}
"""
SECOND = TEXT.replace("points: 40", "points: 50")
THIRD = TEXT.replace("points: 40", "points: 60")
_numbers = itertools.count()


def publish(text: str, at: datetime = NOW) -> RuleVersion:
    version = rules.draft(text=text, by=None, at=at)
    run(rules.publish(version=version, note="test", by=None, at=at), at=at)
    return RuleVersion.objects.select_related("rule_set").get(pk=version.pk)


def run(job: Job, at: datetime = NOW) -> None:
    claimed = jobs.claim(job=job, at=at)
    assert claimed is not None
    rules.run_publish(job=claimed, clock=lambda: at)


def use(*accounts: str) -> None:
    calls = [
        facts.Fact(
            message_id=f"m{next(_numbers)}", at=NOW, name="invited", user_id=f"user of {account}", group_id=account
        )
        for account in accounts
    ]
    facts.record(source=facts.create_source(slug="app", at=NOW), facts=calls, received_at=NOW)


def rescore(at: datetime = NOW) -> None:
    for shard in range(SHARDS):
        while scores.rescore_touched(shard=shard, as_of=TODAY, at=at).accounts:
            pass


def live() -> RuleVersion:
    version = RuleSet.objects.get().live_version
    assert version is not None
    return version


def _fails(**_: object) -> None:
    raise ValueError("a fault that does not pass")


def left_behind() -> set[str]:
    """The accounts whose score is not of the live version."""
    return set(Score.objects.exclude(version=live()).values_list("account__external_id", flat=True))


@pytest.mark.django_db(transaction=True)
class TestBesideTraffic:
    def test_nobody_is_left_on_the_old_version(self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
        """Senders make accounts and send events, scorers score, while the pointer moves and everybody is touched."""
        monkeypatch.setattr(publishing, "CHUNK", 7)
        publish(TEXT)
        use(*(f"old {n}" for n in range(60)))
        rescore()
        over = Event()

        def send(name: str) -> None:
            for n in itertools.count():
                use(f"{name} {n}", f"old {n % 60}")
                if over.is_set():
                    return

        def score() -> None:
            while not over.is_set():
                rescore()

        others = [meeting.start(partial(send, name)) for name in ("ann", "ben")] + [meeting.start(score)]
        try:
            for text in (SECOND, THIRD, TEXT + "# again\n"):
                publish(text)
        finally:
            over.set()
        for other in others:
            other.result(PATIENCE)
        rescore()
        assert left_behind() == set()
        groups = Account.objects.filter(kind="group").count()
        assert Score.objects.filter(version=live(), account__kind="group").count() == groups > 60
        assert not Touched.objects.exists()

    def test_a_rescore_that_reads_the_old_pointer_is_waited_for(
        self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(TEXT)
        use("acme")
        there, go_on = meeting.hold(monkeypatch, scores.engine, "judge_together")
        old = meeting.start(rescore)
        with let_go(go_on):
            assert there.wait(PATIENCE)
            second = meeting.start(lambda: publish(SECOND))
            meeting.somebody_waits()
            assert live().number == 1
        old.result(PATIENCE)
        second.result(PATIENCE)
        rescore()
        assert left_behind() == set() and live().number == 2

    def test_a_cancel_while_history_is_read_moves_no_pointer(
        self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(TEXT)
        job = rules.publish(version=rules.draft(text=SECOND, by=None, at=NOW), note="test", by=None, at=NOW)
        there, go_on = meeting.hold(monkeypatch, publishing, "_make_live")
        running = meeting.start(lambda: run(job))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            assert rules.cancel(rule_set=RuleSet.objects.get(), by=None, at=NOW).state == Job.State.STOPPED
        with pytest.raises(jobs.LeaseLost):
            running.result(PATIENCE)
        assert live().number == 1
        publish(THIRD)
        assert live().number == 3


@pytest.mark.django_db
class TestFreshness:
    def test_is_never_beyond_a_version_by_which_somebody_is_not_scored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(publishing, "CHUNK", 1)
        publish(TEXT)
        use("acme", "globex")
        rescore()
        assert scores.fresh_as_of(at=LATER) == LATER
        told: list[datetime] = []
        real = jobs.report

        def report(**named: object) -> None:
            real(**named)  # type: ignore[arg-type]
            told.append(scores.fresh_as_of(at=LATER))

        monkeypatch.setattr(jobs, "report", report)
        publish(SECOND)
        assert len(told) >= 3 and set(told) == {NOW}  # from the pointer's move on
        assert scores.fresh_as_of(at=LATER) == NOW  # everybody is touched, nobody scored
        for shard in range(SHARDS):
            assert scores.fresh_as_of(at=LATER) == NOW or not Touched.objects.exists()
            scores.rescore_touched(shard=shard, as_of=TODAY, at=LATER)
        rescore(LATER)
        assert scores.fresh_as_of(at=LATER) == LATER
        assert left_behind() == set()

    def test_stops_at_a_publication_that_died_on_its_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        publish(TEXT)
        use("acme")
        rescore()
        job = rules.publish(version=rules.draft(text=SECOND, by=None, at=NOW), note="test", by=None, at=NOW)
        real = publishing._touch_all
        monkeypatch.setattr(publishing, "_touch_all", _die)
        with pytest.raises(KeyboardInterrupt):
            run(job)
        assert not Touched.objects.exists()
        assert scores.fresh_as_of(at=LATER) == NOW
        monkeypatch.setattr(publishing, "_touch_all", real)
        run(job, at=LATER)
        rescore(LATER)
        assert scores.fresh_as_of(at=LATER) == LATER
        assert left_behind() == set()

    def test_stops_at_one_that_failed_until_it_is_taken_up_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        publish(TEXT)
        use("acme", "globex")
        rescore()
        job = rules.publish(version=rules.draft(text=SECOND, by=None, at=NOW), note="test", by=None, at=NOW)
        with time_machine.travel(NOW, tick=False) as clock:
            with monkeypatch.context() as patched:
                patched.setattr(publishing.handoffs, "touch", _fails)
                assert tasks.carry_on(job=job).state == Job.State.FAILED
            assert live().number == 2
            assert left_behind() == {"acme", "globex"}
            clock.move_to(NOW + timedelta(minutes=9))
            assert tasks.waiting_jobs() == []
            assert scores.fresh_as_of(at=NOW + timedelta(minutes=9)) == NOW
            clock.move_to(LATER)
            (again,) = tasks.waiting_jobs()
            assert tasks.carry_on(job=again).state == Job.State.DONE
            assert tasks.waiting_jobs() == []
        rescore(LATER)
        assert left_behind() == set()
        assert scores.fresh_as_of(at=LATER) == LATER

    def test_does_not_wait_for_one_that_another_overtook(self, monkeypatch: pytest.MonkeyPatch) -> None:
        publish(TEXT)
        job = rules.publish(version=rules.draft(text=SECOND, by=None, at=NOW), note="test", by=None, at=NOW)
        use("acme")
        with time_machine.travel(NOW, tick=False) as clock:
            with monkeypatch.context() as patched:
                patched.setattr(publishing.handoffs, "touch", _fails)
                tasks.carry_on(job=job)
            publish(THIRD)
            rescore()
            assert scores.fresh_as_of(at=LATER) == LATER
            clock.move_to(LATER)
            (again,) = tasks.waiting_jobs()
            done = tasks.carry_on(job=again)
        assert (done.state, done.result["overtaken"], live().number) == (Job.State.DONE, True, 3)

    def test_is_never_beyond_a_day_that_is_not_swept(self) -> None:
        publish(TEXT)
        use("acme")
        rescore()
        ends = NOW + timedelta(days=16)  # the invitation left the window two days before
        assert scores.fresh_as_of(at=ends) == datetime(2026, 3, 23, tzinfo=UTC)
        for shard in range(SHARDS):
            scores.sweep(shard=shard, as_of=ends.date(), at=ends)
        assert scores.fresh_as_of(at=ends) == datetime(2026, 3, 23, tzinfo=UTC)  # touched, not scored
        for shard in range(SHARDS):
            scores.rescore_touched(shard=shard, as_of=ends.date(), at=ends)
        assert scores.fresh_as_of(at=ends) == ends


def _die(**named: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def standing_still() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.mark.django_db
class TestASetTime:
    def test_is_waited_for_and_kept(self, standing_still: time_machine.Traveller) -> None:
        publish(TEXT)
        version = rules.draft(text=SECOND, by=None, at=NOW)
        job = rules.publish(version=version, note="test", by=None, at=NOW, on=LATER)
        assert tasks.waiting_jobs() == []
        assert tasks.carry_on(job=job).state == Job.State.QUEUED
        standing_still.move_to(LATER + timedelta(seconds=1), tick=False)
        (waiting,) = tasks.waiting_jobs()
        assert tasks.carry_on(job=waiting).state == Job.State.DONE
        assert live() == version

    @pytest.mark.parametrize("on", [NOW, NOW - timedelta(seconds=1), NOW + timedelta(days=400)])
    def test_lies_within_the_coming_year(self, on: datetime) -> None:
        with pytest.raises(rules.WrongTime, match="coming year"):
            rules.publish(version=rules.draft(text=TEXT, by=None, at=NOW), note="test", by=None, at=NOW, on=on)

    def test_keeps_others_from_publishing_and_nobody_from_rolling_back(
        self, standing_still: time_machine.Traveller
    ) -> None:
        first = publish(TEXT)
        publish(SECOND)
        third = rules.draft(text=THIRD, by=None, at=NOW)
        job = rules.publish(version=third, note="test", by=None, at=NOW, on=LATER)
        with pytest.raises(rules.PublishRunning, match="v3 is set to go live at 9 March 2026 13:00 UTC; cancel that"):
            rules.publish(version=third, note="test", by=None, at=NOW)
        run(rules.roll_back(rule_set=first.rule_set, note="", by=None, at=NOW))
        assert live() == first
        standing_still.move_to(LATER + timedelta(seconds=1), tick=False)
        failed = tasks.carry_on(job=job)
        assert (failed.state, live()) == (Job.State.FAILED, first)
        assert "another version went live since" in failed.error

    def test_can_be_cancelled(self) -> None:
        ann = User.objects.create_user("ann")
        version = rules.draft(text=TEXT, by=None, at=NOW)
        rule_set = RuleSet.objects.get()
        with pytest.raises(rules.NothingToCancel):
            rules.cancel(rule_set=rule_set, by=ann, at=NOW)
        rules.publish(version=version, note="test", by=None, at=NOW, on=LATER)
        assert rules.cancel(rule_set=rule_set, by=ann, at=NOW).error == "stopped by ann"
        assert rules.scheduled(rule_set=rule_set) is None
        rules.change(version=version, text=SECOND, revision=1)

    def test_is_too_late_to_cancel_once_it_is_live(self, monkeypatch: pytest.MonkeyPatch) -> None:
        job = rules.publish(version=rules.draft(text=TEXT, by=None, at=NOW), note="test", by=None, at=NOW)
        monkeypatch.setattr(publishing, "_touch_all", _die)
        with pytest.raises(KeyboardInterrupt):
            run(job)
        with pytest.raises(rules.LiveAlready, match="roll back instead"):
            rules.cancel(rule_set=RuleSet.objects.get(), by=None, at=NOW)


@pytest.mark.django_db
class TestRollingBack:
    def test_goes_further_back_each_time_and_forth_by_publishing(self) -> None:
        first, second, third = publish(TEXT), publish(SECOND), publish(THIRD)
        rule_set = first.rule_set
        for expected in (second, first):
            run(rules.roll_back(rule_set=rule_set, note="", by=None, at=NOW))
            assert live() == expected
        with pytest.raises(rules.NothingToRollBackTo):
            rules.roll_back(rule_set=rule_set, note="", by=None, at=NOW)
        run(rules.publish(version=third, note="after all", by=None, at=NOW))
        assert live() == third

    def test_a_reason_is_needed_to_publish_and_not_to_go_back(self) -> None:
        with pytest.raises(rules.NoteMissing, match="say why"):
            rules.publish(version=rules.draft(text=TEXT, by=None, at=NOW), note=" \n", by=None, at=NOW)


@pytest.mark.django_db
class TestReview:
    def test_is_due_after_three_months_by_whoever_published(self) -> None:
        ann = User.objects.create_user("ann")
        run(rules.publish(version=rules.draft(text=TEXT, by=None, at=NOW), note="test", by=ann, at=NOW))
        version = live()
        assert (version.owner, version.review_on) == (ann, TODAY + publishing.REVIEW_AFTER)
        assert rules.due_for_review(on=TODAY + timedelta(days=89)) == []
        (due,) = rules.due_for_review(on=TODAY + timedelta(days=90))
        assert (due.version, due.live_since) == (version, NOW)

    def test_of_a_version_that_is_not_live_is_never_due(self) -> None:
        publish(TEXT)
        publish(SECOND)
        assert [due.version.number for due in rules.due_for_review(on=date(2030, 1, 1))] == [2]

    def test_says_what_has_come_of_it(self) -> None:
        use("early")
        goal = "goal: {outcome: paid}\n"
        publish(goal + TEXT.replace("{event: invited}", "{event: invited}\n  never: {event: never}"))
        use("acme", "globex")
        other = facts.Fact(message_id="x", at=NOW, name="opened", user_id="z", group_id="initech")
        facts.record(source=facts.create_source(slug="app", at=NOW), facts=[other], received_at=NOW)
        rescore(LATER)
        for name in ("acme", "initech"):
            account = Account.objects.get(external_id=name)
            facts.record_outcome(account=account, kind="paid", at=LATER, received_at=LATER, message_id=f"paid {name}")
        rescore(LATER)
        evidence = rules.evidence_of(version=live(), on=TODAY)
        assert (evidence.pqls, evidence.qualified, evidence.reached) == (3, 3, 1)
        assert (evidence.others, evidence.others_reached) == (1, 1)
        assert list(evidence.quiet) == ["never"]

    def test_is_not_set_for_a_draft(self) -> None:
        with pytest.raises(rules.NotPublished):
            rules.review(version=rules.draft(text=TEXT, by=None, at=NOW), owner=None, on=TODAY)

    def test_work_of_a_publication_is_in_the_bulk_lane(self) -> None:
        use("acme")
        Touched.objects.all().delete()
        publish(TEXT)
        assert set(Touched.objects.values_list("lane", "at")) == {(Lane.BULK, NOW)}
