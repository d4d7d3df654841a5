"""What the Sources page tells a customer to paste, pasted: it runs as it stands, and the event is there."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from pqlapp.desk.snippets import Snippet, snippets
from tests.sdks import SCRIPTS, Wire

DOCS = Path(__file__).parents[2] / "docs" / "sdks"
SHOWN = snippets(address="https://pql.example.com", key="wk_…")
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
# How a program that ends at once sends what waits; one that runs on need not. The others send at once.
LAST_LINE = {
    ("Segment", "Python"): "analytics.shutdown()",
    ("RudderStack", "Python"): "analytics.join()",
    ("PostHog", "Python"): "posthog.shutdown()",
    ("Amplitude", "Python"): "amplitude.shutdown()",
    ("Segment", "Node"): "await analytics.closeAndFlush();",
    ("RudderStack", "Node"): "await analytics.flush();",
    ("PostHog", "Node"): "await posthog.shutdown();",
    ("Amplitude", "Node"): "await amplitude.flush().promise;",
}
# A page has no bundler: what its script imports, and the file that has it: a module, or a script and its name for it.
MODULES = {
    "posthog-js": "posthog-js/dist/module.js",
    "mixpanel-browser": "mixpanel-browser/dist/mixpanel.module.js",
}
GLOBALS = {
    "@segment/analytics-next": (
        "@segment/analytics-next/dist/umd/index.js",
        "export const { AnalyticsBrowser } = window.AnalyticsNext;",
    ),
    "@rudderstack/analytics-js/bundled": (
        "@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js",
        "export const { RudderAnalytics } = window.rudderanalytics;",
    ),
    "@amplitude/analytics-browser": (
        "@amplitude/analytics-browser/lib/scripts/amplitude-min.umd.js",
        "export const { init, setGroup, track } = window.amplitude;",
    ),
}
PASTE = """([imports, code]) => {
    for (const [type, text] of [["importmap", JSON.stringify({imports})], ["module", code]])
        document.head.append(Object.assign(document.createElement("script"), {type, textContent: text}));
}"""
NO_ROBOT = "Object.defineProperty(navigator, 'webdriver', {get: () => false})"  # to which posthog-js says nothing
Until = Callable[..., None]


def of(language: str) -> list[Any]:
    return [
        pytest.param(each.family, id=each.family)
        for each in snippets(address="http://localhost", key="key")
        if each.language == language
    ]


@pytest.fixture
def code(wire: Wire) -> Callable[[str, str], str]:
    """Return a function that gives the lines for this server and its key."""
    made = {(each.family, each.language): each.code for each in snippets(address=wire.url, key=wire.key)}
    return lambda family, language: made[family, language]


@pytest.fixture
def seen(wire: Wire, until: Until) -> Iterator[Callable[[], None]]:
    """Return an assertion that the event of the snippet is stored, once, for its user and its account."""

    def check() -> None:
        until(lambda: wire.names()["Report Built"], what="the event")
        event = wire.event("Report Built")
        assert event.identity is not None and "ann" in wire.ids(event.identity.value)
        assert wire.user("ann").known
        # Amplitude's browser says once that the user is of the account, and nothing of it in other events.
        until(lambda: (event.account or wire.user("ann").home).external_id == "acme", what="the account")

    yield check
    wire.flaky.wait_until_idle()


def run(command: list[str], code: str, **more: str) -> None:
    done = subprocess.run(
        [*command, code],
        cwd=SCRIPTS,
        env={"PATH": os.environ["PATH"], **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class TestRun:
    @pytest.mark.parametrize("family", of("Python"))
    def test_in_python(self, code: Callable[[str, str], str], seen: Callable[[], None], family: str) -> None:
        names: dict[str, Any] = {}
        exec(code(family, "Python"), names)  # noqa: S102 - as a customer would
        exec(LAST_LINE.get((family, "Python"), ""), names)  # noqa: S102
        seen()

    @pytest.mark.usefixtures("node")
    @pytest.mark.parametrize("family", of("Node"))
    def test_in_node(self, code: Callable[[str, str], str], seen: Callable[[], None], family: str) -> None:
        last = LAST_LINE.get((family, "Node"), "")
        run(["node", "--input-type=module", "--eval"], f"{code(family, 'Node')}\n{last}")
        seen()

    @pytest.mark.parametrize("family", of("browser"))
    def test_in_a_browser(
        self, shop: Callable[..., Page], code: Callable[[str, str], str], seen: Callable[[], None], family: str
    ) -> None:
        text = code(family, "browser")
        name = next(name for name in (*MODULES, *GLOBALS) if f'from "{name}"' in text)
        script, module = GLOBALS.get(name, ("", ""))
        page = shop(*filter(None, [script]), user_agent=AGENT)
        page.evaluate(NO_ROBOT)
        page.evaluate(
            PASTE, [{name: f"data:text/javascript,{module}" if module else f"/node_modules/{MODULES[name]}"}, text]
        )
        seen()

    @pytest.mark.skipif(not shutil.which("curl"), reason="no curl on PATH")
    @pytest.mark.parametrize("family", of("curl"))
    def test_in_a_shell(self, code: Callable[[str, str], str], seen: Callable[[], None], family: str) -> None:
        run(["sh", "-c"], code(family, "curl"))
        seen()


class TestDocs:
    @pytest.mark.parametrize("snippet", SHOWN, ids=lambda each: f"{each.family} {each.language}")
    def test_say_the_same(self, snippet: Snippet) -> None:
        page = "native" if snippet.family == "Any" else snippet.family.lower()
        assert snippet.code in (DOCS / f"{page}.md").read_text()

    def test_every_library_of_the_tests_has_its_lines(self) -> None:
        families = {(each.family, each.language) for each in SHOWN}
        vendors = ("Segment", "RudderStack", "PostHog", "Mixpanel", "Amplitude")
        assert families >= {(vendor, language) for vendor in vendors for language in ("Python", "Node", "browser")}
