"""Amplitude's library for Python against the running server."""

from collections.abc import Callable, Iterator
from threading import Condition
from typing import Any

import pytest
from amplitude import Amplitude, BaseEvent, Config, EventOptions, Identify, Revenue

from tests.pqlapp.sdk import amplitude_story
from tests.pqlapp.sdk.amplitude_story import ACCOUNT_TRAITS, FILE, NOON, TRAITS
from tests.sdks import Wire

WITHIN = 20.0  # seconds for all events to be settled
Open = Callable[..., "Sender"]


class Sender:
    """A client, and what it reports of each event."""

    def __init__(self, key: str, url: str) -> None:
        self.settled: list[tuple[str, int]] = []
        self._news = Condition()
        config = Config(flush_interval_millis=50, callback=self._settle, server_url=url, flush_max_retries=6)
        self.client = Amplitude(key, config)

    def _settle(self, event: BaseEvent, code: int, message: str | None = None) -> None:
        with self._news:
            self.settled.append((event.event_type, code))
            self._news.notify_all()

    def codes(self, count: int) -> list[int]:
        """Send what is waiting; return the codes of so many events when all are settled."""
        self.client.flush()
        with self._news:
            assert self._news.wait_for(lambda: len(self.settled) >= count, WITHIN), self.settled
        return [code for _, code in self.settled]


@pytest.fixture
def library(wire: Wire) -> Iterator[Open]:
    """Return a maker of senders."""
    senders: list[Sender] = []

    def opened(key: str | None = None, path: str = "/2/httpapi") -> Sender:
        senders.append(Sender(key or wire.key, wire.url + path))
        return senders[-1]

    yield opened
    for sender in senders:
        sender.client.shutdown()


def event(name: str, **more: Any) -> BaseEvent:
    return BaseEvent(event_type=name, **({"user_id": "ann", "device_id": "device-1"} | more))


def tell(client: Amplitude) -> None:
    """Say everything that the library can say."""
    ann = EventOptions(user_id="ann", device_id="device-1")
    client.track(event("File Uploaded", time=NOON, event_properties=FILE, groups={"company": ["acme"]}))
    identify = Identify().set_once("source", "ad").unset("trial").add("logins", 2).append("items", "hat")
    for name, value in TRAITS.items():
        identify.set(name, value)
    client.identify(identify, ann)
    client.set_group("company", "acme", ann)
    described = Identify()
    for name, value in ACCOUNT_TRAITS.items():
        described.set(name, value)
    client.group_identify("company", "acme", described)
    client.revenue(Revenue(price=19.9, quantity=3, product_id="pro"), ann)


class TestTheStory:
    @pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
    def test_is_stored_once(self, library: Open, wire: Wire, path: str) -> None:
        sender = library(path=path)
        tell(sender.client)
        assert sender.codes(5) == [200] * 5
        amplitude_story.check(wire)
        assert {sent.path for sent in wire.flaky.sent} == {path}

    @pytest.mark.parametrize("stored", [False, True])
    @pytest.mark.parametrize("status", [500, 429])
    def test_survives_a_gateway_that_fails(self, library: Open, wire: Wire, status: int, stored: bool) -> None:
        wire.flaky.fail(2, status=status, stored=stored)
        sender = library()
        tell(sender.client)
        assert sender.codes(5) == [200] * 5
        amplitude_story.check(wire)

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_door_is_heard_when_it_is_busy(
        self, library: Open, wire: Wire, refuse: Callable[..., None], status: int
    ) -> None:
        refuse(status=status)
        sender = library()
        sender.client.track(event("Invited"))
        assert sender.codes(1) == [200]
        assert wire.names() == {"Invited": 1}
        assert wire.flaky.posts() == [status, 200]

    def test_too_large_a_batch_is_cut_down_until_it_fits(
        self, library: Open, wire: Wire, refuse: Callable[..., None]
    ) -> None:
        refuse(status=413, code="body_too_large")
        sender = library()
        for number in range(8):
            sender.client.track(event(f"E{number}"))
        assert sender.codes(8) == [200] * 8
        assert wire.names() == {f"E{number}": 1 for number in range(8)}

    def test_a_wrong_key_is_told_and_nothing_is_tried_again(self, library: Open, wire: Wire, caplog: Any) -> None:
        sender = library("nobody")
        sender.client.track(event("Invited"))
        future = sender.client.flush()
        for sending in future if isinstance(future, list) else [future]:
            if sending is not None:
                sending.result(WITHIN)
        sender.client.shutdown()
        wire.flaky.wait_until_idle()
        assert (wire.flaky.posts(), wire.events()) == ([401], [])
        assert "Invalid API Key" in caplog.text


class TestBadEvents:
    def test_one_that_is_alone_is_told(self, library: Open, wire: Wire) -> None:
        sender = library()
        sender.client.track(event("Exported", event_properties={"text": "nul \0"}))
        assert sender.codes(1) == [400]
        assert wire.flaky.posts() == [400]

    def test_one_among_good_ones_keeps_none_of_them_out_and_nothing_is_sent_again(
        self, library: Open, wire: Wire
    ) -> None:
        sender = library()
        for name, text in (("Invited", ""), ("Exported", "nul \0"), ("Uploaded", "")):
            sender.client.track(event(name, event_properties={"text": text}))
        sender.codes(3)
        assert wire.names() == {"Invited": 1, "Uploaded": 1}
        assert set(wire.flaky.posts()) <= {200, 400}
