"""The editor of rules in a real browser: with the mouse, by keyboard alone, and without JavaScript."""

import re
from collections.abc import Callable

from playwright.sync_api import Dialog, Locator, Page, expect

from scoring import jobs, rules
from scoring.models import Job, RuleSet, RuleVersion
from tests.pqlapp.desk_world import NOW, Team

pytest_plugins = ("tests.browser.visits",)
Visit = Callable[..., Page]
EDITOR = "/rules/new-business/1/"


def opened(visit: Visit, **options: object) -> Page:
    page = visit("ada", **options)
    page.goto(EDITOR)
    return page


def threshold(page: Page) -> Locator:
    return page.get_by_label("Rule 4, when: value")


def carry_on() -> None:
    """Do what a worker does with the publication."""
    job = jobs.claim(job=Job.objects.filter(kind=rules.PUBLISH).latest("id"), at=NOW)
    assert job
    rules.run_publish(job=job, clock=lambda: NOW)


def tab_to(page: Page, target: Locator, *, key: str = "Tab") -> None:
    """Press a key until the target has the focus."""
    for _ in range(400):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{target} cannot be reached by {key}")


def wait_for(page: Page, holds: Callable[[], bool]) -> None:
    """Let the browser work until it holds."""
    for _ in range(600):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("that never happened")


def choose(page: Page, select: Locator, words: str) -> None:
    """Choose by typing. Slow keys are taken for the beginnings of several words: then once more."""
    for _ in range(10):
        tab_to(page, select)
        page.keyboard.type(words)
        if select.evaluate("element => element.selectedOptions[0].text").startswith(words):
            return
        page.wait_for_timeout(1_500)  # milliseconds, after which a browser has forgotten what was typed
    raise AssertionError(f"{select} has no {words}")


class TestTheMainPath:
    def test_from_the_live_definition_to_the_next(self, visit: Visit, team: Team) -> None:
        page = visit("ada")
        page.get_by_role("link", name="Rules").click()
        page.get_by_role("link", name="New business").click()
        page.get_by_role("link", name="Edit the live version").click()
        expect(page.get_by_text("2 accounts today; with 45: 2, with 55: 2")).to_be_visible()
        threshold(page).fill("400")
        expect(page.get_by_text("1 account today; with 380: 1, with 420: 1")).to_be_visible()
        page.get_by_role("button", name="YAML").click()
        expect(page.locator("#yaml")).to_have_value(re_("at_least: 400"))
        page.get_by_role("button", name="Sentences").click()
        expect(threshold(page)).to_have_value("400")
        page.get_by_role("button", name="Save as a new draft").click()
        page.wait_for_url("**/rules/new-business/2/")
        expect(page.get_by_role("status")).to_contain_text("Saved as new-business v2")
        page.get_by_role("link", name="Compare with live, publish").click()
        expect(page.get_by_role("heading", name="Are no PQLs any more: 0")).to_be_visible()
        page.get_by_label("Why").fill("Only the largest")
        page.get_by_role("button", name="Publish version 2").click()
        expect(page.get_by_text("is going live")).to_be_visible()
        carry_on()
        expect(page.get_by_text("Version 2 is live since")).to_be_visible()
        assert RuleSet.objects.get().live_version == RuleVersion.objects.get(number=2)

    def test_is_gone_by_keyboard_alone(self, visit: Visit, team: Team) -> None:
        page = opened(visit)
        tab_to(page, threshold(page))
        page.keyboard.press("Control+A")
        page.keyboard.type("400")
        expect(page.get_by_text("1 account today; with 380: 1, with 420: 1")).to_be_visible()
        tab_to(page, page.get_by_role("button", name="Add a rule that disqualifies"))
        page.keyboard.press("Enter")
        expect(page.get_by_label("Name of rule 5")).to_be_focused()
        page.keyboard.type("Nobody came back")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        expect(page.get_by_label("Rule 5, when: signal")).to_be_focused()
        choose(page, page.get_by_label("Rule 5, when: signal"), "anything")
        choose(page, page.get_by_label("Rule 5, when: kind"), "days since they")
        expect(page.get_by_label("Rule 5, when: days, empty for ever")).to_have_count(0)  # this sentence has no window
        tab_to(page, page.get_by_role("button", name="Move rule 5 up"), key="Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Name of rule 4")).to_have_value("Nobody came back")
        tab_to(page, page.get_by_role("button", name="Save as a new draft"))
        page.keyboard.press("Enter")
        page.wait_for_url("**/rules/new-business/2/")
        saved = RuleVersion.objects.get(number=2).document["rules"]
        assert [rule["id"] for rule in saved][3:] == ["nobody-came-back", "size"]
        assert saved[4]["when"]["at_least"] == 400

    def test_works_without_javascript(self, visit: Visit, team: Team) -> None:
        page = opened(visit, java_script_enabled=False)
        threshold(page).fill("nonsense")
        page.get_by_role("button", name="Add a rule that gives points").click()
        page.get_by_role("button", name="Save as a new draft").click()
        assert "at_least must be a number" in page.inner_text("#all-faults")
        threshold(page).fill("60")
        page.get_by_label("Name of rule 5").fill("They came")
        page.get_by_label("Rule 5, when: signal").select_option("any")
        page.get_by_role("button", name="Save as a new draft").click()
        assert "Saved as new-business v2" in page.inner_text("#messages")


class TestWhileOneWrites:
    def test_faults_come_and_go_at_their_row(self, visit: Visit, team: Team) -> None:
        page = opened(visit)
        row = page.get_by_role("group", name="Rule 4, when", exact=True)
        threshold(page).fill("many")
        expect(row.get_by_text("at_least must be a number, not 'many'")).to_be_visible()
        expect(page.get_by_text("1 thing to put right")).to_be_visible()
        threshold(page).fill("50")
        expect(row.get_by_text("must be a number")).to_have_count(0)
        expect(page.get_by_text("to put right")).to_have_count(0)
        expect(threshold(page)).to_be_focused()  # nothing that is written in is swapped away

    def test_an_event_that_arrived_becomes_a_signal(self, visit: Visit, team: Team) -> None:
        page = opened(visit)
        page.get_by_label("Rule 3, when: signal").select_option("event:File Saved")
        expect(page.get_by_label("Name of signal 4")).to_have_value("file-saved")
        expect(page.get_by_label("Rule 3, when: signal")).to_have_value("file-saved")
        expect(page.get_by_text("never counted so far")).to_be_visible()

    def test_a_property_is_picked_among_real_values(self, visit: Visit, team: Team) -> None:
        page = opened(visit)
        page.get_by_role("button", name="Test a property").last.click()
        page.get_by_label("Signal 3, test 1: property").focus()
        expect(page.locator("#hints-signals-2-where-0-property option").first).to_have_attribute("value", "quota")

    def test_what_is_typed_while_a_sentence_changes_is_kept(self, visit: Visit, team: Team) -> None:
        page = opened(visit)
        held = []
        page.route("**/rules/new-business/1/", lambda route: held.append(route))
        page.get_by_label("Rule 3, when: kind").select_option("trait")
        wait_for(page, lambda: bool(held))
        page.get_by_label("Name of rule 1").fill("They bring friends")  # the answer is on its way
        held[0].continue_()
        expect(page.get_by_label("Rule 3, when: trait")).to_be_visible()
        expect(page.get_by_label("Name of rule 1")).to_have_value("They bring friends")

    def test_leaving_with_unsaved_changes_is_asked_back(self, visit: Visit, team: Team) -> None:
        page = opened(visit)
        asked: list[str] = []

        def stay(dialog: Dialog) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        page.on("dialog", stay)
        threshold(page).fill("60")
        page.get_by_role("link", name="Sources").click(no_wait_after=True)
        wait_for(page, lambda: asked == ["beforeunload"])
        expect(threshold(page)).to_be_visible()
        page.get_by_role("button", name="Save as a new draft").click()
        page.wait_for_url("**/rules/new-business/2/")
        page.get_by_role("link", name="Sources").click()
        page.wait_for_url("**/sources/")
        assert asked == ["beforeunload"]

    def test_a_kind_that_is_chosen_changes_the_sentence(self, visit: Visit, team: Team) -> None:
        page = opened(visit)
        page.get_by_label("Rule 3, when: kind").focus()
        page.get_by_label("Rule 3, when: kind").select_option("trait")
        expect(page.get_by_label("Rule 3, when: trait")).to_be_visible()
        expect(page.get_by_label("Rule 3, when: kind")).to_be_focused()
        page.get_by_role("button", name="Rule 4, when: this or another").click()
        expect(page.get_by_label("Rule 4, when 2: kind")).to_be_visible()


def re_(words: str) -> re.Pattern[str]:
    return re.compile(re.escape(words))
