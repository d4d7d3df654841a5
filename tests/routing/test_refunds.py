"""A turn is given back for a cause alone, within the days that the pool says; then it is as if it had never been."""

from datetime import datetime

import pytest

from routing import audit, leads, people
from routing.models import AE, Assignment, CloseReason, Lead, Membership, Pool
from scoring.models import Account
from tests.routing import world
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db

TURN = 1_000_000_000
AT_REST = {"Ann": (0, 0), "Ben": (0, 0)}
SERVED = {"Ann": (-TURN // 2, 1), "Ben": (TURN // 2, 0)}  # a turn of Ann's among two


@pytest.fixture(autouse=True)
def in_the_tests_own_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction of the test holds all: it cannot be made a read-only snapshot of its own."""
    monkeypatch.setattr(audit, "SNAPSHOT", "SELECT 1")


@pytest.fixture
def lead() -> Lead:
    """A lead that went to Ann, by a turn among Ann and Ben; Cleo is in another pool."""
    west = world.pool()
    world.ae("ann", into=west)
    world.ae("ben", into=west)
    world.ae("cleo", into=world.pool("East", default=False))
    opened = of("acme")
    assert credits() == SERVED
    return opened


def of(name: str) -> Lead:
    world.score(world.account(name))
    world.hint(world.account(name))
    leads.open_all(at=NOW, limit=5)
    return Lead.objects.get(account__external_id=name)


def ae(name: str) -> AE:
    return AE.objects.get(user__first_name=name)


def credits() -> dict[str, tuple[int, int]]:
    """Return by AE of West the credit and the turns served."""
    members = Membership.objects.filter(pool__name="West").order_by("pk")
    return {name: (credit, n) for name, credit, n in members.values_list("ae__user__first_name", "credit", "served")}


def cause(lead: Lead) -> str:
    """Return for what the lead's first turn was given back, when all adds up."""
    assert audit.verify() is None
    return Assignment.objects.filter(lead=lead, how="rotation", ae__isnull=False).earliest("id").refunded_for


def told(lead: Lead, verb: str) -> str:
    return lead.moves.filter(verb=verb).latest("id").note


class TestReassign:
    def test_gives_no_turn_back_without_a_cause(self, lead: Lead) -> None:
        leads.reassign(lead=lead, to=ae("Cleo"), by=None, at=later(hours=1), note="knows them")
        assert (credits(), cause(lead), told(lead, "reassign")) == (SERVED, "", "knows them")

    def test_to_the_pool_without_a_cause_costs_the_next_one_a_turn_too(self, lead: Lead) -> None:
        leads.reassign(lead=lead, to=None, by=None, at=later(hours=1))
        lead.refresh_from_db()
        assert (lead.ae, cause(lead)) == (ae("Ben"), "")
        assert credits() == {"Ann": (-TURN // 2, 1), "Ben": (TURN // 2, 1)}, "alone, Ben was due the whole second turn"

    @pytest.mark.parametrize("claimed", leads.CLAIMS)
    def test_gives_it_back_for_a_cause(self, lead: Lead, claimed: str) -> None:
        leads.reassign(lead=lead, to=ae("Cleo"), by=None, at=later(days=7), cause=claimed)
        assert (credits(), cause(lead)) == (AT_REST, claimed)
        assert "The turn is given back: " in told(lead, "reassign")

    @pytest.mark.parametrize(("days", "at"), [(7, later(days=7, seconds=1)), (0, later(seconds=1))])
    def test_says_that_it_is_too_late(self, lead: Lead, days: int, at: datetime) -> None:
        Pool.objects.update(credit_days=days)
        leads.reassign(lead=lead, to=None, by=None, at=at, cause="territory", note="theirs is in Asia.")
        assert (credits()["Ann"], cause(lead)) == ((-TURN // 2, 1), "")
        assert told(lead, "unassign") == f"theirs is in Asia. No turn is given back: West does so within {days} days."

    def test_says_that_there_was_no_turn(self, lead: Lead) -> None:
        leads.reassign(lead=lead, to=ae("Cleo"), by=None, at=NOW, cause="territory")
        leads.reassign(lead=lead, to=ae("Ben"), by=None, at=NOW, cause="territory", note="back.")
        assert told(lead, "reassign") == "back. No turn is given back: it cost none."

    def test_within_the_pool_the_turn_goes_with_the_lead(self, lead: Lead) -> None:
        leads.reassign(lead=lead, to=ae("Ben"), by=None, at=later(days=30))
        assert (credits(), cause(lead)) == ({"Ann": (TURN // 2, 0), "Ben": (-TURN // 2, 1)}, "passed")

    @pytest.mark.parametrize("claimed", ["overdue", "shrug"])
    def test_refuses_a_cause_that_is_none_of_peoples(self, lead: Lead, claimed: str) -> None:
        with pytest.raises(leads.UnknownCause, match="choose one of duplicate, territory, not_a_lead, or none"):
            leads.reassign(lead=lead, to=None, by=None, at=NOW, cause=claimed)
        assert credits() == SERVED


class TestDisqualify:
    @pytest.mark.parametrize(
        ("reason", "why"), [("Students", "not_a_lead"), ("Duplicate", "duplicate"), ("No need", "")]
    )
    def test_gives_the_turn_back_as_the_list_says_of_the_reason(self, lead: Lead, reason: str, why: str) -> None:
        leads.disqualify(lead=lead, reason=reason, by=None, at=later(days=1))
        assert (credits(), cause(lead)) == (AT_REST if why else SERVED, why)
        closed = Lead.objects.get()
        assert (closed.close_reason, closed.ae) == (reason, ae("Ann"))
        assert told(lead, "disqualify").startswith(f"{reason}. The turn is given back" if why else reason)

    def test_undone_charges_the_turn_again(self, lead: Lead) -> None:
        leads.disqualify(lead=lead, reason="Students", by=ae("Ann").user, at=later(hours=1))
        assert of("globex").ae == ae("Ben"), "of equals the one who was not served last"
        assert credits() == {"Ann": (TURN // 2, 0), "Ben": (-TURN // 2, 1)}
        leads.undo(lead=lead, by=ae("Ann").user, at=later(hours=1, minutes=9))
        assert (credits(), cause(lead)) == ({"Ann": (0, 1), "Ben": (0, 1)}, "")

    def test_gives_nothing_back_where_nobody_had_it(self) -> None:
        world.ae("ann", into=world.pool(), capacity=0)
        waits = of("acme")
        leads.disqualify(lead=waits, reason="Students", by=None, at=NOW)
        assert told(waits, "disqualify") == "Students"

    def test_says_of_other_kinds_of_reasons_that_they_give_none_back(self) -> None:
        leads.set_reason(kind="disqualify", name="Not in Europe", refunds="territory")
        assert CloseReason.objects.get(name="Not in Europe").refunds == "territory"
        with pytest.raises(leads.UnknownCause, match="Only the turn of a lead that was disqualified"):
            leads.set_reason(kind="lose", name="Went away", refunds="territory")
        with pytest.raises(leads.UnknownCause, match="'left' gives no turn back"):
            leads.set_reason(kind="disqualify", name="Went away", refunds="left")


class TestTheSystem:
    def test_gives_back_the_turn_of_a_lead_that_another_one_absorbed(self, lead: Lead) -> None:
        other = of("globex")
        leads.accept(lead=other, by=None, at=NOW)
        Account.objects.filter(pk=lead.account_id).update(merged_into=other.account_id)
        leads.consider(account_id=lead.account_id, rule_set_id=lead.rule_set_id, cause="event", at=later(days=1))
        assert (Lead.objects.get(pk=lead.pk).closed_as, cause(lead)) == ("withdrawn", "duplicate")

    def test_gives_back_the_turn_of_who_leaves(self, lead: Lead) -> None:
        people.deactivate_ae(ae=ae("Ann"), at=later(days=90))
        lead.refresh_from_db()
        assert (lead.ae, cause(lead)) == (ae("Ben"), "left")
        assert credits() == {"Ann": (0, 0), "Ben": (0, 1)}

    @pytest.mark.parametrize(("at_breach", "why"), [("reassign", "overdue"), ("forfeit", "")])
    def test_gives_back_the_turn_of_an_overdue_lead_as_the_pool_says(
        self, lead: Lead, at_breach: str, why: str
    ) -> None:
        leads.set_at_breach(pool=world.pool(), at_breach=at_breach)
        Lead.objects.update(due_at=later(hours=1), alarm_at=later(hours=1))
        leads.keep_deadlines(at=later(hours=1))
        lead.refresh_from_db()
        assert (lead.ae, cause(lead)) == (ae("Ben"), why)
        assert credits()["Ann"] == ((0, 0) if why else (-TURN // 2, 1))
