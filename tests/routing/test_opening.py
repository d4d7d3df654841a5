"""A crossing is a hint: what happens depends on the present score alone."""

from datetime import datetime, timedelta

import pytest

from routing import leads
from routing.models import Assignment, HandlingPolicy, Lead, LeadMove, State
from scoring.models import Account, Crossed, Identity, RuleSet, Score, Status
from tests.routing import world
from tests.routing.world import NOW, later

pytestmark = pytest.mark.django_db


def look(of: Account, *, by: RuleSet | None = None, cause: str = "event", at: datetime = NOW) -> Lead | None:
    return leads.consider(account_id=of.pk, rule_set_id=(by or world.rule_set()).pk, cause=cause, at=at)


def opened(name: str = "acme", tier: str = "hot", by: RuleSet | None = None) -> Lead:
    account = world.account(name)
    world.score(account, tier, by=by)
    lead = look(account, by=by)
    assert lead
    return lead


def verbs(lead: Lead) -> list[str]:
    return list(lead.moves.order_by("id").values_list("verb", flat=True))


class TestOpen:
    def test_opens_and_routes_a_qualified_account(self) -> None:
        team = world.team()
        lead = opened()
        assert (lead.state, lead.stage, lead.tier, lead.tier_rank) == ("assigned", "pql", "hot", 1)
        assert (lead.ae, lead.pool, lead.unassigned_reason) == (team.ben, team.west, "")
        assert verbs(lead) == ["open", "assign"]

    def test_keeps_the_ledger_and_the_version_of_the_day(self) -> None:
        world.team()
        lead = opened()
        world.score(world.account("acme"), "hot", ledger={"lines": [], "usage": 1, "fit": 1})
        lead.refresh_from_db()
        assert lead.opening == {"lines": [], "usage": 6000, "fit": 3000}
        assert lead.reasons[0]["version"] == 1

    def test_copies_the_most_active_people(self) -> None:
        world.team()
        days = "{id: days, name: Came back, group: use, points: 10, per: {days: any, within: 14}, max: 90}"
        personal = world.rule_set("personal", rule=days)
        for who, active in (("ula", 1), ("vic", 4), ("wim", 3), ("xia", 2)):
            world.use("acme", by=who, days=active)
        lead = opened(by=personal)
        named = {i.user_id: i.value for i in Identity.objects.all()}
        assert [(named[p["user"]], p["usage"]) for p in lead.why] == [("vic", 4000), ("wim", 3000), ("xia", 2000)]

    def test_leaves_a_cold_account_alone(self) -> None:
        globex = world.account("globex")
        world.score(globex, "cold")
        assert look(globex) is None
        assert not Lead.objects.exists()

    def test_leaves_an_account_without_a_score_alone(self) -> None:
        assert look(world.account("globex")) is None

    def test_opens_one_lead_however_many_hints_come(self) -> None:
        world.team()
        lead = opened()
        assert look(world.account("acme")) is None
        assert list(Lead.objects.all()) == [lead]

    @pytest.mark.parametrize("handling", ["nurture", "expansion", "none"])
    def test_opens_none_where_the_tier_is_not_for_sales(self, handling: str) -> None:
        world.team()
        HandlingPolicy.objects.create(rule_set=world.rule_set(), tier="warm", handling=handling)
        acme = world.account("acme")
        world.score(acme, "warm")
        assert look(acme) is None

    def test_says_so_when_no_pool_takes_it(self) -> None:
        lead = opened()
        assert (lead.state, lead.pool) == (State.UNASSIGNED, None)
        assert lead.unassigned_reason == (
            "No pool takes leads of New business: hot. Give the rule set a pool, or make one pool the default."
        )
        assert Assignment.objects.get().decision == {"why": lead.unassigned_reason}

    def test_goes_to_the_pool_of_the_policy_before_that_of_the_rule_set_before_the_default(self) -> None:
        team = world.team()
        assert opened("acme").pool == team.west
        north = world.pool("North", default=False, of=world.rule_set())
        assert opened("globex").pool == north
        HandlingPolicy.objects.create(rule_set=world.rule_set(), tier="hot", handling="sales", pool=team.east)
        assert opened("initech").pool == team.east


class TestSettled:
    """A lead that somebody closed does not come back while the account merely stays qualified."""

    def test_does_not_open_again_what_was_disqualified(self) -> None:
        world.team()
        leads.disqualify(lead=opened(), reason="students", by=None, at=later(hours=1))
        assert look(world.account("acme"), at=later(hours=2)) is None

    def test_opens_again_once_the_account_qualified_anew(self) -> None:
        world.team()
        leads.disqualify(lead=opened(), reason="students", by=None, at=later(hours=1))
        world.score(world.account("acme"), qualified_at=later(days=9))
        assert look(world.account("acme"), at=later(days=9))

    def test_opens_again_what_was_only_withdrawn(self) -> None:
        world.team()
        opened()
        world.score(world.account("acme"), "cold", held=[])
        withdrawn = look(world.account("acme"))
        assert withdrawn and withdrawn.closed_as == "withdrawn"
        world.score(world.account("acme"), qualified_at=NOW)
        assert look(world.account("acme"))


class TestGrow:
    def test_raises_the_tier(self) -> None:
        world.team()
        lead = opened(tier="warm")
        world.score(world.account("acme"), "hot")
        grown = look(world.account("acme"))
        assert grown and (grown.pk, grown.tier, grown.tier_rank, grown.opening_tier) == (lead.pk, "hot", 1, "warm")
        move = LeadMove.objects.latest("id")
        assert (move.verb, move.data["from_tier"], move.data["to_tier"]) == ("upgrade", "warm", "hot")

    def test_does_not_lower_it(self) -> None:
        world.team()
        opened(tier="hot")
        world.score(world.account("acme"), "warm")
        assert look(world.account("acme")) is None
        assert Lead.objects.get().tier == "hot"

    def test_adds_the_reason_of_a_second_rule_set_of_the_motion(self) -> None:
        world.team()
        lead = opened(tier="warm")
        second = world.rule_set("hand-raisers")
        world.score(world.account("acme"), "hot", by=second)
        grown = look(world.account("acme"), by=second)
        assert grown and grown.pk == lead.pk
        assert [(r["slug"], r["tier"]) for r in grown.reasons] == [("new-business", "warm"), ("hand-raisers", "hot")]
        assert (grown.tier, verbs(lead)) == ("hot", ["open", "assign", "add_reason"])
        assert look(world.account("acme"), by=second) is None

    def test_gives_a_second_motion_to_the_same_ae(self) -> None:
        west = world.pool()
        ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
        first = opened()
        assert first.ae == ann
        growth = world.rule_set("growth", motion="expansion")
        second = opened(by=growth)
        assert (second.pk != first.pk, second.ae) == (True, ann)
        decision = Assignment.objects.get(lead=second)
        assert (decision.how, decision.decision["why"]) == ("same_ae", "Ann already works this account.")
        assert opened("globex").ae == ben, "it cost ann no turn"

    def test_gives_a_second_motion_to_another_if_that_ae_is_full(self) -> None:
        west = world.pool()
        world.ae("ann", into=west, capacity=1)
        ben = world.ae("ben", into=west)
        opened()
        assert opened(by=world.rule_set("growth", motion="expansion")).ae == ben


class TestWithdraw:
    def test_withdraws_what_nobody_touched(self) -> None:
        world.team()
        opened()
        world.score(world.account("acme"), "cold", held=["cold"])
        lead = look(world.account("acme"))
        assert lead and (lead.state, lead.closed_as) == ("closed", "withdrawn")
        assert lead.close_reason == "The score fell below what holds the tier."
        assert Assignment.objects.get(lead=lead).released_at == NOW

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (Status.DISQUALIFIED, "A rule disqualifies the account."),
            (Status.EXCLUDED, "The account is excluded."),
            (Status.OUTSIDE, "The account is outside the population."),
        ],
    )
    def test_says_why(self, status: Status, reason: str) -> None:
        world.team()
        opened()
        world.score(world.account("acme"), "", status=status)
        lead = look(world.account("acme"))
        assert lead and lead.close_reason == reason

    def test_withdraws_when_everybody_has_left(self) -> None:
        world.team()
        opened()
        Score.objects.all().delete()
        lead = look(world.account("acme"))
        assert lead and lead.closed_as == "withdrawn" and lead.close_reason.startswith("Everybody")

    def test_keeps_it_while_the_opening_tier_is_held(self) -> None:
        world.team()
        opened(tier="warm")
        world.score(world.account("acme"), "cold", held=["warm", "cold"])
        assert look(world.account("acme")) is None

    def test_keeps_it_while_another_rule_set_of_the_motion_calls_for_it(self) -> None:
        world.team()
        opened()
        second = world.rule_set("hand-raisers")
        world.score(world.account("acme"), "warm", by=second)
        look(world.account("acme"), by=second)
        world.score(world.account("acme"), "cold", held=[])
        assert look(world.account("acme")) is None

    def test_keeps_what_somebody_touched(self) -> None:
        team = world.team()
        lead = opened()
        leads.snooze(lead=lead, until=later(days=2), by=team.ben.user, at=NOW)
        world.score(world.account("acme"), "cold", held=[])
        assert look(world.account("acme"), cause="version") is None
        assert Lead.objects.get().state == "snoozed"

    def test_takes_no_handing_around_for_a_touch(self) -> None:
        team = world.team()
        lead = opened()
        leads.reassign(lead=lead, to=team.cleo, by=team.ann.user, at=NOW)
        world.score(world.account("acme"), "cold", held=[])
        withdrawn = look(world.account("acme"))
        assert withdrawn and withdrawn.closed_as == "withdrawn"


class TestConvert:
    def test_closes_as_won_when_the_goal_is_reached(self) -> None:
        team = world.team()
        leads.accept(lead=opened(), by=team.ben.user, at=NOW)
        world.score(world.account("acme"), "", status=Status.OUTSIDE, goal_on=world.days(3))
        lead = look(world.account("acme"), at=later(days=3))
        assert lead and (lead.closed_as, lead.close_reason) == ("won", "The account reached the goal on 5 March 2026.")
        assert LeadMove.objects.latest("id").data["self_serve"] is False

    def test_notes_that_nobody_had_worked_it(self) -> None:
        world.team()
        opened()
        world.score(world.account("acme"), "", status=Status.OUTSIDE, goal_on=world.days(3))
        lead = look(world.account("acme"), at=later(days=3))
        assert lead and lead.close_reason.endswith("by itself: no AE had worked it.")
        assert LeadMove.objects.latest("id").data["self_serve"] is True

    def test_does_not_close_for_a_goal_that_was_known_when_it_opened(self) -> None:
        world.team()
        initech = world.account("initech")
        world.score(initech, goal_on=world.days(-80))
        assert look(initech)
        assert look(initech) is None

    def test_closes_for_an_outcome_that_became_known_late(self) -> None:
        world.team()
        opened()
        world.score(world.account("acme"), goal_on=world.days(-2))
        lead = look(world.account("acme"))
        assert lead and lead.closed_as == "won"


class TestOpenCrossed:
    def test_takes_one_hint_and_opens_its_lead(self) -> None:
        world.team()
        world.score(world.account("acme"))
        world.hint(world.account("acme"))
        considered = leads.open_crossed(at=NOW)
        assert considered and considered.lead == Lead.objects.get()
        assert leads.open_crossed(at=NOW) is None

    def test_takes_them_all(self) -> None:
        world.team()
        for name in ("acme", "globex", "initech"):
            world.score(world.account(name))
            world.hint(world.account(name))
        assert leads.open_all(at=NOW, limit=2) == 2
        assert leads.open_all(at=NOW, limit=10) == 1
        assert Lead.objects.count() == 3

    def test_puts_a_failing_hint_off_and_goes_on(self) -> None:
        world.team()
        broken, well = world.account("globex"), world.account("acme")
        world.score(broken)
        broken.scores.update(tier="a tier that its version does not know")
        world.score(well)
        world.hint(broken)
        world.hint(well)
        assert leads.open_all(at=NOW, limit=10) == 2
        assert Lead.objects.get().account == well
        waiting = Crossed.objects.get()
        assert (waiting.account, waiting.attempts, waiting.not_before) == (broken, 1, NOW + timedelta(minutes=1))
        assert "is not in list" in waiting.error

    def test_tries_it_again_when_its_time_has_come(self) -> None:
        world.team()
        acme = world.account("acme")
        world.score(acme, tier="hot")
        acme.scores.update(tier="a tier that its version does not know")
        world.hint(acme)
        leads.open_all(at=NOW, limit=10)
        acme.scores.update(tier="hot")
        assert leads.open_all(at=later(seconds=59), limit=10) == 0
        assert leads.open_all(at=later(seconds=60), limit=10) == 1
        assert Lead.objects.get().account == acme
