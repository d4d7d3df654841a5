"""Old events go, and nothing that was counted is lost or counted again."""

from collections import Counter
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection

from scoring import engine, facts, jobs, language, tasks, tiles
from scoring.facts import partitions, retention
from scoring.models import Job, Signal, Source, Tile
from tests.scoring.meeting import PATIENCE, Meeting, at_once, let_go, meeting
from tests.scoring.test_scores import INVITES
from tests.scoring.world import (
    ANYTHING,
    INVITED,
    NOW,
    TODAY,
    ago,
    call,
    counts,
    entangled,
    fold,
    identify,
    join,
    send,
    source,
    stored_messages,
)

__all__ = ["meeting"]  # the fixture

pytestmark = pytest.mark.django_db

KEPT = 90
FIRST_DAY = TODAY - timedelta(days=KEPT)


def drop(at: Any = NOW) -> Job:
    """Have the day's job run to its end."""
    job = facts.drop_later(at=at)
    assert job is not None
    claimed = jobs.claim(job=job, at=at)
    assert claimed is not None
    facts.run_retention(job=claimed, clock=lambda: at)
    return Job.objects.get(pk=job.pk)


def keep(days: int | None = KEPT, slug: str = "app") -> Source:
    facts.keep_events(source=source(slug), days=days)
    return Source.objects.get(slug=slug)


def rows(sql: str) -> list[Any]:
    with connection.cursor() as c:
        c.execute(sql)
        return list(c.fetchall())


def weeks() -> set[date]:
    return {week.first for week in partitions.between(date.min, date.max)}


def old_and_new(slug: str = "app") -> None:
    """An event of each tenth day of a year, by ann of acme."""
    calls = (call(by="ann", into="acme", at=ago(days=n), message_id=f"{slug} {n}") for n in range(0, 365, 10))
    send(join("ann", "acme", message_id=f"{slug} join"), *calls, slug=slug)


class TestDropping:
    @pytest.fixture(autouse=True)
    def unhurried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(partitions, "PATIENCE", "60s")  # autovacuum may have a partition in hand

    def test_drops_events_with_their_keys_and_leaves_tiles(self) -> None:
        old_and_new()
        before = counts(ANYTHING)
        keep()
        job = drop()
        assert stored_messages() == sorted(["app join", *(f"app {n}" for n in range(0, KEPT + 1, 10))])
        assert len(rows("SELECT FROM scoring_event_key")) == len(stored_messages())
        assert counts(ANYTHING) == before == {"acme": 37}
        assert job.result["events"] == 27
        assert Source.objects.get().events_from == tiles.verified_from() == FIRST_DAY
        assert tiles.verify() is None

    def test_drops_the_partitions_that_are_left_empty(self) -> None:
        old_and_new()
        keep()
        assert drop().result["partitions"] > 10
        assert min(weeks()) > FIRST_DAY - timedelta(days=7)

    def test_leaves_what_another_source_keeps(self) -> None:
        old_and_new()
        old_and_new("forever")
        keep()
        drop()
        assert len([message for message in stored_messages() if message.startswith("forever")]) == 38
        assert min(weeks()) < ago(days=350).date()
        assert tiles.verify() is None

    def test_goes_on_from_day_to_day(self) -> None:
        old_and_new()
        keep()
        drop()
        later = NOW + timedelta(days=20)
        assert drop(later).result["events"] == 2
        assert Source.objects.get().events_from == FIRST_DAY + timedelta(days=20)
        assert tiles.verify() is None

    def test_goes_on_where_it_was_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old_and_new()
        keep()
        job = facts.drop_later(at=NOW)
        assert job is not None
        real, calls = jobs.report, []

        def killed(**given: Any) -> None:
            calls.append(given)
            real(**given)
            if len(calls) == 4:
                raise KeyboardInterrupt

        claimed = jobs.claim(job=job, at=NOW)
        assert claimed is not None
        monkeypatch.setattr(jobs, "report", killed)
        with pytest.raises(KeyboardInterrupt):
            facts.run_retention(job=claimed, clock=lambda: NOW)
        monkeypatch.setattr(jobs, "report", real)
        later = NOW + 2 * jobs.LEASE
        again = jobs.claim(job=job, at=later)
        assert again is not None
        assert again.cursor["week"] > "scoring_event_2025"
        facts.run_retention(job=again, clock=lambda: later)
        assert Job.objects.get().result["events"] == 27
        assert len(stored_messages()) == 11

    def test_leaves_a_source_alone_that_has_nothing_old(self) -> None:
        send(call(into="acme"))
        keep()
        drop()
        assert Source.objects.get().events_from is None

    def test_changes_no_score(self) -> None:
        fold(INVITED)
        old_and_new()
        document = language.parse(INVITES.replace("within: 14, at_least: 2", "within: 300, at_least: 20"))
        before = engine.judge(document, as_of=TODAY)
        keep()
        drop()
        assert engine.judge(document, as_of=TODAY) == before
        assert before[0].met[0]


class TestJob:
    def test_is_made_once_a_day_where_a_source_drops(self) -> None:
        send(call(into="acme"))
        assert facts.drop_later(at=NOW) is None
        keep()
        assert facts.drop_later(at=NOW) is not None
        assert facts.drop_later(at=NOW + timedelta(days=3)) is None  # the first one has not ended

    def test_is_made_again_the_next_day(self) -> None:
        keep()
        drop()
        assert facts.drop_later(at=NOW) is None
        assert facts.drop_later(at=NOW + timedelta(days=1)) is not None

    def test_is_carried_on_like_any_other(self) -> None:
        keep()
        tasks.drop_old_events()
        (job,) = tasks.waiting_jobs()
        assert tasks.carry_on(job=job).state == Job.State.DONE

    def test_lets_a_signal_read_history_first(self) -> None:
        old_and_new()
        tiles.register(signals=[INVITED], at=NOW)
        keep()
        drop()
        assert counts(INVITED) == {"acme": 37}

    def test_waits_for_a_refold(self) -> None:
        old_and_new()
        keep()
        jobs.create(kind=tiles.REFOLD, arguments={"identities": [], "accounts": []}, by=None, at=NOW)
        assert "postponed" in drop().result
        assert len(stored_messages()) == 38

    def test_shuts_closed_days_to_new_signals_at_once(self) -> None:
        old_and_new()
        keep()
        assert retention._close(NOW)
        (signal,) = fold(INVITED)
        assert (counts(INVITED), signal.known_from) == ({"acme": 10}, FIRST_DAY)
        assert send(call(by="ann", at=ago(days=200), message_id="app 200")).statuses == ["too_old"]
        assert tiles.verify() is None

    def test_may_close_days_while_they_are_verified(self) -> None:
        old_and_new()
        told: list[tiles.Stretch] = []

        def drop_at_once(stretch: tiles.Stretch) -> None:
            if not told:
                drop()
            told.append(stretch)

        keep()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tiles.verification, "STRETCH_PAGES", 1)
            patch.setattr(tiles.verification, "MOST_STRETCHES", 10**9)
            assert tiles.verify(on_progress=drop_at_once) is None
        assert len(told) > 10

    def test_refuses_to_keep_events_for_days_only(self) -> None:
        with pytest.raises(facts.KeptTooShort, match="at least 30 days"):
            keep(7)
        assert Source.objects.get().keep_events_days is None


class TestAfterwards:
    @pytest.fixture(autouse=True)
    def dropped(self) -> None:
        fold(INVITED)
        old_and_new()
        keep()
        drop()

    def test_a_repeated_event_is_refused_not_counted_again(self) -> None:
        calls = [call(by="ann", into="acme", at=ago(days=n), message_id=f"app {n}") for n in (200, KEPT, KEPT + 1, 0)]
        recorded = send(*calls)
        assert recorded.statuses == ["too_old", "duplicate", "too_old", "duplicate"]
        assert (recorded.accepted, recorded.duplicate, recorded.refused) == (0, 2, 2)
        assert counts(ANYTHING) == {"acme": 37}

    def test_another_source_may_still_send_old_events(self) -> None:
        assert send(call(into="globex", at=ago(days=2000)), slug="billing").statuses == ["accepted"]
        assert counts(ANYTHING)["globex"] == 1

    def test_a_new_signal_is_known_from_the_first_day_that_is_left(self) -> None:
        (known,) = Signal.objects.filter(digest=language.signal_digest(INVITED))
        saved = language.Signal(events=("invited", "saved"))
        (signal,) = fold(saved)
        assert (known.known_from, signal.known_from) == (None, FIRST_DAY)
        assert tiles.known_from(signals={"old": INVITED, "new": saved}) == {"new": FIRST_DAY}
        assert counts(saved) == {"acme": 10}
        assert tiles.verify() is None

    def test_a_merge_takes_frozen_tiles_along(self) -> None:
        send(call(device="phone", at=ago(days=100)), slug="forever")
        send(identify("ann", device="phone"), slug="forever")
        assert counts(ANYTHING) == {"acme": 38}
        assert tiles.verify() is None

    def test_a_refold_leaves_frozen_tiles_alone(self) -> None:
        ann = rows("SELECT id FROM scoring_identity WHERE value = 'ann'")[0][0]
        job = jobs.claim(job=tiles.refold_later(identities=[ann], why="test", at=NOW), at=NOW)
        assert job is not None
        tiles.run_refold(job=job, clock=lambda: NOW)
        assert counts(ANYTHING) == counts(INVITED) == {"acme": 37}
        assert tiles.verify() is None

    def test_frozen_tiles_are_compacted_like_others(self) -> None:
        assert Tile.objects.filter(day__lt=FIRST_DAY).exists()
        tiles.compact(least=1)
        assert counts(ANYTHING) == {"acme": 37}


@pytest.mark.django_db(transaction=True)
class TestBesideOthers:
    def test_senders_lose_nothing_and_count_nothing_twice(self, meeting: Meeting) -> None:
        calls = entangled(Random(3), 400)  # of the last 84 days
        for batch in (calls[:100], calls[100:200]):
            send(*batch)
        fold(INVITED)
        keep(30)
        job = facts.drop_later(at=NOW)
        assert job is not None
        claimed = jobs.claim(job=job, at=NOW)
        assert claimed is not None
        source("forever")

        def send_again_and_more() -> Counter[str]:
            """What is there already, from the same source, beside what another one sends of the same weeks."""
            found = Counter[str]()
            for start in range(0, 200, 10):
                found.update(send(*calls[start : start + 10]).statuses)
                send(*calls[200 + start : 210 + start], slug="forever")
            return found

        found, _, _ = at_once(
            meeting,
            send_again_and_more,
            lambda: facts.run_retention(job=claimed, clock=lambda: NOW),
            lambda: [tiles.compact(least=1, size=50) for _ in range(30)],
        )
        assert set(found) == {"duplicate", "too_old"}
        uses = sum(one.name not in language.CALLS_THAT_ARE_NOT_USE for one in calls)
        assert sum(counts(ANYTHING).values()) == uses
        assert tiles.verify() is None
        assert Job.objects.get().state == Job.State.DONE

    def test_a_day_that_closes_while_its_events_come_again_takes_none_of_them(
        self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = call(into="acme", at=ago(days=60), message_id="old")
        send(old)
        keep(30)
        job = facts.drop_later(at=NOW)
        claimed = jobs.claim(job=job, at=NOW) if job else None
        assert claimed is not None
        there, go_on = meeting.hold(monkeypatch, partitions, "ensure")
        again = meeting.start(lambda: send(old))  # looked through while the day is open
        with let_go(go_on):
            assert there.wait(PATIENCE)
            facts.run_retention(job=claimed, clock=lambda: NOW)
            assert stored_messages() == []
        assert again.result(PATIENCE).statuses == ["too_old"]
        assert sum(counts(ANYTHING).values()) == 1

    def test_a_partition_is_not_dropped_under_an_open_ingest(
        self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(call(into="acme", at=ago(days=200)))
        with connection.cursor() as c:
            c.execute("DELETE FROM scoring_event")
        (week,) = [week for week in partitions.between(date.min, date.max) if week.holds(ago(days=200).date())]
        there, go_on = meeting.hold(monkeypatch, tiles, "append")
        ingest = meeting.start(lambda: send(call(into="acme", at=ago(days=200))))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            assert not partitions.drop_if_empty(week)
        assert ingest.result(PATIENCE).accepted == 1
        assert stored_messages()
