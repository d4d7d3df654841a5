"""Mixpanel's library for Python against the running server."""

from collections.abc import Callable
from typing import Any

import pytest
from mixpanel import BufferedConsumer, Consumer, Mixpanel, MixpanelException

from tests.pqlapp.sdk import mixpanel_story
from tests.pqlapp.sdk.mixpanel_story import ACCOUNT_TRAITS, FILE, NOON, TRAITS
from tests.sdks import Wire

Open = Callable[..., Mixpanel]


def addresses(wire: Wire) -> dict[str, str]:
    names = {"events": "track", "people": "engage", "groups": "groups", "import": "import"}
    return {f"{name}_url": f"{wire.url}/{path}" for name, path in names.items()}


def retrying(consumer: Consumer) -> Consumer:
    """Let it try again over http as it does over https, and sooner."""
    adapter = consumer._session.get_adapter("https://")
    adapter.max_retries.backoff_factor = 0.01
    consumer._session.mount("http://", adapter)
    return consumer


@pytest.fixture(params=["at once", "buffered"])
def library(request: pytest.FixtureRequest, wire: Wire) -> Open:
    """Return a maker of clients."""

    def opened(key: str | None = None) -> Mixpanel:
        if request.param == "at once":
            return Mixpanel(key or wire.key, retrying(Consumer(**addresses(wire))))
        consumer = BufferedConsumer(**addresses(wire))
        retrying(consumer._consumer)
        return Mixpanel(key or wire.key, consumer)

    return opened


def tell(client: Mixpanel, key: str) -> None:
    """Say everything that the library can say, and send it."""
    client.track("ann", "File Uploaded", {**FILE, "company": ["acme"], "time": NOON})
    client.track("cookie-1", "$create_alias", {"alias": "ann", "time": NOON + 1})  # alias() goes to Mixpanel itself
    client.import_data(None, "ann", "Imported", NOON - 86_400 * 30, api_secret=key)
    client.people_set("ann", {**TRAITS, "trial": True}, meta={"$time": NOON + 2})
    client.people_set_once("ann", {"source": "ad", "seats": 1}, meta={"$time": NOON + 3})
    client.people_unset("ann", ["trial"], meta={"$time": NOON + 4})
    client.people_increment("ann", {"logins": 2})
    client.people_append("ann", {"items": "hat"})
    client.people_union("ann", {"items": ["hat"]})
    client.people_remove("ann", {"items": "hat"})
    client.people_delete("ann")
    client.group_set("company", "acme", ACCOUNT_TRAITS)
    if isinstance(client._consumer, BufferedConsumer):
        client._consumer.flush()


class TestTheStory:
    def test_is_stored_once(self, library: Open, wire: Wire) -> None:
        tell(library(), wire.key)
        mixpanel_story.check(wire)
        assert {sent.path for sent in wire.flaky.sent} == {"/track", "/engage", "/groups", "/import"}

    @pytest.mark.parametrize("stored", [False, True])
    def test_survives_a_gateway_that_fails(self, library: Open, wire: Wire, stored: bool) -> None:
        for path in ("track", "engage", "groups", "import"):
            wire.flaky.fail(stored=stored, on=f"^POST /{path}")
        tell(library(), wire.key)
        mixpanel_story.check(wire)
        assert wire.flaky.posts("/groups") == [500, 200]

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_door_is_heard_when_it_is_busy(
        self, library: Open, wire: Wire, refuse: Callable[..., None], status: int
    ) -> None:
        refuse(status=status)
        client = library()
        client.track("ann", "Invited")
        flush(client)
        assert wire.names() == {"Invited": 1}
        assert wire.flaky.posts() == [503, 200]

    def test_a_wrong_key_is_told_and_nothing_is_tried_again(self, library: Open, wire: Wire) -> None:
        client = library("mp_wrong")
        with pytest.raises(MixpanelException, match="live write key"):
            client.track("ann", "Invited")
            flush(client)
        assert (wire.flaky.posts(), wire.events()) == ([401], [])

    def test_without_a_server_that_tries_again_it_raises_what_it_documents(self, wire: Wire, refuse: Any) -> None:
        refuse(status=429)
        client = Mixpanel(wire.key, Consumer(**addresses(wire)))
        with pytest.raises(MixpanelException, match="not now"):
            client.track("ann", "Invited")


class TestBadEvents:
    def test_one_that_is_alone_is_told(self, wire: Wire) -> None:
        client = Mixpanel(wire.key, Consumer(**addresses(wire)))
        with pytest.raises(MixpanelException, match="NUL character"):
            client.track("ann", "Exported", {"text": "nul \0"})

    def test_one_among_good_ones_keeps_none_of_them_out(self, wire: Wire) -> None:
        client = Mixpanel(wire.key, BufferedConsumer(**addresses(wire)))
        client.track("ann", "Invited")
        client.track("ann", "Exported", {"text": "nul \0"})
        client.track("ann", "Uploaded")
        flush(client)
        flush(client)
        assert wire.names() == {"Invited": 1, "Uploaded": 1}
        assert wire.flaky.posts() == [200]


def flush(client: Mixpanel) -> None:
    if isinstance(client._consumer, BufferedConsumer):
        client._consumer.flush()
