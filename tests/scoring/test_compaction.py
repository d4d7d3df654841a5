"""Partial tiles are put together without anybody noticing, at any moment and beside everything else."""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from threading import Event as Flag
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db.models import Max
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqlapp.processes import wait_until
from scoring import engine, facts, language, tasks, tiles
from scoring.facts import Fact
from scoring.language import Limit
from scoring.models import Compaction, Tile
from scoring.models.raw import cursor
from scoring.tiles import Compacted
from tests.examples import few
from tests.scoring import oracle, strategies
from tests.scoring.loading import NOW as LOADED_AT
from tests.scoring.loading import load, undone
from tests.scoring.meeting import PATIENCE, Meeting, at_once, let_go, meeting
from tests.scoring.test_scores import INVITES
from tests.scoring.test_tiles import folded_in_tiles, folded_naively
from tests.scoring.world import (
    ANYTHING,
    INVITED,
    NOW,
    TODAY,
    ago,
    call,
    counts,
    entangled,
    identify,
    join,
    send,
    source,
)

__all__ = ["meeting"]  # the fixture

SAVED = language.Signal(events=("saved",), value="used_mb", limit=Limit(property="quota_mb"))
FOREVER = 2**62  # a transaction id that is never reached


@pytest.fixture
def from_here(db: None) -> None:
    """Put the cursor behind all ids that other tests have used up: a database without tiles does not count anew."""
    with cursor() as c:
        row = c.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM scoring_tile_id_seq").fetchone()
    (newest,) = row or (0,)
    Compaction.objects.update_or_create(
        id=1, defaults={"compacted_to": newest, "settled_to": newest, "seen_to": newest, "seen_before": 0}
    )


def settle() -> None:
    """Take all tile ids as settled. By itself that needs the end of the transaction, which tests do not reach."""
    newest = Tile.objects.aggregate(newest=Max("id"))["newest"] or 0
    Compaction.objects.update_or_create(id=1, defaults={"seen_to": newest, "seen_before": FOREVER})


def compact(**fields: Any) -> Compacted:
    settle()
    return tiles.compact(**{"least": 1, "size": 1000, **fields})


def compact_all(**fields: Any) -> None:
    while compact(**fields).ids:
        pass


def keys() -> Counter[tuple[Any, ...]]:
    """How many rows each key has."""
    return Counter(Tile.objects.values_list("signal", "account", "user", "inherited", "day"))


@pytest.mark.django_db
@pytest.mark.usefixtures("from_here")
class TestCompact:
    def test_leaves_one_row_of_each_key(self) -> None:
        send(join("ann", "acme"))
        for n in range(3):
            send(call(by="ann"), call(by="ann", into="acme"), call(into="acme"), call(by="ann", at=ago(days=n)))
        before = counts(ANYTHING)
        compact_all()
        assert set(keys().values()) == {1}
        assert counts(ANYTHING) == before == {"acme": 12}
        assert tiles.verify() is None

    def test_keeps_what_rules_measure(self) -> None:
        tiles.register(signals=[SAVED], at=NOW)
        for hours, properties in ((3, {"used_mb": 7, "quota_mb": 10}), (1, {"used_mb": 0.5}), (0, {"used_mb": "9"})):
            send(call("saved", by="ann", into="acme", at=ago(hours=hours), properties=properties))
        compact_all()
        tile = Tile.objects.get(signal__digest=language.signal_digest(SAVED))
        assert (tile.count, tile.first_at, tile.last_at) == (3, ago(hours=3), NOW)
        assert (tile.value_sum, tile.value_max) == (Decimal("7.5"), Decimal(7))
        assert (tile.value_last, tile.limit_last, tile.value_last_at) == (Decimal("0.5"), None, ago(hours=1))

    def test_breaks_ties_of_the_last_value_by_message_id(self) -> None:
        tiles.register(signals=[SAVED], at=NOW)
        for message_id, value in (("b", 2), ("Z", 3), ("a", 1)):
            send(call("saved", by="ann", into="acme", message_id=message_id, properties={"used_mb": value}))
        compact_all()
        tile = Tile.objects.get(signal__digest=language.signal_digest(SAVED))
        assert (tile.value_last, tile.value_last_id) == (2, "b")

    def test_adds_what_comes_later_to_the_row_that_is_there(self) -> None:
        send(call(by="ann", into="acme"))
        compact_all()
        oldest = Tile.objects.get(signal__digest=language.signal_digest(ANYTHING)).pk
        send(call(by="ann", into="acme"))
        assert compact().removed == 1
        tile = Tile.objects.get(signal__digest=language.signal_digest(ANYTHING))
        assert (tile.pk, tile.count) == (oldest, 2)

    def test_goes_on_where_it_stopped(self) -> None:
        for n in range(6):
            send(call(by=f"user {n % 2}", into="acme"))
        steps = []
        while (step := compact(size=2)).ids:
            steps.append(step)
        assert len(steps) >= 3
        assert sum(step.removed for step in steps) == 4
        assert tiles.verify() is None

    def test_waits_until_it_is_worth_its_while(self) -> None:
        send(call(by="ann", into="acme"))
        send(call(by="ann", into="acme"))
        assert compact(least=1000) == Compacted(0, 0)
        assert compact(least=2).removed == 1

    def test_that_is_killed_has_not_happened(self, monkeypatch: pytest.MonkeyPatch) -> None:
        send(call(by="ann", into="acme"))
        send(call(by="ann", into="acme"))
        monkeypatch.setattr(tiles.compaction, "_ADVANCE", "SELECT 1 / 0 WHERE %(upto)s::bigint > 0")
        with undone(), pytest.raises(psycopg.Error):
            compact()
        assert counts(ANYTHING) == {"acme": 2}
        monkeypatch.undo()
        assert compact().removed == 1

    @given(
        st.sampled_from(list(strategies.SIGNALS)).flatmap(strategies.SIGNALS.__getitem__),
        strategies.calls(24),
        st.integers(1, 20),
    )
    @settings(max_examples=few(8), suppress_health_check=list(HealthCheck))
    def test_of_random_histories_is_what_a_naive_fold_says(
        self, signal: language.Signal, calls: tuple[oracle.Call, ...], size: int
    ) -> None:
        history = oracle.History(calls)
        with undone():
            tiles.register(signals=[signal], at=LOADED_AT)
            for batch in (calls[:7], calls[7:15], calls[15:]):
                load(oracle.History(tuple(batch)))
                compact(size=size)
            compact_all(size=size)
            assert folded_in_tiles(signal) == folded_naively(signal, oracle.World(history))
            assert tiles.verify() is None
            assert not keys() or set(keys().values()) == {1}


@pytest.mark.django_db(transaction=True)
class TestBesideOthers:
    def test_leaves_alone_what_may_still_get_a_lower_id(
        self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(call(by="ann", into="acme"))
        there, go_on = meeting.hold(monkeypatch, facts.recording.handoffs, "touch")
        ingest = meeting.start(lambda: send(call(by="ann", into="acme")))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            send(call(by="ann", into="acme"))
            for _ in range(3):
                tiles.compact(least=1)
            assert Compaction.objects.get().compacted_to < max(Tile.objects.values_list("pk", flat=True))
        ingest.result(PATIENCE)

        def all_together() -> bool:
            tiles.compact(least=1)
            return set(keys().values()) == {1}

        # Other tests have used up ids, and their open transactions, too, keep ids from being settled.
        assert wait_until(all_together, within=PATIENCE)
        assert counts(ANYTHING) == {"acme": 3}

    def test_waits_for_a_merge_and_lets_ingest_go_on(self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
        send(call(device="phone"), join("ann", "acme"))
        send(call(device="phone"), call(device="phone"))
        newest = max(Tile.objects.values_list("pk", flat=True))

        def settled() -> bool:
            tiles.compact(least=10**9)
            return Compaction.objects.get().settled_to >= newest

        assert wait_until(settled, within=PATIENCE)  # other tests' open transactions keep ids from being so
        there, go_on = meeting.hold(monkeypatch, tiles, "follow")
        merge = meeting.start(lambda: send(identify("ann", device="phone")))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            compaction = meeting.start(lambda: [tiles.compact(least=1) for _ in range(3)])
            meeting.somebody_waits()
            assert send(call(into="acme")).accepted == 1
        merge.result(PATIENCE)
        compaction.result(PATIENCE)
        assert counts(ANYTHING) == {"acme": 4}
        assert tiles.verify() is None

    def test_changes_no_score_while_senders_merges_and_a_backfill_go_on(
        self, meeting: Meeting, until: Callable[..., None]
    ) -> None:
        calls = entangled(random.Random(11), 900)
        batches = [calls[start : start + 15] for start in range(0, len(calls), 15)]
        source()
        begun, over = Flag(), Flag()
        compaction = meeting.start(lambda: put_together(begun, over))
        try:
            at_once(
                meeting,
                lambda: ingest_and_backfill(batches[::3]),
                lambda: [send(*batch) for batch in batches[1::3]],
                lambda: [send(*batch) for batch in batches[2::3]],
            )
            # Other tests' open transactions may have kept ids from being settled all the while.
            until(lambda: send(*batches[0]).accepted == 0 and begun.is_set(), within=PATIENCE, what="a first step")
        finally:
            over.set()
        compaction.result(PATIENCE)
        assert tiles.verify() is None
        document = language.parse(INVITES)
        before = engine.judge(document, as_of=TODAY)
        assert any(judgement.usage for judgement in before)
        until(everything_is_compact, within=PATIENCE, what="one row of each key")
        assert engine.judge(document, as_of=TODAY) == before


def put_together(begun: Flag, over: Flag) -> None:
    """Put together in steps of changing sizes until told to stop; say when the first rows went."""
    for size in itertools.cycle((40, 400)):
        if tiles.compact(size=size, least=1).removed:
            begun.set()
        if over.is_set():
            return


def ingest_and_backfill(batches: list[list[Fact]]) -> None:
    """Send the batches; from the middle on, fold the history of a new signal beside it."""
    middle = len(batches) // 2
    for batch in batches[:middle]:
        send(*batch)
    rows = tiles.register(signals=[INVITED], at=NOW)
    for batch in batches[middle:]:
        send(*batch)
        tiles.backfill_chunk(signal_ids=[row.pk for row in rows], size=25)
    tiles.backfill(signals=rows)


def everything_is_compact() -> bool:
    tiles.compact(least=1, size=100_000)
    return set(keys().values()) == {1}


@pytest.mark.django_db
class TestTurn:
    def test_ends_when_nothing_is_left(self) -> None:
        assert tasks.compact(seconds=5) is False

    def test_has_steps_as_long_as_others_can_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now, sizes = [0.0], list[int]()

        def compacted(*, size: int) -> Compacted:
            now[0] += size / 16_000  # on a machine that puts so many together in a second
            sizes.append(size)
            return Compacted(size, 0)

        monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(tiles, "compact", compacted)
        for long_step, expected in ((0.15, [1000] * 8), (0.05, [1000] + [500] * 14), (1.0, [1000, 2000, 4000, 4000])):
            monkeypatch.setattr(tasks, "LONG_STEP", long_step)
            assert tasks.compact(seconds=0.5) is True
            assert sizes == expected
            sizes.clear()
