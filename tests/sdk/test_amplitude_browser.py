"""Amplitude's library for browsers, on a page of another origin in Chromium."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.pqlapp.sdk import amplitude_story
from tests.pqlapp.sdk.amplitude_story import ACCOUNT_TRAITS, FILE, NOON, TRAITS
from tests.sdks import Wire

LIBRARY = "@amplitude/analytics-browser/lib/scripts/amplitude-min.umd.js"
QUIET = {
    "autocapture": False,
    "fetchRemoteConfig": False,
    "logLevel": 0,
    "flushIntervalMillis": 50,
    "flushMaxRetries": 6,
}
LOAD = """async ([key, serverUrl, options]) => {
    window.codes = [];
    await amplitude.init(key, {serverUrl, deviceId: "device-1", ...options}).promise;
    window.watch = async (sent) => codes.push((await sent.promise).code);
}"""
TELL = """([traits, accountTraits, file, time]) => {
    function described(properties) {
        const identify = new amplitude.Identify();
        return Object.entries(properties).reduce((all, pair) => all.set(...pair), identify);
    }
    const changes = described(traits).setOnce("source", "ad").unset("trial").add("logins", 2).append("items", "hat");
    amplitude.setUserId("ann");
    watch(amplitude.track("File Uploaded", file, {time, groups: {company: ["acme"]}}));
    watch(amplitude.identify(changes));
    watch(amplitude.setGroup("company", "acme"));
    watch(amplitude.groupIdentify("company", "acme", described(accountTraits)));
    watch(amplitude.revenue(new amplitude.Revenue().setPrice(19.9).setQuantity(3).setProductId("pro")));
}"""
TRACK = "([name, properties]) => void watch(amplitude.track(name, properties))"
Load = Callable[..., Page]
Until = Callable[..., None]


@pytest.fixture
def load(shop: Callable[..., Page], wire: Wire) -> Load:
    """Return a function that opens a page with the library."""

    def loaded(key: str | None = None, **options: Any) -> Page:
        page = shop(LIBRARY)
        page.evaluate(LOAD, [key or wire.key, f"{wire.url}/2/httpapi", QUIET | options])
        return page

    return loaded


class TestTheStory:
    @pytest.mark.parametrize("transport", ["fetch", "xhr"])
    @pytest.mark.parametrize("gzip", [True, False])
    def test_is_stored_once(self, load: Load, wire: Wire, until: Until, transport: str, gzip: bool) -> None:
        page = load(transport=transport, enableRequestBodyCompression=gzip)
        page.evaluate(TELL, [TRAITS, ACCOUNT_TRAITS, {**FILE, "text": "long " * 500}, NOON])
        until(lambda: page.evaluate("codes") == [200] * 5)
        amplitude_story.check(wire)
        assert set(wire.flaky.posts()) == {200}
        # It packs only what has 2 kB.
        encodings = {sent.headers.get("content-encoding") for sent in wire.flaky.sent if sent.method == "POST"}
        assert ("gzip" in encodings) == gzip


class TestAnswers:
    @pytest.mark.parametrize("stored", [False, True])
    def test_a_gateway_that_fails_costs_nothing(self, load: Load, wire: Wire, until: Until, stored: bool) -> None:
        page = load()
        wire.flaky.fail(status=500, stored=stored)
        page.evaluate(TRACK, ["Invited", {}])
        until(lambda: page.evaluate("codes") == [200])
        assert (wire.flaky.posts(), wire.names()) == ([500, 200], {"Invited": 1})

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_door_is_heard_when_it_is_busy(
        self, load: Load, wire: Wire, until: Until, refuse: Callable[..., None], status: int
    ) -> None:
        page = load()
        refuse(status=status)
        page.evaluate(TRACK, ["Invited", {}])
        until(lambda: page.evaluate("codes") == [200])
        assert (wire.flaky.posts(), wire.names()) == ([status, 200], {"Invited": 1})

    def test_a_wrong_key_is_told_and_nothing_is_tried_again(self, load: Load, wire: Wire, until: Until) -> None:
        page = load("nobody")
        page.evaluate(TRACK, ["Invited", {}])
        until(lambda: page.evaluate("codes") == [401])
        assert (wire.flaky.posts(), wire.events()) == ([401], [])

    def test_a_bad_event_keeps_no_good_one_out_and_is_not_sent_again(
        self, load: Load, wire: Wire, until: Until
    ) -> None:
        page = load()
        for name, text in (("Invited", ""), ("Exported", "nul \0"), ("Uploaded", "")):
            page.evaluate(TRACK, [name, {"text": text}])
        until(lambda: len(page.evaluate("codes")) == 3)
        assert wire.names() == {"Invited": 1, "Uploaded": 1}
        assert set(wire.flaky.posts()) <= {200, 400}
        assert len(wire.flaky.posts()) <= 3


class TestLeaving:
    def test_what_is_left_comes_by_beacon(self, load: Load, wire: Wire, until: Until) -> None:
        page = load(flushIntervalMillis=60_000)
        page.evaluate("() => { amplitude.setTransport('beacon'); amplitude.track('Left', {mood: '😀'}); }")
        page.evaluate("() => void amplitude.flush()")
        page.goto("about:blank")
        until(lambda: wire.names() == {"Left": 1})
        assert wire.event("Left").properties["mood"] == "😀"


class TestPages:
    def test_a_view_is_a_page_as_rules_know_it(self, load: Load, wire: Wire, until: Until) -> None:
        load(autocapture={"pageViews": True})
        until(lambda: "$page" in wire.names())
        assert wire.event("$page").properties["path"] == "/"
