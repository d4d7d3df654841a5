"""Events come late, early, twice and around midnight: each counts once, on its own day."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection

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


def filled() -> list[tuple[date, date]]:
    """The partitions that hold something, each by its first day and the day after it."""
    return [(one.first, one.end) for one in partitions.between(date.min, date.max) if one.blocks]


@pytest.fixture
def none_yet(db: None) -> Iterator[None]:
    """Drop, for this test, the partitions that tests before it made and committed."""
    with connection.cursor() as c:
        for partition in partitions.between(date.min, date.max):
            c.execute(f"DROP TABLE {partition.name}")
    partitions.forget()
    yield
    partitions.forget()


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


@pytest.mark.usefixtures("none_yet")
class TestALateEvent:
    @pytest.mark.parametrize("days", [8, 400, 1800])
    def test_is_stored_in_a_partition_of_its_week(self, days: int) -> None:
        at = ago(days=days)
        send(call(into="acme", at=at))
        monday = at.date() - timedelta(days=at.weekday())
        assert filled() == [(monday, monday + timedelta(days=7))]
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


@pytest.mark.usefixtures("none_yet")
class TestPartitions:
    def test_of_the_coming_weeks_are_there_before_their_events(self) -> None:
        partitions.prepare_partitions(at=NOW)
        weeks = {(week.first, week.end) for week in partitions.between(TODAY, date.max)}
        this = TODAY - timedelta(days=TODAY.weekday())
        assert weeks >= {(this + timedelta(weeks=n), this + timedelta(weeks=n + 1)) for n in range(5)}

    @pytest.mark.parametrize(
        ("day", "first", "end"),
        [
            (date(2016, 7, 1), date(2016, 1, 4), date(2017, 1, 2)),  # a year begins with its first Monday
            (date(2016, 1, 3), date(2015, 1, 5), date(2016, 1, 4)),
            (date(2027, 1, 4), date(2027, 1, 4), date(2028, 1, 3)),
            (date(1970, 1, 1), date.min, date(2000, 1, 3)),
            (date.min, date.min, date(2000, 1, 3)),
            (date(2100, 1, 4), date(2100, 1, 4), date.max),
            (date.max, date(2100, 1, 4), date.max),
        ],
    )
    def test_of_dates_that_are_far_off_hold_a_year_or_all_of_them(self, day: date, first: date, end: date) -> None:
        send(call(into="acme", at=datetime(day.year, day.month, day.day, 23, tzinfo=UTC)))
        assert filled() == [(first, end)]
        assert counts(ANYTHING) == {"acme": 1}
        assert tiles.verify() is None

    def test_are_few_whatever_a_clock_says(self) -> None:
        wild = [datetime(year, month, 1, tzinfo=UTC) for year in range(1, 9999, 40) for month in (1, 6)]
        wild += [NOW + timedelta(weeks=n) for n in range(14, 400)]
        assert send(*(call(into="acme", at=at) for at in wild)).accepted == len(wild)
        assert len(partitions.between(date.min, date.max)) < 20
        assert tiles.verify() is None

    def test_of_a_year_leave_out_the_weeks_that_have_their_own(self) -> None:
        this = datetime(2027, 6, 16, tzinfo=UTC)
        send(call(into="acme", at=this), at=this)
        send(*(call(into="acme", at=this + timedelta(days=days)) for days in (-100, 0, 6, 100)))
        assert filled() == [
            (date(2027, 1, 4), date(2027, 6, 14)),
            (date(2027, 6, 14), date(2027, 6, 21)),
            (date(2027, 6, 21), date(2028, 1, 3)),
        ]
        assert counts(ANYTHING) == {"acme": 5}
        assert tiles.verify() is None

    def test_of_a_year_hold_its_weeks_when_they_come(self) -> None:
        then = NOW + timedelta(days=300)
        send(call(into="acme", at=then))
        partitions.prepare_partitions(at=then)
        send(call(into="acme", at=then), at=then)
        assert filled() == [(date(2027, 1, 4), date(2028, 1, 3))]
        assert counts(ANYTHING) == {"acme": 2}

    def test_that_hold_much_are_verified_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        send(*(call(into="acme", at=datetime(2015, 1 + n % 12, 9, tzinfo=UTC)) for n in range(400)))
        monkeypatch.setattr(tiles.verification, "STRETCH_PAGES", 1)
        monkeypatch.setattr(tiles.verification, "MOST_STRETCHES", 10**9)
        told: list[tiles.Stretch] = []
        assert tiles.verify(on_progress=told.append) is None
        assert len(told) > 3
        assert [told[0].first, *(stretch.end for stretch in told)] == [*(stretch.first for stretch in told), "infinity"]
        assert sum(stretch.counted for stretch in told) == 400
