"""The pages of PQL definitions: what is live, the editor with and without htmx, publishing and going back."""

from typing import Any
from unittest.mock import patch

from django.core.cache import cache
from django.test import Client

from pqlapp.desk.editor import acts, document
from scoring import jobs, rules
from scoring.models import Job, RuleSet, RuleVersion
from tests.pqlapp.desk_world import NOW, PASSWORD, RULES, Desk, account

VERSION = "/rules/new-business/1/"
HTMX = {"HX-Request": "true"}


def logged_in(name: str) -> Client:
    client = Client()
    assert client.login(username=f"{name}@example.com", password=PASSWORD)
    return client


def form_of(text: str = RULES, **changed: str) -> dict[str, str]:
    """The fields that a browser sends of a text in the editor."""
    cells = dict(acts.fields_of(document.opened(text).sheet))
    return {"_view": "sentences", "_text": text, "_of": "new-business", "_revision": "1", **cells, **changed}


def cell(name: str, value: str) -> dict[str, str]:
    return {name: value}


class RulePages(Desk):
    def setUp(self) -> None:
        super().setUp()
        cache.clear()  # of names that arrived in another test
        self.ada = logged_in("ada")

    def post(self, path: str = VERSION, **fields: str) -> Any:
        return self.ada.post(path, fields)

    def shown(self, response: Any) -> str:
        assert response.status_code == 200
        return " ".join(response.content.decode().split())

    def draft(self, text: str = RULES + "\n") -> RuleVersion:
        return rules.draft(text=text, by=self.team.admin, at=NOW)


class TestTheList(RulePages):
    def test_says_what_is_live_since_when_and_who_is_where(self) -> None:
        page = self.shown(self.ada.get("/rules/"))
        for words in ("New business", "version 1", "10 Mar", "hot</span> 1", "warm</span> 1"):
            assert words in page

    def test_leads_to_a_draft(self) -> None:
        self.draft()
        assert "/rules/new-business/2/" in self.shown(self.ada.get("/rules/"))

    def test_asks_the_same_of_the_database_for_any_number_of_versions(self) -> None:
        with self.assertNumQueries(8):
            self.ada.get("/rules/")
        self.draft()
        with self.assertNumQueries(8):
            self.ada.get("/rules/")


class TestARuleSet(RulePages):
    def test_lists_versions_with_the_live_one_marked(self) -> None:
        self.draft()
        page = self.shown(self.ada.get("/rules/new-business/"))
        assert page.count('<span class="tag live">live</span>') == 1
        assert "/rules/new-business/2/compare/" in page

    def test_rolls_back_in_one_action(self) -> None:
        version = self.draft(RULES.replace("points: 15", "points: 16"))
        publish(version)
        self.post("/rules/new-business/roll-back/", note="It was worse")
        job = Job.objects.get(kind="publish", state="queued")
        assert (job.arguments["is_rollback"], job.arguments["note"]) == (True, "It was worse")

    def test_says_why_it_cannot_be_rolled_back(self) -> None:
        answer = self.ada.post("/rules/new-business/roll-back/", {"note": ""}, follow=True)
        assert "one live version at most" in self.shown(answer)


def publish(version: RuleVersion) -> None:
    job = jobs.claim(job=rules.publish(version=version, note="Better", by=None, at=NOW), at=NOW)
    assert job
    rules.run_publish(job=job, clock=lambda: NOW)


class TestTheEditor(RulePages):
    def test_shows_a_version_as_sentences(self) -> None:
        page = self.shown(self.ada.get(VERSION))
        for words in (
            'value="They invite teammates"',
            "was done",
            "days, at most",
            'aria-label="Rule 3, when: number"',
        ):
            assert words in page
        assert "invitations (Teammate Invited)" in page

    def test_offers_the_events_that_arrived_with_their_counts(self) -> None:
        page = self.shown(self.ada.get(VERSION))
        assert 'value="event:File Saved">File Saved · 1, last on 9 Mar<' in page
        assert "event:Teammate Invited" not in page  # that very signal is there

    def test_is_told_in_whole_or_only_what_changes(self) -> None:
        whole = self.shown(self.post(**form_of(), _do="add rules points"))
        part = self.shown(self.ada.post(VERSION, form_of() | {"_do": "add rules points"}, headers=HTMX))
        assert "<html" in whole and "<html" not in part
        for page in (whole, part):
            assert "rules.4.name" in page and 'id="rules-4-name"' in page
            assert page.count("autofocus") == 1

    def test_saves_a_change_of_the_live_version_as_a_new_draft(self) -> None:
        answer = self.post(**form_of(**cell("rules.2.when.threshold", "4")), _do="save")
        assert (answer.status_code, answer["Location"]) == (302, "/rules/new-business/2/")
        draft = RuleVersion.objects.get(number=2)
        assert draft.document["rules"][2]["when"]["at_least"] == 4
        assert RuleSet.objects.get().live_version_id != draft.pk

    def test_saves_a_draft_where_it_is(self) -> None:
        self.draft()
        text = RULES + "\n"
        answer = self.post("/rules/new-business/2/", **form_of(text, name="Other"), _do="save")
        assert answer["Location"] == "/rules/new-business/2/"
        draft = RuleVersion.objects.get(number=2)
        assert (draft.document["name"], draft.revision) == ("Other", 2)

    def test_overwrites_nobody(self) -> None:
        draft = self.draft()
        rules.change(version=draft, text=RULES.replace("points: 15", "points: 16"), revision=1)
        page = self.shown(self.post("/rules/new-business/2/", **form_of(name="Mine"), _do="save"))
        assert "changed by somebody else" in page and 'value="Mine"' in page
        assert RuleVersion.objects.get(number=2).document["name"] == "New business"

    def test_saves_nothing_that_is_at_fault_and_says_where(self) -> None:
        fields = form_of(**cell("rules.2.when.threshold", "many"), **cell("tiers.0.enter.usage", ""))
        page = self.shown(self.post(**fields, _do="save"))
        assert "at_least must be a number, not &#x27;many&#x27;" in page
        assert "2 things to put right" in page
        assert RuleVersion.objects.count() == 1

    def test_keeps_another_rule_sets_id_apart(self) -> None:
        assert "must stay" in self.shown(self.post(**form_of(slug="other"), _do="save"))
        assert "is taken" in self.shown(self.post("/rules/-/new/", **form_of(), _do="save"))
        answer = self.post("/rules/-/new/", **form_of(slug="other"), _do="save")
        assert answer["Location"] == "/rules/other/1/"

    def test_shows_the_other_view_of_what_was_changed(self) -> None:
        page = self.shown(self.post(**form_of(**cell("rules.2.when.threshold", "4")), _do="show yaml"))
        assert "at_least: 4" in page and "<textarea id=" in page
        text = RULES.replace("at_least: 3", "at_least: 7")
        page = self.shown(self.post(_view="yaml", _text=text, _do="show sentences"))
        assert 'name="rules.2.when.threshold" value="7"' in page

    def test_lists_the_faults_of_a_text_with_their_lines(self) -> None:
        page = self.shown(self.post(_view="yaml", _text=RULES + "oops: 1\n", _do="save"))
        assert "line 23, oops: unknown field" in page

    def test_is_no_place_for_anything_else(self) -> None:
        for act in ("explode", "up rules.99", "remove slug"):
            assert self.shown(self.post(**form_of(), _do=act))
        assert self.shown(self.post(**{**form_of(), "rules.0.name.deep": "1"}, _do="refresh"))
        assert RuleVersion.objects.count() == 1


class TestWhatFades(RulePages):
    def test_is_told_in_the_sentence_of_the_rule(self) -> None:
        text = RULES.replace("points: 15,", "points: 15, decay: {half_life: 14},").replace(
            "company: {score: fit}", "company: {score: fit, first_match: true}"
        )
        page = self.shown(self.post(_view="yaml", _text=text, _do="show sentences"))
        assert '<option value="half_life" selected>halved every</option>' in page
        assert 'name="rules.2.decay.days" value="14"' in page
        assert '<option value="first" selected>only the first that is met counts</option>' in page
        page = self.shown(self.post(**form_of(text, **cell("rules.2.decay.days", "30")), _do="show yaml"))
        assert "half_life: 30" in page and "first_match: true" in page


class TestThePreview(RulePages):
    def preview(self, **fields: str) -> str:
        return self.shown(self.post("/rules/-/preview/", **fields))

    def test_counts_beside_each_row(self) -> None:
        page = self.preview(**form_of())
        of_the_row = '<p data-for="met-row-rules-3-when">'
        assert f"{of_the_row}2 accounts today; with 45: 2, with 55: 2" in page
        assert "<html" not in page

    def test_compares_the_tiers_with_the_live_version(self) -> None:
        page = self.preview(**form_of(**cell("tiers.0.enter.usage", "60")))
        assert "All 4 accounts are judged" in page
        assert f"/accounts/{account('globex').pk}/" in page

    def test_shows_faults_at_their_rows(self) -> None:
        page = self.preview(**form_of(**cell("rules.2.when.threshold", "many")))
        assert 'data-for="faults-row-rules-2-when"><p>at_least must be a number' in page
        assert "Counted again once everything is put right" in page

    def test_tells_of_a_signal_that_was_never_counted(self) -> None:
        page = self.preview(**form_of(**cell("signals.0.events", "Brand New")))
        assert "never counted so far" in page

    def test_says_that_it_took_too_long(self) -> None:
        with patch("scoring.previews.PATIENCE", "1ms"):
            assert "took more than" in self.preview(**form_of())

    def test_of_yaml_stands_beside_it_too(self) -> None:
        assert "All 4 accounts are judged" in self.preview(_view="yaml", _text=RULES, _of="new-business")


class TestWhatArrived(RulePages):
    def hints(self, **asked: str) -> str:
        return self.shown(self.ada.get("/rules/-/hints/", asked))

    def test_is_offered_by_name_property_and_value(self) -> None:
        assert '<option value="Teammate Invited">11, last on 10 Mar</option>' in self.hints(of="events")
        assert '<option value="quota">1, last on 9 Mar' in self.hints(event="File Saved")
        assert '<option value="92">1, last on 9 Mar' in self.hints(event="File Saved", property="used")

    def test_is_offered_of_traits_and_outcomes(self) -> None:
        assert '<option value="employees">4, last on 8 Feb' in self.hints(of="traits")
        assert '<option value="Acme &amp; Sons">1, last on 8 Feb' in self.hints(trait="name")
        assert '<option value="won">1, last on 10 Dec 2025' in self.hints(of="outcomes")

    def test_is_nothing_of_what_never_came(self) -> None:
        assert "option" not in self.hints(event="Nothing") + self.hints(of="nonsense") + self.hints(trait="x")


class TestPublishing(RulePages):
    def setUp(self) -> None:
        super().setUp()
        self.version = self.draft(RULES.replace("enter: {usage: 20}", "enter: {usage: 25}"))

    def test_shows_first_who_enters_and_leaves(self) -> None:
        page = self.shown(self.ada.get("/rules/new-business/2/compare/"))
        assert "Are no PQLs any more: 1" in page and "hooli" in page

    def test_needs_a_reason_and_a_diff(self) -> None:
        answer = self.ada.post("/rules/new-business/2/publish/", {"note": "", "seen": "x"}, follow=True)
        assert "Say why" in self.shown(answer)
        answer = self.ada.post("/rules/new-business/2/publish/", {"note": "Better", "seen": "x"}, follow=True)
        assert "look at what it would change first" in self.shown(answer)
        assert not Job.objects.filter(state="queued").exists()

    def test_hands_the_work_to_a_job(self) -> None:
        seen = rules.diff(version=self.version, at=NOW).seen
        answer = self.post("/rules/new-business/2/publish/", note="Fewer", seen=seen)
        assert answer["Location"] == "/rules/new-business/"
        assert "is going live" in self.shown(self.ada.get("/rules/new-business/"))
        self.post("/rules/new-business/cancel/")
        assert Job.objects.get(arguments__note="Fewer").state == "stopped"

    def test_has_the_history_of_new_signals_read_first(self) -> None:
        version = self.draft(RULES.replace("Report Exported", "Never Seen"))
        page = self.shown(self.ada.get(f"/rules/new-business/{version.number}/compare/"))
        assert "It cannot be compared yet" in page
        self.post(f"/rules/new-business/{version.number}/prepare/")
        assert Job.objects.get(kind="prepare").state == "queued"
