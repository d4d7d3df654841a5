"""Hours and absences: noted by people, and what becomes of their open leads by the clock."""

from datetime import UTC, date, datetime, timedelta

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from routing import attendance, leads, roster
from routing.models import AE, Absence, Assignment, HandedOver, Holiday, Lead, Membership
from tests.routing import world
from tests.routing.test_waiting import opened
from tests.routing.world import NOW, TODAY, days, later

pytestmark = pytest.mark.django_db


class TestHours:
    def test_are_kept_in_one_form(self) -> None:
        ann = world.ae("ann")
        attendance.set_hours(ae=ann, week="mon–fri 9-17", time_zone="Europe/Berlin", calendar="de-by", at=NOW)
        ann.refresh_from_db()
        assert (ann.hours, ann.time_zone, ann.calendar) == ("Mon-Fri 09:00-17:00", "Europe/Berlin", "DE-BY")

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"week": "Mon"}, "names no days with hours"),
            ({"time_zone": "Berlin"}, "such as Europe/Berlin"),
            ({"calendar": "XX"}, "not a country's code"),
        ],
    )
    def test_that_cannot_be_are_refused(self, wrong: dict[str, str], says: str) -> None:
        said = {"week": "", "time_zone": "UTC", "calendar": ""} | wrong
        with pytest.raises(attendance.AttendanceError, match=says):
            attendance.set_hours(ae=world.ae("ann"), **said, at=NOW)

    def test_leave_out_public_holidays_the_companys_and_absences(self) -> None:
        ann = world.ae("ann")
        attendance.set_hours(ae=ann, week="Mon-Fri 9-17", time_zone="Europe/Berlin", calendar="DE", at=NOW)
        attendance.set_holiday(on=date(2026, 4, 7), name="Off-site", calendar="", at=NOW)
        attendance.set_holiday(on=date(2026, 4, 8), name="Elsewhere", calendar="FR", at=NOW)
        attendance.add_absence(ae=ann, first=date(2026, 4, 9), last=date(2026, 4, 10), at=NOW)
        works = roster.hours_of([ann], at=NOW)[ann.pk]
        # Good Friday is 3 April, Easter Monday the 6th.
        assert works.next_working(datetime(2026, 4, 2, 20, tzinfo=UTC)) == datetime(2026, 4, 8, 7, tzinfo=UTC)
        assert works.next_working(datetime(2026, 4, 8, 20, tzinfo=UTC)) == datetime(2026, 4, 13, 7, tzinfo=UTC)

    def test_change_and_what_waits_is_given_out(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        ann = world.ae("ann", into=world.pool())
        AE.objects.update(hours="never")
        ann.refresh_from_db()
        lead = opened("acme")
        assert (lead.ae, lead.next_try_at) == (None, None)
        with django_capture_on_commit_callbacks(execute=True):
            attendance.set_hours(ae=ann, week="", time_zone="UTC", calendar="", at=NOW)
        lead.refresh_from_db()
        assert lead.ae == ann


class TestAddAbsence:
    def test_is_of_whole_days_where_the_person_is(self) -> None:
        ann = world.ae("ann")
        AE.objects.update(time_zone="Asia/Tokyo")
        ann.refresh_from_db()
        away = attendance.add_absence(ae=ann, first=days(1), last=days(1), at=NOW)
        assert (away.starts_at, away.ends_at) == (later(hours=6), later(hours=30))

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"last": days(-1)}, "on its first day or later"),
            ({"first": days(-3), "last": days(-1)}, "is over"),
            ({"open_leads": "gone"}, "not a choice"),
            ({"open_leads": "stand_in"}, "Name who stands in"),
        ],
    )
    def test_refuses_what_cannot_be(self, wrong: dict, says: str) -> None:
        with pytest.raises(attendance.AttendanceError, match=says):
            attendance.add_absence(**{"ae": world.ae("ann"), "first": TODAY, "last": days(2), "at": NOW} | wrong)

    def test_refuses_two_at_once_and_oneself_as_stand_in(self) -> None:
        ann = world.ae("ann")
        attendance.add_absence(ae=ann, first=days(3), last=None, at=NOW)
        with pytest.raises(attendance.AttendanceError, match="has an absence from 5 March 2026 already"):
            attendance.add_absence(ae=ann, first=days(1), last=days(3), at=NOW)
        attendance.add_absence(ae=ann, first=days(1), last=days(2), at=NOW)
        with pytest.raises(attendance.AttendanceError, match="cannot stand in"):
            attendance.add_absence(ae=ann, first=TODAY, last=TODAY, open_leads="stand_in", stand_in=ann, at=NOW)


class TestEndAbsence:
    def test_strikes_out_what_has_not_begun_and_ends_what_has(self) -> None:
        ann = world.ae("ann")
        coming = attendance.add_absence(ae=ann, first=days(2), last=days(3), at=NOW)
        assert not attendance.end_absence(absence=coming, at=NOW)
        now = attendance.add_absence(ae=ann, first=TODAY, last=None, at=NOW)
        assert attendance.end_absence(absence=now, at=later(hours=1))
        assert Absence.objects.get().ends_at == later(hours=1)


class TestHandOver:
    def away(self, **how: object) -> tuple[AE, AE, Lead]:
        """Ann, who has a lead and is away for two days from tomorrow, and ben."""
        west = world.pool()
        ann, ben = world.ae("ann", into=west), world.ae("ben", into=west)
        lead = opened("acme")
        assert lead.ae == ann
        if how.get("open_leads") == "stand_in":
            how["stand_in"] = ben
        attendance.add_absence(ae=ann, first=days(1), last=days(2), at=NOW, **how)  # type: ignore[arg-type]
        return ann, ben, lead

    def after(self, lead: Lead, **time: float) -> AE | None:
        leads.tend(at=later(**time))
        leads.tend(at=later(**time))  # again: nothing happens twice
        lead.refresh_from_db()
        return lead.ae

    def test_goes_to_the_stand_in_when_it_begins_and_comes_back_when_it_ends(self) -> None:
        ann, ben, lead = self.away(open_leads="stand_in", come_back=True)
        credits = dict(Membership.objects.values_list("ae", "credit"))
        assert self.after(lead, hours=14) == ann
        assert self.after(lead, hours=16) == ben
        assert self.after(lead, days=4) == ann
        assert list(lead.moves.order_by("pk").values_list("verb", flat=True)) == [
            *("open", "assign", "hand_over", "come_back")
        ]
        assert dict(Membership.objects.values_list("ae", "credit")) == credits, "it cost nobody a turn"
        assert Assignment.objects.filter(lead=lead, released_at=None).count() == 1

    def test_goes_to_the_pool_and_stays_away_if_so_chosen(self) -> None:
        _, ben, lead = self.away(open_leads="pool")
        assert self.after(lead, days=1) == ben
        assert self.after(lead, days=4) == ben

    def test_comes_back_from_the_pool_with_the_turn_given_back(self) -> None:
        ann, ben, lead = self.away(open_leads="pool", come_back=True)
        assert self.after(lead, days=1) == ben
        assert self.after(lead, days=4) == ann
        assert Assignment.objects.get(lead=lead, ae=ben).refunded

    def test_waits_with_a_reason_where_nobody_else_can_take_it_and_comes_back(self) -> None:
        ann, ben, lead = self.away(open_leads="pool", come_back=True)
        Membership.objects.filter(ae=ben).update(capacity=0)
        assert self.after(lead, days=1) is None
        assert "Ann (absent until 5 March 2026; had this lead before)" in lead.unassigned_reason
        assert self.after(lead, days=4) == ann

    def test_stays_by_default(self) -> None:
        ann, _, lead = self.away()
        assert self.after(lead, days=1) == ann
        assert not HandedOver.objects.exists()

    def test_does_not_come_back_from_who_accepted_it(self) -> None:
        _, ben, lead = self.away(open_leads="stand_in", come_back=True)
        assert self.after(lead, days=1) == ben
        leads.accept(lead=lead, by=ben.user, at=later(days=1))
        assert self.after(lead, days=4) == ben

    def test_keeps_a_snooze(self) -> None:
        ann, ben, lead = self.away(open_leads="stand_in", come_back=True)
        leads.snooze(lead=lead, until=later(days=9), by=ann.user, at=NOW)
        assert self.after(lead, days=1) == ben
        assert self.after(lead, days=4) == ann
        assert (lead.state, lead.snoozed_until) == ("snoozed", later(days=9))

    def test_goes_to_the_pool_if_the_stand_in_is_away_too(self) -> None:
        _, ben, lead = self.away(open_leads="stand_in")
        cleo = world.ae("cleo", into=world.pool())
        attendance.add_absence(ae=ben, first=days(1), last=days(9), at=NOW)
        assert self.after(lead, days=1) == cleo

    def test_goes_on_where_it_was_interrupted(self) -> None:
        ann, ben, lead = self.away(open_leads="stand_in", come_back=True)
        second = opened("globex")
        leads.reassign(lead=second, to=ann, by=None, at=NOW) if second.ae != ann else None
        leads.reassign(lead=lead, to=ben, by=None, at=later(days=1))  # as the first of two transactions would have
        assert self.after(second, days=1) == ben
        assert HandedOver.objects.count() == 1


class TestHolidays:
    def test_are_said_once_and_can_be_dropped(self) -> None:
        for name in ("Founders' day", "Off-site"):
            day = attendance.set_holiday(on=TODAY, name=name, calendar="", at=NOW)
        ann = world.ae("ann", into=world.pool())
        lead = opened("acme")
        assert "on holiday: Off-site" in lead.unassigned_reason
        assert lead.next_try_at == NOW.replace(hour=0) + timedelta(days=1)
        attendance.drop_holiday(holiday=day, at=NOW)
        assert not Holiday.objects.exists()
        leads.drain(at=NOW)
        lead.refresh_from_db()
        assert lead.ae == ann
