"""CloudEvents 1.0 over HTTP, and how one of them becomes a fact.

The three modes (one event as JSON, a list of them, attributes in headers with the data as the body) are told apart by
what came, never by its content type. The standard says neither who did a thing nor for which account, so each id is
looked for in three places: an extension attribute (`userid`, `anonymousid`, `accountid`), then the subject ("user:ID",
"anonymous:ID", "account:ID"), then the data (`user_id`, `anonymous_id`, `account_id`). Whoever is named together with
an account belongs to it. What was used so is not kept twice; all else is among the event's properties.
"""

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import orjson
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import re_path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from pqlapp import parser
from pqlapp.ingest import door
from pqlapp.ingest.fields import ID_LIMIT, Unusable, content_id, event_name, identifier, instant, traits
from pqlapp.parser import Refused, Rejected
from scoring.facts import Fact

VERSION = "1.0"
IN_HEADERS = "ce-"  # how the name of an attribute begins in binary mode
# Of an event, what has a place of its own in a fact, or says nothing once the data is read.
NOT_KEPT = frozenset(("specversion", "id", "type", "time", "data", "data_base64", "datacontenttype"))
JSON_TYPE = re.compile(r"application/json|text/json|[^;]*\+json", re.IGNORECASE)


def read(*, event: Mapping[str, Any], received_at: datetime) -> Fact | Rejected:
    """Return the fact that a checked event states, or why it states none. `received_at` is in UTC."""
    try:
        return _fact(event, received_at)
    except Unusable as error:
        return error.rejected


@door.ingest_door()
def _events(request: HttpRequest) -> HttpResponse:
    """Take one event or a list; the bad ones of a list are named in the answer, the others are stored."""
    secret = door.secret_in_header(request=request)
    source = door.sender(secret=request.GET.get("access_token") if secret is None else secret)
    items, are_listed = _items(request)
    received_at = timezone.now()
    facts = [item if isinstance(item, Rejected) else read(event=item, received_at=received_at) for item in items]
    results = door.take(source=source, read=facts, received_at=received_at, said=items)
    if not are_listed and isinstance(results[0], Rejected):
        raise Refused(400, results[0].code, results[0].message)
    return JsonResponse({"success": True} | door.rejections(results=results))


@csrf_exempt
def events(request: HttpRequest) -> HttpResponse:
    """Take events; and let a sender that asks before, as the standard's web hooks do, send as much as it likes."""
    response = _events(request)
    origin = request.headers.get("WebHook-Request-Origin")
    if request.method == "OPTIONS" and origin:
        response["WebHook-Allowed-Origin"] = origin
        response["WebHook-Allowed-Rate"] = "*"
    return response


def _items(request: HttpRequest) -> tuple[list[dict[str, Any] | Rejected], bool]:
    """Return the events that a request brings, and whether they are a list. Raises Refused."""
    body = door.body_of(request=request)
    if f"{IN_HEADERS}specversion" in request.headers:
        return [parser.parse_call(body=_in_one_piece(request, body))], False
    if body.removeprefix(parser.BOM).lstrip()[:1] == b"[":
        return parser.parse_batch(body=body, field="events").items, True
    return [parser.parse_call(body=body)], False


def _in_one_piece(request: HttpRequest, body: bytes) -> bytes:
    """Return an event whose attributes are headers as the JSON that it would have been."""
    event = {
        name.lower().removeprefix(IN_HEADERS): unquote(value)
        for name, value in request.headers.items()
        if name.lower().startswith(IN_HEADERS)
    }
    return orjson.dumps(event)[:-1] + b',"data":' + (body.strip() or b"null") + b"}"


def _fact(event: Mapping[str, Any], received_at: datetime) -> Fact:
    if event.get("specversion") != VERSION:
        raise Unusable("unknown_specversion", f'"specversion" is "{VERSION}"')
    name = event_name(event.get("type"))
    data = _data(event)
    kept = {key: value for key, value in event.items() if key not in NOT_KEPT}
    user, anonymous, account = (_named(who, kept, data) for who in ("user", "anonymous", "account"))
    somebody = user is not None or anonymous is not None
    if not somebody and account is None:
        raise Unusable("nobody", 'name a person or an account: subject "user:ID", or "user_id" in the data')
    return Fact(
        message_id=_message_id(event),
        at=instant("time", event.get("time")) or received_at,
        name=name,
        user_id=user,
        anonymous_id=anonymous,
        group_id=account,
        joins=somebody and account is not None,
        user_traits=_lifted("traits", data) if somebody else {},
        account_traits=_lifted("account_traits", data) if account is not None else {},
        properties=kept | data,
    )


def _message_id(event: Mapping[str, Any]) -> str:
    """Return what is the same for a repetition and for nothing else: source and id together, says the standard."""
    source, own = (identifier(name, event.get(name)) for name in ("source", "id"))
    if source is None or own is None:
        raise Unusable("no_id", 'an event has a "source" and an "id" that is its own there')
    together = f"{source} {own}"  # a source is an address: it has no spaces
    return together if len(together) <= ID_LIMIT and " " not in source else content_id([source, own])


def _data(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event's data, of which the caller may take things away; what is no object as {"data": …}."""
    if event.get("data_base64") is not None:
        return _packed(event["data_base64"], event.get("datacontenttype"))
    data = event.get("data")
    if data is None:
        return {}
    return dict(data) if isinstance(data, dict) else {"data": data}


def _packed(packed: object, kind: object) -> dict[str, Any]:
    if not isinstance(packed, str) or not isinstance(kind, str) or not JSON_TYPE.match(kind):
        raise Unusable("not_json", '"data_base64" is taken only as JSON: say "datacontenttype": "application/json"')
    try:
        data = parser.parse_item(text=base64.b64decode(packed, validate=True))
    except ValueError as error:  # binascii.Error is one, and so is what a letter beyond ASCII raises
        raise Unusable("bad_base64", '"data_base64" is not base64') from error
    if isinstance(data, Rejected):
        raise Unusable(data.code, f'in "data_base64": {data.message}')
    return data


def _named(who: str, attributes: dict[str, Any], data: dict[str, Any]) -> str | None:
    """Return the id that the event gives for `who`, and take it away from where it stood; None if it gives none."""
    if (own := identifier(f"{who}id", attributes.pop(f"{who}id", None))) is not None:
        return own
    subject = attributes.get("subject")
    if isinstance(subject, str) and subject.startswith(f"{who}:"):
        del attributes["subject"]
        if (named := identifier("subject", subject.removeprefix(f"{who}:"))) is not None:
            return named
    return identifier(f"{who}_id", data.pop(f"{who}_id", None))


def _lifted(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """Take traits out of the data; what has their name but is no object is a property like any other."""
    return traits(name, data.pop(name)) if isinstance(data.get(name), dict) else {}


urlpatterns = [re_path(r"^v1/cloudevents/?$", events, name="cloudevents")]
