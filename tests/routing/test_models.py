"""What the database itself refuses, whoever writes."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from routing.models import AE, Absence, Assignment, Breach, CloseReason, Lead, LeadMove, Membership, Pool
from tests.routing import world
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db


def lead(**changes: Any) -> Lead:
    """Store a lead that is assigned to Ann, but for the changes."""
    rule_set = world.rule_set()
    values: dict[str, Any] = {
        "account": world.account("acme"),
        "motion": rule_set.motion,
        "rule_set": rule_set,
        "version": rule_set.live_version,
        "stage": "pql",
        "state": "assigned",
        "origin": "pql",
        "opening_tier": "hot",
        "tier": "hot",
        "tier_rank": 1,
        "opening": {},
        "ae": AE.objects.first() or world.ae("ann"),
        "opened_at": NOW,
        "pql_at": NOW,
        "assigned_at": NOW,
    }
    made = Lead.objects.create(**values | changes)
    if made.state != "closed":
        given(made)
    return made


def given(to: Lead, **changes: Any) -> Assignment:
    """Store that the lead was given to its AE by hand, but for the changes."""
    values: dict[str, Any] = {"lead": to, "ae": to.ae, "pool": to.pool, "how": "by_hand", "at": NOW, "decision": {}}
    return Assignment.objects.create(**values | changes)


def refused(constraint: str) -> None:
    """Hold that the transaction could not be committed, by this constraint; nothing of it stays."""
    with pytest.raises(IntegrityError, match=constraint):
        connection.check_constraints()
    transaction.set_rollback(True)


class TestLead:
    @pytest.mark.parametrize(
        ("changes", "constraint"),
        [
            ({"ae": None}, "open_lead_has_an_ae_or_a_reason"),
            ({"state": "unassigned"}, "open_lead_has_an_ae_or_a_reason"),
            ({"state": "unassigned", "ae": None, "assigned_at": None}, "open_lead_has_an_ae_or_a_reason"),
            ({"unassigned_reason": "nobody"}, "open_lead_has_an_ae_or_a_reason"),
            ({"state": "closed"}, "closed_lead_says_how_and_when"),
            ({"state": "closed", "closed_as": "won"}, "closed_lead_says_how_and_when"),
            ({"closed_as": "won", "closed_at": NOW}, "closed_lead_says_how_and_when"),
            ({"state": "closed", "closed_as": "gone", "closed_at": NOW}, "closed_lead_says_how_and_when"),
            ({"state": "snoozed"}, "snoozed_lead_says_until_when"),
            ({"snoozed_until": NOW}, "snoozed_lead_says_until_when"),
            ({"stage": "sql"}, "sql_was_accepted"),
            ({"accepted_at": NOW}, "sql_was_accepted"),
            ({"stage": "pql", "pql_at": None, "origin": "direct"}, "pql_is_dated"),
            ({"stage": "mql", "pql_at": None, "origin": "direct"}, "mql_is_dated"),
            ({"stage": "mql", "mql_at": NOW}, "pql_is_dated"),
            ({"origin": "mql"}, "marketing_lead_was_an_mql"),
            ({"stage": "sql", "accepted_at": NOW, "pql_at": None}, "lead_by_use_was_a_pql"),
            ({"wakes_on_signal": True, "kept": {}, "look_at": NOW}, "snoozed_lead_says_until_when"),
            ({"state": "snoozed", "wakes_on_signal": True}, "waiting_for_a_signal_needs_what_was_before"),
            ({"alarm_at": NOW}, "alarm_is_for_what_is_due"),
            ({"alarm_at": NOW, "due_at": NOW, "first_touched_at": NOW}, "alarm_is_for_what_is_due"),
            ({"cool_until": NOW}, "recycled_lead_cools_down"),
            ({"state": "closed", "closed_as": "recycled", "closed_at": NOW}, "recycled_lead_cools_down"),
            ({"stage": "xql"}, "lead_stage_is_known"),
            ({"origin": "xql"}, "lead_origin_is_known"),
        ],
    )
    def test_is_refused_where_its_parts_do_not_fit(self, changes: dict[str, Any], constraint: str) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            lead(**changes)

    def test_is_open_once_per_account_and_motion(self) -> None:
        lead()
        lead(motion="expansion")
        lead(state="closed", closed_as="lost", closed_at=NOW)
        with pytest.raises(IntegrityError, match="one_open_lead_per_account_and_motion"):
            lead()


class TestMove:
    def made(self, of: Lead, **changes: Any) -> LeadMove:
        values = {"lead": of, "at": NOW, "verb": "accept", "via": "desk", "to_state": "assigned", "to_stage": "sql"}
        return LeadMove.objects.create(**values | changes)

    @pytest.mark.parametrize(
        ("changes", "constraint"),
        [
            ({"via": "fax"}, "move_is_from_somewhere"),
            ({"verb": "undo"}, "undo_says_what_it_undoes"),
        ],
    )
    def test_is_refused_where_its_parts_do_not_fit(self, changes: dict[str, Any], constraint: str) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            self.made(lead(), **changes)

    def test_is_no_persons_if_the_system_made_it(self) -> None:
        one = lead()
        with pytest.raises(IntegrityError, match="system_is_no_person"):
            self.made(one, via="system", by=world.ae("ben").user)

    def test_undoes_one_of_the_same_lead_once(self) -> None:
        one, other = lead(), lead(motion="expansion")
        move = self.made(one)
        with pytest.raises(IntegrityError, match="undone_move_is_of_the_same_lead"), transaction.atomic():
            self.made(other, verb="undo", undoes=move)
            connection.check_constraints()
        self.made(one, verb="undo", undoes=move)
        with pytest.raises(IntegrityError, match="undoes_id"):
            self.made(one, verb="undo", undoes=move)


class TestAssignment:
    def test_stands_once_per_lead(self) -> None:
        one = lead()
        given(one, released_at=NOW)
        with pytest.raises(IntegrityError, match="one_standing_assignment_per_lead"):
            given(one)

    def test_refunds_only_a_turn_that_was_taken(self) -> None:
        with pytest.raises(IntegrityError, match="only_a_turn_taken_is_refunded"):
            given(lead(), released_at=NOW, refunded_for="duplicate")

    def test_is_refunded_for_a_cause_that_there_is(self) -> None:
        west, one = world.pool(), lead()
        Membership.objects.create(pool=west, ae=AE.objects.get(), joined_at=NOW)
        with pytest.raises(IntegrityError, match="refund_has_a_cause"):
            given(one, how="rotation", pool=west, released_at=NOW, refunded_for="mood")

    def test_by_turn_is_of_a_pool(self) -> None:
        with pytest.raises(IntegrityError, match="turn_is_of_a_pool"):
            given(lead(), how="rotation", released_at=NOW)

    def test_by_turn_is_of_one_who_has_a_place_there(self) -> None:
        given(lead(), how="rotation", pool=world.pool(), released_at=NOW)
        refused("turn_is_a_members")


class TestWhoHasIt:
    """Lead and assignment say the same when a transaction ends; within it they are written one after the other."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"ae": "ben"},
            {"pool": "East"},
            {"state": "closed", "closed_as": "lost", "closed_at": NOW},
            {"state": "unassigned", "ae": None, "assigned_at": None, "unassigned_reason": "Nobody is there."},
        ],
    )
    def test_a_lead_does_not_leave_its_assignment(self, changes: dict[str, Any]) -> None:
        one, values = lead(), dict(changes)
        values |= {"ae": world.ae("ben")} if changes.get("ae") else {}
        values |= {"pool": world.pool("East")} if "pool" in changes else {}
        Lead.objects.filter(pk=one.pk).update(**values)
        refused("standing_assignment_is_the_leads|held_lead_has_its_assignment")

    @pytest.mark.parametrize("changes", [{"released_at": NOW}, {"ae": None}])
    def test_an_assignment_does_not_leave_its_lead(self, changes: dict[str, Any]) -> None:
        Assignment.objects.filter(lead=lead()).update(**changes)
        refused("held_lead_has_its_assignment")

    def test_both_go_together(self) -> None:
        one, ben = lead(), world.ae("ben")
        Lead.objects.filter(pk=one.pk).update(ae=ben)
        Assignment.objects.filter(lead=one).update(ae=ben)
        connection.check_constraints()

    def test_a_breach_is_of_the_ae_who_had_it(self) -> None:
        one = lead()
        about: dict[str, Any] = {"lead": one, "assignment": one.assignments.get(), "cause": "person", "why": "."}
        Breach.objects.create(**about, ae=world.ae("ben"), due_at=NOW, at=NOW, did="escalated")
        refused("breach_is_of_the_assignment")


class TestAbsence:
    def test_is_one_at_a_time(self) -> None:
        ann = world.ae("ann")
        for first, last in ((0, 2), (2, 4)):
            Absence.objects.create(ae=ann, starts_at=later(days=first), ends_at=later(days=last))
        Absence.objects.create(ae=world.ae("ben"), starts_at=later(days=1))
        with pytest.raises(IntegrityError, match="absences_do_not_overlap"):
            Absence.objects.create(ae=ann, starts_at=later(days=3))


class TestReason:
    def test_gives_a_turn_back_where_it_was_no_lead(self) -> None:
        with pytest.raises(IntegrityError, match="reason_refunds_what_was_no_lead"):
            CloseReason.objects.create(kind="lose", name="Went away", refunds="duplicate")


class TestPool:
    def test_is_the_default_once(self) -> None:
        world.pool()
        with pytest.raises(IntegrityError, match="at_most_one_default_pool"):
            Pool.objects.create(slug="east", name="East", is_default=True, created_at=NOW)

    @pytest.mark.parametrize("weight", [0, 1001])
    def test_has_members_of_a_possible_weight(self, weight: int) -> None:
        with pytest.raises(IntegrityError, match="weight_is_from_1_to_1000"):
            Membership.objects.create(pool=world.pool(), ae=world.ae("ann"), weight=weight, joined_at=NOW)
