"""The mirror says what PostgreSQL says, row by row, whatever happens to the tiles and whoever is killed."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Max
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring import bulk, engine, language, tiles
from scoring.bulk import checking, copying, files, judging, refreshing
from scoring.bulk.files import Manifest
from scoring.models import Compaction, Mirror, MirrorChange, Tile
from scoring.models.raw import cursor
from tests.examples import few
from tests.scoring import oracle, world
from tests.scoring.loading import NOW, load, undone
from tests.scoring.loading import fold as fold_all_of
from tests.scoring.strategies import BUSY_DAYS, LAST_DAY, busy_accounts, days, documents, histories, of_every_measure
from tests.scoring.world import INVITED, TODAY, ago, call, fold, identify, join, send

slow = settings(max_examples=few(10), suppress_health_check=list(HealthCheck))
LATER = world.NOW + timedelta(minutes=10)

FRAME = """
slug: bulk
name: Bulk
motion: test
signals:
  saved: {event: saved, value: mb, limit: {property: quota}}
groups: {use: {score: usage}, company: {score: fit}}
tiers: [{name: hot, pql: true, enter: {usage: 10}}]
rules:
"""


@pytest.fixture
def place(tmp_path: Path, settings: Any) -> Path:
    """Where the mirror of a test is kept."""
    settings.MIRROR = tmp_path
    return tmp_path


def take(place: Path, old: Manifest | None = None) -> refreshing.Taken:
    """A state of the mirror, as this transaction sees the database."""
    return refreshing.take(cursor(), place, old, at=NOW)


def on_mirror(
    mirror: Manifest,
    place: Path,
    document: language.Document,
    span: Sequence[date],
    accounts: Sequence[int] | None = None,
) -> list[engine.Judgement]:
    said = judging._on_mirror(mirror, place, document, engine.stored_signals(document), span, accounts)
    return list(said.judgements())


def by_postgres(
    document: language.Document, span: Sequence[date], accounts: Sequence[int] | None = None
) -> list[engine.Judgement]:
    said = judging._by_postgres(document, engine.stored_signals(document), span, accounts)
    return list(said.judgements())


def rules(*whens: str) -> language.Document:
    """A document with a rule for each condition: ten points when it is met."""
    lines = (f"  - {{id: r{n}, group: use, points: 10, when: {when}}}\n" for n, when in enumerate(whens))
    return language.parse(FRAME + "".join(lines))


@pytest.mark.django_db
class TestBothEngines:
    @given(documents(), histories(), days(), st.integers(1, 9))
    @slow
    def test_say_the_same_of_everybody_on_many_days(
        self, tmp_path: Path, document: language.Document, history: oracle.History, first: date, step: int
    ) -> None:
        with undone():
            load(history)
            fold_all_of(document)
            span = [first + timedelta(days=step * n) for n in range(5)]
            said = by_postgres(document, span)
            mirror = take(tmp_path).manifest
            assert on_mirror(mirror, tmp_path, document, span) == said
            some = sorted({judgement.account_id for judgement in said})[::2]
            assert on_mirror(mirror, tmp_path, document, span[:1], some) == by_postgres(document, span[:1], some)
            for path in tmp_path.iterdir():
                path.unlink()

    @given(of_every_measure(), busy_accounts())
    @settings(slow, max_examples=few(5))
    def test_say_the_same_of_every_measure_day_after_day(
        self, tmp_path: Path, document: language.Document, history: oracle.History
    ) -> None:
        with undone():
            load(history)
            fold_all_of(document)
            span = [LAST_DAY + timedelta(days=n) for n in range(-BUSY_DAYS // 2, BUSY_DAYS // 2)]
            mirror = take(tmp_path).manifest
            said = by_postgres(document, span)
            assert on_mirror(mirror, tmp_path, document, span) == said
            assert on_mirror(mirror, tmp_path, document, span) == said  # of what was kept
            for path in tmp_path.iterdir():
                path.unlink()

    @pytest.mark.parametrize(
        "values",
        [[0.1, 0.2], [1e18, 1], [9007199254740993, 1], [-0.0], [1e-18], [0.1] * 10, [5, 5.0], [123456789.123456789]],
    )
    def test_count_exactly(self, place: Path, values: list[float]) -> None:
        for n, value in enumerate(values):
            sent = {"mb": value, "quota": 3}
            send(call("saved", into="acme", at=ago(hours=len(values) - n), properties=sent))
        fold_all_of(rules("{sum: saved, at_least: 0}"))
        thresholds = ("0.3", "0.3000000001", "1000000000000", "1.5", "0", "-0.5")
        measures = ("sum", "max", "last", "ratio")
        document = rules(*(f"{{{measure}: saved, at_least: {least}}}" for measure in measures for least in thresholds))
        said = by_postgres(document, [TODAY])
        assert len(set(said[0].met)) == 2
        assert on_mirror(take(place).manifest, place, document, [TODAY]) == said

    @pytest.mark.parametrize("value", [1e19, -1e30, 1e-19, 12345678901234567890123])
    def test_what_does_not_fit_is_left_to_postgresql(self, place: Path, value: float) -> None:
        send(call("saved", into="acme", properties={"mb": value}))
        document = rules("{sum: saved, at_least: 1}")
        fold_all_of(document)
        with pytest.raises(judging.NotOnMirror, match="exactly"):
            on_mirror(take(place).manifest, place, document, [TODAY])
        only_counted = rules("{count: any, at_least: 1}")
        assert on_mirror(take(place).manifest, place, only_counted, [TODAY])[0].usage == 1000

    def test_a_sum_that_does_not_fit_is_left_to_postgresql(self, place: Path) -> None:
        send(*(call("saved", into="acme", properties={"mb": 9e18}) for _ in range(30)))
        document = rules("{sum: saved, at_least: 1}")
        fold_all_of(document)
        Tile.objects.filter(value_sum__isnull=False).update(value_sum=9 * 10**18)
        for tile in Tile.objects.filter(value_sum__isnull=False):
            Tile.objects.bulk_create([_copy(tile) for _ in range(30)])
        with pytest.raises(judging.NotOnMirror, match="cannot tell"):
            on_mirror(take(place).manifest, place, document, [TODAY])

    @pytest.mark.parametrize("text", ["", "'", '"', "a,b", "x\n\r\ny", "é\u2028", "NULL", "\\N", "null", "s", "7"])
    def test_take_any_text_for_what_it_is(self, place: Path, text: str) -> None:
        send(call("$group", into="acme", by="ann", joins=True, account_traits={"plan": text, "tags": [text, 7, True]}))
        tests = (("plan", "equals"), ("plan", "starts_with"), ("plan", "contains"), ("tags", "contains"))
        operands = sorted({text or "x", "other", "7"})
        document = rules(
            *(f"{{trait: {trait}, {test}: {json.dumps(operand)}}}" for operand in operands for trait, test in tests)
        )
        fold_all_of(document)
        said = by_postgres(document, [TODAY])
        assert len(set(said[0].met)) == (2 if text else 1)
        assert on_mirror(take(place).manifest, place, document, [TODAY]) == said

    def test_break_ties_by_code_points(self, place: Path) -> None:
        document = rules(*(f"{{last: saved, equals: {value}}}" for value in range(1, 7)))
        fold_all_of(document)  # first, so that each call has a tile of its own
        for message_id, value in (("Z", 1), ("a", 2), ("é", 3), ("\U0001f600", 4), ("z", 5), ("\ufffd", 6)):
            send(call("saved", into="acme", message_id=message_id, properties={"mb": value}))
        said = by_postgres(document, [TODAY])
        assert sum(said[0].met) == 1
        assert on_mirror(take(place).manifest, place, document, [TODAY]) == said


@pytest.mark.django_db
class TestWhatWasRead:
    WHEN = "{any: [{count: saved, at_least: 2}, {trait: plan, equals: pro}, {days: any, within: 7, at_least: %d}]}"

    def test_is_kept_for_other_points_and_thresholds(self, place: Path) -> None:
        send(*(call("saved", into=into, properties={"mb": 1}) for into in ("acme", "acme", "globex")))
        document, other = rules(self.WHEN % 2), rules(self.WHEN % 1)
        fold_all_of(document)
        mirror = take(place).manifest
        for span in ([TODAY], [ago(days=n).date() for n in range(9)][::-1]):
            assert on_mirror(mirror, place, document, span) == by_postgres(document, span)
        for path in place.glob("tiles-*.parquet"):
            path.unlink()
        assert on_mirror(mirror, place, other, span) == by_postgres(other, span)
        assert on_mirror(mirror, place, other, [TODAY]) == by_postgres(other, [TODAY])

    def test_is_read_again_from_another_state(self, place: Path) -> None:
        document = rules(self.WHEN % 1)
        send(call("saved", into="acme"))
        fold_all_of(document)
        for _ in range(2):
            assert on_mirror(take(place).manifest, place, document, [TODAY]) == by_postgres(document, [TODAY])
            send(call("saved", into="globex"))

    def test_of_some_accounts_is_not_kept(self, place: Path) -> None:
        send(call("saved", into="acme"))
        document = rules(self.WHEN % 1)
        fold_all_of(document)
        on_mirror(take(place).manifest, place, document, [TODAY], [world.account("acme").pk])
        assert not list(place.glob("values-*"))

    def test_of_many_documents_is_not_kept_for_ever(self, place: Path) -> None:
        send(call("saved", into="acme"))
        fold_all_of(rules("{ever: saved}"))
        mirror = take(place).manifest
        for within in range(1, judging.VALUES_KEPT + 3):
            on_mirror(mirror, place, rules(f"{{count: saved, within: {within}, at_least: 1}}"), [TODAY])
        assert len(list(place.glob("values-*"))) == judging.VALUES_KEPT


def _copy(tile: Tile) -> Tile:
    tile.pk = None
    return Tile(**{field.attname: getattr(tile, field.attname) for field in Tile._meta.fields if field.name != "id"})


def happen(dice: Any, number: int) -> None:
    """Something that changes tiles."""
    calls = world.entangled(dice, 12)
    send(*(each._replace(message_id=f"{number}-{each.message_id}") for each in calls))


def settled() -> None:
    """Take all tile ids as settled, which only the end of this transaction would do."""
    newest = Tile.objects.aggregate(newest=Max("id"))["newest"] or 0
    Compaction.objects.update_or_create(id=1, defaults={"settled_to": newest, "seen_to": newest, "seen_before": 2**62})


@pytest.mark.django_db
class TestFollowing:
    @given(st.randoms(use_true_random=False), st.lists(st.sampled_from(["send", "compact", "settle"]), max_size=8))
    @settings(max_examples=few(6), suppress_health_check=list(HealthCheck))
    def test_whatever_happens_to_tiles(self, tmp_path: Path, dice: Any, steps: list[str]) -> None:
        with undone():
            fold(INVITED)
            Mirror.objects.create(id=1, tried_at=NOW)
            taken = take(tmp_path)
            for number, step in enumerate([*steps, "send", "compact"]):
                if step == "send":
                    happen(dice, number)
                settled()
                if step == "compact":
                    while tiles.compact(least=1, size=50).ids:
                        pass
                taken = take(tmp_path, taken.manifest)
                MirrorChange.objects.filter(pk__in=taken.changes).delete()
                assert checking.compare(cursor(), tmp_path, taken.manifest) is None
            for path in tmp_path.iterdir():
                path.unlink()

    def test_only_the_months_that_changed_are_copied_again(self, place: Path) -> None:
        Mirror.objects.create(id=1, tried_at=NOW)
        send(*(call(into="acme", at=ago(days=31 * n)) for n in range(6)))
        settled()
        first = take(place)
        assert first.copied == 6
        send(call(into="globex", at=ago(days=62)))
        settled()
        second = take(place, first.manifest)
        assert second.copied == 1
        Tile.objects.filter(day=ago(days=93).date()).delete()
        third = take(place, second.manifest)
        assert third.copied == 0  # it is empty now
        assert checking.compare(cursor(), place, third.manifest) is None

    def test_people_who_move_are_followed(self, place: Path) -> None:
        Mirror.objects.create(id=1, tried_at=NOW)
        send(call(device="phone", at=ago(days=200)), call(by="ann"))
        settled()
        first = take(place)
        send(identify("ann", device="phone"), join("ann", "acme"))
        settled()
        second = take(place, first.manifest)
        assert checking.compare(cursor(), place, second.manifest) is None
        document = rules("{users: any, equals: 1}")
        fold_all_of(document)
        assert on_mirror(second.manifest, place, document, [TODAY]) == by_postgres(document, [TODAY])

    def test_nothing_is_noted_where_no_mirror_is_kept(self) -> None:
        send(call(into="acme"))
        Tile.objects.all().delete()
        assert not MirrorChange.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestRefresh:
    def test_keeps_one_state_and_the_one_before(self, place: Path) -> None:
        send(call(into="acme"))
        first = bulk.refresh(at=world.NOW)
        send(call(into="acme", at=ago(days=1)))
        second = bulk.refresh(at=LATER)
        third = bulk.refresh(at=LATER + timedelta(minutes=1))
        assert first and second and third
        there = {path.name for path in place.glob("*.parquet")}
        assert there == second.files | third.files
        assert bulk.present() == third
        assert not MirrorChange.objects.exists()

    def test_of_two_at_once_one_gives_way(self, place: Path) -> None:
        with refreshing.only_one() as is_mine:
            assert is_mine
            assert bulk.refresh(at=world.NOW) is None

    @pytest.mark.parametrize("killed_in", ["take", "store", "settle"])
    def test_killed_anywhere_a_whole_state_stands(
        self, place: Path, killed_in: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(call(into="acme", at=ago(days=40)))
        first = bulk.refresh(at=world.NOW)
        send(call(into="acme"))
        Tile.objects.filter(day__lt=TODAY).update(count=7)
        kill_in(killed_in, monkeypatch)
        with pytest.raises(Killed):
            bulk.refresh(at=LATER)
        monkeypatch.undo()
        stands = bulk.present()
        assert stands is not None
        assert (stands == first) is (killed_in != "settle")
        assert all((place / file).exists() for file in stands.files)
        assert bulk.refresh(at=LATER)
        assert bulk.verify(at=LATER) is None

    def test_the_mirror_of_another_database_is_none(self, place: Path) -> None:
        send(call(into="acme"))
        bulk.refresh(at=world.NOW)
        Mirror.objects.update(token="0" * 32)
        assert bulk.present() is None
        assert bulk.refresh(at=LATER)
        assert bulk.verify(at=LATER) is None

    def test_is_due_after_a_while(self, place: Path) -> None:
        every = timedelta(minutes=10)
        assert bulk.is_due(at=world.NOW, every=every)
        bulk.refresh(at=world.NOW)
        assert not bulk.is_due(at=world.NOW + timedelta(minutes=9), every=every)
        assert bulk.is_due(at=world.NOW + timedelta(minutes=10), every=every)

    def test_a_forgotten_one_is_none(self, place: Path) -> None:
        send(call(into="acme"))
        bulk.refresh(at=world.NOW)
        bulk.forget()
        Tile.objects.all().delete()
        assert bulk.present() is None
        assert not MirrorChange.objects.exists()

    def test_given_up_when_too_much_waits_for_it_and_made_anew(self, place: Path) -> None:
        send(call(into="acme"), call(into="globex", at=ago(days=40)))
        bulk.refresh(at=world.NOW)
        Tile.objects.filter(day=TODAY).update(count=7)
        assert not bulk.give_up_endless(most=1)
        Tile.objects.filter(day__lt=TODAY).update(count=7)
        assert bulk.give_up_endless(most=1)
        assert bulk.present() is None
        assert not MirrorChange.objects.exists()
        assert bulk.refresh(at=LATER)
        assert bulk.verify(at=LATER) is None

    @pytest.mark.parametrize("given_up_at", ["take", "store"])
    @pytest.mark.parametrize("there_was_one", [True, False])
    def test_a_state_that_was_given_up_meanwhile_is_not_read(
        self, place: Path, given_up_at: str, there_was_one: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(call(into="acme"))
        if there_was_one:
            bulk.refresh(at=world.NOW)
        where, name = (copying, "write_facts") if given_up_at == "take" else (files, "store")
        monkeypatch.setattr(where, name, _after_giving_up(getattr(where, name)))
        with pytest.raises(bulk.Overtaken):
            bulk.refresh(at=LATER)
        monkeypatch.undo()
        assert bulk.present() is None
        assert bulk.refresh(at=LATER)
        assert bulk.verify(at=LATER) is None

    def test_beside_senders_nothing_is_missing_or_there_twice(self, place: Path) -> None:
        fold(INVITED)
        bulk.refresh(at=world.NOW)
        with ThreadPoolExecutor(3) as threads:
            at_work = [threads.submit(_send_much, number) for number in range(2)]
            at_work.append(threads.submit(_compact_much, tuple(at_work)))
            rounds = 0
            while rounds < 2 or not all(each.done() for each in at_work):
                rounds += 1
                assert bulk.verify(at=LATER) is None
        for each in at_work:
            each.result()
        assert bulk.verify(at=LATER) is None


def _after_giving_up(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step, but that somebody else gives the mirror up before it, in a transaction of his own."""

    def instead(*args: Any) -> Any:
        if not given_up:
            given_up.append(True)
            with ThreadPoolExecutor(1) as thread:
                thread.submit(_give_up).result()
        return step(*args)

    given_up: list[bool] = []
    return instead


def _give_up() -> None:
    try:
        MirrorChange.objects.create(signal_id=1, month=TODAY)
        assert bulk.give_up_endless(most=0)
    finally:
        connection.close()


def _send_much(number: int) -> None:
    """Send calls of people who turn out to be others, so that tiles come, move and go."""
    try:
        dice = Random(number)
        for step in range(12):
            happen(dice, 100 * number + step)
    finally:
        connection.close()


def _compact_much(senders: Sequence[Future[None]]) -> None:
    try:
        while not all(sender.done() for sender in senders):
            tiles.compact(least=1, size=50)
    finally:
        connection.close()


class Killed(BaseException):
    """As if the power had gone."""


def kill_in(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object, **named: object) -> None:
        raise Killed

    if where == "take":
        monkeypatch.setattr(copying, "write_facts", killed)
    elif where == "store":
        monkeypatch.setattr(files, "store", killed)
    else:
        monkeypatch.setattr(transaction, "atomic", _only_the_snapshot(transaction.atomic))


def _only_the_snapshot(atomic: Any) -> Any:
    def instead(*args: Any, **named: Any) -> Any:
        if named.get("durable"):
            return atomic(*args, **named)
        raise Killed

    return instead


@pytest.mark.django_db(transaction=True)
class TestVerify:
    def test_names_what_is_not_in_the_mirror(self, place: Path) -> None:
        send(call(into="acme"), call(into="globex"))
        bulk.refresh(at=world.NOW)
        with connection.cursor() as c:
            c.execute("ALTER TABLE scoring_tile DISABLE TRIGGER USER")
            globex = world.account("globex").pk
            c.execute("UPDATE scoring_tile SET count = 5 WHERE account_id = %s", [globex])
            c.execute("ALTER TABLE scoring_tile ENABLE TRIGGER USER")
        Compaction.objects.update_or_create(id=1, defaults={"settled_to": 2**40})
        mirror = bulk.present()
        assert mirror is not None
        files.store(Manifest(**{**_fields(mirror), "settled_to": 2**40}), place)
        difference = bulk.verify(at=LATER)
        assert difference is not None
        assert "account globex, " in bulk.words(difference)

    def test_needs_a_mirror_that_nobody_is_at(self, place: Path) -> None:
        with pytest.raises(FileNotFoundError):
            bulk.verify(at=world.NOW)
        with refreshing.only_one(), pytest.raises(bulk.Busy):
            bulk.verify(at=world.NOW)


def _fields(mirror: Manifest) -> dict[str, Any]:
    return {name: getattr(mirror, name) for name in mirror.__dataclass_fields__}


@pytest.mark.django_db(transaction=True)
class TestJudge:
    def test_asks_the_mirror_and_says_as_of_when(self, place: Path) -> None:
        send(call(into="acme", at=ago(days=5)))
        bulk.refresh(at=world.NOW)
        send(call(into="acme"))
        document = rules("{any: [{count: any, at_least: 2}, {ever: saved}]}")
        fold_all_of(document)
        assert bulk.judge(document, days=[TODAY]).why_not == "the mirror does not have the signal 'saved' yet"
        bulk.refresh(at=LATER)
        judged = bulk.judge(document, days=[TODAY, ago(days=1).date()], since=LATER)
        assert (judged.complete_at, judged.why_not) == (LATER, None)
        assert [(j.as_of, j.usage) for j in judged.judgements] == [(ago(days=1).date(), 0), (TODAY, 1000)]

    @pytest.mark.parametrize("lost", ["mirror", "file", "freshness"])
    def test_asks_postgresql_where_the_mirror_will_not_do(self, place: Path, lost: str) -> None:
        send(call(into="acme"))
        document = rules("{count: any, at_least: 1}")
        fold_all_of(document)
        bulk.refresh(at=world.NOW)
        if lost == "mirror":
            (place / files.MANIFEST).unlink()
        if lost == "file":
            next(place.glob("tiles-*.parquet")).unlink()
        since = LATER if lost == "freshness" else None
        judged = bulk.judge(document, days=[TODAY], since=since)
        assert judged.complete_at is None
        assert judged.why_not
        assert [j.usage for j in judged.judgements] == [1000]
