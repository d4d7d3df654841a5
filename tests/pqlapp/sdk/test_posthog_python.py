"""PostHog's library for Python against the running server, by both of its protocols."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from posthog import Posthog

from scoring.models import ProductUser
from tests.pqlapp.sdk import posthog_story
from tests.sdks import Wire

Open = Callable[..., Posthog]
PATHS = {"v0": "/batch/", "v1": "/i/v1/analytics/events"}


@pytest.fixture
def failures() -> list[tuple[Exception, int]]:
    """What the library reports: the error, and how many events it gave up."""
    return []


@pytest.fixture(params=["v0", "v1"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def library(wire: Wire, mode: str, failures: list[tuple[Exception, int]]) -> Iterator[Open]:
    """Return a maker of clients that send at once."""
    clients: list[Posthog] = []

    def given_up(error: Exception, events: list[dict[str, Any]]) -> None:
        failures.append((error, len(events)))

    def opened(key: str | None = None, **options: Any) -> Posthog:
        given = {"host": wire.url, "on_error": given_up, "flush_interval": 0.05, "capture_mode": mode, "thread": 1}
        clients.append(Posthog(key or wire.key, **{**given, **options}))
        return clients[-1]

    yield opened
    for client in clients:
        client.shutdown()


class TestTheStory:
    def test_is_stored_once(self, library: Open, wire: Wire, mode: str, failures: list[object]) -> None:
        client = library()
        posthog_story.tell(client)
        client.flush()
        posthog_story.check(wire)
        assert failures == []
        assert {sent.path for sent in wire.flaky.sent} == {PATHS[mode]}

    @pytest.mark.parametrize("stored", [False, True])
    @pytest.mark.parametrize("status", [500, 429])
    def test_survives_a_gateway_that_fails(
        self, library: Open, wire: Wire, mode: str, failures: list[object], status: int, stored: bool
    ) -> None:
        wire.flaky.fail(status=status, stored=stored)
        client = library(flush_interval=0.5)
        posthog_story.tell(client)
        client.flush()
        posthog_story.check(wire)
        assert failures == []
        assert wire.flaky.posts(PATHS[mode]) == [status, 200]

    @pytest.mark.parametrize("mode", ["v0"], indirect=True)
    def test_is_stored_once_when_it_comes_compressed(self, library: Open, wire: Wire) -> None:
        client = library(gzip=True)
        posthog_story.tell(client)
        client.flush()
        posthog_story.check(wire)
        assert {sent.headers.get("content-encoding") for sent in wire.flaky.sent} == {"gzip"}

    @pytest.mark.parametrize("mode", ["v1"], indirect=True)
    @pytest.mark.parametrize("compression", ["gzip", "deflate", "zstd"])
    def test_is_stored_once_by_every_compression_of_v1(self, library: Open, wire: Wire, compression: str) -> None:
        client = library(capture_compression=compression)
        posthog_story.tell(client)
        client.flush()
        posthog_story.check(wire)
        assert {sent.headers.get("content-encoding") for sent in wire.flaky.sent} == {compression}


class TestAnswers:
    def test_the_door_is_heard_when_it_asks_for_a_pause(
        self, library: Open, wire: Wire, mode: str, failures: list[object], refuse: Callable[..., None]
    ) -> None:
        refuse(status=503)
        client = library()
        client.capture("Invited", distinct_id="ann")
        client.flush()
        assert wire.names() == {"Invited": 1}
        assert (failures, wire.flaky.posts(PATHS[mode])) == ([], [503, 200])

    def test_a_wrong_key_is_told_once_and_nothing_is_tried_again(
        self, library: Open, wire: Wire, failures: list[tuple[Exception, int]]
    ) -> None:
        client = library("phc_wrong")
        client.capture("Invited", distinct_id="ann")
        client.flush()
        ((error, events),) = failures
        assert "send a live write key" in str(error)
        assert (events, wire.flaky.posts(), wire.events()) == (1, [401], [])

    def test_a_bad_event_keeps_no_good_one_out_and_is_not_sent_again(
        self, library: Open, wire: Wire, mode: str, failures: list[tuple[Exception, int]]
    ) -> None:
        client = library(flush_interval=1)
        client.capture("Invited", distinct_id="ann")
        bad = client.capture("Exported", distinct_id="ann", properties={"text": "nul \0"})
        client.capture("Uploaded", distinct_id="ann")
        client.flush()
        assert wire.names() == {"Invited": 1, "Uploaded": 1}
        assert wire.flaky.posts() == [200]
        if mode == "v0":  # it has no words for it
            assert failures == []
        else:
            ((error, _),) = failures
            assert getattr(error, "drops", None) == [(bad, "a text has a NUL character (\\u0000)")]

    def test_an_event_of_nobody_is_a_visitor_of_its_own(self, library: Open, wire: Wire) -> None:
        client = library()
        client.capture("Landed")
        client.capture("Landed")
        client.flush()
        assert set(ProductUser.objects.values_list("known", "home__kind")) == {(False, "visitor")}
        assert wire.names() == {"Landed": 2}

    def test_a_set_is_no_use_of_the_product(self, library: Open, wire: Wire) -> None:
        client = library()
        client.set(distinct_id="ann", properties={"seats": 4})
        client.set_once(distinct_id="ann", properties={"seats": 1, "source": "ad"})
        client.flush()
        assert wire.names() == {"$identify": 2}
        assert wire.user_traits("ann") == {"seats": 4, "source": "ad"}


class TestFlags:
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_there_are_none_and_the_application_goes_on(self, library: Open, wire: Wire) -> None:
        client = library()
        assert client.get_all_flags("ann") == {}
        assert client.feature_enabled("beta", "ann") in (False, None)
        client.capture("Invited", distinct_id="ann", send_feature_flags=True)
        client.flush()
        assert wire.names()["Invited"] == 1
