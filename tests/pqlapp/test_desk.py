"""The desk without a browser: who sees what, what a page says, and what an act does."""

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from pqlapp.desk.sparkline import Sparkline
from routing import leads
from routing.models import Assignment, Lead
from scoring import facts, language
from scoring.models import Outcome, Parked, Score, Signal, Source
from tests.pqlapp import desk_world as world
from tests.pqlapp.desk_world import NOW, Desk, account, event, lead_of, rescore


def as_(user: User) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(user)
    return client


def page(user: User, path: str) -> str:
    """Return the text of a page as people read it."""
    response = as_(user).get(path)
    assert response.status_code == 200, response
    return text(response.content.decode())


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&amp;", "&").replace("&nbsp;", " ")


def do(user: User, lead: Lead, verb: str, **fields: object) -> str:
    """Post an act; return the page that comes next, as people read it."""
    response = as_(user).post(f"/leads/{lead.pk}/{verb}/", fields, follow=True)
    assert response.status_code == 200, response
    return text(response.content.decode())


def path(name: str, lead: Lead | None = None) -> str:
    return reverse(name, args=[lead.pk]) if lead else reverse(name)


class TestWhoSeesWhat(Desk):
    def test_nobody_without_a_log_in(self) -> None:
        for where in ["/", "/team/", "/leads/1/", "/accounts/1/"]:
            with self.subTest(where=where):
                response = self.client.get(where)
                assert response.status_code == 302
                assert response["Location"] == f"/login/?next={where}"

    def test_htmx_is_told_to_leave_the_page(self) -> None:
        response = self.client.post("/leads/1/accept/", headers={"HX-Request": "true"})
        assert response["HX-Redirect"] == "/login/?next=/"

    def test_a_log_in_without_a_role_is_refused(self) -> None:
        for where in ["/", "/team/", "/leads/1/", "/accounts/1/"]:
            with self.subTest(where=where):
                response = as_(self.team.stranger).get(where)
                assert response.status_code == 403
                assert "no role" in response.content.decode()

    def test_an_ae_sees_their_own_leads_only(self) -> None:
        mine = page(self.team.ann.user, "/")
        assert "Acme & Sons" in mine
        assert "hooli" not in mine
        assert "hooli" not in page(self.team.ann.user, f"/?ae={self.team.ben.pk}")
        assert "hooli" not in page(self.team.ann.user, "/?ae=all")

    def test_an_ae_can_do_nothing_with_the_leads_of_others(self) -> None:
        for verb in ["accept", "snooze", "disqualify", "win", "lose", "wake", "recycle", "undo", "reassign"]:
            with self.subTest(verb=verb):
                theirs = lead_of("hooli")
                client = as_(self.team.ann.user)
                assert client.get(path("lead", theirs)).status_code == 404
                assert client.post(f"/leads/{theirs.pk}/{verb}/", {"days": 1, "reason": "x"}).status_code == 404
                assert lead_of("hooli").state == "assigned"

    def test_an_ae_sees_the_accounts_of_their_own_leads_only(self) -> None:
        client = as_(self.team.ann.user)
        assert client.get(f"/accounts/{account('acme').pk}/").status_code == 200
        for name in ("hooli", "globex"):
            assert client.get(f"/accounts/{account(name).pk}/").status_code == 404

    def test_an_ae_cannot_reassign_and_does_not_see_the_team(self) -> None:
        mine, client = lead_of("acme"), as_(self.team.ann.user)
        assert client.post(f"/leads/{mine.pk}/reassign/", {"to": self.team.ben.pk}).status_code == 404
        assert client.get("/team/").status_code == 403
        assert lead_of("acme").ae == self.team.ann

    def test_a_manager_and_an_admin_see_everything(self) -> None:
        for role in ["manager", "admin"]:
            with self.subTest(role=role):
                user = getattr(self.team, role)
                everybodys = page(user, "/")
                assert "Acme & Sons" in everybodys
                assert "hooli" in everybodys
                assert "Acme" not in page(user, f"/?ae={self.team.ben.pk}")
                assert "New business" in page(user, path("lead", lead_of("hooli")))
                assert "West" in page(user, "/team/")

    def test_nothing_changes_by_a_get(self) -> None:
        client = as_(self.team.manager)
        for verb in ("accept", "win", "reassign"):
            assert client.get(f"/leads/{lead_of('acme').pk}/{verb}/").status_code == 405
        assert client.get("/preferences/").status_code == 405
        assert client.get("/logout/").status_code == 405

    def test_an_act_needs_its_token(self) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.team.ann.user)
        assert client.post(f"/leads/{lead_of('acme').pk}/accept/").status_code == 403
        assert lead_of("acme").stage == "pql"


class TestQueue(Desk):
    def test_says_why_now_with_activity_and_freshness(self) -> None:
        html = as_(self.team.ann.user).get("/").content.decode()
        assert "Invited 4 teammates in 4 days and reached 92 % of the storage limit; 140 people" in text(html)
        assert 'aria-label="new, 5 events in 14 days"' in html
        assert "Scores complete as of 10:00:00 CET" in text(html)  # her time zone

    def test_the_best_lead_comes_first(self) -> None:
        everybodys = page(self.team.manager, "/")
        assert everybodys.index("Acme & Sons") < everybodys.index("hooli")

    def test_tabs_part_the_leads_and_count_them(self) -> None:
        leads.accept(lead=lead_of("hooli"), by=self.team.ben.user, at=NOW)
        assert "To do 1 Accepted 1 Snoozed 0 Closed 0" in page(self.team.manager, "/")
        working = page(self.team.manager, "/?tab=working&ae=all")
        assert "hooli" in working
        assert "Acme" not in working

    def test_search_finds_names_and_ids(self) -> None:
        for words, found in [("sons", True), ("ACME", True), ("globe", False), ("%", False)]:
            with self.subTest(words=words, found=found):
                listed = as_(self.team.ann.user).get("/", {"q": words}).content.decode()
                assert ("Acme &amp; Sons" in listed) is found

    def test_closed_leads_of_long_ago_are_shown_when_asked_for(self) -> None:
        leads.disqualify(lead=lead_of("acme"), reason="Students", by=self.team.ann.user, at=NOW)
        with time_machine.travel(NOW + timedelta(days=91), tick=False):
            now = page(self.team.manager, "/?tab=closed&ae=all")
            ever = page(self.team.manager, "/?tab=closed&ae=all&closed=all")
            assert "Acme" in page(self.team.manager, "/?tab=closed&ae=all&q=acme")
        assert "Acme" in ever
        assert "Acme" not in now
        assert "No lead was closed in the last 90 days" in now

    def test_nonsense_in_the_address_does_no_harm(self) -> None:
        for nonsense in ["?tab=x", "?ae=x", "?page=x", "?page=0", "?ae=99999999999999999999"]:
            with self.subTest(nonsense=nonsense):
                assert as_(self.team.manager).get(f"/{nonsense}").status_code == 200

    def test_an_empty_tab_says_what_to_do_next(self) -> None:
        assert "Accept a lead when you start to work it" in page(self.team.ann.user, "/?tab=working")

    def test_htmx_gets_only_the_fragment_and_caches_know(self) -> None:
        response = as_(self.team.ann.user).get("/", headers={"HX-Request": "true"})
        html = response.content.decode()
        assert html.startswith('<section id="queue"')
        assert "<html" not in html
        assert "HX-Request" in response["Vary"]
        assert "no-store" in response["Cache-Control"]

    def test_going_back_in_history_gets_the_whole_page(self) -> None:
        headers = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
        assert "<html" in as_(self.team.ann.user).get("/", headers=headers).content.decode()

    def test_asks_the_same_number_of_questions_whatever_the_rows(self) -> None:
        client = as_(self.team.manager)
        client.get("/")  # documents are read once
        with CaptureQueriesContext(connection) as few:
            client.get("/")
        many = [fact for n in range(12) for fact in world.company(f"more{n}", employees=n * 10)]
        many += [world.event(f"more{n}", "Teammate Invited", 1, i) for n in range(12) for i in range(4)]
        facts.record(source=facts.create_source(slug="web", at=NOW), facts=many, received_at=NOW)
        world.rescore()
        assert Lead.objects.count() == 14
        with CaptureQueriesContext(connection) as more:
            client.get("/")
        assert len(few) == len(more) <= 14  # of an AE one less: the names of all AEs

    def test_strict_policy_and_nothing_inline(self) -> None:
        for where in ("/", path("lead", lead_of("acme")), f"/accounts/{account('acme').pk}/", "/team/"):
            response = as_(self.team.manager).get(where)
            html = response.content.decode()
            assert "script-src 'self'" in response["Content-Security-Policy"]
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|hx-on|javascript:", html), where


def cells(html: str) -> list[tuple[str, list[str]]]:
    """Return score and points of each section of the page's first ledger."""
    ledger = html.split('class="ledger"')[1].split("</table>")[0]
    found = []
    for body in ledger.split("<tbody>")[1:]:
        rows = [re.findall(r'<td class="num">([^<]*)</td>', row) for row in body.split("<tr")]
        points = [row[0] for row in rows if row]
        found.append((text(body), points))
    return found


class TestLead(Desk):
    def test_the_ledger_adds_up(self) -> None:
        html = as_(self.team.ann.user).get(path("lead", lead_of("acme"))).content.decode()
        for words, points in cells(html):
            numbers = [Decimal(one.replace("−", "-")) for one in points]
            assert sum(numbers[:-1]) == numbers[-1], words

    def test_shows_what_a_cap_took(self) -> None:
        shown = page(self.team.ann.user, path("lead", lead_of("acme")))
        assert "They invite teammates 4, last today each in 14 days +30" in shown
        assert "5 over the cap of activity +15" in shown

    def test_says_of_which_days_not_all_is_known(self) -> None:
        told = "“invitations” is known only since 3 Mar: what came before it does not count here."
        assert told not in page(self.team.ann.user, path("lead", lead_of("acme")))
        invitations = language.Signal(events=("Teammate Invited",))
        Signal.objects.filter(digest=language.signal_digest(invitations)).update(known_from=date(NOW.year, 3, 3))
        assert told in page(self.team.ann.user, path("lead", lead_of("acme")))
        assert told in page(self.team.ann.user, f"/accounts/{account('acme').pk}/")

    def test_says_what_silence_does_and_what_would_help(self) -> None:
        hooli = page(self.team.ben.user, path("lead", lead_of("hooli")))
        assert (
            "On 22 Mar , if nothing more happens: “They invite teammates” lapses: usage 20 → 0, tier warm → none"
            in (hooli)
        )
        assert "+15 usage They export reports 3 more in 14 days (exports)" in hooli
        assert "Missing to hot" not in hooli  # too few people, and that is known
        assert "There is no way to hot by what can be done or found out." in hooli

    def test_ranks_people_and_tells_what_they_did(self) -> None:
        acme = page(self.team.ann.user, path("lead", lead_of("acme")))
        assert "Eve Adams" in acme
        assert "eve@acme.example" in acme
        assert "Head of Ops" in acme
        assert "Invitations Eve Adams" in acme

    def test_tells_who_got_it_and_why(self) -> None:
        acme = page(self.team.ann.user, path("lead", lead_of("acme")))
        assert "Why Ann" in acme
        assert "No routing rule decided on it: such leads go to West." in acme
        assert "Ann got it by turn: " in acme
        assert "Ben could have had it, but it was Ann's turn." in acme.replace("&#x27;", "'")
        assert "Weight 1, credit 0 → −0.500 turns" in acme
        assert "✓ open Capacity: 0 open, no limit" in acme

    def test_a_decision_is_checked_from_its_record_alone(self) -> None:
        made = lead_of("acme").assignments.get()
        where = f"{path('lead', lead_of('acme'))}?check={made.pk}"
        assert "it comes to the same: Ann. Every gate" in page(self.team.ann.user, where)
        assert "Checked" not in page(self.team.ann.user, f"{path('lead', lead_of('acme'))}?check=x")
        record = made.decision | {"candidates": [one | {"credit_before": 0} for one in made.decision["candidates"]]}
        record["candidates"][0]["gates"][0] |= {"passed": False}
        Assignment.objects.filter(pk=made.pk).update(decision=record)
        said = page(self.team.ann.user, where).replace("&#x27;", "'")
        assert "the record does not lead to what was done. gates of Ann" in said

    def test_of_a_decision_by_hand_there_is_nothing_to_check(self) -> None:
        do(self.team.manager, lead_of("acme"), "reassign", to=self.team.ben.pk)
        shown = page(self.team.ben.user, path("lead", lead_of("acme")))
        assert "It was made by hand: there is nothing to check." in shown
        assert shown.count("Check this decision") == 1

    def test_keeps_the_ledger_of_its_opening(self) -> None:
        before = page(self.team.ann.user, path("lead", lead_of("acme")))
        assert "The ledger on the day it opened" not in before
        exported = [world.event("acme", "Report Exported", 0, i) for i in range(3)]
        facts.record(source=facts.create_source(slug="web", at=NOW), facts=exported, received_at=NOW)
        world.rescore()
        assert "The ledger on the day it opened" in page(self.team.ann.user, path("lead", lead_of("acme")))

    def test_a_closed_lead_is_told_as_it_opened(self) -> None:
        leads.disqualify(lead=lead_of("acme"), reason="No need", by=self.team.ann.user, at=NOW)
        exported = [world.event("acme", "Report Exported", 0, i) for i in range(3)]
        facts.record(source=facts.create_source(slug="web", at=NOW), facts=exported, received_at=NOW)
        world.rescore()
        shown = page(self.team.ann.user, path("lead", lead_of("acme")))
        assert "As it was when the lead opened on 10 Mar, version 1" in shown
        assert "They export reports none" in shown
        assert "usage 45 fit 25" in page(self.team.ann.user, "/?tab=closed")

    def test_names_from_outside_cannot_become_markup(self) -> None:
        evil = world.company("evil", name="<script>alert(1)</script>", employees=200)
        evil += [world.event("evil", "Teammate Invited", 1, i) for i in range(3)]
        facts.record(source=facts.create_source(slug="web", at=NOW), facts=evil, received_at=NOW)
        world.rescore()
        for where in ("/", path("lead", lead_of("evil")), f"/accounts/{account('evil').pk}/"):
            html = as_(self.team.manager).get(where).content.decode()
            assert "<script>alert" not in html
            assert "&lt;script&gt;alert" in html


class TestActs(Desk):
    def test_accept_makes_it_hers(self) -> None:
        shown = do(self.team.ann.user, lead_of("acme"), "accept")
        assert "Acme & Sons accepted: it is yours to work." in shown
        assert lead_of("acme").stage == "sql"

    def test_what_cannot_be_done_is_said_in_words(self) -> None:
        do(self.team.ann.user, lead_of("acme"), "accept")
        assert "It was accepted before; go on working it." in do(self.team.ann.user, lead_of("acme"), "accept")

    def test_snooze_for_days_ends_on_a_morning_of_her_own(self) -> None:
        assert "it comes back on 13 Mar" in do(self.team.ann.user, lead_of("acme"), "snooze", days=3)
        assert lead_of("acme").snoozed_until == datetime(2026, 3, 13, 7, tzinfo=UTC)  # 8:00 in Berlin

    def test_snooze_until_a_day(self) -> None:
        do(self.team.ann.user, lead_of("acme"), "snooze", until="2026-04-02")
        assert lead_of("acme").snoozed_until == datetime(2026, 4, 2, 6, tzinfo=UTC)

    def test_a_snooze_into_nowhere_is_refused(self) -> None:
        for fields, fault in [
            ({}, "Choose a day"),
            ({"until": "2026-03-01"}, "still to come"),
            ({"until": "soon"}, "valid date"),
            ({"days": "-1"}, "greater than or equal to 1"),
        ]:
            with self.subTest(fields=fields, fault=fault):
                assert fault in do(self.team.ann.user, lead_of("acme"), "snooze", **fields)
                assert lead_of("acme").state == "assigned"

    def test_wake_brings_it_back(self) -> None:
        do(self.team.ann.user, lead_of("acme"), "snooze", days=3)
        do(self.team.ann.user, lead_of("acme"), "wake")
        assert lead_of("acme").state == "assigned"

    def test_disqualify_keeps_the_reason(self) -> None:
        do(self.team.ann.user, lead_of("acme"), "disqualify", reason="Competitor", note="They resell it.")
        closed = lead_of("acme")
        assert (closed.closed_as, closed.close_reason) == ("disqualified", "Competitor: They resell it.")

    def test_another_reason_must_be_said(self) -> None:
        assert "in a few words" in do(self.team.ann.user, lead_of("acme"), "disqualify", reason="Other")
        assert lead_of("acme").state == "assigned"

    def test_snooze_until_the_next_new_signal(self) -> None:
        assert "with the next new signal" in do(self.team.ann.user, lead_of("acme"), "snooze", or_signal=1)
        assert (lead_of("acme").wakes_on_signal, lead_of("acme").snoozed_until) == (True, None)
        assert "until the next new signal" in page(self.team.ann.user, path("lead", lead_of("acme")))
        assert "until a signal" in page(self.team.ann.user, "/?tab=snoozed")

    def test_recycle_asks_until_when_and_why(self) -> None:
        assert "Choose until when" in do(self.team.ann.user, lead_of("acme"), "recycle", reason="No answer")
        do(self.team.ann.user, lead_of("acme"), "recycle", reason="No answer", days=90)
        closed = lead_of("acme")
        assert (closed.closed_as, closed.cool_until) == ("recycled", datetime(2026, 6, 8, 6, tzinfo=UTC))

    def test_what_was_just_done_can_be_undone_from_the_word_on_it_or_the_leads_page(self) -> None:
        client, lead = as_(self.team.ann.user), lead_of("acme")
        shown = client.post(f"/leads/{lead.pk}/disqualify/", {"reason": "No need", "next": "/"}, follow=True)
        undo = {"move": lead.moves.latest("id").pk}
        assert f'action="/leads/{lead.pk}/undo/"' in shown.content.decode()
        assert 'id="undo-last"' not in client.get("/").content.decode(), "it is offered once"
        assert "Undo “disqualified”" in client.get(path("lead", lead)).content.decode()
        assert "is as it was before" in do(self.team.ann.user, lead, "undo", **undo)
        assert lead_of("acme").state == "assigned"
        assert "undone already" in do(self.team.ann.user, lead, "undo", **undo)

    def test_win_records_the_outcome_with_its_amount(self) -> None:
        assert "won. Well done!" in do(self.team.ann.user, lead_of("acme"), "win", amount="1200.50")
        assert Outcome.objects.get(account=account("acme")).amount == Decimal("1200.50")

    def test_an_amount_that_is_none_is_refused(self) -> None:
        for amount in ["-1", "NaN", "much", "1e99"]:
            with self.subTest(amount=amount):
                do(self.team.ann.user, lead_of("acme"), "win", amount=amount)
                assert not Outcome.objects.filter(account=account("acme")).exists()

    def test_lose_needs_an_accepted_lead(self) -> None:
        assert "accept it first" in do(self.team.ann.user, lead_of("acme"), "lose", reason="No budget")
        do(self.team.ann.user, lead_of("acme"), "accept")
        do(self.team.ann.user, lead_of("acme"), "lose", reason="No budget")
        assert lead_of("acme").closed_as == "lost"

    def test_a_manager_gives_it_to_somebody_else(self) -> None:
        assert "is now with Ben." in do(
            self.team.manager, lead_of("acme"), "reassign", to=self.team.ben.pk, note="Knows them"
        )
        assert lead_of("acme").ae == self.team.ben

    def test_the_turn_of_who_had_it_is_given_back_for_a_cause(self) -> None:
        lead = lead_of("acme")
        assert "is given back: the lead is a duplicate" in page(self.team.manager, path("lead", lead))
        do(self.team.manager, lead, "reassign", to="", cause="territory")
        assert "The turn was given back: the lead belongs to another" in page(self.team.manager, path("lead", lead))

    def test_an_unknown_verb_is_no_page(self) -> None:
        assert as_(self.team.manager).post(f"/leads/{lead_of('acme').pk}/explode/").status_code == 404

    def test_goes_back_only_to_its_own_pages(self) -> None:
        for target in ["https://evil.example/", "//evil.example", "javascript:alert(1)"]:
            with self.subTest(target=target):
                lead = lead_of("acme")
                response = as_(self.team.ann.user).post(f"/leads/{lead.pk}/accept/", {"next": target})
                assert response["Location"] == path("lead", lead)

    def test_goes_back_to_the_queue_that_it_came_from(self) -> None:
        response = as_(self.team.ann.user).post(f"/leads/{lead_of('acme').pk}/accept/", {"next": "/?tab=new"})
        assert response["Location"] == "/?tab=new"


class TestTeam(Desk):
    def test_shows_loads_and_what_waits_with_its_reason(self) -> None:
        for _ in range(2):
            do(self.team.manager, lead_of("acme"), "reassign", to="")
        shown = page(self.team.manager, "/team/")
        assert "Waiting for an AE 1" in shown
        assert lead_of("acme").unassigned_reason in shown
        assert "had this lead before" in shown

    def test_lists_accounts_that_cannot_be_scored(self) -> None:
        assert "Cannot be scored" not in page(self.team.manager, "/team/")
        Parked.objects.create(
            account=account("globex"), reason="a poisonous trait", attempts=3, first_failed_at=NOW, retry_at=NOW
        )
        assert "Cannot be scored 1" in page(self.team.manager, "/team/")
        assert "globex a poisonous trait" in page(self.team.manager, "/team/")

    def test_gives_a_waiting_lead_to_somebody(self) -> None:
        for _ in range(2):
            do(self.team.manager, lead_of("acme"), "reassign", to="")
        assert lead_of("acme").state == "unassigned"
        do(self.team.manager, lead_of("acme"), "reassign", to=self.team.ben.pk, next="/team/")
        assert lead_of("acme").ae == self.team.ben


class TestAccount(Desk):
    def test_tells_how_the_score_came_about_and_what_is_known(self) -> None:
        shown = page(self.team.manager, f"/accounts/{account('acme').pk}/")
        assert "Acme & Sons" in shown
        assert "First score" in shown
        assert "employees 140" in shown

    def test_says_what_is_missing_to_the_next_tier_and_then_it_is_reached(self) -> None:
        globex = f"/accounts/{account('globex').pk}/"
        shown = page(self.team.manager, globex)
        assert "Missing to warm 2 more in 14 days (invitations) (They invite teammates) then usage 20, fit 25" in shown
        facts.record(
            source=Source.objects.get(),
            facts=[event("globex", "Teammate Invited", 0.1, i) for i in range(2)],
            received_at=NOW,
        )
        rescore()
        score = Score.objects.get(account=account("globex"))
        assert (score.tier, score.usage, score.fit) == ("warm", 2000, 2500)

    def test_tells_each_step_of_the_score_with_its_cause_and_its_version(self) -> None:
        use = [event("globex", "Teammate Invited", 0.1, i) for i in range(2)]
        facts.record(source=Source.objects.get(), facts=use, received_at=NOW)
        rescore()
        globex = f"/accounts/{account('globex').pk}/"
        told = "What they did “They invite teammates” is met: usage 0 → 20, tier none → warm warm 20 25 1"
        assert told in page(self.team.manager, globex)
        rows = self.rows(f"{globex}history.csv?by=new-business")
        assert [(row["cause"], row["tier"], row["usage"]) for row in rows] == [
            ("what they did", "warm", "20.0"),
            ("what they did", "", "0.0"),
        ]

    def test_gives_the_ledger_as_a_file_that_adds_up(self) -> None:
        rows = self.rows(f"/accounts/{account('acme').pk}/ledger.csv?by=new-business")
        of_usage = [row for row in rows if row["score"] == "usage"]
        assert sum(float(row["points"]) for row in of_usage) == 45
        assert [row["taken by the cap"] for row in of_usage] == ["0.0", "5.0", "0.0"]
        assert [row["points"] for row in rows if row["score"] == "usage, sum"] == ["45.0"]

    def test_files_are_for_those_who_see_the_account(self) -> None:
        for name in ("ledger", "history"):
            file = f"/accounts/{account('acme').pk}/{name}.csv?by=new-business"
            assert as_(self.team.ben.user).get(file).status_code == 404
            assert as_(self.team.manager).get(file.replace("new-", "no-")).status_code == 404

    def rows(self, file: str) -> list[dict[str, str]]:
        answer = as_(self.team.manager).get(file)
        assert answer["Content-Type"].startswith("text/csv")
        return list(csv.DictReader(io.StringIO(answer.content.decode())))

    def test_says_into_which_account_it_was_merged_and_leads_there(self) -> None:
        for other, into in (("globex", "acme"), ("initech", "hooli")):
            facts.merge_accounts(other=account(other), into=account(into), by=None, at=NOW)
        acme, globex = (f"/accounts/{account(name).pk}/" for name in ("acme", "globex"))
        shown = as_(self.team.ann.user).get(globex).content.decode()
        assert f'one with <a href="{acme}">acme</a>, which counts in its place since 10 Mar.' in shown
        assert f'with <a href="{globex}">globex</a>' in as_(self.team.ann.user).get(acme).content.decode()
        assert as_(self.team.ann.user).get(f"/accounts/{account('initech').pk}/").status_code == 404

    def test_does_not_lead_an_ae_to_an_account_of_somebody_else(self) -> None:
        lead = lead_of("acme")
        leads.disqualify(lead=lead, reason="Students", by=self.team.ann.user, at=NOW)
        facts.merge_accounts(other=account("acme"), into=account("hooli"), by=None, at=NOW)
        shown = as_(self.team.ann.user).get(f"/accounts/{account('acme').pk}/").content.decode()
        assert "one with hooli, which counts" in shown

    def test_says_why_a_customer_is_not_scored(self) -> None:
        shown = page(self.team.manager, f"/accounts/{account('initech').pk}/")
        assert "outside the population" in shown
        assert "Won" in shown


class TestPreferences(Desk):
    def test_a_theme_is_kept_in_a_cookie(self) -> None:
        client = as_(self.team.ann.user)
        client.post("/preferences/", {"theme": "dark", "next": "/?tab=closed"})
        assert 'data-theme="dark"' in client.get("/").content.decode()
        client.post("/preferences/", {"theme": "auto"})
        assert "data-theme" not in client.get("/").content.decode()

    def test_keys_can_be_switched_off(self) -> None:
        client = as_(self.team.ann.user)
        client.post("/preferences/", {"keys": "off"})
        assert 'data-keys="off"' in client.get("/").content.decode()

    def test_nothing_else_becomes_a_cookie(self) -> None:
        client = as_(self.team.ann.user)
        client.post("/preferences/", {"theme": "<b>", "other": "x"})
        assert not {"theme", "other"} & set(client.cookies)


class TestLogIn(Desk):
    def test_logs_in_and_out(self) -> None:
        response = self.client.post(
            "/login/", {"username": "ann@example.com", "password": world.PASSWORD, "next": "/team/"}
        )
        assert response["Location"] == "/team/"
        assert self.client.get("/").status_code == 200
        self.client.post("/logout/")
        assert self.client.get("/").status_code == 302

    def test_a_wrong_password_is_said_in_words(self) -> None:
        response = self.client.post("/login/", {"username": "ann@example.com", "password": "nope"})
        assert "do not belong together" in response.content.decode()


class TestFaults(Desk):
    def test_a_page_that_is_not_there_says_so_in_our_words(self) -> None:
        response = as_(self.team.ann.user).get("/leads/999999/")
        assert response.status_code == 404
        assert "the lead is not one of yours" in response.content.decode()

    def test_the_page_of_a_fault_needs_nothing(self) -> None:
        assert "Something broke" in render_to_string("500.html")


class TestSparkline:
    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            ([0] * 14, "quiet, no events in 14 days"),
            ([0] * 13 + [1], "new, 1 event in 14 days"),
            ([1] * 7 + [3] * 7, "rising, 28 events in 14 days"),
            ([3] * 7 + [1] * 7, "falling, 28 events in 14 days"),
            ([2] * 14, "steady, 28 events in 14 days"),
        ],
    )
    def test_says_what_it_shows(self, counts: list[int], words: str) -> None:
        assert Sparkline(counts).words == words

    def test_the_busiest_day_is_the_highest_and_a_quiet_one_stays_visible(self) -> None:
        bars = Sparkline([0] * 12 + [5, 10]).bars
        assert [bar.height for bar in bars[-3:]] == [1.5, 11.0, 22.0]
        assert all(bar.y + bar.height == pytest.approx(22) for bar in bars)
        assert bars[-1].x + bars[-1].width <= 98
