"""Every way in which an event can come: its address, how an item of it looks, and how items become a request."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import orjson

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RAW = b'"RAW":0'  # stands in an item where a test puts bytes of its own
Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Way:
    """One way in. `item` makes an item of a number and of what a test says; `request` sends items with a key."""

    name: str
    item: Callable[..., Item]
    request: Callable[[Sequence[bytes], str], Request]
    is_alone: bool = False  # one item a request
    says_what_happened: bool = True  # or what somebody is
    takes_any_json: bool = False  # what happened stands elsewhere

    def text(self, n: int, key: str, *, raw: bytes | None = None, **more: Any) -> bytes:
        """Return an item as JSON, with `raw` among its properties if it is given."""
        stated = {"name": "Report Built", "user": f"user-{n % 7}", "at": NOON + timedelta(seconds=n), "key": key}
        stated |= {"properties": {"n": n} | ({"RAW": 0} if raw is not None else {})} | more
        text = orjson.dumps(self.item(f"{self.name} {n}", **stated))
        return text if raw is None else text.replace(RAW, raw)


def _said(**named: Any) -> Item:
    return {name: value for name, value in named.items() if value is not None}


def _iso(at: Any) -> Any:
    return at.isoformat() if isinstance(at, datetime) else at


def _unix(at: Any) -> Any:
    return at.timestamp() if isinstance(at, datetime) else at


def _segment(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    return _said(type="track", event=name, userId=user, timestamp=_iso(at), properties=properties, messageId=own)


def _native(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    return _said(id=own, event=name, user=user, at=_iso(at), properties=properties)


def _posthog(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    return _said(uuid=own, event=name, distinct_id=user, timestamp=_iso(at), properties=properties)


def _mixpanel(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    known = _said(token=key, distinct_id=user, time=_unix(at)) | {"$insert_id": own}
    return _said(event=name, properties=known | properties)


def _person(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    return {"$token": key, "$distinct_id": user, "$time": _unix(at), "$set": properties}


def _group(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    return {"$token": key, "$group_key": "company", "$group_id": user, "$time": _unix(at), "$set": properties}


def _amplitude(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    time = at.timestamp() * 1000 if isinstance(at, datetime) else at
    return _said(event_type=name, user_id=user, time=time, insert_id=own, event_properties=properties)


def _old_amplitude(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    time = at.timestamp() * 1000 if isinstance(at, datetime) else at
    return _said(event_type=name, user_id=user, timestamp=time, uuid=own, event_properties=properties)


def _identification(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    return {"user_id": user, "user_properties": properties}


def _group_identification(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    return {"group_type": "company", "group_value": user, "group_properties": properties}


def _cloudevent(own: str, *, name: Any, user: Any, at: Any, properties: Any, key: str) -> Item:
    named = _said(specversion="1.0", id=own, source="/app", type=name, userid=user, time=_iso(at))
    return named | {"data": properties}


def _list(items: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}


def _envelope(path: str, field: str, key_name: str) -> Callable[[Sequence[bytes], str], Request]:
    def request(items: Sequence[bytes], key: str) -> Request:
        body = b'{"%s":"%s","%s":%s}' % (key_name.encode(), key.encode(), field.encode(), _list(items))
        return Request("POST", path, body, {"Content-Type": "text/plain"})

    return request


def _form(path: str, *, encode: Callable[[bytes], str], **fields: str) -> Callable[[Sequence[bytes], str], Request]:
    def request(items: Sequence[bytes], key: str) -> Request:
        others = urlencode({name: value.replace("KEY", key) for name, value in fields.items()})
        body = f"data={encode(_list(items))}&{others}".encode()
        return Request("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    return request


def _address(path: str, key_name: str) -> Callable[[Sequence[bytes], str], Request]:
    def request(items: Sequence[bytes], key: str) -> Request:
        return Request("GET", f"{path}?{key_name}={key}&data={quote(base64.b64encode(items[0]))}")

    return request


def _listed(path: str) -> Callable[[Sequence[bytes], str], Request]:
    return lambda items, key: Request("POST", path, _list(items), _bearer(key))


def _alone(path: str) -> Callable[[Sequence[bytes], str], Request]:
    return lambda items, key: Request("POST", path, items[0], _bearer(key))


def _beacon(items: Sequence[bytes], key: str) -> Request:
    body = b'{"batch":' + _list(items) + b"}"
    return Request("POST", f"/beacon/v1/batch?writeKey={key}", body, {"Content-Type": "text/plain"})


def _old_form(items: Sequence[bytes], key: str) -> Request:
    body = f"client={key}&e={quote(_list(items))}&v=2&checksum=0".encode()
    return Request("POST", "/2/httpapi", body, {"Content-Type": "application/x-www-form-urlencoded"})


def _identify(path: str) -> Callable[[Sequence[bytes], str], Request]:
    def request(items: Sequence[bytes], key: str) -> Request:
        body = f"api_key={key}&identification={quote(_list(items))}".encode()
        return Request("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    return request


def _in_headers(items: Sequence[bytes], key: str) -> Request:
    """The item is the data; who and when stand in the headers."""
    event = {"ce-specversion": "1.0", "ce-id": str(hash(items[0])), "ce-source": "/app", "ce-type": "Report Built"}
    return Request("POST", "/v1/cloudevents", items[0], _bearer(key) | event | {"ce-userid": "user-1"})


def _base64(data: bytes) -> str:
    return quote(base64.b64encode(data))


WAYS = (
    Way("segment batch", _segment, _envelope("/v1/batch", "batch", "writeKey")),
    Way("segment beacon", _segment, _beacon),
    Way("segment call", _segment, _alone("/v1/t"), is_alone=True),
    Way("posthog batch", _posthog, _envelope("/batch/", "batch", "api_key")),
    Way("posthog batch of a phone", _posthog, _envelope("/batch", "batch", "api_key")),
    Way("posthog form", _posthog, _form("/e/?compression=base64", encode=_base64, api_key="KEY")),
    Way("posthog address", _posthog, _address("/e/", "api_key"), is_alone=True),
    Way("posthog v1", _posthog, _envelope("/i/v1/analytics/events", "batch", "api_key")),
    Way("mixpanel track", _mixpanel, _form("/track/", encode=quote, verbose="1")),
    Way("mixpanel track in base64", _mixpanel, _form("/track", encode=_base64)),
    Way("mixpanel address", _mixpanel, _address("/track", "ip"), is_alone=True),
    Way("mixpanel import", _mixpanel, _listed("/import?strict=1")),
    Way("mixpanel people", _person, _form("/engage/", encode=_base64), says_what_happened=False),
    Way("mixpanel groups", _group, _form("/groups/", encode=quote), says_what_happened=False),
    Way("amplitude upload", _amplitude, _envelope("/2/httpapi", "events", "api_key")),
    Way("amplitude batch", _amplitude, _envelope("/batch", "events", "api_key")),
    Way("amplitude form", _old_amplitude, _old_form),
    Way("amplitude identify", _identification, _identify("/identify"), says_what_happened=False),
    Way("amplitude groups", _group_identification, _identify("/groupidentify"), says_what_happened=False),
    Way("cloudevents list", _cloudevent, _listed("/v1/cloudevents")),
    Way("cloudevents alone", _cloudevent, _alone("/v1/cloudevents"), is_alone=True),
    Way(
        "cloudevents in headers",
        lambda own, **stated: {"x": own, **stated["properties"]},
        _in_headers,
        is_alone=True,
        says_what_happened=False,
        takes_any_json=True,
    ),
    Way("native", _native, _listed("/api/v1/events")),
)
