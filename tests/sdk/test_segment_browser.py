"""Segment's library for browsers, on a page of another origin in Chromium."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.pqlapp.sdk import segment_story
from tests.pqlapp.sdk.segment_story import ACCOUNT_TRAITS, FILE, TRAITS
from tests.sdks import Wire

LIBRARY = "@segment/analytics-next/dist/umd/index.js"
LOAD = """async ([settings, options]) => {
    window.failures = [];
    const [analytics] = await AnalyticsNext.AnalyticsBrowser.load(settings, options);
    window.analytics = analytics;
    analytics.on("error", ({code, reason}) => failures.push([code, String(reason?.message ?? reason)]));
}"""
TELL = """async ([traits, accountTraits, file]) => {
    analytics.setAnonymousId("anon-1");
    await analytics.page("Docs", "Pricing", {path: "/pricing"});
    await analytics.identify("ann", traits);
    await analytics.alias("ann", "anon-2");
    await analytics.group("acme", accountTraits);
    await analytics.screen("Docs", "Home", {dark: true});
    await analytics.track("File Uploaded", file, {context: {groupId: "globex"}});
}"""
BATCHING = {"strategy": "batching", "config": {"size": 2, "timeout": 100}}
# Two calls are one batch however slow the machine is: it waits longer for the second than any test does.
TOGETHER = {"strategy": "batching", "config": {"size": 2, "timeout": 600_000}}
Load = Callable[..., Page]
Until = Callable[..., None]


@pytest.fixture
def load(shop: Callable[..., Page], wire: Wire) -> Load:
    """Return a function that opens a page with the library, which finds its settings at our server.

    `home` are settings of the integration with Segment, which here are ours.
    """

    def loaded(key: str | None = None, **home: Any) -> Page:
        page = shop(LIBRARY)
        settings = {"writeKey": key or wire.key, "cdnURL": wire.url}
        page.evaluate(LOAD, [settings, {"integrations": {"Segment.io": home}}])
        return page

    return loaded


def tell(page: Page) -> None:
    page.evaluate(TELL, [TRAITS, ACCOUNT_TRAITS, FILE])


def track(page: Page, name: str, properties: dict[str, Any] | None = None) -> None:
    page.evaluate("([name, properties]) => void analytics.track(name, properties)", [name, properties])


class TestTheStory:
    def test_one_host_name_is_enough(self, load: Load, wire: Wire):
        page = load()
        tell(page)
        wire.flaky.wait_until_idle()
        segment_story.check(wire, dated=False)
        paths = Counter(str(sent) for sent in wire.flaky.sent if sent.method != "OPTIONS")
        letters = Counter(f"POST /v1/{letter}" for letter in "pigast")
        assert paths == letters + Counter([f"GET /v1/projects/{wire.key}/settings"])
        assert page.evaluate("failures") == []

    def test_in_batches(self, load: Load, wire: Wire, until: Until):
        page = load(deliveryStrategy={"strategy": "batching", "config": {"size": 4, "timeout": 200}})
        tell(page)
        until(lambda: len(wire.events()) == 6)
        segment_story.check(wire, dated=False)
        assert set(wire.flaky.posts()) == {200}
        assert wire.flaky.posts() == wire.flaky.posts("/v1/b")

    def test_without_our_settings(self, shop: Callable[..., Page], wire: Wire):
        page = shop(LIBRARY)
        host = wire.url.removeprefix("http://")
        home = {"apiKey": wire.key, "apiHost": f"{host}/v1", "protocol": "http"}
        settings = {"writeKey": wire.key, "cdnSettings": {"integrations": {"Segment.io": home}}}
        page.evaluate(LOAD, [settings, {}])
        tell(page)
        wire.flaky.wait_until_idle()
        segment_story.check(wire, dated=False)

    def test_the_page_is_asked_for_its_key_before_each_kind_of_call(self, load: Load, wire: Wire):
        tell(load())
        asked = [sent for sent in wire.flaky.sent if sent.method == "OPTIONS"]
        assert {sent.status for sent in asked} == {204}
        assert all("authorization" in sent.headers["access-control-request-headers"] for sent in asked)


class TestAnswers:
    @pytest.mark.parametrize("batching", [False, True], ids=["alone", "batched"])
    @pytest.mark.parametrize("stored", [False, True])
    def test_a_gateway_that_fails_costs_nothing(
        self, load: Load, wire: Wire, until: Until, stored: bool, batching: bool
    ):
        page = load(**({"deliveryStrategy": BATCHING} if batching else {}))
        wire.flaky.fail(2, stored=stored)
        track(page, "Invited")
        until(lambda: 200 in wire.flaky.posts())
        assert wire.names() == {"Invited": 1}
        assert wire.flaky.posts() == [500, 500, 200]
        counts = [sent.headers.get("x-retry-count") for sent in wire.flaky.sent if sent.method == "POST"]
        assert counts[1:] == ["1", "2"]

    def test_the_door_is_heard_when_it_asks_for_a_pause(
        self, load: Load, wire: Wire, until: Until, refuse: Callable[..., None]
    ):
        page = load()
        refuse(status=429, retry_after="2")
        track(page, "Invited")
        until(lambda: 200 in wire.flaky.posts())
        assert (wire.flaky.posts(), wire.names()) == ([429, 200], {"Invited": 1})
        first, second = (sent.at for sent in wire.flaky.sent if sent.method == "POST")
        assert second - first > 1.5  # seconds: without the exposed header it comes back after 0.4

    def test_a_wrong_key_is_told_and_nothing_is_tried_again(self, load: Load, wire: Wire, until: Until):
        page = load("pql_write_wrong")
        track(page, "Invited")
        until(lambda: page.evaluate("failures.length"))
        assert (wire.flaky.posts(), wire.events()) == ([401], [])

    @pytest.mark.parametrize("batching", [False, True], ids=["alone", "batched"])
    def test_a_bad_call_is_not_sent_again(self, load: Load, wire: Wire, until: Until, batching: bool):
        page = load(**({"deliveryStrategy": TOGETHER} if batching else {}))
        track(page, "Exported", {"text": "nul \0"})
        track(page, "Invited")
        until(lambda: wire.names() == {"Invited": 1})
        until(lambda: sorted(wire.flaky.posts()) == ([200] if batching else [200, 400]))


class TestOther:
    @pytest.mark.parametrize("batching", [False, True], ids=["alone", "batched"])
    def test_a_clock_that_is_a_year_fast_is_put_right(self, load: Load, wire: Wire, until: Until, batching: bool):
        page = load(**({"deliveryStrategy": BATCHING} if batching else {}))
        page.clock.install(time=datetime.now(UTC) + timedelta(days=365))
        track(page, "Invited")
        page.clock.run_for(200)  # milliseconds: a batch waits for its fellows
        until(lambda: wire.names() == {"Invited": 1})
        invited = wire.event("Invited")
        assert abs(invited.received_at - invited.at) < timedelta(minutes=5)

    def test_what_waits_in_a_batch_comes_when_the_page_is_left(self, load: Load, wire: Wire, until: Until):
        page = load(deliveryStrategy={"strategy": "batching", "config": {"size": 2, "timeout": 600_000}})
        track(page, "Invited")
        track(page, "Invited")
        until(lambda: len(wire.events()) == 2)  # and the browser knows from now on that it may send here
        page.evaluate("async () => void (await analytics.track('Uploaded'))")  # it is in the batch
        page.goto("about:blank")
        until(lambda: wire.names() == {"Invited": 2, "Uploaded": 1})

    def test_what_the_library_says_of_itself_is_taken_and_forgotten(self, shop: Callable[..., Page], wire: Wire):
        post = "url => fetch(url, {method: 'POST', body: '{\"series\": []}'}).then(answer => answer.json())"
        assert shop().evaluate(post, f"{wire.url}/v1/m") == {"success": True}

    def test_the_library_is_not_here_and_the_answer_says_where_it_is(self, shop: Callable[..., Page], wire: Wire):
        ask = "url => fetch(url).then(async answer => [answer.status, (await answer.json()).message])"
        status, message = shop().evaluate(ask, f"{wire.url}/analytics.js/v1/{wire.key}/analytics.min.js")
        assert status == 404
        assert "npm install @segment/analytics-next" in message
