"""From MQL over PQL to SQL and to its end; what is put aside and comes back; and what is taken back."""

from datetime import datetime
from typing import Any

import pytest

from routing import leads
from routing.models import MQL, Assignment, CloseReason, HandlingPolicy, Lead, LeadMove, State, Via
from scoring import facts
from scoring.models import Account, Outcome, Status, Touched
from tests.routing import world
from tests.routing.test_opening import look, opened, verbs
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db


def line(rule: str, raw: int, **more: Any) -> dict[str, Any]:
    kind = more.get("kind", "points")
    return {"rule": rule, "name": rule.capitalize(), "kind": kind, "met": True, "raw": raw, "points": raw, **more}


def ledger(**points: int) -> dict[str, Any]:
    """A ledger whose rules gave so many points, before clipping."""
    return {"lines": [line(rule, 100 * given) for rule, given in points.items()], "usage": 6000, "fit": 3000}


def rescored(at: datetime, tier: str = "hot", **points: int) -> None:
    """Store what the rules give the account now; it never stopped being qualified."""
    world.score(world.account("acme"), tier, ledger=ledger(**points), changed_at=at, scored_at=at)


def marketed(
    name: str = "acme", *, id: str = "m1", at: datetime = NOW, said_at: datetime | None = None
) -> tuple[MQL, bool]:
    return leads.market(
        account=world.account(name),
        rule_set=world.rule_set(),
        at=said_at or at,
        received_at=at,
        message_id=id,
        source=None,
        note="Webinar in May",
    )


def recycled(lead: Lead | None = None, *, at: datetime = NOW, days: int = 30) -> Lead:
    return leads.recycle(
        lead=lead or opened(),
        until=later(days=days),
        reason="Not the right time",
        by=None,
        at=at,
        words="asked for May",
    )


def everything(lead: Lead) -> dict[str, Any]:
    return {field.attname: getattr(Lead.objects.get(pk=lead.pk), field.attname) for field in Lead._meta.concrete_fields}


class TestStages:
    def test_are_dated_one_by_one(self) -> None:
        team = world.team()
        word, is_new = marketed(at=later(hours=1), said_at=NOW)
        lead = word.lead
        assert lead and is_new
        assert (lead.stage, lead.origin, lead.tier, lead.mql_at, lead.pql_at) == ("mql", "mql", "MQL", NOW, None)
        assert (lead.ae, lead.opening["usage"]) == (team.ben, 0)
        world.score(world.account("acme"), "warm")
        grown = look(world.account("acme"), at=later(hours=2))
        assert grown and (grown.pk, grown.stage, grown.tier, grown.pql_at) == (lead.pk, "pql", "warm", later(hours=2))
        sql = leads.accept(lead=grown, by=team.ben.user, at=later(hours=3))
        assert (sql.stage, sql.origin, sql.mql_at, sql.pql_at) == ("sql", "mql", NOW, later(hours=2))
        assert verbs(lead) == ["open", "assign", "qualify", "accept"]

    def test_marketing_joins_the_lead_that_use_has_opened(self) -> None:
        world.team()
        lead = opened()
        word, _ = marketed(at=later(hours=1))
        assert word.lead and (word.lead.pk, word.lead.stage, word.lead.mql_at) == (lead.pk, "pql", later(hours=1))
        assert (word.lead.origin, LeadMove.objects.latest("id").via) == ("pql", Via.API)

    def test_an_accepted_mql_that_qualifies_by_use_stays_accepted(self) -> None:
        world.team()
        lead = marketed()[0].lead
        assert lead
        leads.accept(lead=lead, by=None, at=NOW)
        world.score(world.account("acme"))
        grown = look(world.account("acme"), at=later(hours=1))
        assert grown and (grown.stage, grown.pql_at, grown.tier) == ("sql", later(hours=1), "hot")

    def test_the_same_word_counts_once(self) -> None:
        world.team()
        first, _ = marketed()
        again, is_new = marketed(at=later(days=1))
        assert (again, is_new, again.received_at, Lead.objects.count()) == (first, False, NOW, 1)

    def test_marketing_opens_none_where_the_admin_gave_mqls_to_others(self) -> None:
        HandlingPolicy.objects.create(rule_set=world.rule_set(), tier="MQL", handling="nurture")
        word, _ = marketed()
        assert (word.lead, word.waits) == (None, "What New business does with MQLs: prompts and e-mails.")

    def test_use_that_cools_does_not_withdraw_what_marketing_called_for(self) -> None:
        world.team()
        lead = marketed()[0].lead
        world.score(world.account("acme"), "cold", held=[])
        assert look(world.account("acme")) is None
        world.score(world.account("acme"), "", status=Status.EXCLUDED)
        withdrawn = look(world.account("acme"))
        assert withdrawn and (withdrawn.pk, withdrawn.closed_as) == (lead and lead.pk, "withdrawn")

    def test_a_rule_set_that_is_not_live_opens_nothing(self) -> None:
        world.rule_set()
        world.rule_set().__class__.objects.update(live_version=None)
        with pytest.raises(leads.NoRules, match="publish one first"):
            marketed()
        assert not MQL.objects.exists()

    def test_by_hand_it_is_an_sql_from_the_start_and_costs_no_turn(self) -> None:
        team = world.team()
        given: dict[str, Any] = {"rule_set": world.rule_set(), "ae": team.ann, "by": team.ann.user, "at": NOW}
        lead = leads.enter(account=world.account("acme"), **given)
        assert (lead.origin, lead.stage, lead.accepted_at, lead.ae, lead.pool) == (
            *("direct", "sql", NOW, team.ann, team.west),
        )
        assert Assignment.objects.get().how == "by_hand"
        with pytest.raises(leads.HasLead, match=f"lead {lead.pk} already"):
            leads.enter(account=world.account("acme"), **given)


class TestVia:
    def test_says_from_where_each_move_came(self) -> None:
        team = world.team()
        lead = opened()
        leads.snooze(lead=lead, until=later(days=1), by=team.ben.user, at=NOW)
        leads.wake(lead=lead, by=None, at=NOW, via=Via.API)
        assert list(lead.moves.order_by("id").values_list("via", flat=True)) == ["system", "system", "desk", "api"]


class TestReasons:
    def test_come_from_the_list_with_words(self) -> None:
        world.team()
        closed = leads.disqualify(lead=opened(), reason="competitor", words=" of ours ", by=None, at=NOW)
        assert closed.close_reason == "Competitor: of ours"
        assert closed.closed_for == CloseReason.objects.get(kind="disqualify", name="Competitor")

    def test_others_are_refused_with_the_list(self) -> None:
        world.team()
        lead = leads.accept(lead=opened(), by=None, at=NOW)
        with pytest.raises(leads.UnknownReason, match="choose one of No answer, No budget"):
            leads.lose(lead=lead, reason="Mercury in retrograde", by=None, at=NOW)

    def test_one_that_says_nothing_needs_words(self) -> None:
        world.team()
        lead = opened()
        with pytest.raises(leads.ReasonMissing, match="in a few words"):
            leads.disqualify(lead=lead, reason="Other", by=None, at=NOW)
        assert leads.disqualify(lead=lead, reason="Other", words="a spoof", by=None, at=NOW).close_reason == "a spoof"

    def test_are_kept_by_the_admin(self) -> None:
        leads.set_reason(kind="lose", name="Reorganised")
        leads.set_reason(kind="lose", name="no budget", is_active=False)
        names = [reason.name for reason in leads.listed(kind="lose")]
        assert "Reorganised" in names
        assert "No budget" not in names
        with pytest.raises(leads.UnknownReason, match="no kind"):
            leads.set_reason(kind="shrug", name="So what")
        with pytest.raises(leads.ReasonMissing):
            leads.set_reason(kind="lose", name=" ")


class TestSnoozeUntilASignal:
    def snoozed(self, **points: int) -> Lead:
        world.team()
        lead = opened()
        rescored(NOW, "hot", **points)
        return leads.snooze(lead=lead, until=None, or_signal=True, by=None, at=NOW)

    def test_needs_one_end_or_the_other(self) -> None:
        world.team()
        with pytest.raises(leads.SnoozeEnded, match="next new signal"):
            leads.snooze(lead=opened(), until=None, by=None, at=NOW)

    def test_a_hint_wakes_it_for_points_that_are_new(self) -> None:
        lead = self.snoozed(invites=20, exports=10)
        rescored(later(hours=1), invites=20, exports=30)
        assert look(world.account("acme"), at=later(hours=1)) == lead
        lead.refresh_from_db()
        assert (lead.state, lead.wakes_on_signal, lead.look_at) == ("assigned", False, None)
        assert LeadMove.objects.latest("id").note == "Exports: 30 points, 10 then."

    def test_fading_points_wake_nobody(self) -> None:
        lead = self.snoozed(invites=20, exports=10)
        rescored(later(hours=1), invites=20)
        assert look(world.account("acme"), at=later(hours=1)) is None
        assert leads.tend(at=later(hours=2)) == 0
        lead.refresh_from_db()
        assert (lead.state, lead.look_at) == ("snoozed", later(hours=1))

    def test_it_wakes_without_a_hint_where_others_fade_by_more(self) -> None:
        lead = self.snoozed(invites=30)
        rescored(later(hours=1), "cold", exports=10)
        assert leads.tend(at=later(hours=1)) == 1
        lead.refresh_from_db()
        assert lead.state == "assigned"

    def test_its_date_ends_it_too(self) -> None:
        world.team()
        lead = leads.snooze(lead=opened(), until=later(days=1), or_signal=True, by=None, at=NOW)
        assert leads.wake_snoozed(at=later(days=1)) == 1
        lead.refresh_from_db()
        assert (lead.state, lead.wakes_on_signal) == ("assigned", False)

    def test_a_rule_that_qualifies_without_points_is_a_signal(self) -> None:
        lead = self.snoozed(invites=20)
        raised = {"lines": [*ledger(invites=20)["lines"], line("demo", 0, kind="qualify")], "usage": 1, "fit": 1}
        world.score(world.account("acme"), ledger=raised)
        assert look(world.account("acme")) == lead
        assert LeadMove.objects.latest("id").note == "Demo: new since."


class TestRecycle:
    def test_closes_it_with_what_was_known_then(self) -> None:
        world.team()
        lead = recycled()
        assert (lead.closed_as, lead.cool_until, lead.close_reason) == (
            *("recycled", later(days=30), "Not the right time: asked for May"),
        )
        assert Assignment.objects.get(lead=lead).released_at == NOW

    def test_nothing_opens_while_it_cools_down(self) -> None:
        world.team()
        recycled()
        rescored(later(days=3), invites=90)
        assert look(world.account("acme"), at=later(days=3)) is None
        word, _ = marketed(at=later(days=3))
        assert word.lead is None
        assert "cools down until 1 April 2026" in word.waits

    def test_afterwards_the_same_points_do_not_open_it(self) -> None:
        world.team()
        lead = opened()
        rescored(NOW, invites=20)
        lead = recycled(lead)
        assert leads.tend(at=later(days=30)) == 0
        assert look(world.account("acme"), at=later(days=31)) is None
        lead.refresh_from_db()
        assert lead.look_at == later(days=31)

    def test_new_points_open_it_at_once_when_it_has_cooled_down(self) -> None:
        world.team()
        lead = opened()
        rescored(NOW, invites=20)
        lead = recycled(lead)
        rescored(later(days=3), invites=20, exports=5)
        assert leads.tend(at=later(days=29)) == 0
        assert leads.tend(at=later(days=30)) == 1
        assert Lead.objects.exclude(pk=lead.pk).get().opened_at == later(days=30)
        lead.refresh_from_db()
        assert lead.look_at is None

    def test_so_does_what_marketing_said_meanwhile(self) -> None:
        world.team()
        world.score(world.account("acme"))
        lead = recycled()
        word, _ = marketed(at=later(days=3))
        assert leads.tend(at=later(days=30)) == 1
        word.refresh_from_db()
        assert word.lead and (word.lead.pk > lead.pk, word.lead.origin, word.waits) == (True, "mql", "")

    def test_an_account_that_fell_out_and_qualified_anew_opens_it(self) -> None:
        world.team()
        recycled()
        world.score(world.account("acme"), qualified_at=later(days=40))
        assert look(world.account("acme"), at=later(days=40))

    def test_points_of_another_version_are_held_against_what_it_would_have_given_then(self) -> None:
        world.team()
        lead = recycled()
        live = world.version(world.rule_set(), 2)
        newer = ledger(pro=60)
        world.score(world.account("acme"), version=live, ledger=newer)
        facts.record(
            source=facts.create_source(slug="app", at=NOW),
            facts=[
                facts.Fact(message_id="pro", at=NOW, name="$group", group_id="acme", account_traits={"plan": "pro"})
            ],
            received_at=NOW,
        )
        assert look(world.account("acme"), at=later(days=31)) is None, "the plan was known, only the rule is new"
        assert lead.kept and lead.kept["rule_sets"]


class TestCRM:
    def told(self, kind: str, *, id: str = "crm-1", at: datetime = NOW, name: str = "acme") -> bool:
        return leads.record_outcome(
            account=world.account(name),
            kind=kind,
            at=later(days=-2),
            received_at=at,
            message_id=id,
            source=None,
            amount=None,
            by=None,
        )[1]

    @pytest.mark.parametrize(("kind", "closed_as"), [("won", "won"), ("lost", "lost")])
    def test_closes_what_was_accepted(self, kind: str, closed_as: str) -> None:
        world.team()
        lead = leads.accept(lead=opened(), by=None, at=NOW)
        assert self.told(kind, at=later(hours=1))
        assert not self.told(kind, at=later(hours=2))
        lead.refresh_from_db()
        assert (lead.closed_as, lead.closed_at) == (closed_as, later(hours=1))
        assert (LeadMove.objects.latest("id").via, Outcome.objects.get().at) == (Via.CRM, later(days=-2))

    def test_leaves_what_nobody_accepted(self) -> None:
        world.team()
        lead = opened()
        assert self.told("lost")
        lead.refresh_from_db()
        assert lead.state == "assigned"

    def test_a_win_of_the_crm_can_be_taken_back(self) -> None:
        world.team()
        lead = leads.accept(lead=opened(), by=None, at=NOW)
        self.told("won")
        leads.undo(lead=lead, by=None, at=NOW)
        assert not Outcome.objects.exists()


class TestUndo:
    @pytest.mark.parametrize("verb", ["accept", "snooze", "signal", "disqualify", "recycle", "lose", "win"])
    def test_puts_all_back_as_it_was(self, verb: str) -> None:
        team = world.team()
        by, at, lead = team.ben.user, later(minutes=1), opened()
        if verb == "lose":
            leads.accept(lead=lead, by=by, at=NOW)
        elif verb == "accept":
            leads.snooze(lead=lead, until=later(days=3), or_signal=True, by=by, at=NOW)
        before = everything(lead)
        match verb:
            case "accept":
                leads.accept(lead=lead, by=by, at=at)
            case "snooze":
                leads.snooze(lead=lead, until=later(days=1), by=by, at=at)
            case "signal":
                leads.snooze(lead=lead, until=None, or_signal=True, by=by, at=at)
            case "disqualify":
                leads.disqualify(lead=lead, reason="Students", by=by, at=at)
            case "recycle":
                recycled(lead, at=at)
            case "lose":
                leads.lose(lead=lead, reason="No budget", by=by, at=at)
            case "win":
                leads.win(lead=lead, by=by, at=at)
        assert everything(lead) != before
        done = lead.moves.latest("id")
        undone = leads.undo(lead=lead, move=done.pk, by=by, at=later(minutes=11))
        assert everything(lead) == before
        assert (undone.moves.latest("id").undoes, undone.moves.latest("id").verb) == (done, "undo")
        assert Assignment.objects.get(lead=lead, released_at=None).ae == team.ben
        assert not Outcome.objects.exists()

    def test_a_retracted_win_is_judged_anew_and_does_not_close_the_lead_meanwhile(self) -> None:
        world.team()
        lead = opened()
        leads.win(lead=lead, by=None, at=later(minutes=1))
        world.score(world.account("acme"), "", status=Status.OUTSIDE, goal_on=world.days(0), scored_at=later(minutes=2))
        Touched.objects.all().delete()
        leads.undo(lead=lead, by=None, at=later(minutes=3))
        assert Touched.objects.get().cause == "outcome"
        assert look(world.account("acme"), at=later(minutes=4)) is None
        world.score(world.account("acme"), "", status=Status.OUTSIDE, goal_on=world.days(0), scored_at=later(minutes=5))
        closed = look(world.account("acme"), at=later(minutes=6))
        assert closed and closed.closed_as == "won", "another outcome says so too"

    def test_is_too_late_after_ten_minutes(self) -> None:
        world.team()
        lead = leads.accept(lead=opened(), by=None, at=NOW)
        assert leads.undoable(lead=lead, at=later(minutes=10))
        assert leads.undoable(lead=lead, at=later(minutes=10, seconds=1)) is None
        with pytest.raises(leads.CannotUndo, match="more than 10 minutes ago"):
            leads.undo(lead=lead, by=None, at=later(minutes=10, seconds=1))

    def test_is_refused_once_something_else_happened(self) -> None:
        world.team()
        lead = opened(tier="warm")
        accepted = leads.accept(lead=lead, by=None, at=NOW).moves.latest("id")
        world.score(world.account("acme"), "hot")
        look(world.account("acme"), at=later(minutes=1))
        with pytest.raises(leads.CannotUndo, match="is that it was upgraded"):
            leads.undo(lead=lead, by=None, at=later(minutes=2))
        leads.snooze(lead=lead, until=later(days=1), by=None, at=later(minutes=3))
        with pytest.raises(leads.CannotUndo, match="was snoozed since"):
            leads.undo(lead=lead, move=accepted.pk, by=None, at=later(minutes=4))

    def test_is_done_once(self) -> None:
        world.team()
        lead = leads.accept(lead=opened(), by=None, at=NOW)
        leads.undo(lead=lead, by=None, at=NOW)
        with pytest.raises(leads.CannotUndo, match="undone already"):
            leads.undo(lead=lead, by=None, at=NOW)
        assert leads.accept(lead=lead, by=None, at=NOW).stage == "sql"

    def test_does_not_open_a_second_lead_beside_a_newer_one(self) -> None:
        world.team()
        lead = leads.disqualify(lead=opened(), reason="Students", by=None, at=NOW)
        newer = marketed(at=later(minutes=1))[0].lead
        with pytest.raises(leads.CannotUndo, match=f"has lead {newer and newer.pk} since"):
            leads.undo(lead=lead, by=None, at=later(minutes=2))

    def test_a_lead_without_an_ae_waits_again(self) -> None:
        lead = opened()
        leads.disqualify(lead=lead, reason="Students", by=None, at=NOW)
        back = leads.undo(lead=lead, by=None, at=NOW)
        assert (back.state, back.ae) == (State.UNASSIGNED, None)
        assert back.unassigned_reason.startswith("No pool takes leads")


def test_an_outcome_that_nobody_told_is_not_retracted() -> None:
    assert facts.retract_outcome(message_id="no such", at=NOW) is False
    assert not Account.objects.exists()
