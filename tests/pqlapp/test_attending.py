"""The pages of hours and absences, and the roster: whose they are, what they say, and what a fault looks like."""

from datetime import date
from typing import Any

from routing import attendance, people
from routing.models import AE, Absence, Lead, Pool
from tests.pqlapp.desk_world import NOW, Desk, account
from tests.pqlapp.test_desk import as_, page, text

WEEK = {"mon": "9-17", "tue": "9-12:30, 13-17", "time_zone": "Europe/Berlin", "calendar": "de-by"}
FRIDAY = date(2026, 3, 13)


class TestMyTime(Desk):
    def post(self, path: str, **fields: str) -> Any:
        """Post to Ann's page as Ann."""
        ann = self.team.ann
        return as_(ann.user).post(f"/time/{ann.pk}/{path}", fields, follow=True)

    def test_an_ae_is_led_to_it_and_reads_when_leads_come(self) -> None:
        ann = self.team.ann
        attendance.set_hours(ae=ann, week="Mon-Fri 9-17", time_zone="Europe/Berlin", calendar="DE", at=NOW)
        assert as_(ann.user).get("/time/").headers["Location"] == f"/time/{ann.pk}/"
        shown = page(ann.user, f"/time/{ann.pk}/")
        assert "At work until 10 Mar, 17:00; next: Wednesday, 11 Mar, 09:00." in shown
        assert "West gets leads" in shown
        assert "Fri 3 Apr 2026 Good Friday" in shown

    def test_hours_are_set_by_the_day(self) -> None:
        assert "The hours of Ann are set" in text(self.post("hours/", **WEEK).content.decode())
        ann = AE.objects.get(pk=self.team.ann.pk)
        assert (ann.hours, ann.calendar) == ("Mon 09:00-17:00; Tue 09:00-12:30, 13:00-17:00", "DE-BY")
        self.post("hours/", **WEEK | {"always": "on"})
        assert AE.objects.get(pk=ann.pk).hours == ""

    def test_a_fault_stands_beside_its_field_and_nothing_is_set(self) -> None:
        wrong = {"mon": "9-25", "tue": "Fri 9-17", "time_zone": "Mars/Base", "calendar": "Atlantis"}
        answer = self.post("hours/", **wrong)
        assert answer.status_code == 422
        form = answer.context["week"]
        assert set(form.errors) == {"mon", "tue", "time_zone", "calendar"}
        assert "not a time of the day" in form.errors["mon"][0]
        assert 'id="id_mon_error"' in answer.content.decode()
        assert 'value="9-25"' in answer.content.decode()  # what was typed stays
        assert set(self.post("hours/", time_zone="UTC").context["week"].errors) == {"always"}
        assert AE.objects.get(pk=self.team.ann.pk).time_zone == "Europe/Berlin"

    def test_an_absence_is_noted_shown_and_struck_out(self) -> None:
        said = {"first": "2026-03-13", "last": "2026-03-16", "note": "Skiing", "come_back": "on"}
        answer = self.post("absences/", **said, open_leads="stand_in", stand_in=str(self.team.ben.pk))
        shown = text(answer.content.decode())
        assert "Ann is away: 13 March to 16 March 2026." in shown
        assert "Skiing Ben takes the open leads, and they come back." in shown
        absence = Absence.objects.get()
        assert self.post(f"absences/{absence.pk}/end/").status_code == 200
        assert not Absence.objects.exists()

    def test_what_the_verb_refuses_stands_beside_its_field(self) -> None:
        attendance.add_absence(ae=self.team.ann, first=FRIDAY, last=FRIDAY, at=NOW)
        ben = str(self.team.ben.pk)
        for fault, fields in {
            "first": {"first": "2026-03-13", "open_leads": "stay"},
            "last": {"first": "2026-03-20", "last": "2026-03-18", "open_leads": "stay"},
            "stand_in": {"first": "2026-03-20", "open_leads": "stand_in"},
            "open_leads": {"first": "2026-03-20", "open_leads": "pool", "stand_in": ben},
        }.items():
            answer = self.post("absences/", **fields)
            assert (answer.status_code, set(answer.context["away"].errors)) == (422, {fault})
        assert Absence.objects.count() == 1

    def test_nobody_touches_the_time_of_another_but_managers(self) -> None:
        ben, ann = self.team.ben, self.team.ann
        absence = attendance.add_absence(ae=ben, first=FRIDAY, last=FRIDAY, at=NOW)
        paths = ("hours/", "absences/", f"absences/{absence.pk}/end/")
        assert as_(ann.user).get(f"/time/{ben.pk}/").status_code == 404
        for path in paths:
            assert as_(ann.user).post(f"/time/{ben.pk}/{path}", WEEK).status_code == 404
        # Not by way of one's own page either.
        assert as_(ann.user).post(f"/time/{ann.pk}/absences/{absence.pk}/end/").status_code == 404
        assert Absence.objects.filter(pk=absence.pk).exists()
        assert as_(self.team.manager).post(f"/time/{ben.pk}/{paths[2]}").status_code == 302
        assert not Absence.objects.exists()


class TestRoster(Desk):
    def test_shows_days_and_says_where_a_pool_has_nobody(self) -> None:
        for ae in (self.team.ann, self.team.ben):
            attendance.set_hours(ae=ae, week="Mon-Fri 9-17", time_zone="Europe/Berlin", calendar="", at=NOW)
            attendance.add_absence(ae=ae, first=FRIDAY, last=FRIDAY, at=NOW, note="Fair")
        shown = page(self.team.manager, "/roster/")
        assert "West has nobody on Friday, 13 March. Ann : away, Fair; Ben : away, Fair." in shown
        assert "9 March to 15 March 2026" in shown
        four = page(self.team.manager, "/roster/?weeks=4&from=2026-03-18")
        assert "16 March to 12 April 2026" in four
        assert "has nobody" not in four

    def test_stays_within_the_days_of_which_holidays_are_known(self) -> None:
        assert "2027" in page(self.team.manager, "/roster/?from=9999-12-31")
        assert "2025" in page(self.team.manager, "/roster/?from=0001-01-01&weeks=x")
        assert "9 March to 15 March 2026" in page(self.team.manager, "/roster/?from=tomorrow")


class TestIfItQualifiedNow(Desk):
    def test_managers_read_who_would_get_an_account_and_nothing_is_done(self) -> None:
        people.set_membership(pool=Pool.objects.get(), ae=self.team.ann, weight=1, capacity=1, is_active=True, at=NOW)
        where = f"/accounts/{account('globex').pk}/"
        shown = page(self.team.manager, where)
        assert "If it qualified now In tier hot warm No routing rule matches" in shown
        assert "it goes to the pool West ." in shown
        assert "Ann 1 of 1 open: full" in shown
        assert "Ben next All open: in the rotation; active;" in shown
        assert "In tier hot warm" in page(self.team.manager, f"{where}?tier=warm")
        assert Lead.objects.count() == 2

    def test_an_ae_does_not_read_how_full_others_are(self) -> None:
        assert "If it qualified now" not in page(self.team.ann.user, f"/accounts/{account('acme').pk}/")
