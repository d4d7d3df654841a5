"""Who waits, why, until when; and that nobody is overtaken: not by one more, not by eight workers at once."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from routing import leads
from routing.models import AE, Absence, Assignment, Lead, Membership, Pool, RoutingRule, State
from scoring import facts, language, tiles
from tests.routing import world
from tests.routing.test_fairness import at_once
from tests.routing.world import NOW, later

MONDAY = NOW  # 9:00 UTC on a Monday


@pytest.fixture(autouse=True)
def any_signal(request: pytest.FixtureRequest) -> None:
    """Register again what a migration did: an earlier test of this kind has emptied all tables."""
    if request.node.get_closest_marker("django_db").kwargs.get("transaction"):
        tiles.register(signals=[language.Signal(events=(language.ANY_EVENT,))], at=NOW)


def opened(name: str, tier: str = "hot", *, at: datetime = NOW) -> Lead:
    account = world.account(name)
    world.score(account, tier)
    lead = leads.consider(account_id=account.pk, rule_set_id=world.rule_set().pk, cause="event", at=at)
    assert lead
    return lead


def works(ae: AE, week: str, zone: str = "UTC") -> None:
    AE.objects.filter(pk=ae.pk).update(hours=week, time_zone=zone)


def rule(name: str, text: str, pool: Pool, **more: object) -> RoutingRule:
    return RoutingRule.objects.create(name=name, text=text, pool=pool, position=RoutingRule.objects.count() + 1, **more)


def trait(name: str, **traits: object) -> None:
    world.account(name)
    source = facts.create_source(slug="crm", at=NOW)
    fact = facts.Fact(
        message_id=f"{name} {traits}",
        at=NOW,
        name="$group",
        user_id="u",
        anonymous_id=None,
        group_id=name,
        properties={},
        user_traits={},
        account_traits=traits,
    )
    facts.record(source=source, facts=[fact], received_at=NOW)


@pytest.mark.django_db
class TestUntilWhen:
    def test_is_the_start_of_the_first_working_day(self) -> None:
        west = world.pool()
        works(world.ae("ann", into=west), "Tue 10:00-12:00")
        works(world.ae("ben", into=west), "Wed 10:00-12:00")
        lead = opened("acme")
        assert lead.unassigned_reason.startswith("Both members of West are outside their working hours: Ann (")
        assert lead.next_try_at == datetime(2026, 3, 3, 10, tzinfo=UTC)
        assert leads.drain(at=later(hours=24)) == 0
        assert leads.drain(at=later(hours=25)) == 1

    def test_is_the_end_of_the_absence(self) -> None:
        ann = world.ae("ann", into=world.pool())
        Absence.objects.create(ae=ann, starts_at=later(days=-1), ends_at=later(days=2))
        lead = opened("acme")
        assert (lead.next_try_at, "absent until 4 March 2026" in lead.unassigned_reason) == (later(days=2), True)

    def test_is_the_next_day_for_a_daily_cap_and_counts_what_was_given_today(self) -> None:
        west = world.pool()
        world.ae("ann", into=west)
        Membership.objects.update(daily_cap=2)
        assert [opened(f"account {n}").state for n in range(3)] == ["assigned", "assigned", "unassigned"]
        lead = Lead.objects.get(state=State.UNASSIGNED)
        assert "2 of 2 given today: full" in lead.unassigned_reason
        assert lead.next_try_at == datetime(2026, 3, 3, tzinfo=UTC)
        assert leads.drain(at=later(hours=14)) == 0
        assert leads.drain(at=later(hours=15)) == 1

    def test_a_day_and_a_week_are_those_of_the_ae(self) -> None:
        ann = world.ae("ann", into=world.pool())
        AE.objects.update(time_zone="Pacific/Auckland")  # 13 hours ahead: there, Tuesday begins at 11:00 UTC
        Membership.objects.update(daily_cap=1, weekly_cap=2)
        assert opened("acme", at=later(hours=1)).ae == ann
        assert opened("globex", at=later(hours=1)).next_try_at == later(hours=2)
        assert leads.drain(at=later(hours=2)) == 1
        lead = opened("initech", at=later(hours=3))
        assert "2 of 2 given this week" in lead.unassigned_reason
        assert lead.next_try_at == datetime(2026, 3, 8, 11, tzinfo=UTC)

    def test_is_no_time_where_only_capacity_helps(self) -> None:
        world.ae("ann", into=world.pool(), capacity=0)
        assert opened("acme").next_try_at is None

    def test_of_a_cap_for_a_tier_lets_other_tiers_pass(self) -> None:
        world.ae("ann", into=world.pool())
        Membership.objects.update(tier_caps={"warm": 1})
        assert [opened(f"account {n}", "warm").state for n in range(2)] == ["assigned", "unassigned"]
        assert opened("acme", "hot").state == "assigned"


@pytest.mark.django_db
class TestRules:
    def test_the_first_that_matches_sends_the_lead(self) -> None:
        team = world.team()
        trait("acme", country="DE")
        rule("Germany", "{trait: country, equals: DE}", team.east)
        lead = opened("acme")
        assert (lead.ae, lead.pool, lead.route and lead.route.name) == (team.cleo, team.east, "Germany")
        assert Assignment.objects.get().decision["route"]["name"] == "Germany"
        assert opened("globex").pool == team.west

    def test_none_that_matches_is_said_with_what_they_asked_for(self) -> None:
        east = world.pool("East", default=False)
        rule("Germany", "{trait: country, equals: DE}", east)
        lead = opened("acme")
        assert lead.unassigned_reason.startswith("No routing rule matches country = null. No pool takes leads of")

    def test_a_lead_that_no_rule_took_is_looked_at_again_when_more_is_known(self) -> None:
        east = world.pool("East", default=False)
        cleo = world.ae("cleo", into=east)
        rule("Germany", "{trait: country, equals: DE}", east)
        lead = opened("acme")
        trait("acme", country="DE")
        assert leads.drain(at=later(minutes=14)) == 0
        assert leads.drain(at=later(minutes=15)) == 1
        lead.refresh_from_db()
        assert (lead.ae, lead.next_try_at) == (cleo, None)

    def test_asked_skills_keep_others_out_and_do_not_hold_up_the_rest(self) -> None:
        west = world.pool()
        ann = world.ae("ann", into=west)
        rule("German", "{lead: tier, equals: hot}", west, asks=["de"])
        lead = opened("acme", "hot")
        assert (lead.state, "lacks de" in lead.unassigned_reason) == ("unassigned", True)
        assert opened("globex", "warm").ae == ann, "a better lead waits, but nobody could take it"
        AE.objects.update(tags=["de"])
        assert leads.drain(at=NOW) == 1

    def test_the_owner_goes_before_the_rotation(self) -> None:
        west = world.pool()
        world.ae("ann", into=west)
        ben = world.ae("ben", into=west)
        rule("All", "always", west)
        for name in ("acme", "globex"):
            trait(name, owner="BEN@example.com")
        assert [opened(name).ae for name in ("acme", "globex")] == [ben, ben]
        assert {a.how for a in Assignment.objects.all()} == {"owner"}
        assert set(Membership.objects.values_list("credit", flat=True)) == {0}

    def test_an_owner_who_has_left_does_not_count(self) -> None:
        west = world.pool()
        ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
        AE.objects.filter(pk=ben.pk).update(is_active=False)
        rule("All", "always", west)
        trait("acme", owner="ben@example.com")
        assert opened("acme").ae == ann

    def test_who_worked_the_account_before_is_its_owner_too_unless_the_rule_says_no(self) -> None:
        west = world.pool()
        ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
        all_of_them = rule("All", "always", west)
        first = opened("acme")
        assert first.ae == ann
        leads.accept(lead=first, by=ann.user, at=NOW)
        Lead.objects.update(state="closed", closed_as="withdrawn", closed_at=NOW)
        Assignment.objects.update(released_at=NOW)
        assert opened("acme", at=later(days=1)).ae == ann
        Lead.objects.filter(state="assigned").update(state="closed", closed_as="withdrawn", closed_at=NOW)
        Assignment.objects.update(released_at=NOW)
        RoutingRule.objects.filter(pk=all_of_them.pk).update(prefers_owner=False)
        assert opened("acme", at=later(days=2)).ae == ben


@pytest.mark.django_db
class TestPreview:
    def test_tells_the_decision_and_changes_nothing(self) -> None:
        team = world.team()
        before = list(Membership.objects.order_by("pk").values())
        told = leads.preview(account_id=world.account("acme").pk, rule_set=world.rule_set(), tier="hot", at=NOW)
        assert (told["chosen"], told["why"]) == (
            team.ben.pk,
            "Ben was chosen by turn among 1 of 2 in West: the only one eligible.",
        )
        assert list(Membership.objects.order_by("pk").values()) == before
        assert not Lead.objects.exists()

    def test_says_when_nobody_could_take_it_and_until_when(self) -> None:
        works(world.ae("ann", into=world.pool()), "Tue 10:00-12:00")
        told = leads.preview(account_id=world.account("acme").pk, rule_set=world.rule_set(), tier="hot", at=NOW)
        assert (told["chosen"], told["next_try_at"]) == (None, "2026-03-03T10:00:00+00:00")


@pytest.mark.django_db
class TestOvertaking:
    def test_a_new_lead_waits_behind_an_older_one_that_could_be_given(self) -> None:
        ann = world.ae("ann", into=world.pool(), capacity=0)
        old = opened("acme")
        Membership.objects.update(capacity=1)
        new = opened("globex", at=later(minutes=1))
        assert (new.state, new.unassigned_reason) == (
            "unassigned",
            "Waits its turn in West: a better or older lead comes first.",
        )
        leads.drain(at=later(minutes=2))
        old.refresh_from_db()
        new.refresh_from_db()
        assert (old.ae, new.ae) == (ann, None)
        assert "1 of 1 open: full" in new.unassigned_reason, "what it waits for is kept up"

    def test_a_better_one_goes_before_an_older_one(self) -> None:
        ann = world.ae("ann", into=world.pool(), capacity=0)
        opened("acme", "warm")
        Membership.objects.update(capacity=1)
        assert opened("globex", "hot", at=later(minutes=1)).ae == ann

    def test_one_that_only_who_had_it_could_take_is_passed(self) -> None:
        west = world.pool()
        ann = world.ae("ann", into=west)
        old = opened("acme")
        leads.reassign(lead=old, to=None, by=None, at=NOW)
        assert Lead.objects.get().state == "unassigned"
        assert opened("globex", at=later(minutes=1)).ae == ann
        assert leads.drain(at=later(minutes=2)) == 0

    def test_a_pool_in_which_nobody_is_free_costs_the_same_however_many_wait(self) -> None:
        west = world.pool()
        world.ae("ann", into=west, capacity=0)
        opened("account 0")

        def cost() -> int:
            leads.drain(at=NOW)
            with CaptureQueriesContext(connection) as queries:
                assert leads.drain(at=NOW) == 0
            return len(queries)

        few = cost()
        for n in range(1, 25):
            opened(f"account {n}")
        assert cost() == few <= 15


@pytest.mark.django_db(transaction=True)
class TestEightWorkers:
    def test_never_let_a_lead_overtake_a_better_one(self) -> None:
        """Leads come, capacity grows and is freed, all at once; the records tell who waited when one was given."""
        west = world.pool()
        for name in ("ann", "ben"):
            world.ae(name, into=west, capacity=1)
        for n in range(60):
            tier = ("hot", "warm")[n % 2]
            world.score(world.account(f"account {n}"), tier)
            world.hint(world.account(f"account {n}"))
        assert leads.open_all(at=NOW, limit=20) == 20
        Membership.objects.update(capacity=12)  # nobody is told: whoever comes next finds it
        at_once(lambda number: (come, leave, come, drain)[number % 4](number))
        for hour in range(20):
            leads.drain(at=later(hours=hour))
        waiting: dict[int, tuple[int, datetime, int]] = {}
        given = 0
        order = {lead.pk: (lead.tier_rank, lead.opened_at, lead.pk) for lead in Lead.objects.all()}
        for assignment in Assignment.objects.order_by("id"):
            if assignment.ae_id is None:
                waiting[assignment.lead_id] = order[assignment.lead_id]
                continue
            waiting.pop(assignment.lead_id, None)
            given += 1
            better = [lead for lead, place in waiting.items() if place < order[assignment.lead_id]]
            assert not better, f"lead {assignment.lead_id} overtook {better}"
        assert given >= 20
        assert not Lead.objects.filter(state=State.UNASSIGNED, unassigned_reason__startswith="Not routed").exists()
        for ae in AE.objects.all():
            assert Lead.objects.filter(ae=ae, state="assigned").count() <= 12


def come(number: int) -> None:
    for minute in range(1, 11):
        leads.open_crossed(at=NOW + timedelta(minutes=minute, seconds=number))


def leave(_: int) -> None:
    for lead in Lead.objects.filter(state="assigned").order_by("pk")[:5]:
        with contextlib.suppress(leads.LeadError):
            leads.win(lead=lead, by=None, at=later(hours=1))


def drain(_: int) -> None:
    for _ in range(3):
        leads.drain(at=later(hours=1))
