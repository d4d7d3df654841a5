"""The HTTP API that Segment's and RudderStack's libraries speak, and how one call of theirs becomes a fact.

A good call is answered with exactly 200: RudderStack's Python library sends anything else again.

Times: a client's clock may lie, so a call that says when it was sent is moved by the difference to our clock:
timestamp = received_at - (sentAt - originalTimestamp). A difference of up to half a minute is the network's,
and leaves the time as the sender gave it. A call with `timestamp` beside `originalTimestamp` was corrected, or
dated on purpose, before it came here; one without `sentAt` comes from a file: both keep their time.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import re_path
from django.utils import timezone

from pqlapp import parser
from pqlapp.ingest import door
from pqlapp.ingest.fields import Unusable, by_our_clock, event_name, identifier, instant, mapping, sent_time, traits
from pqlapp.parser import Refused, Rejected
from scoring.facts import Fact
from scoring.models import Source

TYPES = ("track", "identify", "group", "page", "screen", "alias")
BY_LETTER = {kind[0]: kind for kind in TYPES}  # the browser's library saves bytes: /v1/t


def read(
    *, call: Mapping[str, Any], received_at: datetime, sent_at: object = None, kind: object = None
) -> Fact | Rejected:
    """Return the fact that a call states, or why it states none.

    `call` is one checked JSON object. `kind` is the type that the door implies (None: the call's own `type`),
    `sent_at` the batch's own sentAt as it came. `received_at` is in UTC, as is the fact's time.
    """
    try:
        return _fact(call, received_at, sent_at, kind)
    except Unusable as error:
        return error.rejected


def time_of(*, call: Mapping[str, Any], received_at: datetime, sent_at: object = None) -> datetime:
    """Return when the call happened, in UTC (see above). Raises Unusable for a time that is none."""
    stated, original = call.get("timestamp"), call.get("originalTimestamp")
    at = instant("originalTimestamp" if stated is None else "timestamp", stated if stated is not None else original)
    if at is None:
        return received_at
    if stated is not None and original is not None:
        return at
    own = call.get("sentAt")
    return by_our_clock(at=at, sent=sent_time(sent_at if own is None else own), received_at=received_at)


@door.ingest_door()
def batch(request: HttpRequest) -> HttpResponse:
    """Take `{"batch": [call, …], "sentAt": …}`; bad calls are listed in the answer, the others are stored."""
    source = _source_outside(request)
    parsed = parser.parse_batch(body=door.body_of(request=request), field="batch")
    source = source or door.sender(secret=parsed.envelope.get("writeKey"))
    received_at = timezone.now()
    sent_at = parsed.envelope.get("sentAt")
    facts = [
        item if isinstance(item, Rejected) else read(call=item, received_at=received_at, sent_at=sent_at)
        for item in parsed.items
    ]
    sent = sent_time(sent_at)
    results = door.take(source=source, read=facts, received_at=received_at, said=parsed.items, sent_at=sent)
    return JsonResponse({"success": True} | door.rejections(results=results))


@door.ingest_door()
def call(request: HttpRequest, kind: str) -> HttpResponse:
    """Take one call, of the kind that the address names."""
    source = _source_outside(request)
    item = parser.parse_call(body=door.body_of(request=request))
    source = source or door.sender(secret=item.get("writeKey"))
    received_at = timezone.now()
    fact = read(call=item, kind=BY_LETTER.get(kind, kind), received_at=received_at)
    sent = sent_time(item.get("sentAt"))
    (result,) = door.take(source=source, read=[fact], received_at=received_at, said=[item], sent_at=sent)
    if isinstance(result, Rejected):
        raise Refused(400, result.code, result.message)
    return JsonResponse({"success": True})


@door.ingest_door()
def metrics(request: HttpRequest) -> HttpResponse:
    """Take what the browser's library has to say about itself, and forget it."""
    return JsonResponse({"success": True})


@door.ingest_door(methods=("GET",))
def settings(request: HttpRequest, key: str) -> HttpResponse:
    """Tell Segment's browser library to send everything here, whatever the key: it starts only with an answer."""
    home = {"apiKey": key, "apiHost": f"{request.get_host()}/v1", "protocol": request.scheme}
    return JsonResponse({"integrations": {"Segment.io": home}, "plan": {"track": {}}, "metrics": {"sampleRate": 0}})


@door.ingest_door(methods=("GET",))
def source_config(request: HttpRequest) -> HttpResponse:
    """Tell RudderStack's browser library that there is nothing to load and nobody else to send to."""
    silent = {"errors": {"enabled": False}, "metrics": {"enabled": False}}
    source = {"id": "pql", "name": "PQL", "enabled": True, "config": {"statsCollection": silent}, "destinations": []}
    return JsonResponse({"source": source})


@door.ingest_door(methods=("GET",))
def library(request: HttpRequest) -> HttpResponse:
    """Say where Segment's browser library is to be had, as it is not here."""
    raise Refused(
        404,
        "library_not_here",
        "no library is served here: npm install @segment/analytics-next, and load it with this host as cdnURL",
    )


def _source_outside(request: HttpRequest) -> Source | None:
    """Return the source of the key in the header or in the address (a beacon has no headers), None without any.

    A wrong one is refused at once.
    """
    secret = door.secret_in_header(request=request)
    secret = request.GET.get("writeKey") if secret is None else secret
    return None if secret is None else door.sender(secret=secret)


def _fact(call: Mapping[str, Any], received_at: datetime, sent_at: object, kind: object) -> Fact:
    kind = kind or call.get("type")
    if kind not in TYPES:
        raise Unusable("unknown_type", f'"type" is one of {", ".join(TYPES)}')
    context = mapping("context", call.get("context"))
    user = identifier("userId", call.get("userId"))
    anonymous = identifier("anonymousId", call.get("anonymousId"))
    group = _group(call, context, str(kind))
    if user is None and anonymous is None and group is None:
        raise Unusable("nobody", "a call needs a userId, an anonymousId or a groupId")
    told = _told(call, context, str(kind))
    return Fact(
        message_id=identifier("messageId", call.get("messageId")) or str(uuid.uuid4()),
        at=time_of(call=call, received_at=received_at, sent_at=sent_at),
        name=event_name(call.get("event")) if kind == "track" else f"${kind}",
        user_id=user,
        anonymous_id=anonymous,
        aliases=_aliases(call) if kind == "alias" else (),
        group_id=group,
        joins=kind == "group" and (user is not None or anonymous is not None),
        properties=told,
        user_traits=told if kind == "identify" else {},
        account_traits=told if kind == "group" else {},
    )


def _group(call: Mapping[str, Any], context: Mapping[str, Any], kind: str) -> str | None:
    if kind != "group":
        return identifier("context.groupId", context.get("groupId"))
    group = identifier("groupId", call.get("groupId"))
    if group is None:
        raise Unusable("no_group", 'a group call names its account in "groupId"')
    return group


def _aliases(call: Mapping[str, Any]) -> tuple[str, ...]:
    previous = identifier("previousId", call.get("previousId"))
    if previous is None:
        raise Unusable("no_previous_id", 'an alias call names the other id in "previousId"')
    return (previous,)


def _told(call: Mapping[str, Any], context: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return what the call says besides who and when; name and category of a page are part of it.

    Segment has the traits of an identify call at its top, RudderStack's Python library in the context.
    """
    if kind == "identify":
        below = mapping("context.traits", context.get("traits"))
        return traits("traits", below | mapping("traits", call.get("traits")))
    if kind == "group":
        return traits("traits", call.get("traits"))
    properties = mapping("properties", call.get("properties"))
    if kind in ("page", "screen"):
        titles = {key: call[key] for key in ("name", "category") if isinstance(call.get(key), str)}
        return properties | titles
    return properties


urlpatterns = [
    *(re_path(rf"^v1/{name}/?$", batch, name="batch") for name in ("import", "b", "batch")),
    re_path(r"^beacon/v1/batch/?$", batch, name="beacon"),
    re_path(rf"^v1/(?P<kind>{'|'.join((*TYPES, *BY_LETTER))})/?$", call, name="call"),
    re_path(r"^v1/m/?$", metrics, name="metrics"),
    re_path(r"^v1/projects/(?P<key>[^/]+)/settings/?$", settings, name="segment-settings"),
    re_path(r"^analytics\.js/v1/[^/]+/analytics(?:\.min)?\.js$", library, name="segment-library"),
    re_path(r"^sourceConfig/?$", source_config, name="rudder-settings"),
]
