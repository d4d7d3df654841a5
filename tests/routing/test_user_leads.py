"""Where users are judged a lead opens on the account and names who qualified."""

from datetime import timedelta

import pytest

from routing import leads
from routing.forecast import load_of
from routing.models import Lead
from scoring import facts, rules
from scoring.models import RuleSet
from tests.routing import world
from tests.scoring.loading import NOW
from tests.scoring.test_scores import event, publish, record, rescore_all
from tests.scoring.test_user_level import CHAMPIONS
from tests.scoring.test_user_scores import HEAD, user

pytestmark = pytest.mark.django_db


def invited(who: str, into: str = "acme", days_ago: int = 0) -> list[facts.Fact]:
    """What makes somebody a PQL: two invitations by a head of something."""
    return [event(f"{who} {into} {n}", who, group_id=into, days_ago=days_ago, **HEAD) for n in (1, 2)]


def work_off(hours: int = 0) -> None:
    at = NOW + timedelta(hours=hours)
    rescore_all(as_of=at.date(), at=at)
    leads.open_all(at=at, limit=100)


def named(lead: Lead) -> list[int]:
    lead.refresh_from_db()
    assert [reason["user"] for reason in lead.reasons] == [person["user"] for person in lead.why]
    return [reason["user"] for reason in lead.reasons]


class TestLead:
    def test_names_who_qualified_and_a_further_user_adds_a_reason(self) -> None:
        world.team()
        publish(CHAMPIONS)
        record(*invited("ann"), event("b", "ben", group_id="acme"))
        work_off()
        lead = Lead.objects.get()
        assert (lead.account.external_id, lead.tier, named(lead)) == ("acme", "hot", [user("ann")])
        record(*invited("ben"))
        work_off(1)
        assert named(Lead.objects.get()) == [user("ann"), user("ben")]
        assert list(lead.moves.order_by("id").values_list("verb", flat=True)) == ["open", "assign", "add_reason"]

    def test_stays_while_anybody_qualifies_and_is_withdrawn_after_the_last(self) -> None:
        world.team()
        publish(CHAMPIONS)
        record(*invited("ann", days_ago=9), *invited("ben"))
        work_off()
        facts.exclude(kind="user", value="ann", why="bot", by=None, at=NOW)
        work_off(1)
        assert Lead.objects.get().is_open
        facts.exclude(kind="user", value="ben", why="bot", by=None, at=NOW)
        work_off(2)
        assert Lead.objects.get().closed_as == "withdrawn"

    def test_two_who_turn_out_to_be_one_are_named_once(self) -> None:
        world.team()
        publish(CHAMPIONS)
        record(*invited("ann"))
        record(*invited("ben"))
        work_off()
        lead = Lead.objects.get()
        assert sorted(named(lead)) == [user("ann"), user("ben")]
        record(event("z", "ann", name="$alias", aliases=("ben",)))
        work_off(1)
        assert named(lead) == [user("ann")]
        record(*invited("cleo"))
        work_off(2)
        assert named(lead) == [user("ann"), user("cleo")]
        assert Lead.objects.count() == 1

    def test_does_not_open_again_because_two_users_turn_out_to_be_one(self) -> None:
        team = world.team()
        publish(CHAMPIONS)
        record(event("0", "zoe", group_id="acme"))
        record(*invited("ann"))
        work_off()
        lead = Lead.objects.get()
        leads.disqualify(lead=lead, reason="No need", by=team.ben.user, at=NOW + timedelta(hours=1))
        record(event("z", "zoe", name="$alias", aliases=("ann",)))
        work_off(2)
        assert Lead.objects.count() == 1
        record(*invited("ben"))
        work_off(3)
        assert Lead.objects.count() == 2  # somebody else has qualified since

    def test_follows_an_account_that_is_merged(self) -> None:
        world.team()
        publish(CHAMPIONS)
        record(*invited("ann"), event("g", "gil", group_id="globex"))
        work_off()
        facts.merge_accounts(other=world.account("acme"), into=world.account("globex"), by=None, at=NOW)
        work_off(1)
        lead = Lead.objects.get()
        assert (lead.account.external_id, lead.is_open, named(lead)) == ("globex", True, [user("ann")])


class TestForecast:
    def test_users_are_counted_by_the_diff_and_accounts_by_the_load(self) -> None:
        world.team()
        publish(CHAMPIONS.replace("at_least: 2}", "at_least: 9}"))
        record(*invited("ann"), *invited("ben"), *invited("gil", into="globex"))
        rescore_all()
        draft = rules.draft(text=CHAMPIONS, by=None, at=NOW)
        diff = rules.diff(version=draft, at=NOW)
        assert (diff.counts["enters"], diff.counts["accounts"], diff.noun) == (3, 3, "user")
        assert "3 users" in diff.words
        (load,) = load_of(diff=diff, at=NOW)
        assert load.adds == 2
        assert RuleSet.objects.get().live_version != draft
