"""PostHog's library for browsers, on a page of another origin in Chromium."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page

from scoring.models import ProductUser
from tests.pqlapp.sdk.posthog_story import ACCOUNT_TRAITS, FILE, ONCE, TRAITS
from tests.sdks import Wire

LOAD = """async ([key, options]) => {
    const {default: posthog} = await import("/node_modules/posthog-js/dist/module.js");
    window.posthog = posthog;
    window.failures = [];
    window.flags = null;
    posthog.onFeatureFlags((names, variants, context) => { window.flags = [names, context?.errorsLoading ?? false] });
    posthog.init(key, {
        opt_out_useragent_filter: true,  // or a headless browser would be a bot, and say nothing at all
        request_queue_config: {flush_interval_ms: 250},
        on_request_error: answer => failures.push(answer.statusCode),
        capture_pageview: false,
        capture_pageleave: false,
        ...options,
    });
}"""
TELL = """([traits, once, accountTraits, file]) => {
    const visitor = posthog.get_distinct_id();
    posthog.capture("$pageview");
    posthog.identify("ann", traits, once);
    posthog.alias("anon-2");
    posthog.group("company", "acme", accountTraits);
    posthog.capture("File Uploaded", file);
    return visitor;
}"""
Load = Callable[..., Page]
Until = Callable[..., None]


@pytest.fixture
def load(shop: Callable[..., Page], wire: Wire, until: Until) -> Load:
    """Return a function that opens a page with the library, when it has its settings and flags."""

    def loaded(key: str | None = None, **options: Any) -> Page:
        page = shop(user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36")
        page.evaluate(LOAD, [key or wire.key, {"api_host": wire.url, **options}])
        until(lambda: page.evaluate("window.flags") is not None, what="asking for flags")
        return page

    return loaded


def tell(page: Page) -> str:
    """Tell the story, and return the id that the visitor had before."""
    return str(page.evaluate(TELL, [TRAITS, ONCE, ACCOUNT_TRAITS, FILE]))


def check(wire: Wire, visitor: str) -> None:
    """Assert that the story was stored, each call once."""
    assert wire.names() == {"$page": 1, "$identify": 1, "$alias": 1, "$group": 1, "File Uploaded": 1}
    assert wire.ids("ann") == {visitor, "ann", "anon-2"}
    assert (wire.user("ann").known, wire.account("ann")) == (True, ("group", "acme"))
    assert ProductUser.objects.filter(merged_into=None).count() == 1
    assert wire.user_traits("ann").items() >= {**TRAITS, **ONCE}.items()
    assert wire.account_traits("acme") == ACCOUNT_TRAITS
    page, upload = wire.event("$page").properties, wire.event("File Uploaded")
    assert page["path"] == "/" and page["url"] == page["$current_url"]
    assert {name: upload.properties[name] for name in FILE} == FILE
    assert "token" not in upload.properties
    assert upload.account is not None and upload.account.external_id == "acme"
    assert all(abs((event.received_at - event.at).total_seconds()) < 60 for event in wire.events())


def capture(page: Page, name: str, properties: dict[str, Any] | None = None) -> None:
    page.evaluate("([name, properties]) => void posthog.capture(name, properties)", [name, properties])


class TestTheStory:
    @pytest.mark.parametrize("compressed", [True, False], ids=["gzip", "plain"])
    def test_one_host_name_is_enough(self, load: Load, wire: Wire, until: Until, compressed: bool):
        page = load(disable_compression=not compressed)
        visitor = tell(page)
        until(lambda: len(wire.events()) >= 5)
        wire.flaky.wait_until_idle()
        check(wire, visitor)
        assert page.evaluate("[failures, flags]") == [[], [[], False]]
        posted = [sent for sent in wire.flaky.sent if sent.method == "POST" and sent.path.startswith("/i/v0/e/")]
        types = {sent.headers["content-type"] for sent in posted}
        assert types == {"text/plain" if compressed else "application/json"}
        assert {sent.status for sent in wire.flaky.sent} <= {200, 204}

    def test_after_a_reset_it_is_somebody_else(self, load: Load, wire: Wire, until: Until):
        page = load()
        tell(page)
        page.evaluate("posthog.reset()")
        capture(page, "Landed")
        until(lambda: wire.names()["Landed"] == 1)
        landed = wire.event("Landed").identity
        assert landed is not None and landed.value not in wire.ids("ann")
        assert not wire.user(landed.value).known
        assert landed.user.home.kind == "visitor"

    def test_clicks_are_captured_by_themselves(self, load: Load, wire: Wire, until: Until):
        page = load()
        page.evaluate("document.body.append(Object.assign(document.createElement('button'), {innerText: 'Invite'}))")
        page.click("button")
        until(lambda: wire.names()["$autocapture"] == 1)
        assert wire.event("$autocapture").properties["$event_type"] == "click"

    def test_a_bot_says_so(self, shop: Callable[..., Page], wire: Wire, until: Until):
        page = shop(user_agent="Mozilla/5.0 (compatible; Googlebot/2.1)")
        page.evaluate(LOAD, [wire.key, {"api_host": wire.url}])
        capture(page, "Crawled")
        until(lambda: wire.names()["Crawled"] == 1)
        assert wire.event("Crawled").properties["$browser_type"] == "bot"


class TestLeavingThePage:
    @pytest.mark.parametrize("compressed", [True, False], ids=["gzip", "base64"])
    def test_what_waited_goes_by_beacon(self, load: Load, wire: Wire, until: Until, compressed: bool):
        page = load(disable_compression=not compressed, request_queue_config={"flush_interval_ms": 5000})
        capture(page, "Almost", {"text": "naïve 🎉"})
        page.goto("about:blank")
        until(lambda: wire.names()["Almost"] == 1)
        wire.flaky.wait_until_idle()
        assert wire.event("Almost").properties["text"] == "naïve 🎉"
        (beacon,) = (
            sent for sent in wire.flaky.sent if sent.headers.get("sec-fetch-mode") == "no-cors" and "/e/" in sent.path
        )
        assert beacon.status == 200
        if not compressed:
            assert "compression=base64" in beacon.path


class TestAnswers:
    @pytest.mark.parametrize("stored", [False, True])
    def test_a_gateway_that_fails_costs_nothing(self, load: Load, wire: Wire, until: Until, stored: bool):
        page = load()
        wire.flaky.fail(stored=stored, on="^POST /i/v0/e/")
        capture(page, "Invited")
        until(lambda: 200 in wire.flaky.posts("/i/v0/e/"))
        assert wire.flaky.posts("/i/v0/e/") == [500, 200]
        assert wire.names() == {"Invited": 1}
        assert "retry_count=1" in wire.flaky.sent[-1].path

    def test_the_door_is_heard_when_it_asks_for_a_pause(  # by 503: what gets a 429 the library forgets
        self, load: Load, wire: Wire, until: Until, refuse: Callable[..., None]
    ):
        page = load()
        page.clock.install()
        refuse(status=429, retry_after="60")
        capture(page, "Invited")
        until(lambda: wire.flaky.posts("/i/v0/e/") == [503])
        page.clock.pause_at(
            datetime.fromtimestamp(page.evaluate("Date.now()") / 1000 + 1, UTC)
        )  # else it goes on by itself
        page.clock.run_for(30_000)  # milliseconds: by itself it would come again after 3 to 6 seconds
        wire.flaky.wait_until_idle()
        assert (wire.flaky.posts("/i/v0/e/"), wire.events()) == ([503], [])
        page.clock.run_for(60_000)
        until(lambda: 200 in wire.flaky.posts("/i/v0/e/"))
        assert (wire.flaky.posts("/i/v0/e/"), wire.names()) == ([503, 200], {"Invited": 1})

    def test_a_success_is_not_sent_again(self, load: Load, wire: Wire, until: Until):
        page = load()
        for name in ("First", "Second", "Third"):
            capture(page, name)
            until(lambda name=name: wire.names()[name] == 1)
        assert set(wire.flaky.posts("/i/v0/e/")) == {200}
        assert not any("retry_count" in sent.path for sent in wire.flaky.sent)

    def test_a_wrong_key_is_told_and_the_page_goes_on(self, load: Load, wire: Wire, until: Until):
        page = load("phc_wrong")
        capture(page, "Invited")
        until(lambda: page.evaluate("failures.length"))
        assert page.evaluate("failures") == [401]
        assert (wire.flaky.posts("/i/v0/e/"), wire.events()) == ([401], [])

    def test_a_bad_event_keeps_no_good_one_out_and_is_not_sent_again(self, load: Load, wire: Wire, until: Until):
        page = load()
        capture(page, "Exported", {"text": "nul \0"})
        capture(page, "Invited")
        until(lambda: wire.names() == {"Invited": 1})
        wire.flaky.wait_until_idle()
        assert set(wire.flaky.posts("/i/v0/e/")) == {200}
        assert page.evaluate("failures") == []
