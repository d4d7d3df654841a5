"""`manage.py verify` finds whatever drifted, and names it."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection

from scoring import jobs, scores, tiles
from scoring.models import SHARDS, Score
from scoring.tiles import verification
from tests.scoring.test_scores import INVITES, publish
from tests.scoring.world import INVITED, NOW, ago, call, fold, join, send

pytestmark = pytest.mark.django_db


def verify(*options: str) -> str:
    out = StringIO()
    call_command("verify", *options, stdout=out)
    return out.getvalue()


def difference(*options: str) -> str:
    """What the command says of the difference that it must find."""
    out = StringIO()
    with pytest.raises(SystemExit) as exited:
        call_command("verify", *options, stdout=out)
    assert exited.value.code == 1
    return out.getvalue().partition("DIFFERENT: ")[2]


def spoil(sql: str) -> None:
    with connection.cursor() as c:
        c.execute(sql)


@pytest.fixture
def world() -> None:
    """Some years of two accounts."""
    send(join("ann", "acme"), *(call(by="ann", at=ago(days=n * 40)) for n in range(20)), call(into="globex"))
    fold(INVITED)


@pytest.mark.usefixtures("world")
class TestTiles:
    def test_are_equal_where_all_is_well(self) -> None:
        assert "equal: 42 tiles" in verify("--tiles")

    @pytest.mark.parametrize("stretch_pages", [1, 10**9])
    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            ("UPDATE scoring_tile SET count = 5 WHERE", "count: 5 in the tiles, 1 by the events"),
            ("DELETE FROM scoring_tile WHERE", "count: nothing in the tiles, 1 by the events"),
            (
                "INSERT INTO scoring_tile (signal_id, account_id, user_id, inherited, day, count, first_at, last_at)"
                " SELECT signal_id, account_id, user_id, inherited, day, count, first_at, last_at FROM scoring_tile"
                " WHERE",
                "count: 2 in the tiles, 1 by the events",
            ),
        ],
    )
    def test_name_the_difference(
        self, fault: str, told: str, stretch_pages: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verification, "STRETCH_PAGES", stretch_pages)
        monkeypatch.setattr(verification, "MOST_STRETCHES", 10**9 if stretch_pages == 1 else 1)
        day = ago(days=400).date()
        spoil(f"{fault} day = '{day}' AND signal_id = (SELECT min(signal_id) FROM scoring_tile)")
        words = difference("--tiles")
        assert f"on {day}, user" in words
        assert "(ann), account acme, its home" in words
        assert told in words

    def test_that_no_event_stands_behind_are_found(self) -> None:
        spoil("UPDATE scoring_tile SET day = '0044-03-15' WHERE day = (SELECT min(day) FROM scoring_tile)")
        assert difference("--tiles").startswith("on 0044-03-15")

    def test_are_compared_in_stretches_that_cover_all_days(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verification, "STRETCH_PAGES", 1)
        monkeypatch.setattr(verification, "MOST_STRETCHES", 10**9)
        told: list[tiles.Stretch] = []
        assert tiles.verify(on_progress=told.append) is None
        assert len(told) > 10
        assert [told[0].first, *(stretch.end for stretch in told)] == [
            *(stretch.first for stretch in told),
            "infinity",
        ]
        assert told[0].first == "-infinity"
        assert sum(stretch.tiles for stretch in told) == 42

    def test_wait_for_a_refold(self) -> None:
        jobs.create(kind=tiles.REFOLD, arguments={"identities": [], "accounts": []}, by=None, at=NOW)
        with pytest.raises(CommandError, match="verify again when it is done"):
            verify("--tiles")


class TestScores:
    @pytest.fixture(autouse=True)
    def scored(self) -> Iterator[None]:
        publish(INVITES)
        send(*(call(into=name, at=NOW - timedelta(hours=1)) for name in ("acme", "acme", "globex")), at=NOW)
        for shard in range(SHARDS):
            scores.rescore_touched(shard=shard, as_of=NOW.date(), at=NOW)
        assert Score.objects.count() == 2
        with time_machine.travel(NOW, tick=False):
            yield

    def test_are_equal_where_all_is_well(self) -> None:
        assert "equal: 2 accounts" in verify("--tiles", "--scores")

    def test_that_were_changed_are_named(self) -> None:
        score = Score.objects.get(account__external_id="acme")
        spoil(f"UPDATE scoring_score SET usage = 777, result = 'x' WHERE id = {score.pk}")
        assert "new-business, account acme: the stored score says scored, tier hot, usage 7.77" in difference()

    def test_that_are_missing_are_named(self) -> None:
        Score.objects.filter(account__external_id="globex").delete()
        assert "account globex: the stored score says nothing" in difference("--scores")

    def test_that_wait_for_their_rescore_are_left_out(self) -> None:
        send(call(into="globex"), slug="other")
        assert "equal" in verify("--scores")
