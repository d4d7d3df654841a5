"""The desk in a real browser: by keyboard, without JavaScript, at three widths, for everybody."""

import json
import urllib.request
from collections.abc import Callable
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from routing import leads
from scoring import tasks
from scoring.models import Job
from tests.pqlapp.desk_world import NOW, Team, account, lead_of

pytest_plugins = ("tests.browser.visits",)
Visit = Callable[..., Page]
WIDTHS = (320, 360, 768, 1440)
TOO_SMALL = """[...document.querySelectorAll("button, summary, select, input")]
    .map(each => [each, (each.closest("label") ?? each).getBoundingClientRect(), getComputedStyle(each).visibility])
    .filter(([, box, visibility]) => visibility === "visible" && box.width && box.height)
    .filter(([, box]) => Math.min(box.width, box.height) < 24)
    .map(([each, box]) => `${each.outerHTML.slice(0, 200)} of ${box.width} by ${box.height}`)"""


def pages() -> list[str]:
    acme = lead_of("acme")
    leads = ["/", "/?tab=closed", "/?ae=unassigned", f"/leads/{acme.pk}/", f"/accounts/{acme.account_id}/", "/team/"]
    leads += [f"/time/{acme.ae_id}/", "/roster/", "/roster/?weeks=4"]
    rules = ["/rules/", "/rules/new-business/", "/rules/new-business/1/", "/rules/new-business/1/?view=yaml"]
    return [
        *leads,
        "/simulations/",
        "/sources/",
        "/sources/web/",
        *rules,
        "/rules/new-business/1/compare/",
        "/rules/-/new/",
    ]


def on_row(page: Page, name: str) -> None:
    """The keyboard is on this lead's row."""
    expect(page.locator(".row", has_text=name).locator(".open")).to_be_focused()


class TestByKeyboard:
    def test_a_lead_is_accepted_and_the_next_one_is_at_hand(self, visit: Visit, team: Team) -> None:
        page = visit("mia", by_form=True)
        page.keyboard.press("j")
        on_row(page, "Acme & Sons")
        page.keyboard.press("a")
        expect(page.get_by_role("status")).to_contain_text("Acme & Sons accepted for Ann")
        expect(page.locator(".row")).to_have_count(1)
        on_row(page, "hooli")
        expect(page.locator("header.bar")).to_have_count(1)  # a fragment was swapped in, not a page
        assert lead_of("acme").stage == "sql"

    def test_snooze_and_disqualify_ask_first(self, visit: Visit, team: Team) -> None:
        page = visit("mia")
        page.keyboard.press("j")
        page.keyboard.press("s")
        expect(page.get_by_role("dialog", name="Snooze Acme & Sons")).to_be_visible()
        page.keyboard.press("Tab")  # past the new signal
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # 3 days
        expect(page.get_by_role("status")).to_contain_text("comes back on 13 Mar")
        on_row(page, "hooli")
        page.keyboard.press("x")
        page.get_by_role("dialog").get_by_role("button", name="Disqualify").click()
        expect(page.get_by_role("status")).to_contain_text("hooli disqualified")
        expect(page.get_by_role("heading", name="Nothing to do")).to_be_visible()
        assert (lead_of("acme").state, lead_of("hooli").closed_as) == ("snoozed", "disqualified")

    def test_what_was_done_is_undone_by_a_key(self, visit: Visit, team: Team) -> None:
        page = visit("mia")
        page.keyboard.press("j")
        page.keyboard.press("a")
        expect(page.get_by_role("status")).to_contain_text("accepted")
        page.keyboard.press("u")
        expect(page.get_by_role("status")).to_contain_text("Acme & Sons is as it was before")
        assert (lead_of("acme").stage, lead_of("acme").first_touched_at) == ("pql", None)

    def test_a_lead_that_is_gone_meanwhile_is_told(self, visit: Visit, team: Team) -> None:
        page = visit("ann")
        page.keyboard.press("j")
        leads.reassign(lead=lead_of("acme"), to=team.ben, by=None, at=NOW)
        page.keyboard.press("a")
        expect(page.get_by_role("status")).to_contain_text("may be out of date")
        assert lead_of("acme").stage == "pql"

    def test_enter_opens_a_lead_and_its_keys_unfold_the_forms(self, visit: Visit, team: Team) -> None:
        page = visit("ann")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Acme & Sons")).to_be_visible()
        page.wait_for_load_state()  # a heading may be seen before the script that listens to keys has run
        page.keyboard.press("x")
        expect(page.get_by_label("Why", exact=True).first).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#disqualify")).not_to_have_attribute("open", "")
        page.keyboard.press("a")
        expect(page.get_by_role("status")).to_contain_text("it is yours to work")
        expect(page.locator("#accept")).to_have_count(0)
        page.keyboard.press("q")
        page.wait_for_url("**/")

    def test_keys_are_letters_while_one_types_and_nothing_when_switched_off(self, visit: Visit, team: Team) -> None:
        page = visit("ann")
        page.keyboard.press("/")
        page.keyboard.type("sonsjax?")
        expect(page.locator("#q")).to_have_value("sonsjax?")
        expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
        page.fill("#q", "sons")
        expect(page.locator(".row")).to_have_count(1)
        page.locator(".menu summary").click()
        page.get_by_role("button", name="Off").click()
        page.keyboard.press("j")
        page.keyboard.press("?")
        expect(page.locator("#help")).not_to_be_visible()
        expect(page.locator(".row .open")).not_to_be_focused()
        assert lead_of("acme").stage == "pql"


class TestWithoutJavaScript:
    def test_a_lead_is_accepted_snoozed_and_won(self, visit: Visit, team: Team) -> None:
        page = visit("ann", by_form=True, java_script_enabled=False)
        page.locator(".row").hover()
        page.get_by_role("button", name="Accept").click()
        page.get_by_role("link", name="Accepted 1").click()
        page.get_by_role("link", name="Acme & Sons", exact=True).click()
        page.get_by_text("Snooze…").click()
        page.get_by_role("button", name="1 week").click()
        assert "comes back on 17 Mar" in page.inner_text("#messages")
        page.get_by_role("button", name="Wake now").click()
        page.get_by_text("Won…").click()
        page.fill("#amount", "900")
        page.get_by_role("button", name="Won").click()
        assert "Well done" in page.inner_text("#messages")
        assert lead_of("acme").closed_as == "won"

    def test_the_theme_is_switched(self, visit: Visit, team: Team) -> None:
        page = visit("ann", java_script_enabled=False)
        page.locator(".menu summary").click()
        page.get_by_role("button", name="Dark").click()
        assert page.locator("html").get_attribute("data-theme") == "dark"


class TestSources:
    def test_the_first_event_appears_by_itself(self, visit: Visit, team: Team, live_server: LiveServer) -> None:
        page = visit("ada")
        page.goto("/sources/")
        page.get_by_label("Name of a new source").fill("mobile-app")
        page.get_by_role("button", name="New source").click()
        expect(page.get_by_text("Waiting for your first event")).to_be_visible()
        page.get_by_role("button", name="New key").click()
        key = page.get_by_label("The key", exact=True).input_value()
        assert f'Authorization: Bearer {key}"' in page.get_by_role("group", name="Any in curl").inner_text()
        send(live_server, key, {"event": "Hello", "user": "ann", "account": "acme"}, {"event": "Bye"})
        expect(page.get_by_role("status")).to_contain_text("Your first event is here.")
        expect(page.get_by_role("row", name="Hello ann acme")).to_contain_text("accepted")
        expect(page.get_by_role("row", name="Bye")).to_contain_text("an item needs a user")
        page.get_by_text("A sample").click()
        expect(page.get_by_text('{"event":"Bye"}')).to_be_visible()
        send(live_server, key, {"event": "Again", "user": "ann"})
        expect(page.get_by_role("row", name="Again ann")).to_be_visible()
        expect(page.get_by_text('{"event":"Bye"}')).to_be_visible()  # it was not folded up by what came

    def test_without_javascript_keys_are_made_and_revoked(self, visit: Visit, team: Team) -> None:
        page = visit("ada", java_script_enabled=False)
        page.goto("/sources/web/")
        page.get_by_role("button", name="New key").click()
        assert page.get_by_label("The key", exact=True).input_value().startswith("wk_")
        page.get_by_text("Revoke…", exact=True).click()
        page.get_by_role("button", name="Revoke").click()
        assert "is revoked" in page.inner_text("#messages")
        assert page.get_by_text("Revoke…", exact=True).count() == 0


def send(server: LiveServer, key: str, *items: dict[str, str]) -> None:
    """Post events as a sender does."""
    headers = {"Authorization": f"Bearer {key}"}
    body = json.dumps({"events": items}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/api/v1/events", body, headers)) as answer:
        assert answer.status == 200


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")


def too_wide(page: Page) -> list[str]:
    """What is wider than the screen, at each width."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        if (over := page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
            found.append(f"{over} px too wide at {width}")
    return found


def too_small(page: Page) -> list[str]:
    """Targets that a thumb cannot hit."""
    page.set_viewport_size({"width": 360, "height": 800})
    return [f"too small a target: {each}" for each in page.evaluate(TOO_SMALL)]


def found_by_axe(page: Page, *rules: str) -> list[str]:
    """What axe finds against its rules; against these only, if some are named."""
    only = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
    found = Axe().run(page, options={"resultTypes": ["violations"], **only})
    return [found.generate_report()] if found.violations_count else []


def shine(page: Page, theme: Literal["light", "dark"]) -> None:
    """Switch the theme; no colour may be on its way from one to the other."""
    page.emulate_media(color_scheme=theme)
    page.evaluate("document.getAnimations().forEach(each => each.cancel())")


def found_in_both_themes(page: Page) -> list[str]:
    """What axe finds in light, and among the colours of dark."""
    shine(page, "light")
    light = found_by_axe(page)
    shine(page, "dark")
    return [*light, *(f"dark: {each}" for each in found_by_axe(page, "color-contrast"))]


class TestForEverybody:
    def test_pages_fit_their_screens_are_easy_to_hit_and_please_axe(self, visit: Visit, team: Team) -> None:
        page, faults = visit("ada"), []
        for where in pages():
            page.goto(where)
            unfold(page)
            faults += [f"{where}: {each}" for each in (*too_wide(page), *too_small(page), *found_in_both_themes(page))]
        assert faults == []

    def test_a_backtest_is_asked_for_and_read_by_keyboard_and_pleases_axe(self, visit: Visit, team: Team) -> None:
        page = visit("ada")
        page.goto("/backtests/")
        faults = [*too_wide(page), *found_in_both_themes(page)]
        page.get_by_label("Days within which").press("Enter")
        page.wait_for_url("**/backtests/*/")
        assert tasks.carry_on(job=Job.objects.latest("id")).state == Job.State.DONE
        page.reload()
        expect(page.get_by_role("img", name="New PQLs by week")).to_be_visible()
        unfold(page)
        faults += [*too_wide(page), *too_small(page), *found_in_both_themes(page)]
        assert faults == []

    def test_axe_finds_nothing_in_dialogs(self, visit: Visit, team: Team) -> None:
        page, faults = visit("ada"), []
        for key in ("s", "x", "?"):
            page.keyboard.press("j")
            page.keyboard.press(key)
            expect(page.get_by_role("dialog")).to_be_visible()
            faults += [f"dialog of {key}: {each}" for each in found_in_both_themes(page)]
            page.keyboard.press("Escape")
        assert faults == []

    def test_an_account_page_opens_from_its_lead(self, visit: Visit, team: Team) -> None:
        page = visit("ann")
        page.goto(f"/leads/{lead_of('acme').pk}/")
        page.get_by_role("link", name="Account page").click()
        page.wait_for_url(f"**/accounts/{account('acme').pk}/")
        expect(page.get_by_role("heading", name="How the score came about")).to_be_visible()
