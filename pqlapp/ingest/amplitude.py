"""The HTTP API that Amplitude's libraries speak, and how one event of theirs becomes facts.

The libraries look at the `code` in the answer's body. At 400 they drop the events that it names and send the others
again: so events that are not right are named beside a success, and 400 is for a request of which nothing was taken.
What can never be taken names a `missing_field`, at which all libraries give up at once.

People: `user_id` is a user, `device_id` a visitor. An event with both joins them: these libraries have no call that
says so. An event is known by its insert_id together with its device_id, as Amplitude knows it.

Accounts: an event names its groups as `groups`. Properties that are changed by what they were ($add, $append, …)
cannot be dated traits: they are events of their own, and a rule can sum them.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import re_path
from django.utils import timezone

from pqlapp import parser
from pqlapp.ingest import door, fields, posthog
from pqlapp.ingest.fields import Unusable, identifier, mapping, traits
from pqlapp.parser import Refused, Rejected
from scoring.facts import Fact
from scoring.models import Source

NAMES = {"[Amplitude] Page Viewed": "$page"}
PAGE = {
    "url": "[Amplitude] Page Location",
    "path": "[Amplitude] Page Path",
    "title": "[Amplitude] Page Title",
    "referrer": "referrer",
}
# What is kept of an event beside its event_properties, if these do not say it themselves.
ALSO_KEPT = (
    *("revenue", "price", "quantity", "productId", "revenueType", "currency", "session_id"),
    *("platform", "app_version", "os_name", "country", "region", "city", "language", "library"),
)
CHANGING = ("$add", "$append", "$prepend", "$remove", "$preInsert", "$postInsert", "$clearAll")
OPERATIONS = frozenset(("$set", "$setOnce", "$unset", *CHANGING))
# The libraries before those of today (amplitude-js; Amplitude-iOS and -Android until their 4.0 and 3.0) send forms.
OLD_FORM = re.compile(rb"(?:[\w.-]+=[^&]*&)*client=")
OLD_NAMES = {"timestamp": "time", "uuid": "insert_id", "version_name": "app_version"}
SUFFIX_LIMIT = 32  # characters by which the further facts of an event lengthen its id
GROUPS_LIMIT = 20  # that one call describes
OTHER_GROUP = "other_group"  # rightly sent, and of no use here: no reason to trouble the sender

# The list of Amplitude's answer that an event is named in, and the field; all others are "invalid".
PLACES = {
    "no_event_name": ("events_with_missing_fields", "event_type"),
    "nobody": ("events_with_missing_fields", "user_id"),
    "id_too_short": ("events_with_invalid_id_lengths", "user_id"),
    "id_too_long": ("events_with_invalid_id_lengths", "user_id"),
    "bad_time": ("events_with_invalid_fields", "time"),
}


def read(
    *,
    item: Mapping[str, Any],
    received_at: datetime,
    types: Sequence[str] = (),
    sent: datetime | None = None,
    shortest_id: int = 1,
) -> list[Fact] | Rejected:
    """Return the facts that an event states, or why it states none.

    `item` is one checked JSON object, `types` are the source's group types, `sent` is when the client's clock says
    that it sent the event (None: not known), `shortest_id` is how many characters a user_id or device_id has at least.
    All times are in UTC.
    """
    try:
        return list(_facts(item, received_at, types, sent, shortest_id))
    except Unusable as error:
        return error.rejected


# ---- the doors


def problem(refused: Refused) -> JsonResponse:
    """Return an error as all of Amplitude's libraries can read it."""
    message = f"Invalid API key: {refused.message}" if refused.status == 401 else refused.message
    document: dict[str, Any] = {"code": refused.status, "error": message, "reason": refused.code}
    if 400 <= refused.status < 500 and refused.status not in (413, 429):
        document["missing_field"] = refused.code
    return JsonResponse(document, status=refused.status)


@door.ingest_door(errors=problem)
def upload(request: HttpRequest) -> HttpResponse:
    """Take `{"api_key": …, "events": [event, …]}`, or the form `client=…&e=[event, …]` of the older libraries."""
    body = door.body_of(request=request)
    return _uploaded_form(body) if OLD_FORM.match(body) else _uploaded(request, body)


@door.ingest_door(errors=problem)
def batch(request: HttpRequest) -> HttpResponse:
    """Take what upload() takes, or a batch of those of PostHog's libraries that have the same address."""
    body = door.body_of(request=request)
    if posthog.is_batch(body=body):
        return posthog.answer(request=request, body=body, form={})
    return _uploaded(request, body)


def _uploaded(request: HttpRequest, body: bytes) -> HttpResponse:
    parsed = parser.parse_batch(body=body, field="events")
    options = parsed.envelope.get("options")
    shortest = options.get("min_id_length") if isinstance(options, dict) else None
    results = _take(
        door.sender(secret=parsed.envelope.get("api_key") or door.secret_in_header(request=request)),
        parsed.items,
        sent=fields.sent_time(parsed.envelope.get("client_upload_time")),
        shortest_id=shortest if type(shortest) is int else 1,
    )
    return _answer(results, len(body))


def _uploaded_form(body: bytes) -> HttpResponse:
    """Take a form. Its libraries know only the one word of success, and send again at any other."""
    form = parser.form_fields(body=body)
    source = door.sender(secret=form.get("client"))
    items = parser.parse_batch(body=form.get("e", "").encode("utf-8", parser.RAW), field="e").items
    sent = fields.sent_time(form.get("upload_time"), read=fields.unix_time)
    _take(source, [item if isinstance(item, Rejected) else _as_new(item) for item in items], sent=sent)
    return HttpResponse("success", content_type="text/plain")


def _as_new(item: dict[str, Any]) -> dict[str, Any]:
    """Return an event of a form as the same event is said today."""
    new = {OLD_NAMES.get(name, name): value for name, value in item.items()}
    match item.get("library"):
        case {"name": str(name), "version": str(version)}:
            new["library"] = f"{name}/{version}"
    return new


@door.ingest_door(errors=problem)
def identify(request: HttpRequest) -> HttpResponse:
    """Take the form of the Identify API: what is known of people."""
    return _identification(request, "$identify")


@door.ingest_door(errors=problem)
def group_identify(request: HttpRequest) -> HttpResponse:
    """Take the form of the Group Identify API: what is known of groups."""
    return _identification(request, "$groupidentify")


def _identification(request: HttpRequest, event_type: str) -> HttpResponse:
    form = parser.form_fields(body=door.body_of(request=request))
    source = door.sender(secret=form.get("api_key"))
    stated = form.get("identification", "").encode("utf-8", parser.RAW)
    items = parser.parse_batch(body=stated, field="identification", alone=True).items
    events = [item if isinstance(item, Rejected) else _as_event(item, event_type) for item in items]
    return _answer(_take(source, events), len(stated))


def _as_event(item: dict[str, Any], event_type: str) -> dict[str, Any]:
    """Return an identification as the event that says the same."""
    if event_type == "$groupidentify" and (kind := item.get("group_type")) is not None:
        groups = {kind: item.get("group_value")} if isinstance(kind, str) else None
        return {"event_type": event_type, "groups": groups, "group_properties": item.get("group_properties")}
    return {**item, "event_type": event_type}


def _take(
    source: Source,
    items: Sequence[dict[str, Any] | Rejected],
    *,
    sent: datetime | None = None,
    shortest_id: int = 1,
) -> list[str | Rejected]:
    received_at = timezone.now()
    read_items = [
        item
        if isinstance(item, Rejected)
        else read(item=item, received_at=received_at, types=source.group_types, sent=sent, shortest_id=shortest_id)
        for item in items
    ]
    return door.take_items(source=source, read=read_items, received_at=received_at, said=items, sent_at=sent)


def _answer(results: Sequence[str | Rejected], size: int) -> JsonResponse:
    """Return how many events were taken, and which were not and why."""
    faults = {
        index: result
        for index, result in enumerate(results)
        if isinstance(result, Rejected) and result.code != OTHER_GROUP
    }
    named: dict[str, dict[str, list[int]]] = {}
    for index, fault in faults.items():
        place, field = PLACES.get(fault.code, ("events_with_invalid_fields", fault.code))
        named.setdefault(place, {}).setdefault(field, []).append(index)
    first = next(iter(faults.values()), None)
    if first is not None and len(faults) == len(results):
        return JsonResponse({"code": 400, "error": first.message, "reason": first.code, **named}, status=400)
    uploaded = int(timezone.now().timestamp() * 1000)
    taken = {"events_ingested": len(results) - len(faults), "payload_size_bytes": size, "server_upload_time": uploaded}
    return JsonResponse({"code": 200, **taken, **named})


# ---- from events to facts


def _facts(
    item: Mapping[str, Any], received_at: datetime, types: Sequence[str], sent: datetime | None, shortest_id: int
) -> Iterator[Fact]:
    name = fields.event_name(item.get("event_type"))
    user, device = (_id(item, field, shortest_id) for field in ("user_id", "device_id"))
    at = fields.unix_time_by_our_clock("time", item.get("time"), sent=sent, received_at=received_at)
    common: dict[str, Any] = {"message_id": _message_id(item, device), "at": at}
    groups = {kind: ids for kind, ids in mapping("groups", item.get("groups")).items() if ids not in (None, "", [])}
    if name == "$groupidentify":
        yield from _group_facts(item, groups, types, common)
        return
    account = fields.account_of(groups=groups, types=types)
    if user is None and device is None and account is None:
        raise Unusable("nobody", 'an event needs a "user_id", a "device_id" or the group of an account')
    common |= {"user_id": user, "anonymous_id": device, "group_id": account}
    common["joins"] = account is not None and (user is not None or device is not None)
    properties = _properties(item)
    main = {
        "name": NAMES.get(name, name),
        "properties": fields.page(properties, PAGE) if NAMES.get(name) == "$page" else properties,
    }
    operations = _operations(item, "user_properties") if user is not None or device is not None else {}
    yield Fact(**{**common, **main, **_traits("user", operations)})
    yield from _changes(operations, common)


def _group_facts(
    item: Mapping[str, Any], groups: Mapping[str, Any], types: Sequence[str], common: Mapping[str, Any]
) -> Iterator[Fact]:
    """Yield what is said of each of the groups that are accounts; nobody joins them by that."""
    order = types or (*fields.ACCOUNT_GROUPS, *sorted(groups))
    kind = next((kind for kind in order if kind in groups), None)
    if kind is None:
        raise Unusable(OTHER_GROUP, "none of its groups is of a type that this source has for accounts")
    ids = groups[kind] if isinstance(groups[kind], list) else [groups[kind]]
    if len(ids) > GROUPS_LIMIT:
        raise Unusable("too_many_groups", f"one call describes at most {GROUPS_LIMIT} groups")
    operations = _operations(item, "group_properties")
    accounts = [account for stated in ids if (account := identifier(kind, stated))]
    if not accounts:
        raise Unusable("no_group", '"groups" names the group as {type: id}')
    for number, account in enumerate(accounts):
        message_id = common["message_id"] if not number else f"{common['message_id']}:{number}"
        own = {**common, "message_id": message_id, "group_id": account}
        yield Fact(**{**own, **_traits("account", operations), "name": "$group"})
        yield from _changes(operations, own)


def _operations(item: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Return the operands by operation; plain properties are to be set."""
    stated = mapping(name, item.get(name))
    if not OPERATIONS & stated.keys():
        return {"$set": traits(name, stated)}
    return {
        operation: {} if operation == "$clearAll" else traits(operation, stated[operation])
        for operation in sorted(OPERATIONS & stated.keys())
    }


def _traits(whose: str, operations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a fact says of the "user" or the "account" as it is from now on."""
    values = {**dict.fromkeys(operations.get("$unset", {})), **operations.get("$set", {})}
    return {f"{whose}_traits": values, f"{whose}_traits_once": operations.get("$setOnce", {})}


def _changes(operations: Mapping[str, Mapping[str, Any]], common: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield an event for each operation that changes something by what it was."""
    for operation in CHANGING:
        if operation in operations:
            own = {"message_id": f"{common['message_id']}:{operation}", "properties": operations[operation]}
            yield Fact(**{**common, **own, "name": operation})


def _id(item: Mapping[str, Any], name: str, shortest: int) -> str | None:
    value = identifier(name, item.get(name))
    if value is not None and len(value) < shortest:
        raise Unusable("id_too_short", f'"{name}" has at least {shortest} characters, as this request itself says')
    return value


def _message_id(item: Mapping[str, Any], device: str | None) -> str:
    """Return the event's id; of one without an id, a time tells whether it is sent again."""
    insert_id = identifier("insert_id", item.get("insert_id"))
    if insert_id is None:
        return str(uuid.uuid4()) if item.get("time") is None else fields.content_id(item)
    both = insert_id if device is None else f"{insert_id}:{device}"
    return both if len(both) <= fields.ID_LIMIT - SUFFIX_LIMIT else fields.content_id([insert_id, device])


def _properties(item: Mapping[str, Any]) -> dict[str, Any]:
    properties = mapping("event_properties", item.get("event_properties"))
    kept = {name: item[name] for name in ALSO_KEPT if item.get(name) is not None} | properties
    revenue = properties.get("$revenue", _product(item, properties))
    return kept if revenue is None else {"revenue": revenue} | kept


def _product(item: Mapping[str, Any], properties: Mapping[str, Any]) -> float | None:
    """Return price times quantity, as Amplitude counts revenue that is not stated."""
    price = properties.get("$price", item.get("price"))
    quantity = properties.get("$quantity", item.get("quantity", 1))
    if type(price) not in (int, float) or type(quantity) not in (int, float):
        return None
    return float(Decimal(str(price)) * Decimal(str(quantity)))


urlpatterns = [
    re_path(r"^2/httpapi/?$", upload, name="amplitude-upload"),
    re_path(r"^batch$", batch, name="amplitude-batch"),  # with a slash it is PostHog's
    re_path(r"^identify/?$", identify, name="amplitude-identify"),
    re_path(r"^groupidentify/?$", group_identify, name="amplitude-group-identify"),
]
