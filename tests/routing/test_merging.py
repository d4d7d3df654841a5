"""Leads of accounts that turn out to be one."""

import pytest

from routing import leads
from routing.models import Lead, State
from scoring import facts, scores
from scoring.models import SHARDS
from tests.routing import world
from tests.routing.test_opening import look, opened, verbs
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db


def merge(other: str = "acme", into: str = "globex") -> None:
    """Merge the accounts, judge what that touches, and take up every hint."""
    facts.merge_accounts(other=world.account(other), into=world.account(into), by=None, at=later(hours=1))
    leads.open_all(at=later(hours=1), limit=100)
    for shard in range(SHARDS):
        scores.rescore_touched(shard=shard, as_of=world.TODAY, at=later(hours=2))
    leads.open_all(at=later(hours=2), limit=100)


def on_pro(name: str) -> None:
    """Let the account say that it is on the plan that qualifies."""
    fact = facts.Fact(message_id=f"pro {name}", at=NOW, name="$group", group_id=name, account_traits={"plan": "pro"})
    facts.record(source=facts.create_source(slug="app", at=NOW), facts=[fact], received_at=NOW)


class TestMerge:
    def test_moves_the_lead_to_the_account_that_stays(self) -> None:
        team = world.team()
        on_pro("acme")
        lead = opened("acme")
        merge()
        lead.refresh_from_db()
        assert (lead.account, lead.state, lead.ae) == (world.account("globex"), State.ASSIGNED, team.ben)
        assert verbs(lead) == ["open", "assign", "move"]

    def test_leaves_one_open_lead_that_of_the_account_that_stays(self) -> None:
        world.team()
        on_pro("globex")
        lead, there = opened("acme"), opened("globex")
        merge()
        lead.refresh_from_db()
        assert (lead.state, lead.closed_as) == (State.CLOSED, "withdrawn")
        assert lead.close_reason == f"acme was merged into globex, which has lead {there.pk}."
        assert Lead.objects.exclude(state=State.CLOSED).get() == there

    def test_leaves_the_lead_that_somebody_works(self) -> None:
        team = world.team()
        lead, there = opened("acme"), opened("globex")
        leads.accept(lead=lead, by=team.ben.user, at=NOW)
        merge()
        there.refresh_from_db()
        assert there.closed_as == "withdrawn"
        assert Lead.objects.exclude(state=State.CLOSED).get() == lead
        lead.refresh_from_db()
        assert lead.account == world.account("globex")

    def test_withdraws_what_nobody_touched_and_nothing_calls_for(self) -> None:
        world.team()
        lead = opened("acme")
        merge()
        lead.refresh_from_db()
        assert verbs(lead) == ["open", "assign", "move", "withdraw"]

    def test_opens_nothing_for_the_account_that_went(self) -> None:
        world.team()
        world.score(world.account("acme"), "hot")
        facts.merge_accounts(other=world.account("acme"), into=world.account("globex"), by=None, at=NOW)
        assert look(world.account("acme")) is None
        assert not Lead.objects.exists()

    def test_lets_a_verb_that_holds_the_lead_as_it_was_go_on(self) -> None:
        team = world.team()
        on_pro("acme")
        stale = opened("acme")
        merge()
        assert leads.accept(lead=stale, by=team.ben.user, at=NOW).account == world.account("globex")
