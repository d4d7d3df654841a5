"""Tiles are the fold of the events, exactly and at any moment."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring import language, tiles
from scoring.language import Filter, Limit
from scoring.models import Signal, Tile
from tests.examples import few
from tests.scoring import oracle, strategies
from tests.scoring.loading import load, undone
from tests.scoring.world import ANYTHING, INVITED, NOW, ago, alias, call, counts, fold, identify, join, send

pytestmark = pytest.mark.django_db

SAVED = language.Signal(events=("saved",), value="used_mb", limit=Limit(property="quota_mb"))


def row(signal: language.Signal) -> Signal:
    return Signal.objects.get(digest=language.signal_digest(signal))


def spoil(sql: str) -> None:
    with connection.cursor() as c:
        c.execute(sql)


class TestFold:
    @pytest.mark.parametrize(
        ("test", "value", "passes"),
        [
            (Filter("p", "equals", Decimal("1.0")), 1, True),
            (Filter("p", "equals", Decimal(1)), True, False),
            (Filter("p", "equals", Decimal(1)), "1", False),
            (Filter("p", "equals", True), True, True),
            (Filter("p", "equals", "pdf"), "pdf", True),
            (Filter("p", "equals", "pdf"), ["pdf"], False),
            (Filter("p", "in", ("pdf", Decimal(2))), 2.0, True),
            (Filter("p", "in", ("pdf",)), None, False),
            (Filter("p", "at_least", Decimal("0.3")), 0.3, True),
            (Filter("p", "more_than", Decimal("0.3")), 0.3, False),
            (Filter("p", "at_least", Decimal(1)), "5", False),
            (Filter("p", "less_than", Decimal(1)), False, False),
            (Filter("p", "between", (Decimal(1), Decimal(2))), 2, True),
            (Filter("p", "between", (Decimal(1), Decimal(2))), 2.01, False),
            (Filter("p", "contains", "d"), "pdf", True),
            (Filter("p", "contains", "D"), "pdf", False),
            (Filter("p", "contains", "pdf"), ["x", "pdf"], True),
            (Filter("p", "contains", "pd"), ["pdf"], False),
            (Filter("p", "contains", "pdf"), [["pdf"]], False),
            (Filter("p", "contains", Decimal(1)), [1.0], True),
            (Filter("p", "contains", "pdf"), {"pdf": 1}, False),
            (Filter("p", "starts_with", "p_"), "p_df", True),
            (Filter("p", "starts_with", "p_"), "pxdf", False),
            (Filter("p", "starts_with", "p"), ["p"], False),
            (Filter("p", "exists", True), 0, True),
            (Filter("p", "exists", True), None, False),
            (Filter("p", "exists", False), None, True),
            (Filter("p", "exists", False), "", False),
        ],
    )
    def test_filters_by_the_value_of_a_property(self, test: Filter, value: object, passes: bool) -> None:
        signal = language.Signal(events=("saved",), where=(test,))
        tiles.register(signals=[signal], at=NOW)
        send(call("saved", into="acme", properties={"p": value}))
        assert counts(signal) == ({"acme": 1} if passes else {})

    def test_fails_every_test_but_one_on_what_is_absent(self) -> None:
        exists = language.Signal(events=("saved",), where=(Filter("p", "exists", False),))
        equals = language.Signal(events=("saved",), where=(Filter("p", "equals", "x"),))
        tiles.register(signals=[exists, equals], at=NOW)
        send(call("saved", into="acme"))
        assert (counts(exists), counts(equals)) == ({"acme": 1}, {})

    def test_keeps_what_rules_measure(self) -> None:
        tiles.register(signals=[SAVED], at=NOW)
        send(
            call("saved", by="ann", into="acme", at=ago(hours=3), properties={"used_mb": 7, "quota_mb": 10}),
            call("saved", by="ann", into="acme", at=ago(hours=1), properties={"used_mb": 0.5}),
            call("saved", by="ann", into="acme", at=ago(hours=0), properties={"used_mb": "9", "quota_mb": 99}),
        )
        tile = Tile.objects.get(signal=row(SAVED))
        assert (tile.count, tile.first_at, tile.last_at) == (3, ago(hours=3), NOW)
        assert (tile.value_sum, tile.value_max) == (Decimal("7.5"), Decimal(7))
        assert (tile.value_last, tile.limit_last, tile.value_last_at) == (Decimal("0.5"), None, ago(hours=1))

    def test_breaks_ties_of_the_last_value_by_message_id(self) -> None:
        tiles.register(signals=[SAVED], at=NOW)
        for message_id, value in (("a", 1), ("b", 2), ("Z", 3)):
            send(call("saved", by="ann", into="acme", message_id=message_id, properties={"used_mb": value}))
        newest = max(Tile.objects.filter(signal=row(SAVED)), key=lambda t: (t.value_last_at, t.value_last_id))
        assert newest.value_last == 2

    def test_counts_every_event_of_use_as_any(self) -> None:
        send(call("$page", into="acme"), call("saved", into="acme"), join("ann", "acme"), identify("ann"))
        assert counts(ANYTHING) == {"acme": 2}

    def test_tells_days_in_utc(self) -> None:
        send(call(into="acme", at=NOW.replace(hour=0)), call(into="acme", at=NOW.replace(hour=23)))
        assert Tile.objects.get().count == 2

    def test_marks_what_came_from_the_home(self) -> None:
        send(join("ann", "acme"))
        send(call(by="ann"), call(by="ann", into="acme"))
        assert sorted(Tile.objects.values_list("inherited", "count")) == [(False, 1), (True, 1)]


class TestRegister:
    def test_folds_what_comes_after_it(self) -> None:
        send(call(by="ann", into="acme"))
        (signal,) = tiles.register(signals=[INVITED], at=NOW)
        assert not signal.is_ready
        send(call(by="ann", into="acme"))
        assert counts(INVITED) == {"acme": 1}

    def test_is_ready_at_once_where_nothing_happened_yet(self) -> None:
        (signal,) = tiles.register(signals=[INVITED], at=NOW)
        assert signal.is_ready

    def test_gives_the_same_row_for_the_same_content(self) -> None:
        first = tiles.register(signals=[INVITED, INVITED], at=NOW)
        assert tiles.register(signals=[INVITED], at=NOW) == first

    def test_reads_a_signal_back_as_it_was(self) -> None:
        (signal,) = tiles.register(signals=[SAVED], at=NOW)
        assert language.load_signal(signal.definition) == SAVED

    def test_finds_the_built_in_signal_made_by_the_migration(self) -> None:
        assert language.load_signal(row(ANYTHING).definition) == ANYTHING


class TestBackfill:
    def test_folds_history_in_chunks(self) -> None:
        send(*(call(by="ann", into="acme") for _ in range(10)))
        (signal,) = tiles.register(signals=[INVITED], at=NOW)
        tiles.backfill_chunk(signal_ids=[signal.pk], size=signal.barrier - 10)  # past the ids of other tests
        sizes = []
        while tiles.backfill_chunk(signal_ids=[signal.pk], size=3):
            sizes.append(counts(INVITED)["acme"] if counts(INVITED) else 0)
        assert sizes[-1] == 10
        assert len(sizes) >= 4
        signal.refresh_from_db()
        assert signal.is_ready

    def test_brings_several_signals_up_to_date_in_one_scan(self) -> None:
        send(*(call(by="ann", into="acme") for _ in range(6)))
        (early,) = tiles.register(signals=[INVITED], at=NOW)
        tiles.backfill_chunk(signal_ids=[early.pk], size=early.barrier - 3)
        send(*(call("saved", by="ann", into="acme", properties={"used_mb": 1}) for _ in range(6)))
        signals = tiles.register(signals=[INVITED, SAVED], at=NOW)
        late = [signal.pk for signal in signals if signal.pk != early.pk]
        tiles.backfill_chunk(signal_ids=late, size=early.barrier - 5)  # past the ids of other tests
        while tiles.backfill_chunk(signal_ids=[s.pk for s in signals], size=4):
            pass
        assert (counts(INVITED), counts(SAVED)) == ({"acme": 6}, {"acme": 6})
        assert tiles.verify() is None

    def test_tells_its_progress_up_to_the_end(self) -> None:
        send(*(call(by="ann", into="acme") for _ in range(3)))
        told: list[tuple[int, int]] = []
        signals = tiles.register(signals=[INVITED], at=NOW)
        tiles.backfill(signals=signals, on_progress=lambda done, total: told.append((done, total)))
        assert told[-1] == (signals[0].barrier, signals[0].barrier)

    def test_does_nothing_twice(self) -> None:
        send(call(into="acme"))
        fold(INVITED)
        fold(INVITED)
        assert counts(INVITED) == {"acme": 1}

    def test_folds_by_who_people_are_now(self) -> None:
        send(call(device="phone"))
        send(join("ann", "acme", device="phone"))
        fold(INVITED)
        assert counts(INVITED) == {"acme": 1}


class TestVerify:
    def test_finds_nothing_where_all_is_well(self) -> None:
        send(call(device="phone"), alias("ann", "phone"), call(by="ann", into="acme"))
        fold(INVITED, SAVED)
        assert tiles.verify() is None

    @pytest.mark.parametrize(
        "fault",
        [
            "UPDATE scoring_tile SET count = count + 1",
            "UPDATE scoring_tile SET value_last = 5",
            "UPDATE scoring_tile SET last_at = last_at + interval '1 second'",
            "DELETE FROM scoring_tile",
            "UPDATE scoring_tile SET user_id = NULL",
            "INSERT INTO scoring_tile SELECT nextval('scoring_tile_id_seq'), false, date '2020-01-01', count, first_at,"
            " last_at, value_sum, value_max, value_last, limit_last, value_last_at, value_last_id, account_id,"
            " signal_id, user_id FROM scoring_tile",
        ],
    )
    def test_names_the_first_difference(self, fault: str) -> None:
        tiles.register(signals=[SAVED], at=NOW)
        send(call("saved", by="ann", into="acme", properties={"used_mb": 3}))
        assert tiles.verify() is None
        spoil(f"{fault} WHERE signal_id = {row(SAVED).pk}")
        difference = tiles.verify(signals=[row(SAVED)])
        assert difference is not None
        assert difference.signal == row(SAVED).pk
        assert difference.stored != difference.folded

    def test_leaves_signals_out_that_are_not_ready(self) -> None:
        send(call(into="acme"))
        tiles.register(signals=[INVITED], at=NOW)
        assert tiles.verify(signals=[row(INVITED)]) is None


def folded_naively(signal: language.Signal, world: oracle.World) -> dict[Any, Any]:
    """What a signal's tiles add up to, by account and day."""
    found: dict[Any, list[oracle.Call]] = {}
    for one in world.calls:
        if oracle.matches(signal, one):
            found.setdefault((world.account(one), one.day), []).append(one)
    return {key: summed_naively(signal, events) for key, events in found.items()}


def summed_naively(signal: language.Signal, events: list[oracle.Call]) -> tuple[Any, ...]:
    in_turn = sorted(events, key=lambda event: event.turn)
    values = [(oracle.number(event.properties.get(signal.value)), event) for event in in_turn if signal.value]
    numbers = [(value, event) for value, event in values if value is not None]
    last = numbers[-1] if numbers else None
    limit = signal.limit.property if signal.limit else None
    return (
        len(events),
        sum(value for value, _ in numbers) if numbers else None,
        max(value for value, _ in numbers) if numbers else None,
        last[0] if last else None,
        oracle.number(last[1].properties.get(limit)) if last and limit else None,
        in_turn[0].at,
        in_turn[-1].at,
    )


def folded_in_tiles(signal: language.Signal) -> dict[Any, Any]:
    """The same from the tiles, with partials put together."""
    found: dict[Any, list[Tile]] = {}
    for tile in Tile.objects.filter(signal=row(signal)).select_related("account"):
        found.setdefault((oracle.Key(tile.account.kind, tile.account.external_id), tile.day), []).append(tile)
    return {key: summed(partials) for key, partials in found.items()}


def summed(partials: list[Tile]) -> tuple[Any, ...]:
    valued = [tile for tile in partials if tile.value_last is not None]
    newest = max(valued, key=lambda tile: (tile.value_last_at, tile.value_last_id), default=None)
    return (
        sum(tile.count for tile in partials),
        oracle.number(sum(tile.value_sum for tile in valued)) if valued else None,
        oracle.number(max(tile.value_max for tile in valued)) if valued else None,
        oracle.number(newest.value_last) if newest else None,
        oracle.number(newest.limit_last) if newest else None,
        min(tile.first_at for tile in partials),
        max(tile.last_at for tile in partials),
    )


class TestFoldOfRandomHistories:
    @given(
        st.sampled_from(list(strategies.SIGNALS)).flatmap(strategies.SIGNALS.__getitem__),
        strategies.calls(24),
        st.booleans(),
    )
    @settings(max_examples=few(15), suppress_health_check=list(HealthCheck))
    def test_is_what_a_naive_fold_says(
        self, signal: language.Signal, calls: tuple[oracle.Call, ...], live: bool
    ) -> None:
        history = oracle.History(calls)
        with undone():
            if live:
                tiles.register(signals=[signal], at=NOW)
            load(history, batches=[calls[:7], calls[7:]])
            fold(signal)
            assert folded_in_tiles(signal) == folded_naively(signal, oracle.World(history))
