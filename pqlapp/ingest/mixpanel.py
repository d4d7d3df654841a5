"""The HTTP API that Mixpanel's libraries speak: events, profiles of people and of groups, and imports.

The libraries look for `1`, or with verbose=1 for {"status": 1}, and Python's raises a KeyError into the customer's
program at an answer without `status`: so every error has one. A bad item among good ones is not the libraries'
business: they would drop the good ones with it, or repeat them. They hear of it when nothing of a request was taken.

People: `$user_id` and `distinct_id` name users; `$device_id`, `$device:…` and a distinct_id that equals the device id
name visitors. Which id of an alias or a merge is the user's, other calls tell. A library on a device says itself, with
`$identify`, that a visitor has become a user: what it writes into its other events does not join the two, for the next
user of the device would be joined to them as well. A server has no other way to say it.

Accounts: an event names its groups as plain properties. Where the source says which property is the account's
(group_types), any value of it counts. Otherwise one of fields.ACCOUNT_GROUPS does, but only as a list, which is how the
libraries write groups: `team: "red"` may be anything.
"""

import base64
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.urls import re_path
from django.utils import timezone

from pqlapp import parser
from pqlapp.ingest import door, fields, visits
from pqlapp.ingest.fields import Unusable, identifier, mapping, traits
from pqlapp.parser import Refused, Rejected
from scoring.facts import Fact
from scoring.models import Source

Item = dict[str, Any] | Rejected  # as parsed
Read = list[Fact] | Rejected

PAGE_VIEWS = ("$mp_web_page_view", "mp_page_view")
PAGE = {
    "url": "$current_url",
    "path": "current_url_path",
    "search": "current_url_search",
    "title": "current_page_title",
    "referrer": "$referrer",
}
TRAITS = {
    **{f"${name}": name for name in ("email", "name", "first_name", "last_name", "phone", "avatar")},
    **{f"${name}": name for name in ("city", "region", "country_code", "timezone")},
    "$created": "created_at",
}
SETTING = frozenset(("$set", "$set_once", "$unset"))
# These change a trait by what it was. A dated trait cannot say so; they are kept as events, and a rule can sum them.
CHANGING = ("$add", "$append", "$union", "$remove", "$delete")

DEVICE = "$device:"  # before the id of a device where a distinct_id is expected
ON_DEVICES = frozenset(("web", "android", "iphone", "swift", "react-native", "flutter", "unity"))  # values of mp_lib
# By the event: which properties name a user, and which a visitor or either.
USUAL_IDS = (("$user_id", "distinct_id"), ("$device_id",))
LINKING_IDS = {
    "$identify": (("$user_id", "distinct_id", "$identified_id"), ("$anon_distinct_id", "$anon_id")),
    "$create_alias": (("$user_id",), ("distinct_id", "alias")),
    "$merge": (("$user_id",), ("distinct_id", "$distinct_ids")),
}
NOT_PROPERTIES = frozenset(("token", "time", "$insert_id", *chain(*USUAL_IDS)))
NAMES = dict.fromkeys(PAGE_VIEWS, "$page") | {"$create_alias": "$alias", "$merge": "$alias"}
IDS_LIMIT = 10  # of one person, in one call
TOKENS_LIMIT = 10  # in one request

LINES = re.compile(rb"\}[ \t\r]*\n\s*\{")  # between objects, one a line: no valid JSON has it
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
UNKNOWN_TOKEN = Rejected("unknown_key", "send a live write key of this system as token: manage.py create_key makes one")
OTHER_GROUP = "other_group"  # rightly sent, and of no use here: no reason to trouble the sender


def read(
    *, item: Mapping[str, Any], received_at: datetime, types: Sequence[str] = (), sent: datetime | None = None
) -> Read:
    """Return the fact that an event states, or why it states none.

    `item` is one checked JSON object, `types` are the source's group types, `sent` is when the client's clock says
    that it sent the event (None: not known). All times are in UTC.
    """
    try:
        return [_event(item, received_at, types, sent)]
    except Unusable as error:
        return error.rejected


def read_past(
    *, item: Mapping[str, Any], received_at: datetime, types: Sequence[str] = (), sent: datetime | None = None
) -> Read:
    """Do as read() does for an event to import, which has to say when it happened: now would be wrong."""
    properties = item.get("properties")
    if isinstance(properties, dict) and properties.get("time") is None:
        return Rejected("no_time", 'an event to import says in "time" when it happened')
    return read(item=item, received_at=received_at, types=types, sent=sent)


def read_person(
    *, item: Mapping[str, Any], received_at: datetime, types: Sequence[str] = (), sent: datetime | None = None
) -> Read:
    """Return the facts that an update of a person's profile states, or why it states none. See read()."""
    try:
        who = _one_of(_people(item, ("$user_id", "$distinct_id"), ("$device_id",)))
        if not who:
            raise Unusable("nobody", 'an update of a person needs a "$distinct_id"')
        # set_group() and add_group() write the group into the profile, too.
        account = _account({**_operands(item, "$union"), **_operands(item, "$set")}, types)
        common = who | _when(item, received_at, sent) | {"group_id": account, "joins": account is not None}
        return _updates(item, "$identify", "user", common)
    except Unusable as error:
        return error.rejected


def read_group(
    *, item: Mapping[str, Any], received_at: datetime, types: Sequence[str] = (), sent: datetime | None = None
) -> Read:
    """Return the facts that an update of a group's profile states, or why it states none. See read()."""
    try:
        kind = identifier("$group_key", item.get("$group_key"))
        account = identifier("$group_id", item.get("$group_id"))
        if kind is None or account is None:
            raise Unusable("no_group", 'an update of a group needs a "$group_key" and a "$group_id"')
        if kind not in (types or fields.ACCOUNT_GROUPS):
            raise Unusable(OTHER_GROUP, f'"{kind[:64]}" is none of the group types that this source has for accounts')
        return _updates(item, "$group", "account", _when(item, received_at, sent) | {"group_id": account})
    except Unusable as error:
        return error.rejected


# ---- the doors


def problem(refused: Refused) -> JsonResponse:
    """Return an error as all of Mixpanel's libraries can read it. Python's comes again for a 5xx only."""
    refused = door.patient(refused)
    document = {"status": 0, "error": refused.message, "code": refused.status, "reason": refused.code}
    return JsonResponse(document, status=refused.status)


opened = door.ingest_door(methods=("GET", "POST"), errors=problem, credentials=True)


def _taking(reader: Callable[..., Read]) -> door.View:
    """Return the view that takes what the reader reads."""

    @opened
    def taken(request: HttpRequest) -> HttpResponse:
        items, options, _ = _items(request)
        return _answer(request, _take(request, items, options, reader), options)

    return taken


track = _taking(read)
engage = _taking(read_person)  # updates of people's profiles
groups = _taking(read_group)  # updates of groups' profiles


@opened
def import_events(request: HttpRequest) -> HttpResponse:
    """Take events of the past: JSON, or one JSON object a line, or a form as the libraries send it."""
    items, options, is_form = _items(request)
    results = _take(request, items, options, read_past)
    return _answer(request, results, options) if is_form else _import_answer(items, results, options)


@opened
def nothing(request: HttpRequest) -> HttpResponse:
    """Answer what the browser's library asks besides: there are no settings here, and recordings are not kept."""
    return JsonResponse({"code": 200, "status": "OK", "sdk_config": {"config": {}}})


def _items(request: HttpRequest) -> tuple[list[Item], dict[str, str], bool]:
    """Return the items, the options beside them in query and form, and whether it was a form or a query."""
    query = request.META.get("QUERY_STRING", "")
    sent = door.body_of(request=request) or query.encode()
    body, form = parser.from_form(body=sent)
    is_form = body is not sent
    if LINES.search(body):
        body = b"[" + b",".join(filter(None, map(bytes.strip, body.splitlines()))) + b"]"
    parsed = parser.parse_batch(body=body, field="data", alone=True)
    return parsed.items, QueryDict(query).dict() | form, is_form


def _take(
    request: HttpRequest, items: Sequence[Item], options: Mapping[str, str], reader: Callable[..., Read]
) -> list[str | Rejected]:
    """Store the items, each for the source of its token, and return what became of each."""
    received_at, sent = timezone.now(), fields.sent_time(options.get("_"), read=fields.unix_time)
    results: list[str | Rejected] = [UNKNOWN_TOKEN] * len(items)
    for source, positions in _by_source(request, items, options).items():
        facts = [
            item
            if isinstance(item := items[i], Rejected)
            else reader(item=item, received_at=received_at, types=source.group_types, sent=sent)
            for i in positions
        ]
        said = [items[i] for i in positions]
        taken = door.take_items(source=source, read=facts, received_at=received_at, said=said, sent_at=sent)
        for i, result in zip(positions, taken, strict=True):
            results[i] = result
    visits.misses(rejected=UNKNOWN_TOKEN, count=results.count(UNKNOWN_TOKEN), at=received_at)
    return results


def _by_source(request: HttpRequest, items: Sequence[Item], options: Mapping[str, str]) -> dict[Source, list[int]]:
    """Return the positions of the items by source.

    An item's own token counts; without a good one, the key that the request names, which may also be an old secret of
    Mixpanel's. What could not be parsed goes with the first source. Raises Refused if there is no source at all.
    """
    given = (door.secret_in_header(request=request), options.get("api_key"), options.get("token"))
    tokens = [None if isinstance(item, Rejected) else _token(item) for item in items]
    if len(set(tokens)) > TOKENS_LIMIT:
        raise Refused(400, "too_many_tokens", f"send for at most {TOKENS_LIMIT} projects in one request")
    sources = {token: _sender((token, *given)) for token in tokens}
    first = next(filter(None, sources.values()), None)
    if items and first is None:
        raise _refusal(items)
    found: dict[Source, list[int]] = {}
    for i, (item, token) in enumerate(zip(items, tokens, strict=True)):
        source = sources[token] or (first if isinstance(item, Rejected) else None)
        if source is not None:
            found.setdefault(source, []).append(i)
    return found


def _refusal(items: Sequence[Item]) -> Refused:
    """Return why no item has a source: none could be parsed, or nobody knows their keys."""
    faults = [item for item in items if isinstance(item, Rejected)]
    if len(faults) == len(items):
        return Refused(400, faults[0].code, faults[0].message)
    return Refused(401, UNKNOWN_TOKEN.code, UNKNOWN_TOKEN.message)


def _token(item: Mapping[str, Any]) -> str | None:
    properties = item.get("properties")
    token = properties.get("token") if isinstance(properties, dict) else item.get("$token")
    return token if isinstance(token, str) else None


def _sender(secrets: Iterable[str | None]) -> Source | None:
    for secret in filter(None, secrets):
        try:
            return door.sender(secret=secret)
        except Refused:
            continue
    return None


# ---- the answers


def _answer(request: HttpRequest, results: Sequence[str | Rejected], options: Mapping[str, str]) -> HttpResponse:
    """Return `1` or `0`, or a document for verbose=1, or for img=1 a picture that nobody sees. Raises Refused.

    Where nothing was taken the status is good all the same: telephones send anything else again, for ever. Only to a
    GET it is not, as that is Node, which repeats the document to its caller.
    """
    faults = [result for result in results if isinstance(result, Rejected) and result.code != OTHER_GROUP]
    was_taken = not faults or len(faults) < len(results)
    if not was_taken and request.method == "GET":
        raise Refused(400, faults[0].code, faults[0].message)
    if options.get("img") == "1":
        return HttpResponse(PIXEL, content_type="image/gif")
    if options.get("verbose") == "1":
        error = f"{len(faults)} of {len(results)} were not taken: {faults[0].message}" if faults else None
        reason = {} if was_taken else {"reason": faults[0].code}
        return JsonResponse({"status": int(was_taken), "error": error} | reason)
    return HttpResponse(str(int(was_taken)), content_type="text/plain")


def _import_answer(
    items: Sequence[Item], results: Sequence[str | Rejected], options: Mapping[str, str]
) -> JsonResponse:
    """Return how many were imported and which were not, with a status at which nobody sends them again."""
    failed = [
        {"index": i, "insert_id": own, "$insert_id": own, "field": result.code, "message": result.message}
        for i, result in enumerate(results)
        if isinstance(result, Rejected)
        for own in [_stated_id(items[i])]
    ]
    answer: dict[str, Any] = {"code": 200, "num_records_imported": len(results) - len(failed), "status": "OK"}
    if not failed or options.get("strict") == "0":
        return JsonResponse(answer)
    error = f"{len(failed)} of {len(results)} events were not taken; the others are stored"
    answer |= {"code": 400, "status": "Bad Request", "error": error, "failed_records": failed}
    return JsonResponse(answer, status=400)


def _stated_id(item: Item) -> str | None:
    properties = None if isinstance(item, Rejected) else item.get("properties")
    stated = properties.get("$insert_id") if isinstance(properties, dict) else None
    return stated if isinstance(stated, str) else None


# ---- from items to facts


def _event(item: Mapping[str, Any], received_at: datetime, types: Sequence[str], sent: datetime | None) -> Fact:
    properties = mapping("properties", item.get("properties"))
    name = fields.event_name(item.get("event"))
    who = _who(name, properties)
    account = _account(properties, types)
    if not who and account is None:
        raise Unusable("nobody", 'an event needs a "distinct_id", a "$device_id", a "$user_id" or an account\'s group')
    kept_elsewhere = {*NOT_PROPERTIES, *chain(*LINKING_IDS.get(name, ()))}
    rest = {key: value for key, value in properties.items() if key not in kept_elsewhere}
    time = properties.get("time")
    return Fact(
        **who,
        message_id=identifier("$insert_id", properties.get("$insert_id")) or _made_id(item, time),
        at=fields.unix_time_by_our_clock("time", time, sent=sent, received_at=received_at),
        name=NAMES.get(name, name),
        group_id=account,
        joins=bool(who) and account is not None,
        properties=fields.page(rest, PAGE) if name in PAGE_VIEWS else rest,
    )


def _updates(item: Mapping[str, Any], name: str, whose: str, common: Mapping[str, Any]) -> list[Fact]:
    """Return a fact for all traits that are set, and one for each operation that changes them.

    `whose` is "user" or "account", `common` is what all of the facts have.
    """
    facts = []
    if item.keys() & SETTING:
        known, once = _traits(item, "$set"), _traits(item, "$set_once")
        own = {f"{whose}_traits": _unset(item) | known, f"{whose}_traits_once": once}
        facts.append(Fact(**{**common, **own, "name": name, "properties": once | known}))
    for operation in (operation for operation in CHANGING if operation in item):
        message_id, operands = f"{common['message_id']}:{operation}", _operands(item, operation)
        facts.append(Fact(**{**common, "message_id": message_id, "name": operation, "properties": operands}))
    if not facts:
        raise Unusable("no_operation", f"an update has one of {', '.join((*sorted(SETTING), *CHANGING))}")
    return facts


def _operands(item: Mapping[str, Any], operation: str) -> dict[str, Any]:
    return {} if operation == "$delete" else mapping(operation, item.get(operation))


def _traits(item: Mapping[str, Any], operation: str) -> dict[str, Any]:
    """Return traits under our names; a name that the sender gave on purpose beats Mixpanel's own for the same."""
    stated = traits(operation, item.get(operation))
    return {TRAITS[name]: value for name, value in stated.items() if name in TRAITS} | {
        name: value for name, value in stated.items() if name not in TRAITS
    }


def _unset(item: Mapping[str, Any]) -> dict[str, None]:
    names = item.get("$unset")
    names = [names] if isinstance(names, str) else names or []
    if not isinstance(names, list | dict) or not all(isinstance(name, str) for name in names):
        raise Unusable("bad_unset", '"$unset" is a list of names')
    return traits("$unset", {TRAITS.get(name, name): None for name in names})


def _when(item: Mapping[str, Any], received_at: datetime, sent: datetime | None) -> dict[str, Any]:
    time = item.get("$time")
    at = fields.unix_time_by_our_clock("$time", time, sent=sent, received_at=received_at)
    own = identifier("$insert_id", item.get("$insert_id"))  # no library gives one, but a hook of the page may
    return {"message_id": fields.content_id(own) if own else _made_id(item, time), "at": at}


def _made_id(item: Mapping[str, Any], time: object) -> str:
    """Return an id for an item without one.

    Equal items of one time are one, sent again. Without a time, equal items may well be two: Node's events and the
    browser's updates have none, and what is said today may be said again next week.
    """
    return str(uuid.uuid4()) if time is None else fields.content_id(item)


def _who(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids of an event's person, {} if it names nobody."""
    if name not in LINKING_IDS:
        who = _people(properties, *USUAL_IDS)
        return _one_of(who) if properties.get("mp_lib") in ON_DEVICES else who
    users, others = LINKING_IDS[name]
    return _people(properties, users, () if name == "$identify" and _changes_users(properties) else others)


def _people(item: Mapping[str, Any], users: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
    """Return the ids of one person as a Fact has them, {} if the item names nobody.

    `users` are the names under which the item has ids of users, `others` those of visitors or either.
    """
    either = [value.removeprefix(DEVICE) for value in _ids(item, others)]
    known: list[str] = []
    for value in _ids(item, users):
        is_device = value.startswith(DEVICE) or (value in either and value != item.get("$user_id"))
        (either if is_device else known).append(value.removeprefix(DEVICE))
    ids = tuple(dict.fromkeys((*known, *either)))
    if len(ids) > IDS_LIMIT:
        raise Unusable("too_many_ids", f"a call has at most {IDS_LIMIT} ids of one person")
    if not ids:
        return {}
    user = next(iter(known), None)
    anonymous = next((value for value in either if value not in known), None)
    return {
        "user_id": user,
        "anonymous_id": anonymous,
        "aliases": tuple(value for value in ids if value not in (user, anonymous)),
    }


def _one_of(who: Mapping[str, Any]) -> dict[str, Any]:
    """Return only the user among the ids of a person, if there is one."""
    return {"user_id": who["user_id"]} if who.get("user_id") else dict(who)


def _changes_users(identify: Mapping[str, Any]) -> bool:
    """Whether somebody logs in on a device where somebody else has not logged out: they are not one person."""
    device, before = identify.get("$device_id"), identify.get("$anon_distinct_id")
    return device is not None and before not in (None, device, f"{DEVICE}{device}")


def _ids(item: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value = item.get(name)
        for one in value if name == "$distinct_ids" and isinstance(value, list) else [value]:
            if (stated := identifier(name, one)) and stated != DEVICE:
                yield stated


def _account(named: Mapping[str, Any], types: Sequence[str]) -> str | None:
    """Return the account among plain properties (see above), None without any."""
    order = types or [kind for kind in fields.ACCOUNT_GROUPS if _is_list_of_ids(named.get(kind))]
    return fields.account_of(groups=named, types=order) if order else None


def _is_list_of_ids(value: object) -> bool:
    return isinstance(value, list) and value != [] and all(type(one) in (str, int) for one in value)


urlpatterns = [
    re_path(r"^track/?$", track, name="mixpanel-track"),
    re_path(r"^engage/?$", engage, name="mixpanel-engage"),
    re_path(r"^groups/?$", groups, name="mixpanel-groups"),
    re_path(r"^import/?$", import_events, name="mixpanel-import"),
    re_path(r"^record/?$", nothing, name="mixpanel-record"),
    re_path(r"^settings/?$", nothing, name="mixpanel-settings"),
]
