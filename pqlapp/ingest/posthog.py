"""The HTTP API that PostHog's libraries speak, and how one event of theirs becomes a fact.

There are two protocols: capture v0, answered as a whole, and v1, answered event by event. Success is exactly 200:
the browser's library sends anything else again and again.

Who it was. A distinct_id is a user's where the event says so: it is the target of $identify, or $is_identified. An
event of a device without that is a visitor's, and so is a personless one. What is left comes from a server, which
sends its own id of the user and never identifies anybody. Both ids of an alias are taken alike: libraries disagree on
which of them is the user's. No id is ever linked by its device: people share those.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import re_path
from django.utils import timezone

from pqlapp import parser
from pqlapp.ingest import door
from pqlapp.ingest.fields import (
    ACCOUNT_GROUPS,
    Unusable,
    account_of,
    by_our_clock,
    content_id,
    event_name,
    identifier,
    instant,
    mapping,
    page,
    sent_time,
    traits,
    unix_time,
)
from pqlapp.parser import Batch, Refused, Rejected
from scoring.facts import Fact

ALIASES = ("$create_alias", "$merge_dangerously")
# What the house calls the calls that every library has under a name of its own. All other events keep theirs.
NAMES = {
    "$pageview": "$page",
    "$identify": "$identify",
    "$set": "$identify",
    "$set_once": "$identify",
    "$unset": "$identify",
    "$groupidentify": "$group",
    **dict.fromkeys(ALIASES, "$alias"),
}
PAGE = {"url": "$current_url", "path": "$pathname", "referrer": "$referrer"}
SCREEN = {"name": "$screen_name"}
# Among the properties: the write key, whose event it is, and what is kept as traits.
NOT_KEPT = ("token", "distinct_id", "$set", "$set_once", "$unset")
LIFTED = {"session_id": "$session_id", "window_id": "$window_id"}  # v1 takes them out of the properties
LONGEST_OFFSET = 100 * 365 * 86_400_000  # milliseconds
COOKIELESS = "$posthog_cookieless"  # stands for every visitor of a page that asks for no cookies
# Few fields come before "batch". The group is not possessive: before 3.11.5, Python lost its way in one with choices.
BATCH = re.compile(rb'\s*+\{(?:\s*+"\w++"\s*+:\s*+(?:"[^"\\]*+"|[\w.+-]++)\s*+,){0,20}\s*+"batch"\s*+:')
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class _Event(NamedTuple):
    """One event with its parts checked, as far as every reading needs them."""

    stated: Mapping[str, Any]  # the event as it came
    name: str  # PostHog's
    properties: Mapping[str, Any]
    options: Mapping[str, Any]  # v1: what v0 has among the properties
    groups: Mapping[str, Any]
    distinct: str | None
    group: tuple[str, str] | None  # type and key of the group that it describes

    @property
    def is_of_a_device(self) -> bool:
        return self.properties.get("$device_id") is not None

    @property
    def is_personless(self) -> bool:
        stated = self.options.get("process_person_profile", self.properties.get("$process_person_profile"))
        return stated in (False, "false")

    @property
    def is_of_a_user(self) -> bool:
        """Whether the distinct_id is a user's (see above)."""
        if self.name == "$identify":
            return True
        if isinstance(says := self.properties.get("$is_identified"), bool):
            return says
        if self.is_personless or self.name in ALIASES:
            return False
        return not self.is_of_a_device or self.properties.get("$user_id") == self.distinct


def read(
    *, event: Mapping[str, Any], group_types: Sequence[str], received_at: datetime, sent_at: datetime | None = None
) -> Fact | Rejected:
    """Return the fact that an event of either protocol states, or why it states none.

    `event` is one checked JSON object; `group_types` are the source's own for accounts. `sent_at` is when its batch was
    sent by the sender's clock, `received_at` by ours; both are in UTC, as is the fact's time.
    """
    try:
        return _fact(event, group_types, received_at, sent_at)
    except Unusable as error:
        return error.rejected


def problem(refused: Refused) -> JsonResponse:
    """Return an error as door.problem does. The browser's library forgets what gets a 429."""
    return door.problem(door.patient(refused))


@door.ingest_door(methods=("GET", "POST"), errors=problem)
def capture(request: HttpRequest) -> HttpResponse:
    """Take events as capture v0 has them: one, a list, or `{"batch": [event, …]}`, bare or in a form's `data`.

    Bad events are listed in the answer, the others are stored.
    """
    body, form = _body_and_form(request)
    return answer(request=request, body=body, form=form)


def is_batch(*, body: bytes) -> bool:
    """Whether a body begins as a batch of these libraries: those for Java and Android post to Amplitude's /batch."""
    return BATCH.match(body) is not None


def answer(*, request: HttpRequest, body: bytes, form: Mapping[str, str]) -> HttpResponse:
    """Return the answer of capture v0 to a body, for a door; `form` are the other fields around it. Raises Refused."""
    parsed = parser.parse_batch(body=body, field="batch", alone=True)
    form = {**request.GET.dict(), **form}
    source = door.sender(secret=door.secret_in_header(request=request) or _secret(parsed, form))
    received_at = timezone.now()
    sent_at = _sent(parsed, form)
    facts = [
        item
        if isinstance(item, Rejected)
        else read(event=item, group_types=source.group_types, received_at=received_at, sent_at=sent_at)
        for item in parsed.items
    ]
    results = door.take(
        source=source, read=facts, received_at=received_at, said=parsed.items, sent_at=sent_at, wire="posthog"
    )
    return JsonResponse({"status": "Ok"} | door.rejections(results=results))


@door.ingest_door(errors=problem)
def analytics(request: HttpRequest) -> HttpResponse:
    """Take `{"batch": [event, …]}` as capture v1 has it, and say of each uuid what became of its event.

    The library reports what is dropped to the host application, and never sends it again.
    """
    secret = door.secret_in_header(request=request)
    body = door.body_of(request=request)
    parsed = parser.parse_batch(body=body, field="batch")
    source = door.sender(secret=secret or _secret(parsed, {}))
    received_at = timezone.now()
    sent_at = sent_time(request.headers.get("PostHog-Request-Timestamp"))
    facts = [
        item
        if isinstance(item, Rejected)
        else read(event=item, group_types=source.group_types, received_at=received_at, sent_at=sent_at)
        for item in parsed.items
    ]
    results = door.take(source=source, read=facts, received_at=received_at, said=parsed.items, sent_at=sent_at)
    ids = _uuids(parsed.items, body)
    verdicts = {stated: _verdict(result) for stated, result in zip(ids, results, strict=True) if stated}
    return JsonResponse({"results": verdicts} | door.rejections(results=results))


@door.ingest_door(methods=("GET", "POST"), credentials=True)
def flags(request: HttpRequest) -> HttpResponse:
    """Answer that there are no feature flags; libraries of any vendor wait for that before they tell their page."""
    return JsonResponse(NO_FLAGS)


@door.ingest_door(methods=("GET",))
def remote_config(request: HttpRequest, key: str, form: str) -> HttpResponse:
    """Answer the browser's library how to send here, with everything off that would need another server.

    Nothing is looked up: any key is answered alike.
    """
    if form == "config":
        return JsonResponse(SETTINGS)
    document = json.dumps({"config": SETTINGS, "siteApps": []})
    script = f'(window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{{}})["{key}"]={document};'
    return HttpResponse(script, content_type="application/javascript")


@door.ingest_door(methods=("GET",))
def library(request: HttpRequest, key: str = "") -> HttpResponse:
    """Say where the browser's library is to be loaded from, as its snippet asks for it here."""
    message = "this system has no copy of posthog-js: add it from npm, or let the snippet load it from elsewhere"
    raise Refused(404, "no_library_here", message)


NO_FLAGS: dict[str, Any] = {
    "flags": {},
    "featureFlags": {},
    "featureFlagPayloads": {},
    "errorsWhileComputingFlags": False,
    "quotaLimited": [],
    "requestId": None,
    "supportedCompression": ["gzip-js", "base64"],
    "sessionRecording": False,
    "siteApps": [],
    "toolbarParams": {},
    "isAuthenticated": False,
}
# Without "hasFeatureFlags" the library asks for flags, and then calls back pages that wait for them. Without "surveys"
# it does not look for their script, which is not here.
SETTINGS: dict[str, Any] = {
    "supportedCompression": ["gzip-js", "base64"],
    "analytics": {"endpoint": "/i/v0/e/"},
    "elementsChainAsString": True,
    "defaultIdentifiedOnly": True,
    "autocapture_opt_out": False,
    "autocaptureExceptions": False,
    "capturePerformance": False,
    "captureDeadClicks": False,
    "heatmaps": False,
    "sessionRecording": False,
    "productTours": False,
    "conversations": False,
    "errorTracking": {"autocaptureExceptions": False, "suppressionRules": []},
    "logs": {"captureConsoleLogs": False},
    "siteApps": [],
    "toolbarParams": {},
    "toolbarVersion": "toolbar",
    "isAuthenticated": False,
}


# ---- one event


def _fact(
    stated: Mapping[str, Any], group_types: Sequence[str], received_at: datetime, sent_at: datetime | None
) -> Fact:
    event = _checked(stated)
    account, describes, joins = _naming(event, group_types)
    person = _person(event, account)
    if person is None and account is None:
        raise _nobody(event, group_types)
    is_user = event.is_of_a_user
    return Fact(
        message_id=_message_id(event),
        at=_time(event, received_at, sent_at),
        name=NAMES.get(event.name, event.name),
        user_id=person if is_user else None,
        anonymous_id=_other(event, "$anon_distinct_id") if is_user else person,
        aliases=_aliases(event),
        group_id=account,
        joins=joins and person is not None and account is not None,
        properties=_properties(event),
        user_traits=_set(event, "$set") | _unset(event),
        user_traits_once=_set(event, "$set_once"),
        account_traits=traits("$group_set", event.properties.get("$group_set")) if describes else {},
    )


def _checked(stated: Mapping[str, Any]) -> _Event:
    name = event_name(stated.get("event"))
    properties = mapping("properties", stated.get("properties"))
    named = stated.get("distinct_id")
    distinct = identifier("distinct_id", properties.get("distinct_id") if named is None else named)
    return _Event(
        stated=stated,
        name=name,
        properties=properties,
        options=mapping("options", stated.get("options")),
        groups=mapping("$groups", properties.get("$groups")),
        distinct=None if distinct == COOKIELESS else distinct,
        group=_described(properties) if name == "$groupidentify" else None,
    )


def _described(properties: Mapping[str, Any]) -> tuple[str, str]:
    kind, key = (identifier(name, properties.get(name)) for name in ("$group_type", "$group_key"))
    if kind is None or key is None:
        raise Unusable("no_group", 'a "$groupidentify" names its group in "$group_type" and "$group_key"')
    return kind, key


class _Naming(NamedTuple):
    """How an event names an account."""

    account: str | None
    describes: bool  # the event says what the account is like
    joins: bool  # a person whose event names it so belongs to it


def _naming(event: _Event, group_types: Sequence[str]) -> _Naming:
    """Return the account that the event names. Raises Unusable.

    A server may describe a group of any type in anybody's name. Only where its type is known for accounts, or the
    person's own groups have it, does that say where the person belongs.
    """
    described = event.group
    if described is None:
        return _Naming(account_of(groups=event.groups, types=group_types), describes=False, joins=True)
    kind, key = described
    account = account_of(groups={**event.groups, kind: key}, types=group_types)
    describes = account == key
    return _Naming(account, describes, not describes or kind in (*event.groups, *(group_types or ACCOUNT_GROUPS)))


def _person(event: _Event, account: str | None) -> str | None:
    """Return the id that the event is filed under; None if it is nobody's.

    Where a server's library needs an id and is given none, it makes one up for this call. Beside an account that is
    no person: taken for one, each call would bring the account another user.
    """
    distinct = event.distinct
    if distinct is None or event.is_of_a_device:
        return distinct
    is_uuid = UUID.fullmatch(distinct) is not None
    if described := event.group:
        return None if is_uuid or distinct == "${}_{}".format(*described) else distinct
    return None if is_uuid and event.is_personless and account is not None else distinct


def _nobody(event: _Event, group_types: Sequence[str]) -> Unusable:
    if event.group is None:
        return Unusable("nobody", 'an event names a person in "distinct_id", or an account in "$groups"')
    known = ", ".join(group_types or ACCOUNT_GROUPS)
    return Unusable("not_an_account", f"groups of this type are no accounts of this source; those are {known}")


def _aliases(event: _Event) -> tuple[str, ...]:
    if event.name not in ALIASES:
        return ()
    alias = _other(event, "alias")
    if alias is None or event.distinct is None:
        raise Unusable("no_alias", 'an alias names its two ids in "distinct_id" and "alias"')
    return (alias,)


def _other(event: _Event, name: str) -> str | None:
    other = identifier(name, event.properties.get(name)) if event.name in ("$identify", *ALIASES) else None
    return None if other == COOKIELESS else other


def _set(event: _Event, name: str) -> dict[str, Any]:
    """Return the traits of an operation: it stands at the top of an event, or among its properties, or at both."""
    above, below = event.stated.get(name), event.properties.get(name)
    if above is None and below is None:
        return {}
    return traits(name, mapping(name, above) | mapping(name, below))


def _unset(event: _Event) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for listed in (event.stated.get("$unset"), event.properties.get("$unset")):
        if listed is not None and not isinstance(listed, list | dict):
            raise Unusable("bad_unset", '"$unset" is a list of names')
        names |= dict.fromkeys(name for name in listed or () if isinstance(name, str))
    return traits("$unset", names)


def _properties(event: _Event) -> dict[str, Any]:
    """Return what is kept of the event besides who and when: alike for both protocols, and pages as all wires do."""
    kept = {name: value for name, value in event.properties.items() if name not in NOT_KEPT}
    kept |= {name: event.stated[lifted] for lifted, name in LIFTED.items() if event.stated.get(lifted) is not None}
    if "process_person_profile" in event.options:
        kept["$process_person_profile"] = event.options["process_person_profile"]
    names = {"$pageview": PAGE, "$screen": SCREEN}.get(event.name)
    return page(kept, names) if names else kept


def _message_id(event: _Event) -> str:
    own = identifier("uuid", event.stated.get("uuid")) or identifier("$insert_id", event.properties.get("$insert_id"))
    if own is not None:
        return own
    # Without an id and a time nothing tells a repetition from the next event: none of them may be lost.
    if event.stated.get("timestamp") is None:
        return str(uuid.uuid4())
    return content_id({name: value for name, value in event.stated.items() if name != "sent_at"})


def _time(event: _Event, received_at: datetime, sent_at: datetime | None) -> datetime:
    """Return when it happened, in UTC, with the sender's clock put right. Raises Unusable."""
    at = instant("timestamp", event.stated.get("timestamp"))
    if at is None:
        return received_at - _age(event.stated.get("offset"))
    corrected = event.options.get("disable_skew_correction", event.properties.get("$ignore_sent_at"))
    return at if corrected is True else by_our_clock(at=at, sent=sent_at, received_at=received_at)


def _age(offset: object) -> timedelta:
    """Return how old an event is that says only that, in milliseconds. Raises Unusable."""
    if offset is None:
        return timedelta()
    if isinstance(offset, int | float) and 0 <= offset <= LONGEST_OFFSET:
        return timedelta(milliseconds=offset)
    raise Unusable("bad_time", '"offset" is a number of milliseconds since it happened')


# ---- one request


def _body_and_form(request: HttpRequest) -> tuple[bytes, dict[str, str]]:
    """Return the JSON that a request carries, and the other fields of its form, if it is one."""
    if request.method == "GET":
        return parser.from_form(body=request.META.get("QUERY_STRING", "").encode())
    body = door.body_of(request=request)
    if request.GET.get("compression") == "base64" and body[:1] not in (b"{", b"[") and b"data=" not in body:
        body = b"data=" + body
    return parser.from_form(body=body)


def _secret(parsed: Batch, form: Mapping[str, str]) -> str | None:
    """Return the key of a body: what stands around its events has it, or each event, or its properties."""
    for place in (parsed.envelope, *_places(parsed), form):
        for name in ("api_key", "token"):
            if isinstance(secret := place.get(name), str) and secret:
                return secret
    bad = next((item for item in parsed.items if isinstance(item, Rejected)), None)
    if bad is not None:  # its key could not be read either
        raise Refused(400, bad.code, bad.message)
    return None


def _places(parsed: Batch) -> Iterator[Mapping[str, Any]]:
    for item in parsed.items:
        if not isinstance(item, Rejected):
            yield item
            if isinstance(properties := item.get("properties"), dict):
                yield properties


def _sent(parsed: Batch, form: Mapping[str, str]) -> datetime | None:
    """Return when a body was sent: as said around its events, by each of them, or in the address."""
    first = next((item for item in parsed.items if not isinstance(item, Rejected)), {})
    sent = sent_time(parsed.envelope.get("sent_at", first.get("sent_at")))
    return sent_time(form.get("sent_at", form.get("_")), read=unix_time) if sent is None else sent


def _uuids(items: Sequence[dict[str, Any] | Rejected], body: bytes) -> list[str | None]:
    """Return by what each event is to be answered, even if it was not taken for JSON that can be stored."""
    stated = [None if isinstance(item, Rejected) else item.get("uuid") for item in items]
    if any(isinstance(item, Rejected) for item in items):
        stated = _as_it_came(body) or stated
    return [value if isinstance(value, str) and value else None for value in stated]


def _as_it_came(body: bytes) -> list[Any]:
    """Return the uuids of a body that has bad events, by a reader that is not strict; [] if even that fails."""
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError):
        return []
    events = whole["batch"] if isinstance(whole, dict) else whole
    return [event.get("uuid") if isinstance(event, dict) else None for event in events]


def _verdict(result: str | Rejected) -> dict[str, str]:
    return {"result": "drop", "details": result.message} if isinstance(result, Rejected) else {"result": "ok"}


CAPTURE = ("batch/", "capture/?", "e/?", "i/v0/e/?", "i/v0/ai/batch/?")  # "batch" comes by way of Amplitude's
KEY = r"(?P<key>[\w-]{1,200})"

urlpatterns = [
    *(re_path(rf"^{address}$", capture, name="posthog-capture") for address in CAPTURE),
    re_path(r"^i/v1/analytics/events/?$", analytics, name="posthog-analytics"),
    *(re_path(rf"^{address}/?$", flags, name="posthog-flags") for address in ("flags", "decide")),
    re_path(rf"^array/{KEY}/(?P<form>config|config\.js)$", remote_config, name="posthog-settings"),
    *(re_path(rf"^{place}/array[\w.]*\.js$", library, name="posthog-library") for place in (f"array/{KEY}", "static")),
    re_path(r"^static/[\d.]+/array[\w.]*\.js$", library, name="posthog-library"),
]
