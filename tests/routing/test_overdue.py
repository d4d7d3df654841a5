"""Deadlines for the first touch: when they are, who is warned, and what comes of it when they are missed."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from routing import attendance, hours, leads, roster
from routing.hours import Hours, Span
from routing.models import AE, Breach, Lead, LeadMove, Membership, Outage
from tests.routing import world
from tests.routing.test_opening import look, opened, verbs
from tests.routing.world import NOW, TODAY, later

pytestmark = pytest.mark.django_db

Works = Callable[..., None]


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Works:
    """Say when an AE works."""
    known: dict[int, Hours] = {}

    def say(ae: AE, week: str, *, zone: str = "UTC", **more: Any) -> None:
        known[ae.pk] = Hours(zone=zone, week=hours.parse(week), **more)

    def hours_of(aes: Iterable[AE], *, at: datetime) -> dict[int, Hours]:
        return {ae.pk: known.get(ae.pk, Hours()) for ae in aes}

    monkeypatch.setattr(roster, "hours_of", hours_of)
    return say


def sla(hours: float = 4, *, tier: str = "", warn: float = 0) -> None:
    leads.set_sla(rule_set=world.rule_set(), tier=tier, hours=Decimal(str(hours)), warn_hours=Decimal(str(warn)))


def given_at(at: datetime, ae: AE, name: str = "acme") -> Lead:
    """Let the AE have a lead from a moment on."""
    account = world.account(name)
    world.score(account)
    lead = look(account, at=at)
    assert lead
    return lead if lead.ae == ae else leads.reassign(lead=lead, to=ae, by=None, at=at)


def again(lead: Lead) -> Lead:
    return Lead.objects.select_related("ae__user", "pool").get(pk=lead.pk)


class TestDeadline:
    def test_is_stored_when_the_lead_is_given(self) -> None:
        world.team()
        sla(4, warn=1)
        lead = opened()
        assert (lead.due_at, lead.alarm_at) == (later(hours=4), later(hours=3))

    def test_is_that_of_the_tier_before_that_of_all(self) -> None:
        world.team()
        sla(4)
        sla(1, tier="hot")
        assert opened("acme", "hot").due_at == later(hours=1)
        assert opened("globex", "warm").due_at == later(hours=4)

    def test_is_none_where_nothing_is_said(self) -> None:
        world.team()
        assert opened().due_at is None

    @pytest.mark.parametrize(
        ("at", "due"),
        [
            # Friday 16:00 in Berlin; over the weekend in which the clock goes forward; Monday is a holiday.
            (datetime(2026, 3, 27, 15, tzinfo=UTC), datetime(2026, 3, 31, 10, tzinfo=UTC)),
            # Into the 29th of February, and over it.
            (datetime(2028, 2, 28, 15, tzinfo=UTC), datetime(2028, 2, 29, 11, tzinfo=UTC)),
            (datetime(2028, 2, 29, 15, tzinfo=UTC), datetime(2028, 3, 1, 11, tzinfo=UTC)),
            # Friday 16:00, when the clock goes back on Sunday.
            (datetime(2026, 10, 23, 14, tzinfo=UTC), datetime(2026, 10, 26, 11, tzinfo=UTC)),
        ],
    )
    def test_runs_in_the_working_hours_of_its_ae(self, works: Works, at: datetime, due: datetime) -> None:
        team = world.team()
        monday = {datetime(2026, 3, 30).date(): "Holiday"}
        works(team.ben, "Mon-Fri 9-17", zone="Europe/Berlin", holidays=monday)
        sla(4)
        assert given_at(at, team.ben).due_at == due

    def test_stands_still_while_its_ae_is_away(self, works: Works) -> None:
        team = world.team()
        away = Span(later(hours=1), later(days=1))
        works(team.ben, "Mon-Fri 9-17", absences=(away,))
        sla(4)
        assert given_at(NOW, team.ben).due_at == later(days=1, hours=3)

    def test_begins_anew_in_other_hands(self, works: Works) -> None:
        team = world.team()
        works(team.cleo, "Mon-Fri 13-17")
        sla(4)
        lead = leads.reassign(lead=opened(), to=team.cleo, by=None, at=later(hours=2))
        assert lead.due_at == later(hours=8)

    def test_is_sooner_when_the_lead_rises_and_never_later(self) -> None:
        world.team()
        sla(4)
        sla(1, tier="hot")
        lead = opened(tier="warm")
        world.score(world.account("acme"), "hot")
        look(world.account("acme"), at=later(hours=1))
        assert again(lead).due_at == later(hours=2)

    def test_ends_with_the_first_touch_and_comes_back_when_that_is_undone(self) -> None:
        world.team()
        sla(4)
        lead = leads.accept(lead=opened(), by=None, at=later(minutes=1))
        assert (lead.due_at, lead.alarm_at) == (later(hours=4), None)
        leads.undo(lead=lead, by=None, at=later(minutes=2))
        assert again(lead).alarm_at == later(hours=4)
        assert leads.reassign(lead=again(lead), to=world.ae("dan"), by=None, at=NOW).alarm_at == later(hours=4)

    def test_there_is_none_for_who_takes_over_what_was_touched(self) -> None:
        team = world.team()
        sla(4)
        lead = leads.accept(lead=opened(), by=None, at=NOW)
        assert leads.reassign(lead=lead, to=team.cleo, by=None, at=later(hours=1)).alarm_at is None

    def test_is_worked_out_again_when_the_hours_change(self, works: Works) -> None:
        team = world.team()
        sla(4)
        lead, touched = opened("acme"), leads.accept(lead=opened("globex"), by=None, at=NOW)
        works(team.ben, "Mon-Fri 12-17")
        assert leads.reset_deadlines(ae=team.ben, at=later(minutes=5)) == 1
        assert leads.reset_deadlines(ae=team.ben, at=later(minutes=5)) == 0
        assert (again(lead).due_at, again(touched).due_at) == (later(hours=7), later(hours=4))

    def test_is_worked_out_again_when_a_day_off_is_given_and_taken(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        world.team()
        sla(4)
        lead = opened()
        with django_capture_on_commit_callbacks(execute=True):
            day_off = attendance.set_holiday(on=TODAY, name="Off-site", calendar="", at=NOW)
        put_off = again(lead).due_at
        with django_capture_on_commit_callbacks(execute=True):
            attendance.drop_holiday(holiday=day_off, at=NOW)
        assert (put_off and put_off > later(hours=4), again(lead).due_at) == (True, later(hours=4))

    @pytest.mark.parametrize(("hours", "warn"), [(0, 0), (-1, 0), (4, 4), (4, -1)])
    def test_that_cannot_be_is_refused(self, hours: float, warn: float) -> None:
        with pytest.raises(leads.DeadlineError):
            sla(hours, warn=warn)


class TestAlarm:
    def test_asks_an_index_and_does_nothing_before_its_time(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        world.team()
        sla(4, warn=1)
        opened()
        with django_assert_num_queries(1):
            assert leads.keep_deadlines(at=later(hours=2, minutes=59)) == 0

    def test_warns_once_before(self) -> None:
        world.team()
        sla(4, warn=1)
        lead = opened()
        assert [leads.keep_deadlines(at=later(hours=3)) for _ in range(2)] == [1, 0]
        assert (verbs(lead)[-1], again(lead).alarm_at) == ("warn", later(hours=4))
        assert not Breach.objects.exists()

    def test_shows_the_manager_what_is_overdue_and_records_it_once(self) -> None:
        team = world.team()
        sla(4)
        lead = opened()
        assert [leads.keep_deadlines(at=later(hours=4 + n)) for n in range(2)] == [1, 0]
        breach = Breach.objects.get()
        assert (breach.ae, breach.pool, breach.due_at, breach.did) == (team.ben, team.west, later(hours=4), "escalated")
        assert (breach.cause, breach.why) == ("person", "Ben did not come to it.")
        assert (again(lead).ae, verbs(lead)[-1]) == (team.ben, "escalate")

    def test_gives_it_to_another_with_the_turn_refunded_if_the_pool_says_so(self) -> None:
        west = world.pool()
        ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
        leads.set_at_breach(pool=west, at_breach="reassign")
        sla(4)
        lead = opened()
        assert lead.ae == ann
        leads.keep_deadlines(at=later(hours=4))
        moved = again(lead)
        assert (moved.ae, moved.due_at, Breach.objects.get().did) == (ben, later(hours=8), "reassigned")
        assert verbs(lead)[-2:] == ["overdue", "assign"]
        assert dict(Membership.objects.values_list("ae", "served")) == {ann.pk: 0, ben.pk: 1}
        leads.keep_deadlines(at=later(hours=8))
        assert [b.did for b in Breach.objects.order_by("pk")] == ["reassigned", "escalated"]
        assert (again(lead).ae, verbs(lead)[-1]) == (ben, "escalate")
        assert dict(Membership.objects.values_list("ae", "served")) == {ann.pk: 0, ben.pk: 1}
        assert "Nobody else could take it" in LeadMove.objects.latest("id").note

    def test_looks_again_at_hours_and_absences_before_it_rings(self, works: Works) -> None:
        team = world.team()
        works(team.ben, "Mon-Fri 9-17")
        sla(4)
        lead = given_at(NOW, team.ben)
        works(team.ben, "Mon-Fri 9-17", absences=(Span(later(hours=1), later(days=1)),))
        assert leads.keep_deadlines(at=later(hours=4)) == 1
        assert (again(lead).due_at, Breach.objects.exists()) == (later(days=1, hours=3), False)

    def test_is_refused_for_an_answer_that_there_is_not(self) -> None:
        with pytest.raises(leads.DeadlineError, match="choose one of escalate, reassign"):
            leads.set_at_breach(pool=world.pool(), at_breach="shrug")


class TestCause:
    def missed(self) -> Breach:
        leads.keep_deadlines(at=later(days=30))
        return Breach.objects.get()

    def test_is_too_much_work_where_the_ae_is_full(self) -> None:
        world.ae("ben", into=world.pool(), capacity=1)
        sla(4)
        opened()
        breach = self.missed()
        assert (breach.cause, breach.why) == ("capacity", "Ben had 1 open leads of 1.")

    def test_is_too_much_work_where_nobody_could_take_it(self) -> None:
        world.ae("ben", into=world.pool(), capacity=0)
        sla(4)
        lead = opened()
        assert lead.due_at == later(hours=4)
        breach = self.missed()
        assert (breach.cause, breach.ae, verbs(lead)[-1]) == ("capacity", None, "escalate")

    def test_is_the_rules_where_no_pool_takes_it(self) -> None:
        sla(4)
        opened()
        breach = self.missed()
        assert breach.cause == "rule"
        assert breach.why.startswith("It waited for an AE: No pool takes leads")

    def test_is_the_rules_where_the_ae_is_not_in_the_rotation(self) -> None:
        ben = world.ae("ben", into=world.pool())
        sla(4)
        opened()
        Membership.objects.filter(ae=ben).update(is_active=False)
        assert (self.missed().cause, Breach.objects.get().why) == ("rule", "Ben is not in the rotation of West.")

    def test_a_lead_that_waited_has_time_of_its_own_once_it_is_given(self) -> None:
        world.ae("ben", into=world.pool(), capacity=0)
        sla(4)
        lead = opened()
        leads.keep_deadlines(at=later(hours=4))
        Membership.objects.update(capacity=1)
        leads.tend(at=later(hours=6))
        assert again(lead).due_at == later(hours=10)


class TestOutage:
    def test_is_noted_when_the_beat_was_not_seen(self) -> None:
        for minutes in (0, 1, 2, 5, 6):
            leads.beat(at=later(minutes=minutes))
        outage = Outage.objects.get()
        assert (outage.started_at, outage.ended_at) == (later(minutes=2), later(minutes=5))

    def test_gives_the_ae_the_time_that_was_lost(self) -> None:
        world.team()
        sla(4)
        lead = opened()
        for hours_later in (0, 2, 5):
            leads.beat(at=later(hours=hours_later))
        Outage.objects.filter(started_at=NOW).delete()  # down from 11 to 14, in the middle
        assert leads.keep_deadlines(at=later(hours=5)) == 1
        breach = Breach.objects.get()
        assert (breach.cause, breach.did, again(lead).due_at) == ("outage", "excused", later(hours=7))
        assert verbs(lead)[-1] == "excuse"
        leads.keep_deadlines(at=later(hours=7))
        assert Breach.objects.latest("pk").cause == "person"

    def test_outside_of_working_hours_it_excuses_nothing(self, works: Works) -> None:
        team = world.team()
        works(team.ben, "Mon-Fri 9-17")
        sla(4)
        given_at(NOW, team.ben)
        Outage.objects.create(started_at=later(hours=9), ended_at=later(hours=20))
        leads.keep_deadlines(at=later(hours=20))
        assert Breach.objects.get().cause == "person"


class TestOneTransaction:
    def test_a_crash_in_the_middle_leaves_everything_as_it_was(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world.team()
        sla(4)
        lead = opened()
        before = Lead.objects.values().get(pk=lead.pk)

        def crash(*args: object, **kwargs: object) -> None:
            raise RuntimeError("the plug was pulled")

        monkeypatch.setattr(LeadMove, "save", crash)
        for act in (
            lambda: leads.disqualify(lead=lead, reason="Students", by=None, at=NOW),
            lambda: leads.keep_deadlines(at=later(hours=4)),
        ):
            with pytest.raises(RuntimeError):
                act()
        assert Lead.objects.values().get(pk=lead.pk) == before
        assert not Breach.objects.exists()
