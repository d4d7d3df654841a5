"""The two logs that hand work on."""

from datetime import timedelta

import pytest
from django.db import connection

from scoring import handoffs
from scoring.models import SHARDS, Account, Crossed, Lane, RuleSet, RuleVersion, Touched, shard_of
from tests.scoring.world import NOW

pytestmark = pytest.mark.django_db


def accounts_of(shard: int, number: int) -> list[int]:
    """Make accounts until so many are of the shard; return those."""
    found: list[int] = []
    while len(found) < number:
        n = Account.objects.count()
        made = Account.objects.create(kind="group", external_id=f"company {n}", created_at=NOW)
        if shard_of(made.pk) == shard:
            found.append(made.pk)
    return found


def touch(*accounts: int, lane: Lane = Lane.LIVE, cause: str = "event", minutes: int = 0) -> set[int]:
    return handoffs.touch(accounts=accounts, cause=cause, lane=lane, at=NOW + timedelta(minutes=minutes))


def claim(shard: int = 3, limit: int = 10) -> list[int]:
    return [touched.account for touched in handoffs.claim_touched(shard=shard, limit=limit)]


class TestTouch:
    def test_returns_the_shards_to_ring(self) -> None:
        one, two = accounts_of(3, 1) + accounts_of(5, 1)
        assert touch(one, two, one) == {3, 5}
        assert Touched.objects.count() == 2
        assert {shard_of(row.account_id) == row.shard for row in Touched.objects.all()} == {True}

    def test_leaves_visitors_out(self) -> None:
        visitor = Account.objects.create(kind="visitor", external_id="phone", created_at=NOW)
        assert touch(visitor.pk) == set()

    def test_of_nobody_does_nothing(self) -> None:
        assert touch() == set()


class TestClaimTouched:
    def test_takes_all_touches_of_an_account_at_once(self) -> None:
        (acme,) = accounts_of(3, 1)
        touch(acme, cause="event", minutes=5)
        touch(acme, cause="trait", lane=Lane.BULK, minutes=2)
        (claimed,) = handoffs.claim_touched(shard=3, limit=10)
        assert claimed == handoffs.Touch(acme, Lane.LIVE, frozenset({"event", "trait"}), NOW + timedelta(minutes=2))
        assert not Touched.objects.exists()

    def test_leaves_other_shards_alone(self) -> None:
        touch(*accounts_of(3, 1), *accounts_of(4, 1))
        assert len(claim(shard=3)) == 1
        assert claim(shard=3) == []
        assert len(claim(shard=4)) == 1

    def test_serves_live_touches_first_and_the_oldest_of_them(self) -> None:
        bulk, late, early = accounts_of(3, 3)
        touch(bulk, lane=Lane.BULK)
        touch(early)
        touch(late)
        assert claim(limit=1) == [early]
        assert claim(limit=1) == [late]
        assert claim(limit=1) == [bulk]

    def test_keeps_a_fifth_for_bulk_work(self) -> None:
        live, bulk = accounts_of(3, 20), accounts_of(3, 20)
        touch(*live)
        touch(*bulk, lane=Lane.BULK)
        claimed = set(claim(limit=10))
        assert len(claimed & set(live)) == 8
        assert len(claimed & set(bulk)) == 2

    def test_gives_all_to_one_lane_if_the_other_is_empty(self) -> None:
        waiting = accounts_of(3, 12)
        touch(*waiting, lane=Lane.BULK)
        assert sorted(claim(limit=10)) == sorted(waiting)[:10]

    def test_empties_both_lanes_in_the_end(self) -> None:
        waiting = accounts_of(3, 9)
        for n, account in enumerate(waiting):
            touch(account, lane=Lane.BULK if n % 2 else Lane.LIVE)
        claimed = claim(limit=4) + claim(limit=4) + claim(limit=4)
        assert sorted(claimed) == sorted(waiting)

    def test_finds_its_accounts_by_the_index(self) -> None:
        with connection.cursor() as c:
            c.execute(handoffs._ONLY_BY_INDEX, {"else": "off"})
            c.execute("EXPLAIN " + handoffs._WAITING, {"shard": 3, "lane": "live", "limit": 10})
            plan = "\n".join(line for (line,) in c.fetchall())
        assert "touched_in_turn" in plan
        assert "Sort" not in plan

    def test_leaves_the_planner_as_it_was(self) -> None:
        claim()
        with connection.cursor() as c:
            for way in ("enable_seqscan", "enable_bitmapscan"):
                c.execute(f"SHOW {way}")
                assert c.fetchone() == ("on",)


class TestOldestTouch:
    def test_is_by_lane(self) -> None:
        acme, globex = accounts_of(3, 1) + accounts_of(4, 1)
        assert handoffs.oldest_touch() is None
        touch(acme, minutes=2)
        touch(globex, minutes=1)
        touch(acme, lane=Lane.BULK)
        assert handoffs.oldest_touch() == NOW + timedelta(minutes=1)
        assert handoffs.oldest_touch(lanes=[Lane.BULK]) == handoffs.oldest_touch(lanes=Lane) == NOW


class TestShardsWithTouches:
    def test_let_bulk_work_wait_and_live_work_not(self) -> None:
        old, new, live, both = accounts_of(1, 1) + accounts_of(2, 1) + accounts_of(3, 1) + accounts_of(4, 1)
        touch(live, minutes=5)
        touch(old, both, lane=Lane.BULK, minutes=1)
        touch(old, new, lane=Lane.BULK, minutes=2)
        touch(both, minutes=5)

        def shards(minutes: int) -> list[int]:
            return handoffs.shards_with_touches(bulk_until=NOW + timedelta(minutes=minutes))

        assert [shards(minutes) for minutes in range(3)] == [[3, 4], [1, 3, 4], [1, 2, 3, 4]]


@pytest.fixture
def hint() -> Crossed:
    """A hint that is no row yet."""
    rule_set = RuleSet.objects.create(slug="new", name="New", motion="new", created_at=NOW)
    version = RuleVersion.objects.create(rule_set=rule_set, number=1, text="", document={}, digest="", created_at=NOW)
    (account,) = accounts_of(0, 1)
    return Crossed(rule_set=rule_set, account_id=account, to_tier="hot", to_version=version, cause="event", at=NOW)


def again(hint: Crossed) -> Crossed:
    fields = {field.attname: getattr(hint, field.attname) for field in Crossed._meta.fields if field.name != "id"}
    return Crossed(**fields)


class TestClaimCrossed:
    def test_takes_one_hint_after_the_other(self, hint: Crossed) -> None:
        second = again(hint)
        second.cause = "trait"
        handoffs.cross(hints=[hint])
        handoffs.cross(hints=[second])
        claimed = [handoffs.claim_crossed(at=NOW) for _ in range(3)]
        assert [row.cause if row else None for row in claimed] == ["event", "trait", None]
        assert claimed[0] is not None
        assert (claimed[0].to_tier, claimed[0].from_version_id, claimed[0].at) == ("hot", None, NOW)

    def test_passes_over_what_was_put_off(self, hint: Crossed) -> None:
        handoffs.cross(hints=[hint])
        handoffs.put_off(hint=hint, until=NOW + timedelta(minutes=5), error="no pool")
        assert handoffs.claim_crossed(at=NOW) is None
        due = handoffs.claim_crossed(at=NOW + timedelta(minutes=5))
        assert due is not None
        assert (due.attempts, due.error) == (1, "no pool")


def test_every_shard_is_of_some_account() -> None:
    assert {shard_of(n) for n in range(100)} == set(range(SHARDS))
