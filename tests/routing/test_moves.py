"""The table of moves: what may happen to a lead in each state and stage, all of it, and what it leaves behind."""

from itertools import product

import pytest

from routing import leads
from routing.leads import moves
from routing.models import ClosedAs, Lead, LeadMove, Stage, State
from tests.routing import world

# What a person may do with a lead, in each place where it can be.
ALLOWED = {
    (State.UNASSIGNED, Stage.MQL): {"disqualify", "reassign"},
    (State.UNASSIGNED, Stage.PQL): {"disqualify", "reassign"},
    (State.UNASSIGNED, Stage.SQL): {"disqualify", "reassign"},
    (State.ASSIGNED, Stage.MQL): {"accept", "snooze", "disqualify", "recycle", "win", "reassign", "unassign"},
    (State.ASSIGNED, Stage.PQL): {"accept", "snooze", "disqualify", "recycle", "win", "reassign", "unassign"},
    (State.ASSIGNED, Stage.SQL): {"snooze", "disqualify", "recycle", "win", "lose", "reassign", "unassign"},
    (State.SNOOZED, Stage.MQL): {"accept", "snooze", "wake", "disqualify", "recycle", "win", "reassign", "unassign"},
    (State.SNOOZED, Stage.PQL): {"accept", "snooze", "wake", "disqualify", "recycle", "win", "reassign", "unassign"},
    (State.SNOOZED, Stage.SQL): {"snooze", "wake", "disqualify", "recycle", "win", "lose", "reassign", "unassign"},
    (State.CLOSED, Stage.MQL): set(),
    (State.CLOSED, Stage.PQL): set(),
    (State.CLOSED, Stage.SQL): set(),
}


def lead_in(state: State, stage: Stage) -> Lead:
    return Lead(pk=7, state=state, stage=stage, closed_as=ClosedAs.LOST if state == State.CLOSED else "")


class TestTable:
    @pytest.mark.parametrize(("state", "stage"), list(product(State, Stage)))
    def test_allows_a_person_exactly_this(self, state: State, stage: Stage) -> None:
        assert set(leads.allowed(lead=lead_in(state, stage))) == ALLOWED[state, stage]

    @pytest.mark.parametrize("verb", moves.MOVES)
    def test_ends_in_a_state_that_fits_how_it_closes(self, verb: str) -> None:
        move = moves.MOVES[verb]
        assert (move.to_state == State.CLOSED) == bool(move.closed_as)

    @pytest.mark.parametrize("verb", moves.MOVES)
    def test_lets_nothing_happen_to_a_closed_lead(self, verb: str) -> None:
        why = leads.refusal(lead=lead_in(State.CLOSED, Stage.SQL), verb=verb)
        assert why.startswith("Lead 7 is closed (lost), so it can no longer be ")

    def test_says_what_to_do_instead(self) -> None:
        why = leads.refusal(lead=lead_in(State.ASSIGNED, Stage.PQL), verb="lose")
        assert why == (
            "Lead 7 is a PQL, so it cannot be lost. "
            "Only an accepted lead can be lost: accept it first, or disqualify it."
        )

    def test_says_in_which_state_it_could(self) -> None:
        why = leads.refusal(lead=lead_in(State.UNASSIGNED, Stage.PQL), verb="win")
        assert why == "Lead 7 is unassigned, so it cannot be won: only one that is assigned or snoozed can."


@pytest.mark.django_db
class TestMake:
    def test_refuses_an_illegal_move_and_leaves_all_as_it_was(self) -> None:
        world.team()
        acme = world.account("acme")
        world.score(acme)
        lead = leads.consider(account_id=acme.pk, rule_set_id=world.rule_set().pk, cause="event", at=world.NOW)
        assert lead
        before = LeadMove.objects.count()
        with pytest.raises(leads.IllegalMove, match="cannot be lost"):
            leads.lose(lead=lead, reason="no budget", by=None, at=world.NOW)
        lead.refresh_from_db()
        assert (lead.state, LeadMove.objects.count()) == (State.ASSIGNED, before)
