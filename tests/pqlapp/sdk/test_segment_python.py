"""Segment's and RudderStack's libraries for Python against the running server. They are made alike."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from rudderstack.analytics.client import Client as Rudder
from segment.analytics.client import Client as Segment

from tests.pqlapp.sdk import segment_story
from tests.sdks import Wire

Client: TypeAlias = Segment | Rudder
Open = Callable[..., Client]


@pytest.fixture
def failures() -> list[tuple[str, int]]:
    """What the library reports: (error, how many calls it gave up)."""
    return []


@pytest.fixture(params=[Segment, Rudder], ids=["segment", "rudder"])
def library(request: pytest.FixtureRequest, wire: Wire, failures: list[tuple[str, int]]) -> Iterator[Open]:
    """Return a maker of clients that send at once."""
    clients: list[Client] = []

    def given_up(error: Exception, calls: list[dict[str, Any]]) -> None:
        failures.append((str(error), len(calls)))

    def opened(**options: Any) -> Client:
        given = {"write_key": wire.key, "host": wire.url, "on_error": given_up}
        clients.append(request.param(**given | {"upload_interval": 0.05, "max_retries": 4} | options))
        return clients[-1]

    yield opened
    for client in clients:
        client.join()


class TestTheStory:
    @pytest.mark.parametrize("gzip", [False, True])
    def test_is_stored_once(self, library: Open, wire: Wire, failures: list[object], gzip: bool):
        client = library(gzip=gzip)
        segment_story.tell(client)
        client.flush()
        segment_story.check(wire)
        assert failures == []
        encodings = {sent.headers.get("content-encoding") for sent in wire.flaky.sent}
        assert encodings == {"gzip" if gzip else None}

    @pytest.mark.parametrize("stored", [False, True])
    @pytest.mark.parametrize("status", [500, 429])
    def test_survives_a_gateway_that_fails(
        self, library: Open, wire: Wire, failures: list[object], status: int, stored: bool
    ):
        wire.flaky.fail(2, status=status, stored=stored, Retry_After="0")
        client = library()
        segment_story.tell(client)
        client.flush()
        segment_story.check(wire)
        assert failures == []
        assert wire.flaky.posts("/v1/batch")[:2] == [status, status]


class TestAnswers:
    def test_the_door_is_heard_when_it_asks_for_a_pause(
        self, library: Open, wire: Wire, failures: list[object], refuse: Callable[..., None]
    ):
        refuse(2, status=429)
        client = library()
        client.track("ann", "Invited", message_id="m")
        client.flush()
        assert wire.names() == {"Invited": 1}
        assert (failures, wire.flaky.posts()) == ([], [429, 429, 200])

    def test_a_wrong_key_is_told_once_and_nothing_is_tried_again(
        self, library: Open, wire: Wire, failures: list[tuple[str, int]]
    ):
        client = library(write_key="pql_write_wrong")
        client.track("ann", "Invited")
        client.flush()
        ((error, calls),) = failures
        assert "unknown_key" in error
        assert (calls, wire.flaky.posts(), wire.events()) == (1, [401], [])

    def test_a_bad_call_keeps_no_good_one_out_and_is_not_sent_again(
        self, library: Open, wire: Wire, failures: list[object]
    ):
        client = library(upload_interval=1)
        client.track("ann", "Invited")
        client.track("ann", "Exported", {"text": "nul \0"})
        client.track("ann", "Uploaded")
        client.flush()
        assert wire.names() == {"Invited": 1, "Uploaded": 1}
        assert failures == []
        assert set(wire.flaky.posts()) == {200}
