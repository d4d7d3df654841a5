"""The CloudEvents SDK for Python against the running server, in both of its modes and as a list."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from tests.sdks import Wire

AT = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)
MODES: list[Callable[[CloudEvent], HTTPMessage]] = [to_structured_event, to_binary_event]


def event(**more: Any) -> CloudEvent:
    attributes = {"specversion": "1.0", "id": "e-1", "source": "/billing", "type": "example.invoice.paid", "time": AT}
    attributes |= {"datacontenttype": "application/json", "subject": "user:änn"}
    data = {"account_id": "acme", "amount": 12.5, "note": "Q3 🎉", "traits": {"email": "ann@acme.example"}}
    return CloudEvent(
        attributes={"specversion": "1.0", "datacontenttype": "application/json"} | attributes | more, data=data
    )


def send(wire: Wire, message: HTTPMessage, key: str | None = None) -> requests.Response:
    headers = message.headers | {"Authorization": f"Bearer {key or wire.key}"}
    return requests.post(f"{wire.url}/v1/cloudevents", data=message.body, headers=headers, timeout=30)


@pytest.mark.parametrize("mode", MODES)
class TestBothModes:
    def test_an_event_is_stored_once(self, wire: Wire, mode: Callable[[CloudEvent], HTTPMessage]):
        for _ in range(2):
            assert send(wire, mode(event())).status_code == 200
        stored = wire.event("example.invoice.paid")
        assert stored.at == AT
        assert stored.properties == {"source": "/billing", "amount": 12.5, "note": "Q3 🎉"}
        assert wire.account("änn") == ("group", "acme")
        assert wire.user_traits("änn") == {"email": "ann@acme.example"}

    def test_a_lost_answer_is_made_good_by_sending_again(self, wire: Wire, mode: Callable[[CloudEvent], HTTPMessage]):
        wire.flaky.fail(stored=True)
        assert [send(wire, mode(event())).status_code for _ in range(2)] == [500, 200]
        assert wire.names() == {"example.invoice.paid": 1}

    def test_a_wrong_key_and_a_bad_event_are_told(self, wire: Wire, mode: Callable[[CloudEvent], HTTPMessage]):
        assert send(wire, mode(event()), key="wrong").status_code == 401
        refused = send(wire, mode(event(subject="user:" + "x" * 513)))
        assert (refused.status_code, refused.json()["code"]) == (400, "id_too_long")
        assert wire.events() == []

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_busy_door_says_when_to_come_again(
        self,
        wire: Wire,
        mode: Callable[[CloudEvent], HTTPMessage],
        refuse: Callable[..., None],
        status: int,
    ):
        refuse(status=status, retry_after="7")
        refused = send(wire, mode(event()))
        assert (refused.status_code, refused.headers["Retry-After"], wire.events()) == (status, "7", [])
        assert send(wire, mode(event())).status_code == 200
        assert wire.names() == {"example.invoice.paid": 1}

    def test_a_packed_body_is_unpacked(self, wire: Wire, mode: Callable[[CloudEvent], HTTPMessage]):
        message = mode(event())
        assert message.body is not None
        packed = HTTPMessage({**message.headers, "Content-Encoding": "gzip"}, gzip.compress(message.body))
        assert send(wire, packed).status_code == 200
        assert wire.event("example.invoice.paid").properties["note"] == "Q3 🎉"


class TestLists:
    def test_a_list_is_taken_but_for_its_bad_events(self, wire: Wire):
        each = [to_structured_event(event(id=name, subject=f"user:{name}")).body for name in ("a", "b" * 513, "c")]
        message = HTTPMessage({"Content-Type": "application/cloudevents-batch+json"}, b"[" + b",".join(each) + b"]")
        response = send(wire, message)
        assert [bad["index"] for bad in response.json()["rejected"]] == [1]
        assert wire.names() == {"example.invoice.paid": 2}
