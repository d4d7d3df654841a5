"""Nothing is lost, doubled or left behind when senders, merges, backfills and activations meet.

Real threads on the real database: see meeting.py.
"""

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from scoring import facts, handoffs, identity, tasks, tiles
from scoring.facts import Fact, Recorded, partitions
from scoring.models import SHARDS, Account, Identity, Lane, ProductUser, Touched
from tests.scoring.meeting import PATIENCE, Meeting, at_once, let_go, meeting
from tests.scoring.world import (
    ANYTHING,
    INVITED,
    NOW,
    account,
    ago,
    alias,
    call,
    counts,
    entangled,
    home,
    identify,
    join,
    people,
    send,
    source,
    stored_events,
    stored_messages,
)

__all__ = ["meeting"]  # the fixture

pytestmark = pytest.mark.django_db(transaction=True)


class TestMerge:
    def test_waits_for_an_open_ingest_and_takes_its_tiles_along(
        self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(call(device="phone"), join("ann", "acme"))
        there, go_on = meeting.hold(monkeypatch, tiles, "append")
        ingest = meeting.start(lambda: send(call(device="phone")))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            merge = meeting.start(lambda: send(identify("ann", device="phone")))
            meeting.somebody_waits()
        assert ingest.result(PATIENCE).accepted == merge.result(PATIENCE).accepted == 1
        assert counts(ANYTHING) == {"acme": 2}
        assert tiles.verify() is None

    def test_is_followed_by_an_ingest_that_waited_for_it(
        self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(call(device="phone"), join("ann", "acme"))
        there, go_on = meeting.hold(monkeypatch, tiles, "follow")
        merge = meeting.start(lambda: send(identify("ben", device="phone"), join("ben", "globex", device="phone")))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            ingest = meeting.start(lambda: send(call(device="phone")))
            meeting.somebody_waits()
        assert merge.result(PATIENCE).accepted == 2
        assert ingest.result(PATIENCE).accepted == 1
        assert counts(ANYTHING) == {"globex": 2}
        assert tiles.verify() is None

    def test_waits_for_a_backfill_chunk(self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
        send(*(call(device="phone") for _ in range(3)))
        signals = tiles.register(signals=[INVITED], at=NOW)
        there, go_on = meeting.hold(monkeypatch, tiles.signals, "fold_sql")
        backfill = meeting.start(lambda: tiles.backfill(signals=signals))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            merge = meeting.start(lambda: send(join("ann", "acme", device="phone")))
            meeting.somebody_waits()
        merge.result(PATIENCE)
        backfill.result(PATIENCE)
        assert counts(INVITED) == {"acme": 3}
        assert tiles.verify() is None

    def test_of_the_same_people_from_both_ends_ends_in_one(self, meeting: Meeting) -> None:
        for n in range(10):
            devices = [f"{n}-{i}" for i in range(6)]
            send(*(call(device=device) for device in devices))
            pairs = list(zip(devices, devices[1:] + devices[:1], strict=True))
            at_once(
                meeting,
                *(lambda pair=pair: send(identify(pair[0], device=pair[1])) for pair in pairs),
            )
            assert frozenset(devices) in people()
        assert len(people()) == 10
        assert tiles.verify() is None


class TestActivation:
    def test_loses_no_event_of_an_open_ingest(self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
        send(call(by="ann", into="acme"))
        there, go_on = meeting.hold(monkeypatch, tiles, "append")
        ingest = meeting.start(lambda: send(call(by="ann", into="acme")))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            activation = meeting.start(lambda: tiles.register(signals=[INVITED], at=NOW))
            meeting.somebody_waits()
        ingest.result(PATIENCE)
        signals = activation.result(PATIENCE)
        send(call(by="ann", into="acme"))
        tiles.backfill(signals=signals)
        assert counts(INVITED) == {"acme": 3}
        assert tiles.verify() is None


class TestManyWriters:
    def test_of_one_new_batch_store_it_once(self, meeting: Meeting) -> None:
        batch = [identify(f"user {n}", device=f"device {n}", at=ago(n)) for n in range(150)]
        source()
        recorded = at_once(meeting, *(lambda: send(*batch) for _ in range(4)))
        assert sum(one.accepted for one in recorded) == 150
        assert stored_events() == 150
        assert Identity.objects.count() == 300
        assert ProductUser.objects.filter(merged_into=None).count() == 150
        assert set(Identity.objects.values_list("user", flat=True)) == set(
            ProductUser.objects.filter(merged_into=None).values_list("pk", flat=True)
        )

    def test_never_deadlock_and_never_count_twice(self, meeting: Meeting) -> None:
        dice = random.Random(5)
        calls = entangled(dice, 600)
        batches = [dice.sample(calls, dice.choice((1, 12, 120))) for _ in range(96)]
        batches += [[one] for one in calls]
        source()
        lots = [batches[n::4] for n in range(4)]
        recorded = at_once(
            meeting,
            *(lambda lot=lot: [send(*batch) for batch in lot] for lot in lots),
            _activate_and_backfill,
        )
        accepted = sum(one.accepted for lot in recorded[:4] for one in lot)
        assert accepted == len(calls) == stored_events()
        assert stored_messages() == sorted(one.message_id for one in calls)
        tiles.backfill(signals=tiles.register(signals=[INVITED], at=NOW))
        assert tiles.verify() is None
        assert _where_it_counted() == _alone(calls)

    def test_find_room_for_the_same_new_weeks(self, meeting: Meeting) -> None:
        partitions.forget()
        weeks = [-timedelta(weeks=week) for week in range(200, 230)]
        recorded = at_once(
            meeting,
            *(lambda: send(*(call(by="ann", at=NOW + week) for week in weeks)) for _ in range(4)),
        )
        assert [one.accepted for one in recorded] == [30] * 4


def _activate_and_backfill() -> None:
    signals = tiles.register(signals=[INVITED], at=NOW)
    while tiles.backfill_chunk(signal_ids=[signal.pk for signal in signals], size=20):
        pass


def _where_it_counted() -> dict[str, Any]:
    return {"counts": counts(INVITED), "people": people(), "homes": {ids: home(min(ids)) for ids in people()}}


def _alone(calls: list[Fact]) -> dict[str, Any]:
    """What one writer makes of the same calls, from another source in a database emptied before."""
    with connection.cursor() as c:
        c.execute(
            "TRUNCATE scoring_event, scoring_event_key, scoring_tile, scoring_touched, scoring_traitchange,"
            " scoring_outcome, scoring_grouplink, scoring_emaillink, scoring_identitylink, scoring_identity,"
            " scoring_productuser"
        )
    send(*calls)
    _refold_and_compact()
    return _where_it_counted()


class TestSharedIds:
    """People are glued together and let apart while events come in, and are folded, and partials put together."""

    def test_leave_tiles_and_homes_as_one_writer_makes_them(self, meeting: Meeting, settings: Any) -> None:
        settings.MOST_USERS_OF_AN_ID, settings.MOST_LINKS_OF_AN_ID = 3, 6
        dice = random.Random(11)
        calls = _entangled(dice, 240)
        batches = [dice.sample(calls, dice.choice((1, 8, 40))) for _ in range(24)] + [[one] for one in calls]
        source()
        lots = [batches[n::3] for n in range(3)]
        at_once(
            meeting,
            *(lambda lot=lot: [send(*batch) for batch in lot] for lot in lots),
            _activate_and_backfill,
            _refold_and_compact_for_a_while,
        )
        assert stored_messages() == sorted(one.message_id for one in calls)
        _refold_and_compact()
        tiles.backfill(signals=tiles.register(signals=[INVITED], at=NOW))
        assert tiles.verify() is None
        assert Identity.objects.exclude(refused_at=None).exists()
        assert _where_it_counted() == _alone(calls)


def _entangled(dice: random.Random, size: int) -> list[Fact]:
    """Calls of people of whom some share a kiosk, and some alias each other's ids."""

    def one(n: int) -> Fact:
        who = f"user {dice.randrange(9)}"
        common: dict[str, Any] = {"message_id": f"s{n}", "at": NOW - timedelta(hours=dice.randrange(900))}
        roll = dice.random()
        if roll < 0.1:
            return call(by=who, device=dice.choice(("kiosk", "hall", f"phone of {who}")), **common)
        if roll < 0.16:
            return alias(f"user {dice.randrange(9)}", f"old {who}", **common)
        if roll < 0.22:
            return join(who, f"group {dice.randrange(3)}", **common)
        return call(by=who, into=dice.choice(["", f"group {dice.randrange(3)}"]), **common)

    return [one(n) for n in range(size)]


def _refold_and_compact_for_a_while() -> None:
    for _ in range(25):
        _refold_and_compact()


def _refold_and_compact() -> None:
    for job in tasks.waiting_jobs():
        tasks.carry_on(job=job)
    tiles.compact(least=1)


class TestMergedAccount:
    def test_waits_for_an_open_ingest_and_takes_its_tiles_along(
        self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(call(into="acme"), call(into="globex"))
        there, go_on = meeting.hold(monkeypatch, tiles, "append")
        ingest = meeting.start(lambda: send(call(into="acme")))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            merge = meeting.start(
                lambda: facts.merge_accounts(other=account("acme"), into=account("globex"), by=None, at=NOW)
            )
            meeting.somebody_waits()
        ingest.result(PATIENCE)
        merge.result(PATIENCE)
        assert counts(ANYTHING) == {"globex": 3}
        assert tiles.verify() is None

    def test_is_heeded_by_an_ingest_that_looked_its_account_up_before(
        self, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(call(into="acme"), call(into="globex"))
        there, go_on = meeting.hold(monkeypatch, partitions, "ensure")
        ingest = meeting.start(lambda: send(call(into="acme")))
        with let_go(go_on):
            assert there.wait(PATIENCE)
            facts.merge_accounts(other=account("acme"), into=account("globex"), by=None, at=NOW)
        ingest.result(PATIENCE)
        assert counts(ANYTHING) == {"globex": 3}
        assert tiles.verify() is None


class TestClaims:
    def test_take_every_touch_once_while_more_come(self, meeting: Meeting) -> None:
        rows = [Account(kind="group", external_id=f"company {n}", created_at=NOW) for n in range(40)]
        ids = [row.pk for row in Account.objects.bulk_create(rows)]

        def touch() -> int:
            for n in range(25):
                handoffs.touch(accounts=ids, cause=f"{n}", lane=Lane.LIVE, at=NOW)
            return 0

        def claim() -> int:
            taken = 0
            for n in range(200):
                with transaction.atomic():
                    taken += sum(len(t.causes) for t in handoffs.claim_touched(shard=n % SHARDS, limit=3))
            return taken

        at_once(meeting, touch, claim)
        claim()
        assert not Touched.objects.exists()


def test_recorded_adds_up(meeting: Meeting) -> None:
    recorded: list[Recorded] = at_once(meeting, *(lambda: send(call(into="acme", message_id="1")) for _ in range(4)))
    assert sorted(one.statuses[0] for one in recorded) == ["accepted"] + ["duplicate"] * 3
    assert account("acme").pk
    assert identity.FREE_MAIL
