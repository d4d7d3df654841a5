"""What people do with a lead, and what each act leaves behind."""

from datetime import timedelta
from decimal import Decimal

import pytest
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from routing import leads
from routing.models import AE, Assignment, Lead, LeadMove, Membership, State
from scoring.models import Outcome
from tests.routing import world
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db


def opened(name: str = "acme", tier: str = "hot") -> Lead:
    account = world.account(name)
    world.score(account, tier)
    lead = leads.consider(account_id=account.pk, rule_set_id=world.rule_set().pk, cause="event", at=NOW)
    assert lead
    return lead


def two() -> tuple[AE, AE]:
    """Ann and Ben in one pool, both free; the first lead will be Ann's."""
    west = world.pool()
    return world.ae("ann", into=west), world.ae("ben", into=west)


class TestAccept:
    def test_makes_it_an_sql_and_says_who_did(self) -> None:
        ann, _ = two()
        lead = leads.accept(lead=opened(), by=ann.user, at=later(minutes=5))
        assert (lead.state, lead.stage, lead.accepted_at) == ("assigned", "sql", later(minutes=5))
        assert lead.first_touched_at == later(minutes=5)
        move = LeadMove.objects.latest("id")
        assert (move.verb, move.by, move.from_stage, move.to_stage) == ("accept", ann.user, "pql", "sql")

    def test_an_integration_touches_it_as_a_person_does(self) -> None:
        world.team()
        lead = opened()
        assert leads.accept(lead=lead, by=None, at=later(minutes=5)).first_touched_at == later(minutes=5)

    def test_ends_a_snooze(self) -> None:
        ann, _ = two()
        leads.snooze(lead=opened(), until=later(days=1), by=ann.user, at=NOW)
        lead = leads.accept(lead=Lead.objects.get(), by=ann.user, at=later(minutes=1))
        assert (lead.state, lead.snoozed_until, lead.first_touched_at) == ("assigned", None, NOW)

    def test_is_refused_the_second_time(self) -> None:
        ann, _ = two()
        lead = opened()
        leads.accept(lead=lead, by=ann.user, at=NOW)
        with pytest.raises(leads.IllegalMove, match="accepted before"):
            leads.accept(lead=lead, by=ann.user, at=NOW)


class TestSnooze:
    def test_puts_it_aside_and_wakes_it_in_time(self) -> None:
        ann, _ = two()
        lead = leads.snooze(lead=opened(), until=later(days=1), by=ann.user, at=NOW)
        assert (lead.state, lead.snoozed_until) == ("snoozed", later(days=1))
        assert leads.wake_snoozed(at=later(days=1) - timedelta(seconds=1)) == 0
        assert leads.wake_snoozed(at=later(days=1)) == 1
        lead.refresh_from_db()
        assert (lead.state, lead.ae, lead.snoozed_until) == ("assigned", ann, None)

    def test_refuses_a_time_that_is_past(self) -> None:
        two()
        with pytest.raises(leads.SnoozeEnded, match="still to come"):
            leads.snooze(lead=opened(), until=NOW, by=None, at=NOW)

    def test_can_be_ended_by_hand(self) -> None:
        ann, _ = two()
        lead = leads.snooze(lead=opened(), until=later(days=1), by=ann.user, at=NOW)
        assert leads.wake(lead=lead, by=ann.user, at=NOW).state == State.ASSIGNED


class TestClose:
    def test_disqualify_needs_a_reason(self) -> None:
        two()
        with pytest.raises(leads.ReasonMissing, match="Choose why"):
            leads.disqualify(lead=opened(), reason="  ", by=None, at=NOW)

    def test_disqualify_keeps_the_reason_and_ends_the_assignment(self) -> None:
        ann, _ = two()
        lead = leads.disqualify(lead=opened(), reason=" students ", by=ann.user, at=later(hours=1))
        assert (lead.state, lead.closed_as, lead.close_reason, lead.ae) == ("closed", "disqualified", "Students", ann)
        assert Assignment.objects.get(lead=lead).released_at == later(hours=1)

    def test_win_records_the_outcome_once(self) -> None:
        ann, _ = two()
        lead = leads.win(lead=opened(), by=ann.user, at=later(days=2), amount=Decimal("1200.50"))
        outcome = Outcome.objects.get()
        assert (outcome.account, outcome.kind, outcome.at, outcome.amount) == (
            lead.account,
            "won",
            later(days=2),
            Decimal("1200.50"),
        )
        assert outcome.message_id == f"lead:{lead.pk}:won"
        with pytest.raises(leads.IllegalMove, match=r"closed \(won\)"):
            leads.win(lead=lead, by=ann.user, at=later(days=2))

    def test_lose_closes_an_accepted_one(self) -> None:
        ann, _ = two()
        lead = leads.accept(lead=opened(), by=ann.user, at=NOW)
        lost = leads.lose(lead=lead, reason="no budget", by=ann.user, at=NOW)
        assert (lost.closed_as, lost.stage, lost.close_reason) == ("lost", "sql", "No budget")

    def test_gives_the_freed_capacity_to_the_highest_tier_that_waits_longest(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        ann = world.ae("ann", into=world.pool(), capacity=1)
        first = opened("acme")
        warm, hot, hotter = opened("globex", "warm"), opened("initech"), opened("umbrella")
        assert {lead.state for lead in (warm, hot, hotter)} == {"unassigned"}
        assert warm.unassigned_reason == "Nobody in West can take it: Ann (1 of 1 open: full)."
        with django_capture_on_commit_callbacks(execute=True):
            leads.disqualify(lead=first, reason="students", by=ann.user, at=NOW)
        states = {
            lead.account.external_id: lead.state for lead in Lead.objects.filter(state__in=["unassigned", "assigned"])
        }
        assert states == {"globex": "unassigned", "initech": "assigned", "umbrella": "unassigned"}


def _credits() -> dict[int, tuple[int, int]]:
    """Return (credit, served) by AE."""
    return {m.ae_id: (m.credit, m.served) for m in Membership.objects.all()}


class TestReassign:
    def test_gives_it_to_another_by_hand_and_passes_the_turn_on(self) -> None:
        ann, ben = two()
        lead = opened()
        before = _credits()
        moved = leads.reassign(lead=lead, to=ben, by=ann.user, at=NOW, note="speaks Danish")
        assert (moved.ae, moved.state) == (ben, "assigned")
        turn = 1_000_000_000
        assert _credits() == {ann.pk: (before[ann.pk][0] + turn, 0), ben.pk: (before[ben.pk][0] - turn, 1)}
        old, new = Assignment.objects.order_by("id")
        assert (old.refunded, old.released_at, new.how, new.decision["why"]) == (True, NOW, "passed", "speaks Danish")

    def test_given_there_and_back_everything_is_as_it_was(self) -> None:
        ann, ben = two()
        lead = opened()
        before = _credits()
        lead = leads.reassign(lead=lead, to=ben, by=ann.user, at=NOW)
        leads.reassign(lead=lead, to=ann, by=ann.user, at=NOW)
        assert _credits() == before

    def test_outside_the_pool_it_costs_no_turn(self) -> None:
        ann, _ = two()
        cleo = world.ae("cleo", into=world.pool("East", default=False))
        lead = leads.reassign(lead=opened(), to=cleo, by=ann.user, at=NOW)
        assert _credits()[cleo.pk] == (0, 0)
        leads.reassign(lead=lead, to=ann, by=ann.user, at=NOW)
        assert _credits()[cleo.pk] == (0, 0)

    def test_goes_back_to_the_pool_and_never_to_the_same_ae(self) -> None:
        ann, ben = two()
        lead = leads.reassign(lead=opened(), to=None, by=ann.user, at=NOW, note="conflict of interest")
        assert lead.ae == ben
        assert list(lead.moves.order_by("id").values_list("verb", flat=True)) == [
            "open",
            "assign",
            "unassign",
            "assign",
        ]
        record = Assignment.objects.latest("id").decision
        gates = {c["name"]: [g["detail"] for g in c["gates"] if not g["passed"]] for c in record["candidates"]}
        assert gates == {"Ann": ["had this lead before"], "Ben": []}

    def test_says_so_when_nobody_else_is_there(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        ann = world.ae("ann", into=world.pool())
        lead = opened()
        with django_capture_on_commit_callbacks(execute=True):
            leads.reassign(lead=lead, to=None, by=ann.user, at=NOW)
        lead.refresh_from_db()
        assert (lead.state, lead.ae) == ("unassigned", None)
        assert lead.unassigned_reason == "Nobody in West can take it: Ann (had this lead before)."

    def test_gives_an_unassigned_lead_to_somebody_by_hand_though_full(self) -> None:
        ann = world.ae("ann", into=world.pool(), capacity=0)
        lead = opened()
        given = leads.reassign(lead=lead, to=ann, by=None, at=NOW)
        assert (given.ae, given.state, given.unassigned_reason) == (ann, "assigned", "")

    def test_counts_against_the_capacity_of_the_new_ae(self) -> None:
        ann, ben = two()
        Membership.objects.filter(ae=ben).update(capacity=1)
        leads.reassign(lead=opened(), to=ben, by=None, at=NOW)
        assert {opened(name).ae for name in ("globex", "initech", "umbrella")} == {ann}

    def test_refuses_who_left_or_has_it_already(self) -> None:
        ann, ben = two()
        lead = opened()
        with pytest.raises(leads.NotAvailable, match="Ann has the lead already"):
            leads.reassign(lead=lead, to=ann, by=None, at=NOW)
        AE.objects.filter(pk=ben.pk).update(is_active=False)
        with pytest.raises(leads.NotAvailable, match="Ben no longer works leads"):
            leads.reassign(lead=lead, to=ben, by=None, at=NOW)

    def test_refuses_a_closed_lead(self) -> None:
        ann, ben = two()
        lead = leads.disqualify(lead=opened(), reason="students", by=ann.user, at=NOW)
        for to in (ben, None):
            with pytest.raises(leads.IllegalMove, match="closed"):
                leads.reassign(lead=lead, to=to, by=None, at=NOW)


class TestDrain:
    def test_goes_on_behind_a_lead_that_only_its_former_ae_could_take(self) -> None:
        ann = world.ae("ann", into=world.pool(), capacity=1)
        returned = opened("acme")
        leads.reassign(lead=returned, to=None, by=ann.user, at=NOW)
        Membership.objects.update(capacity=0)
        waits = opened("globex", "warm")
        Membership.objects.update(capacity=1)
        assert leads.drain(at=NOW) == 1
        assert {lead.account.external_id: lead.ae for lead in Lead.objects.all()} == {"acme": None, "globex": ann}
        waits.refresh_from_db()
        assert waits.unassigned_reason == ""

    def test_writes_a_reason_down_once(self) -> None:
        world.ae("ann", into=world.pool(), capacity=0)
        opened()
        for _ in range(3):
            assert leads.drain(at=NOW) == 0
        assert Assignment.objects.count() == 1

    @pytest.mark.parametrize("has_pool", [True, False])
    def test_costs_no_more_for_a_crowd_that_must_go_on_waiting(
        self, has_pool: bool, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        if has_pool:
            world.ae("ann", into=world.pool(), capacity=0)
        for number in range(20):
            opened(f"account-{number}")
        with django_assert_max_num_queries(18):
            assert leads.drain(at=NOW) == 0

    def test_tells_a_new_reason(self) -> None:
        ann = world.ae("ann", into=world.pool(), capacity=0)
        lead = opened()
        AE.objects.filter(pk=ann.pk).update(is_active=False)
        leads.drain(at=NOW)
        lead.refresh_from_db()
        assert "no longer works leads" in lead.unassigned_reason


class TestTend:
    def test_wakes_frees_and_gives_out_and_then_has_nothing_left_to_do(self) -> None:
        ann, ben = two()
        snoozed, orphan = opened("acme"), opened("globex")
        assert (snoozed.ae, orphan.ae) == (ann, ben)
        leads.snooze(lead=snoozed, until=later(hours=1), by=ann.user, at=NOW)
        AE.objects.filter(pk=ben.pk).update(is_active=False)
        assert leads.tend(at=later(hours=1)) == 2
        assert {lead.ae for lead in Lead.objects.all()} == {ann}
        assert leads.tend(at=later(hours=1)) == 0
