"""Mixpanel's library for browsers, on a page of another origin in Chromium."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from scoring.models import ProductUser
from tests.sdks import Wire

LIBRARY = "mixpanel-browser/dist/mixpanel.umd.js"
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
LOAD = """([key, host, options]) => {
    window.failures = [];
    mixpanel.init(key, {api_host: host, error_reporter: (said) => failures.push(said), batch_flush_interval_ms: 100,
                        autocapture: false, ...options});
}"""
TELL = """async ([traits, accountTraits, file]) => {
    mixpanel.track_pageview();
    mixpanel.track("Docs Read");
    mixpanel.identify("ann");
    mixpanel.people.set(traits);
    mixpanel.people.set_once({source: "ad", seats: 1});
    mixpanel.people.increment("logins", 2);
    mixpanel.set_group("company", "acme");
    mixpanel.get_group("company", "acme").set(accountTraits);
    mixpanel.track("File Uploaded", file);
}"""
TRAITS = {"$email": "ann@acme.example", "seats": 4}
ACCOUNT_TRAITS = {"$name": "Acme & Søns", "plan": "free"}
FILE = {"size": 17.5, "name": "Q3 🎉.csv", "tags": ["a", "b"]}
# $identify: the event, three updates by the page, and one that the library makes of where the visitor came from.
NAMES = {"$page": 1, "Docs Read": 1, "$identify": 5, "$add": 1, "$group": 1, "File Uploaded": 1}
Load = Callable[..., Page]
Until = Callable[..., None]


@pytest.fixture
def load(shop: Callable[..., Page], wire: Wire) -> Load:
    """Return a function that opens a page with the library."""

    def loaded(key: str | None = None, **options: Any) -> Page:
        page = shop(LIBRARY, user_agent=USER_AGENT)
        page.evaluate(LOAD, [key or wire.key, wire.url, options])
        return page

    return loaded


def tell(page: Page) -> str:
    """Tell the story as a visitor who logs in; return the id of the device."""
    page.evaluate(TELL, [TRAITS, ACCOUNT_TRAITS, FILE])
    return str(page.evaluate("mixpanel.get_property('$device_id')"))


def check(wire: Wire, device: str) -> None:
    """Assert that the story was stored, each call once."""
    assert wire.names() == NAMES
    assert wire.ids("ann") == {"ann", device}
    assert wire.user("ann").known
    assert wire.account("ann") == ("group", "acme")
    assert ProductUser.objects.filter(merged_into=None).count() == 1
    traits = {"email": "ann@acme.example", "seats": 4, "source": "ad", "company": ["acme"]}
    assert wire.user_traits("ann").items() >= traits.items()
    assert wire.account_traits("acme") == {"name": "Acme & Søns", "plan": "free"}
    upload = wire.event("File Uploaded")
    assert {name: upload.properties[name] for name in FILE} == FILE
    assert abs((upload.at - upload.received_at).total_seconds()) < 60
    assert upload.account is not None
    assert upload.account.external_id == "acme"
    assert wire.event("$page").properties["url"].startswith("http://127.0.0.1")


@pytest.mark.parametrize("batching", [True, False], ids=["batched", "at once"])
@pytest.mark.parametrize("form", ["base64", "json"])
class TestTheStory:
    def test_is_stored_once(self, load: Load, wire: Wire, until: Until, batching: bool, form: str) -> None:
        page = load(batch_requests=batching, api_payload_format=form)
        device = tell(page)
        until(lambda: wire.names() == NAMES)
        wire.flaky.wait_until_idle()
        check(wire, device)
        assert set(wire.flaky.posts()) == {200}
        assert {sent.path.partition("?")[0] for sent in wire.flaky.sent} == {"/track/", "/engage/", "/groups/"}
        assert page.evaluate("failures") == []


class TestAnswers:
    @pytest.mark.parametrize("stored", [False, True])
    @pytest.mark.parametrize("status", [500, 429])
    def test_a_gateway_that_fails_costs_nothing(
        self, load: Load, wire: Wire, until: Until, status: int, stored: bool
    ) -> None:
        page = load()
        wire.flaky.fail(2, status=status, stored=stored)
        page.evaluate("mixpanel.track('Invited')")
        until(lambda: 200 in wire.flaky.posts())
        assert wire.names() == {"Invited": 1}
        assert wire.flaky.posts() == [status, status, 200]

    def test_the_door_is_heard_when_it_is_busy(
        self, load: Load, wire: Wire, until: Until, refuse: Callable[..., None]
    ) -> None:
        page = load()
        refuse(status=429)
        page.evaluate("mixpanel.track('Invited')")
        until(lambda: 200 in wire.flaky.posts())
        assert (wire.flaky.posts(), wire.names()) == ([503, 200], {"Invited": 1})

    def test_too_large_a_batch_is_halved(
        self, load: Load, wire: Wire, until: Until, refuse: Callable[..., None]
    ) -> None:
        page = load(batch_flush_interval_ms=1000)  # all eight in one batch: one that is alone would be dropped
        refuse(status=413, code="body_too_large")
        page.evaluate("for (let n = 0; n < 8; n++) mixpanel.track(`E${n}`)")
        until(lambda: wire.names() == {f"E{n}": 1 for n in range(8)})
        assert wire.flaky.posts()[0] == 413

    def test_a_wrong_key_is_told_and_nothing_is_tried_again(self, load: Load, wire: Wire, until: Until) -> None:
        page = load("mp_wrong")
        page.evaluate("mixpanel.track('Invited')")
        until(lambda: page.evaluate("failures.length"))
        page.evaluate("new Promise(done => setTimeout(done, 400))")  # four times its interval
        assert (wire.flaky.posts(), wire.events()) == ([401], [])
        assert "401" in page.evaluate("String(failures[0])")

    def test_a_bad_event_keeps_no_good_one_out_and_is_not_sent_again(
        self, load: Load, wire: Wire, until: Until
    ) -> None:
        page = load()
        page.evaluate(
            "for (const n of ['Invited', 'Exported', 'Uploaded']) mixpanel.track(n, {t: n[0] == 'E' ? '\\0' : ''})"
        )
        until(lambda: wire.names() == {"Invited": 1, "Uploaded": 1})
        page.evaluate("new Promise(done => setTimeout(done, 400))")
        assert set(wire.flaky.posts()) <= {200, 400}
        assert len(wire.flaky.posts()) <= 3

    def test_without_batches_the_page_is_told(self, load: Load, wire: Wire) -> None:
        page = load(batch_requests=False)
        track = "name => new Promise(done => mixpanel.track(name, {t: name == 'Exported' ? '\\0' : ''}, done))"
        assert page.evaluate(track, "Invited") == 1
        assert page.evaluate(track, "Exported") == 0


class TestProfiles:
    """The library gives an update of a profile neither an id nor a time."""

    LOST = "^POST /engage"

    def known(self, load: Load, wire: Wire, until: Until) -> Page:
        """Return a page whose user has said who it is, and nothing waits."""
        page = load()
        page.evaluate("mixpanel.identify('ann')")
        until(lambda: wire.names()["$identify"] == 2)  # it says besides where the visitor came from
        wire.flaky.wait_until_idle()
        return page

    def test_two_equal_updates_are_two(self, load: Load, wire: Wire, until: Until) -> None:
        page = load()
        page.evaluate("mixpanel.identify('ann'); for (const _ of [1, 2]) mixpanel.people.increment('logins')")
        until(lambda: wire.names()["$add"] == 2)

    def test_sent_again_it_looks_like_another_one(self, load: Load, wire: Wire, until: Until) -> None:
        page = self.known(load, wire, until)
        wire.flaky.fail(stored=True, on=self.LOST)
        page.evaluate("mixpanel.people.increment('logins')")
        until(lambda: wire.flaky.posts("/engage/")[-2:] == [500, 200])
        assert wire.names()["$add"] == 2  # as docs/sdks/mixpanel.md says: nothing tells one from the other

    def test_with_an_id_of_the_pages_it_counts_once(self, load: Load, wire: Wire, until: Until) -> None:
        page = self.known(load, wire, until)
        page.evaluate("mixpanel.add_hook('before_send_people', u => ((u.$insert_id ??= crypto.randomUUID()), u))")
        wire.flaky.fail(2, stored=True, on=self.LOST)
        page.evaluate("for (const _ of [1, 2]) mixpanel.people.increment('logins')")
        until(lambda: wire.flaky.posts("/engage/")[-3:] == [500, 500, 200])
        assert wire.names()["$add"] == 2


class TestLeaving:
    def test_what_is_left_comes_by_beacon(self, load: Load, wire: Wire, until: Until) -> None:
        page = load(batch_flush_interval_ms=60_000)
        page.evaluate("mixpanel.track('Left', {mood: '😀'})")
        page.evaluate("new Promise(done => setTimeout(done, 100))")  # it writes its queue down first
        page.goto("about:blank")
        until(lambda: wire.names() == {"Left": 1})
        assert wire.event("Left").properties["mood"] == "😀"
        assert "verbose" in wire.flaky.sent[0].path


class TestPeople:
    def test_the_next_user_of_a_browser_is_another_person(self, load: Load, wire: Wire, until: Until) -> None:
        page = load()
        page.evaluate("mixpanel.identify('ann'); mixpanel.track('Invited')")
        page.evaluate("mixpanel.reset(); mixpanel.identify('ben'); mixpanel.track('Uploaded')")
        page.evaluate("mixpanel.identify('cleo'); mixpanel.track('Exported')")  # without a log-out of ben
        until(lambda: wire.names() == {"$identify": 4, "Invited": 1, "Uploaded": 1, "Exported": 1})
        assert ProductUser.objects.filter(merged_into=None).count() == 3


class TestFlags:
    def test_there_are_none_and_the_page_goes_on(self, load: Load, wire: Wire, until: Until) -> None:
        page = load(flags=True, remote_settings_mode="fallback")
        assert page.evaluate("mixpanel.flags.get_variant_value('new-desk', 'none')") == "none"
        page.evaluate("mixpanel.track('Invited')")
        until(lambda: wire.names() == {"Invited": 1})
        assert {200} == {sent.status for sent in wire.flaky.sent if sent.method == "GET"}
