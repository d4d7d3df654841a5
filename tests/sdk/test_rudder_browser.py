"""RudderStack's library for browsers, on a page of another origin in Chromium."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.pqlapp.sdk import segment_story
from tests.pqlapp.sdk.segment_story import ACCOUNT_TRAITS, FILE, TRAITS
from tests.sdks import Wire

LIBRARY = "@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js"
LOAD = """([key, host, options]) => {
    window.analytics = new rudderanalytics.RudderAnalytics();
    analytics.load(key, host, {configUrl: host, logLevel: "NONE", ...options});
    return new Promise((resolve) => analytics.ready(resolve));
}"""
TELL = """([traits, accountTraits, file]) => {
    analytics.setAnonymousId("anon-1");
    analytics.page("Docs", "Pricing", {path: "/pricing"});
    analytics.identify("ann", traits);
    analytics.alias("ann", "anon-2");
    analytics.group("acme", accountTraits);
    analytics.track("File Uploaded", file, {context: {groupId: "globex"}});
}"""
# It has no screens, and leaves out what is null.
STORY: dict[str, Any] = {
    "names": segment_story.NAMES - Counter(["$screen"]),
    "file": FILE | {"tags": ["a", {}]},
    "dated": False,
}
AT_ONCE = {"minRetryDelay": 200, "timerScaleFactor": 1}
BATCHED = AT_ONCE | {"batch": {"enabled": True, "maxItems": 3, "flushInterval": 200}}
HOUR = 3_600_000  # milliseconds
# What the library keeps to be sent, now or again.
WAITING = """() => Object.entries(localStorage)
    .filter(([name]) => /[.](queue|inProgress|batchQueue)$/.test(name))
    .reduce((sum, [, text]) => sum + Object.keys(JSON.parse(JSON.parse(text))).length, 0)"""
Load = Callable[..., Page]
Until = Callable[..., None]


@pytest.fixture
def load(shop: Callable[..., Page], wire: Wire) -> Load:
    """Return a function that opens a page with the library, ready for calls."""

    def loaded(key: str | None = None, **options: Any) -> Page:
        page = shop(LIBRARY)
        page.evaluate(LOAD, [key or wire.key, wire.url, {"queueOptions": AT_ONCE} | options])
        return page

    return loaded


def track(page: Page, *names: str) -> None:
    page.evaluate("names => names.forEach((name) => analytics.track(name))", list(names))


def waiting(page: Page) -> int:
    return int(page.evaluate(WAITING))


class TestTheStory:
    @pytest.mark.parametrize(
        ("options", "path"),
        [({}, "/v1/"), ({"queueOptions": BATCHED}, "/v1/batch"), ({"useBeacon": True}, "/beacon/v1/batch?writeKey=")],
        ids=["alone", "batched", "beacon"],
    )
    def test_is_stored_once(self, load: Load, wire: Wire, until: Until, options: dict[str, Any], path: str):
        page = load(**options)
        page.evaluate(TELL, [TRAITS, ACCOUNT_TRAITS, FILE])
        if "useBeacon" in options:
            page.goto("about:blank")  # it sends when its page is left
        until(lambda: len(wire.events()) >= 5)
        segment_story.check(wire, **STORY)
        assert set(wire.flaky.posts(path)) == {200}
        assert wire.flaky.posts(path) == wire.flaky.posts()


class TestAnswers:
    @pytest.mark.parametrize("stored", [False, True])
    def test_a_gateway_that_fails_costs_nothing(self, load: Load, wire: Wire, until: Until, stored: bool):
        page = load()
        wire.flaky.fail(2, stored=stored)
        track(page, "Invited")
        until(lambda: 200 in wire.flaky.posts())
        assert (wire.names(), wire.flaky.posts()) == ({"Invited": 1}, [500, 500, 200])

    def test_a_pause_that_the_door_asks_for_costs_nothing(
        self, load: Load, wire: Wire, until: Until, refuse: Callable[..., None]
    ):
        page = load()
        refuse(status=429)
        track(page, "Invited")
        until(lambda: 200 in wire.flaky.posts())
        assert (wire.names(), wire.flaky.posts()) == ({"Invited": 1}, [429, 200])

    @pytest.mark.parametrize("batching", [False, True], ids=["alone", "batched"])
    def test_a_wrong_key_ends_it(self, load: Load, wire: Wire, until: Until, batching: bool):
        page = load("pql_write_wrong", queueOptions=BATCHED if batching else AT_ONCE)
        page.clock.install()
        track(page, "Invited", "Uploaded", "Exported")
        posts = [401] if batching else [401] * 3
        until(lambda: wire.flaky.posts() == posts)
        until(lambda: waiting(page) == 0, what="the library's queue being empty")
        page.clock.run_for(HOUR)
        wire.flaky.wait_until_idle()
        assert (wire.flaky.posts(), wire.events()) == (posts, [])

    def test_the_clock_of_that_test_would_show_a_retry(self, load: Load, wire: Wire, until: Until):
        page = load()
        page.clock.install()
        wire.flaky.fail(3, status=500)
        track(page, "Invited")
        until(lambda: wire.flaky.posts() == [500])
        assert waiting(page) == 1
        page.clock.run_for(HOUR)
        until(lambda: 200 in wire.flaky.posts())

    @pytest.mark.parametrize("batching", [False, True], ids=["alone", "batched"])
    def test_a_bad_call_keeps_no_good_one_out_and_is_not_sent_again(
        self, load: Load, wire: Wire, until: Until, batching: bool
    ):
        page = load(queueOptions=BATCHED if batching else AT_ONCE)
        page.clock.install()
        page.evaluate(
            "['Invited', 'Exported', 'Uploaded'].forEach(n => analytics.track(n, n[0] == 'E' ? {t: '\\0'} : {}))"
        )
        until(lambda: wire.names() == {"Invited": 1, "Uploaded": 1})
        until(lambda: waiting(page) == 0, what="the library's queue being empty")
        page.clock.run_for(HOUR)
        wire.flaky.wait_until_idle()
        assert sorted(wire.flaky.posts()) == ([200] if batching else [200, 200, 400])
