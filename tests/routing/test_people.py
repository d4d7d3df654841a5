"""Log-ins, AEs, pools and what is done with each tier."""

import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoCaptureOnCommitCallbacks

from routing import leads, people
from routing.models import AE, HandlingPolicy, Lead, Membership, Pool
from tests.routing import world
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db


def opened(name: str = "acme") -> Lead:
    account = world.account(name)
    world.score(account)
    lead = leads.consider(account_id=account.pk, rule_set_id=world.rule_set().pk, cause="event", at=NOW)
    assert lead
    return lead


class TestCreateAe:
    def test_makes_log_in_role_pool_and_place_in_the_rotation(self) -> None:
        ae, new = people.create_ae(
            email="Ann@Example.com", name="Ann van Dyk", pool="West", weight=3, capacity=9, password="s3cret", at=NOW
        )
        assert new
        assert (ae.user.username, ae.name, people.roles_of(ae.user)) == (
            "ann@example.com",
            "Ann van Dyk",
            frozenset({"AE"}),
        )
        assert ae.user.check_password("s3cret")
        member = Membership.objects.get(ae=ae)
        assert (member.pool.name, member.pool.is_default, member.weight, member.capacity) == ("West", True, 3, 9)

    def test_gives_no_password_that_works_unless_told(self) -> None:
        ae, _ = people.create_ae(email="ann@example.com", name="Ann", pool="West", at=NOW)
        assert not ae.user.has_usable_password()

    def test_changes_only_the_place_of_who_is_there_already(self) -> None:
        first, _ = people.create_ae(email="ann@example.com", name="Ann", pool="West", password="old", at=NOW)
        second, new = people.create_ae(
            email="ANN@example.com", name="Other", pool="west", password="new", weight=5, at=later(days=1)
        )
        assert (second, new, AE.objects.count(), Pool.objects.count()) == (first, False, 1, 1)
        assert second.user.check_password("old")
        assert Membership.objects.get(ae=first).weight == 5

    def test_brings_an_ae_back_who_had_left(self) -> None:
        ae, _ = people.create_ae(email="ann@example.com", name="Ann", pool="West", at=NOW)
        people.deactivate_ae(ae=ae, at=NOW)
        again, new = people.create_ae(email="ann@example.com", name="Ann", pool="West", at=NOW)
        assert (again.is_active, new) == (True, False)

    def test_gives_what_waits_to_who_joins(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        lead = opened()
        assert lead.state == "unassigned"
        with django_capture_on_commit_callbacks(execute=True):
            ae, _ = people.create_ae(email="ann@example.com", name="Ann", pool="West", at=NOW)
        lead.refresh_from_db()
        assert (lead.ae, lead.pool, lead.state) == (ae, Pool.objects.get(), "assigned")

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"email": "ann"}, "not an e-mail address"),
            ({"weight": 0}, "from 1 to 1000, not 0"),
            ({"weight": 1001}, "from 1 to 1000"),
            ({"capacity": -1}, "0 or more"),
            ({"time_zone": "Berlin"}, "such as Europe/Berlin"),
            ({"pool": "–"}, "at least one letter"),
        ],
    )
    def test_refuses_what_cannot_be_and_leaves_nothing(self, wrong: dict, says: str) -> None:
        given = {"email": "ann@example.com", "name": "Ann", "pool": "West", "at": NOW} | wrong
        with pytest.raises(people.PeopleError, match=says):
            people.create_ae(**given)
        assert not User.objects.exists()
        assert not Pool.objects.exists()


class TestCreateLogIn:
    def test_lets_admins_into_the_admin(self) -> None:
        user, new = people.create_log_in(email="boss@example.com", name="", role="Admin", password="x", at=NOW)
        assert (new, user.is_staff, user.is_superuser, people.roles_of(user)) == (
            True,
            True,
            True,
            frozenset({"Admin"}),
        )

    def test_does_not_let_managers_into_it(self) -> None:
        user, _ = people.create_log_in(email="boss@example.com", name="", role="Manager", password="x", at=NOW)
        assert (user.is_staff, people.roles_of(user)) == (False, frozenset({"Manager"}))

    def test_adds_a_role_to_who_is_there(self) -> None:
        people.create_log_in(email="boss@example.com", name="", role="AE", password="x", at=NOW)
        user, new = people.create_log_in(email="boss@example.com", name="", role="Manager", password=None, at=NOW)
        assert (new, people.roles_of(user), user.check_password("x")) == (False, frozenset({"AE", "Manager"}), True)

    def test_refuses_a_role_that_is_none(self) -> None:
        with pytest.raises(people.PeopleError, match="choose one of AE, Manager, Admin"):
            people.create_log_in(email="boss@example.com", name="", role="King", password=None, at=NOW)

    def test_gives_a_locked_log_in_no_role(self) -> None:
        user, _ = people.create_log_in(email="boss@example.com", name="", role="Admin", password="x", at=NOW)
        user.is_active = False
        assert people.roles_of(user) == frozenset()


class TestPools:
    def test_the_first_is_the_default_and_another_can_become_it(self) -> None:
        west = people.create_pool(name="West", at=NOW)
        people.create_pool(name="East", at=NOW)
        north = people.create_pool(name="North", is_default=True, at=NOW)
        west.refresh_from_db()
        assert (west.is_default, list(Pool.objects.filter(is_default=True))) == (False, [north])

    def test_refuses_a_name_or_a_rule_set_that_is_taken(self) -> None:
        people.create_pool(name="West", rule_set=world.rule_set(), at=NOW)
        with pytest.raises(people.PeopleError, match="'WEST' already"):
            people.create_pool(name="WEST", at=NOW)
        with pytest.raises(people.PeopleError, match="New business go to the pool West"):
            people.create_pool(name="East", rule_set=world.rule_set(), at=NOW)

    def test_a_change_gives_the_pool_what_waits(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        west = people.create_pool(name="West", at=NOW)
        people.set_pool(pool=west, name="West", rule_set=None, is_default=False, at=NOW)
        ann = world.ae("ann", into=west)
        lead = opened()
        assert "No pool takes leads of New business: hot" in lead.unassigned_reason
        with django_capture_on_commit_callbacks(execute=True):
            people.set_pool(pool=west, name="Wild West", rule_set=world.rule_set(), is_default=False, at=NOW)
        lead.refresh_from_db()
        assert (lead.ae, lead.pool and lead.pool.name) == (ann, "Wild West")

    def test_names_that_look_alike_get_slugs_that_do_not(self) -> None:
        assert people.create_pool(name="West", at=NOW).slug == "west"
        assert people.create_pool(name="West!", at=NOW).slug == "west-2"


class TestMembership:
    def test_keeps_the_credit_when_the_place_changes(self) -> None:
        west = world.pool()
        ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
        opened()
        credit = Membership.objects.get(ae=ann).credit
        assert credit
        people.set_membership(pool=west, ae=ann, weight=7, capacity=1, is_active=False, at=NOW)
        member = Membership.objects.get(ae=ann)
        assert (member.credit, member.weight, member.is_active) == (credit, 7, False)
        assert opened("globex").ae == ben

    def test_gives_out_what_waits_when_the_capacity_grows(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        west = world.pool()
        ann = world.ae("ann", into=west, capacity=0)
        lead = opened()
        with django_capture_on_commit_callbacks(execute=True):
            people.set_membership(pool=west, ae=ann, weight=1, capacity=1, is_active=True, at=NOW)
        lead.refresh_from_db()
        assert lead.ae == ann


class TestDeactivateAe:
    def test_hands_the_open_leads_to_the_others_and_keeps_the_closed(self) -> None:
        west = world.pool()
        ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
        mine, closed, kept = opened("acme"), opened("globex"), opened("initech")
        for lead in (mine, closed):
            leads.reassign(lead=lead, to=ann, by=None, at=NOW) if lead.ae != ann else None
        leads.disqualify(lead=closed, reason="students", by=ann.user, at=NOW)
        held_by_ann = Lead.objects.filter(ae=ann).exclude(state="closed").count()
        assert people.deactivate_ae(ae=ann, at=NOW) == held_by_ann
        assert Lead.objects.get(pk=mine.pk).ae == ben
        assert Lead.objects.get(pk=closed.pk).ae == ann
        assert Lead.objects.get(pk=kept.pk).ae == ben

    def test_leaves_them_unassigned_with_a_reason_when_nobody_is_left(self) -> None:
        ann = world.ae("ann", into=world.pool())
        lead = opened()
        people.deactivate_ae(ae=ann, at=NOW)
        lead.refresh_from_db()
        assert (lead.state, lead.ae) == ("unassigned", None)
        assert lead.unassigned_reason == (
            "Nobody in West can take it: Ann (no longer works leads; had this lead before)."
        )

    def test_frees_what_is_with_a_locked_log_in(self) -> None:
        west = world.pool()
        ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
        lead = opened()
        User.objects.filter(pk=ann.user_id).update(is_active=False)
        assert leads.tend(at=NOW) == 1
        lead.refresh_from_db()
        assert lead.ae == ben


class TestSetHandling:
    def test_replaces_what_was_said_of_the_tier(self) -> None:
        for handling in ("sales", "nurture"):
            people.set_handling(rule_set=world.rule_set(), tier="warm", handling=handling, at=NOW)
        assert HandlingPolicy.objects.get().handling == "nurture"

    def test_refuses_a_handling_that_is_none(self) -> None:
        with pytest.raises(people.PeopleError, match="choose one of sales, nurture"):
            people.set_handling(rule_set=world.rule_set(), tier="warm", handling="ignore", at=NOW)
