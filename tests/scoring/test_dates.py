"""Events come late, early, twice and around midnight: each counts once, on its own day."""

from datetime import UTC, date, datetime, timedelta

import pytest

from scoring import engine, language, scores, tiles
from scoring.facts import partitions
from scoring.models import SHARDS, Score
from tests.scoring.test_scores import INVITES, publish
from tests.scoring.world import ANYTHING, NOW, TODAY, ago, call, counts, send, stored_events

pytestmark = pytest.mark.django_db

MIDNIGHT = datetime(2026, 3, 30, tzinfo=UTC)  # a Monday: another day, and another partition


def rescore(day: date) -> Score:
    at = datetime(day.year, day.month, day.day, 1, tzinfo=UTC)
    for shard in range(SHARDS):
        scores.sweep(shard=shard, as_of=day, at=at)
        scores.rescore_touched(shard=shard, as_of=day, at=at)
    return Score.objects.get()


class TestAnEventOfTheFuture:
    @pytest.fixture(autouse=True)
    def sent(self) -> None:
        publish(INVITES)
        send(*(call(into="acme", at=NOW + timedelta(days=ahead)) for ahead in (5, 5, 400)))

    def test_is_stored_and_folded_at_once(self) -> None:
        assert stored_events() == 3
        assert counts(ANYTHING) == {"acme": 3}
        assert tiles.verify() is None

    def test_counts_for_nothing_before_its_day(self) -> None:
        document = language.parse(INVITES)
        usage = {n: engine.judge(document, as_of=TODAY + timedelta(days=n))[0].usage for n in (0, 4, 5, 400)}
        assert usage == {0: 0, 4: 0, 5: 5000, 400: 1000}

    def test_brings_its_own_rescore_on_its_day(self) -> None:
        assert (rescore(TODAY).usage, rescore(TODAY + timedelta(days=4)).usage) == (0, 0)
        assert rescore(TODAY + timedelta(days=5)).usage == 5000


class TestALateEvent:
    @pytest.mark.parametrize("days", [8, 400, 4000, 700_000])
    def test_is_stored_in_a_partition_of_its_week(self, days: int) -> None:
        at = ago(days=days)
        send(call(into="acme", at=at))
        monday = at.date() - timedelta(days=at.weekday())
        assert monday in {week.monday for week in partitions.between(date.min, TODAY) if week.blocks}
        assert tiles.verify() is None

    def test_changes_the_score_at_once_if_its_day_still_counts(self) -> None:
        publish(INVITES)
        send(call(into="acme"))
        assert rescore(TODAY).usage == 1000
        send(call(into="acme", at=ago(days=13)))
        assert rescore(TODAY).usage == 5000


class TestARepetition:
    @pytest.mark.parametrize(
        ("first", "again"),
        [
            (timedelta(seconds=-1), timedelta(seconds=1)),
            (timedelta(seconds=1), timedelta(seconds=-1)),
            (timedelta(0), timedelta(days=-900)),
            (timedelta(0), timedelta(days=900)),
        ],
    )
    def test_counts_once_whatever_day_it_states(self, first: timedelta, again: timedelta) -> None:
        send(call(into="acme", message_id="1", at=MIDNIGHT + first), at=MIDNIGHT + first)
        recorded = send(call(into="acme", message_id="1", at=MIDNIGHT + again), at=MIDNIGHT + timedelta(hours=1))
        assert recorded.statuses == ["duplicate"]
        assert (stored_events(), counts(ANYTHING)) == (1, {"acme": 1})

    def test_counts_once_also_after_its_tiles_were_put_together(self) -> None:
        calls = [call(into="acme", message_id=f"{n}", at=ago(days=n)) for n in range(5)]
        send(*calls)
        tiles.compact(least=0)
        assert send(*calls).duplicate == 5
        assert counts(ANYTHING) == {"acme": 5}


class TestPartitions:
    def test_of_the_coming_weeks_are_there_before_their_events(self) -> None:
        partitions.forget()  # what tests before this one made was rolled back
        partitions.prepare_partitions(at=NOW)
        mondays = {week.monday for week in partitions.between(TODAY, date.max)}
        this = TODAY - timedelta(days=TODAY.weekday())
        assert mondays >= {this + timedelta(weeks=n) for n in range(5)}
