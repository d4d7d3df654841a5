"""What the pages read: ranked, complete, in few queries."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from pytest_django import DjangoAssertNumQueries

from routing import leads, queue
from routing.models import AE, Lead, Membership
from routing.queue import Tab
from scoring.models import Score
from tests.routing import world
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db


def opened(name: str, tier: str = "hot", minutes: float = 0, **score: Any) -> Lead:
    account = world.account(name)
    world.score(account, tier, **score)
    lead = leads.consider(
        account_id=account.pk, rule_set_id=world.rule_set().pk, cause="event", at=later(minutes=minutes)
    )
    assert lead
    return lead


def names(rows: list[queue.Row]) -> list[str]:
    return [row.lead.account.external_id for row in rows]


@pytest.fixture
def ann() -> AE:
    return world.ae("ann", into=world.pool(), capacity=100)


class TestQueueOf:
    def test_ranks_by_tier_then_points_then_age(self, ann: AE) -> None:
        opened("young", "hot", minutes=9, usage=100, fit=200)
        opened("old", "hot", minutes=1, usage=200, fit=100)
        opened("strong", "hot", minutes=5, usage=9000, fit=0)
        opened("warm", "warm", usage=9999, fit=9999)
        assert names(queue.queue_of(ae=ann, at=NOW)) == ["strong", "old", "young", "warm"]

    def test_shows_the_present_score_and_the_age(self, ann: AE) -> None:
        opened("acme")
        world.score(world.account("acme"), usage=7000, fit=1000)
        (row,) = queue.queue_of(ae=ann, at=later(days=2))
        assert (row.usage, row.fit, row.age) == (7000, 1000, timedelta(days=2))

    def test_tells_which_accounts_have_cooled(self, ann: AE) -> None:
        opened("kept")
        opened("held")
        opened("cold")
        world.score(world.account("held"), "cold", held=["hot"])
        world.score(world.account("cold"), "cold")
        cooled = {row.lead.account.external_id: row.has_cooled for row in queue.queue_of(ae=ann, at=NOW)}
        assert cooled == {"kept": False, "held": False, "cold": True}

    def test_falls_back_to_the_opening_score(self, ann: AE) -> None:
        opened("acme")
        Score.objects.all().delete()
        (row,) = queue.queue_of(ae=ann, at=NOW)
        assert (row.score, row.usage, row.fit) == (None, 6000, 3000)

    def test_takes_the_score_of_the_rule_set_that_opened_it(self, ann: AE) -> None:
        opened("acme")
        world.score(world.account("acme"), usage=1, by=world.rule_set("growth", motion="expansion"))
        (row,) = queue.queue_of(ae=ann, at=NOW)
        assert row.usage == 6000

    def test_shows_nobody_elses(self, ann: AE) -> None:
        opened("acme")
        assert queue.queue_of(ae=world.ae("ben"), at=NOW) == []

    def test_has_a_tab_for_each_part_and_counts_them(self, ann: AE) -> None:
        for name in ("new", "working", "snoozed", "sooner", "closed"):
            opened(name)
        by_name = {lead.account.external_id: lead for lead in Lead.objects.all()}
        leads.accept(lead=by_name["working"], by=ann.user, at=NOW)
        leads.snooze(lead=by_name["snoozed"], until=later(days=3), by=ann.user, at=NOW)
        leads.snooze(lead=by_name["sooner"], until=later(days=1), by=ann.user, at=NOW)
        leads.disqualify(lead=by_name["closed"], reason="students", by=ann.user, at=NOW)
        tabs = {tab: names(queue.queue_of(ae=ann, at=NOW, tab=tab)) for tab in Tab}
        assert tabs == {
            Tab.NEW: ["new"],
            Tab.WORKING: ["working"],
            Tab.SNOOZED: ["sooner", "snoozed"],
            Tab.CLOSED: ["closed"],
        }
        counts = queue.counts(among=ann.leads.all())
        assert counts == {"new": 1, "working": 1, "snoozed": 2, "closed": 1, "unassigned": 0}

    def test_pages(self, ann: AE) -> None:
        for minute, name in enumerate(("first", "second", "third")):
            opened(name, minutes=minute)
        assert names(queue.queue_of(ae=ann, at=NOW, limit=1, offset=1)) == ["second"]

    def test_asks_two_queries_however_long_it_is(
        self, ann: AE, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(7):
            opened(f"account {number}")
        with django_assert_num_queries(2):
            for row in queue.queue_of(ae=ann, at=NOW):
                assert row.lead.account.external_id
                assert row.lead.rule_set.name
                assert row.lead.ae == ann and row.lead.ae.name
                assert row.lead.pool and row.lead.pool.name
                assert row.usage


class TestUnassigned:
    def test_lists_what_waits_in_the_order_in_which_it_will_be_given_out(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        opened("warm", "warm")
        opened("late", minutes=2)
        opened("early", minutes=1)
        with django_assert_num_queries(2):
            rows = queue.unassigned(at=NOW)
        assert names(rows) == ["early", "late", "warm"]
        assert all(row.lead.unassigned_reason for row in rows)


class TestTeamBoard:
    def test_tells_what_each_member_holds(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        west, east = world.pool(), world.pool("East", default=False)
        ann = world.ae("ann", into=west, capacity=2)
        world.ae("ben", into=west, capacity=0)
        world.ae("cleo", into=east)
        opened("acme", minutes=3)
        leads.accept(lead=opened("globex"), by=ann.user, at=NOW)
        with django_assert_num_queries(2):
            seats = {seat.membership.ae.name: seat for seat in queue.team_board(at=NOW)}
        assert list(seats) == ["Cleo", "Ann", "Ben"]
        held = seats["Ann"]
        assert (held.new, held.working, held.snoozed, held.open, held.is_full) == (1, 1, 0, 2, True)
        assert held.oldest_new_at == later(minutes=3)
        assert (seats["Ben"].open, seats["Ben"].is_full, seats["Cleo"].is_full) == (0, True, False)
        assert [seat.membership.ae.name for seat in queue.team_board(at=NOW, pool_id=east.pk)] == ["Cleo"]


class TestVisibleTo:
    def test_shows_an_ae_their_own_a_manager_all_and_anybody_else_nothing(self, ann: AE) -> None:
        lead = opened("acme")
        ben = world.ae("ben")
        boss, stranger = world.ae("boss").user, world.ae("stranger").user
        boss.groups.add(Group.objects.get(name="Manager"))
        for person in (ann, ben):
            person.user.groups.add(Group.objects.get(name="AE"))
        assert list(queue.visible_to(user=ann.user)) == [lead]
        assert list(queue.visible_to(user=boss)) == [lead]
        assert not queue.visible_to(user=ben.user).exists()
        assert not queue.visible_to(user=stranger).exists()


class TestWeeklyCapacity:
    def test_is_the_sum_of_what_members_may_be_given(self) -> None:
        pool = world.pool()
        for name in ("ann", "ben", "cleo"):
            world.ae(name, into=pool)
        ann, ben, cleo = Membership.objects.order_by("pk").values_list("pk", flat=True)
        Membership.objects.filter(pk=ann).update(weekly_cap=7, daily_cap=1)
        Membership.objects.filter(pk=ben).update(daily_cap=4)
        assert queue.weekly_capacity() is None  # there is no limit to Cleo's
        Membership.objects.filter(pk=cleo).update(is_active=False)
        assert queue.weekly_capacity() == 5 + 20
