"""Long work as rows: one worker at a time, carried on after a death, and a zombie's writes do not land."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User

from scoring import jobs, tasks
from scoring.models import Job

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
LATE = NOW + jobs.LEASE + timedelta(seconds=1)


def create() -> Job:
    return jobs.create(kind="publish", arguments={"version": 1}, by=None, at=NOW)


def claim(job: Job, at: datetime = NOW) -> Job:
    claimed = jobs.claim(job=job, at=at)
    assert claimed is not None
    return claimed


def progress(done: int = 1) -> jobs.Progress:
    return jobs.Progress(step="counting", done=done, total=10, cursor={"after": done})


class TestClaim:
    def test_is_for_one_worker(self) -> None:
        job = create()
        assert claim(job).attempt == 1
        assert jobs.claim(job=job, at=NOW) is None
        assert jobs.waiting(at=NOW) == []

    def test_of_a_dead_workers_job_is_free_after_its_lease(self) -> None:
        job = create()
        claim(job)
        assert jobs.waiting(at=LATE) == [job]
        assert claim(job, LATE).attempt == 2

    def test_is_prolonged_by_each_report(self) -> None:
        job = claim(create())
        jobs.report(job=job, progress=progress(), at=NOW + timedelta(seconds=50))
        assert jobs.claim(job=job, at=LATE) is None

    def test_of_a_job_that_is_over_is_refused(self) -> None:
        job = claim(create())
        jobs.finish(job=job, result={}, at=NOW)
        assert jobs.claim(job=job, at=LATE) is None

    def test_gives_up_a_job_that_kills_its_workers(self) -> None:
        job, at = create(), NOW
        for _ in range(jobs.MOST_ATTEMPTS):
            claim(job, at)
            at += jobs.LEASE + timedelta(seconds=1)
        assert jobs.claim(job=job, at=at) is None
        job.refresh_from_db()
        assert (job.state, job.error) == (Job.State.FAILED, "given up after 5 attempts")
        assert jobs.waiting(at=at) == []

    def test_keeps_a_job_that_gets_further_however_often_its_workers_die(self) -> None:
        job, at = create(), NOW
        for done in range(1, 3 * jobs.MOST_ATTEMPTS):
            jobs.report(job=claim(job, at), progress=progress(done), at=at)
            at += jobs.LEASE + timedelta(seconds=1)
        assert claim(job, at).state == Job.State.RUNNING

    def test_goes_to_the_oldest_first(self) -> None:
        first, second = create(), create()
        assert jobs.waiting(at=NOW) == [first, second]


class TestWrites:
    def test_tell_how_far_it_is(self) -> None:
        job = claim(create())
        jobs.report(job=job, progress=progress(3), at=NOW)
        job.refresh_from_db()
        assert (job.step, job.done, job.total, job.cursor) == ("counting", 3, 10, {"after": 3})

    @pytest.mark.parametrize("write", ["report", "finish", "fail", "release"])
    def test_of_a_zombie_do_not_land(self, write: str) -> None:
        zombie = claim(create())
        claim(zombie, LATE)
        before = Job.objects.filter(pk=zombie.pk).values().get()
        named: dict[str, dict[str, object]] = {
            "report": {"progress": progress()},
            "finish": {"result": {}},
            "fail": {"error": "x"},
            "release": {"error": "x"},
        }
        with pytest.raises(jobs.LeaseLost):
            getattr(jobs, write)(job=zombie, at=LATE, **named[write])
        assert Job.objects.filter(pk=zombie.pk).values().get() == before

    def test_of_a_stopped_jobs_worker_do_not_land(self) -> None:
        job = claim(create())
        assert jobs.stop(job=job, by=User(username="ann"), at=NOW)
        with pytest.raises(jobs.LeaseLost):
            jobs.report(job=job, progress=progress(), at=NOW)
        job.refresh_from_db()
        assert (job.state, job.error, job.finished_at) == (Job.State.STOPPED, "stopped by ann", NOW)
        assert jobs.waiting(at=LATE) == []

    def test_a_job_that_is_over_cannot_be_stopped(self) -> None:
        job = claim(create())
        jobs.finish(job=job, result={}, at=NOW)
        assert not jobs.stop(job=job, by=User(username="ann"), at=NOW)

    def test_a_released_job_is_carried_on_in_a_few_seconds(self) -> None:
        job = claim(create())
        jobs.release(job=job, error="deadlock", at=NOW)
        assert jobs.claim(job=job, at=NOW + timedelta(seconds=4)) is None
        assert claim(job, NOW + timedelta(seconds=6)).attempt == 2


class TestBeginAgain:
    """Of work that must be done."""

    def ended(self, how: str = "stop") -> Job:
        job = claim(create())
        if how == "stop":
            jobs.stop(job=job, by=User(username="ann"), at=NOW)
        else:
            jobs.fail(job=job, error="x", at=NOW)
        return job

    @pytest.mark.parametrize("how", ["stop", "fail"])
    def test_a_new_job_takes_the_place_of_one_that_ended_undone(self, how: str) -> None:
        job = self.ended(how)
        assert jobs.left(kinds=["publish"]) == job
        assert jobs.begin_again(kinds=["publish"], at=NOW + timedelta(minutes=9)) == []
        (again,) = jobs.begin_again(kinds=["publish"], at=NOW + timedelta(minutes=10))
        assert (again.state, again.arguments["version"], again.cursor) == (Job.State.QUEUED, 1, {})
        assert jobs.begin_again(kinds=["publish"], at=NOW + timedelta(days=9)) == []
        assert jobs.left(kinds=["publish"]) == again
        job.refresh_from_db()
        assert job.result == {"replaced_by": again.pk}

    def test_only_jobs_of_these_kinds(self) -> None:
        self.ended()
        assert jobs.begin_again(kinds=["refold"], at=NOW + timedelta(days=9)) == []

    def test_never_one_that_is_done(self) -> None:
        jobs.finish(job=claim(create()), result={}, at=NOW)
        assert jobs.begin_again(kinds=["publish"], at=NOW + timedelta(days=9)) == []
        assert jobs.left(kinds=["publish"]) is None

    def test_later_and_later_while_it_keeps_failing(self) -> None:
        job, at, waited = self.ended("fail"), NOW, []
        for _ in range(12):
            waited.append(jobs.begins_again_at(job) - at)
            at = jobs.begins_again_at(job)
            (again,) = jobs.begin_again(kinds=["publish"], at=at)
            job = claim(again, at)
            jobs.fail(job=job, error="x", at=at)
            job.refresh_from_db()
        assert waited[:3] == [timedelta(minutes=10), timedelta(minutes=20), timedelta(minutes=40)]
        assert waited[-1] == timedelta(days=1)


class TestCarryOn:
    def test_fails_a_job_with_the_reason(self) -> None:
        job = tasks.carry_on(job=create())  # of a version that does not exist
        assert job.state == Job.State.FAILED
        assert job.error.startswith("DoesNotExist")

    def test_leaves_somebody_elses_job_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "RUNNERS", {})
        job = create()
        Job.objects.filter(pk=job.pk).update(
            state=Job.State.RUNNING, attempt=1, lease_until=datetime(9000, 1, 1, tzinfo=UTC)
        )
        assert tasks.carry_on(job=job).state == Job.State.RUNNING
