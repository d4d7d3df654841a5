"""One call of the Segment spec, as Segment's and RudderStack's libraries send it, becomes a fact.

Times: a client's clock may lie, so a call that says when it was sent is moved by the difference to our clock:
timestamp = received_at - (sentAt - originalTimestamp). A difference of up to half a minute is the network's,
and leaves the time as the sender gave it. A call with `timestamp` beside `originalTimestamp` was corrected, or
dated on purpose, before it came here; one without `sentAt` comes from a file: both keep their time.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pqlapp.parser import Rejected
from scoring.facts import Fact

TYPES = ("track", "identify", "group", "page", "screen", "alias")
ID_LIMIT = 512  # characters of an id or an event name
TRAIT_LIMIT = 200  # traits in one call
TRAIT_NAME_LIMIT = 256  # characters
HONEST_CLOCK = timedelta(seconds=30)


class Unusable(Exception):
    """A call cannot become a fact; carries the code and the sentence to answer with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.rejected = Rejected(code, message)


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
    sent = _sent(sent_at if own is None else own)
    if sent is None or abs(received_at - sent) <= HONEST_CLOCK:
        return at
    try:
        return received_at - (sent - at)
    except OverflowError as error:
        raise Unusable("bad_time", "the timestamp, corrected by sentAt, is outside the years 1 to 9999") from error


def instant(name: str, value: object) -> datetime | None:
    """Return an ISO 8601 text as UTC (without an offset it is UTC already), None for null. Raises Unusable."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise Unusable("bad_time", f'"{name}" is an ISO 8601 text such as "2026-05-01T09:30:00Z"')


def identifier(name: str, value: object) -> str | None:
    """Return an id as text; whole numbers are taken, null and "" are no id. Raises Unusable."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int:
        return str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Unusable("bad_id", f'"{name}" is a text or a whole number')
    if len(value) > ID_LIMIT:
        raise Unusable("id_too_long", f'"{name}" has at most {ID_LIMIT} characters')
    return value


def mapping(name: str, value: object) -> dict[str, Any]:
    """Return an object of the call, {} for null. Raises Unusable."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unusable("not_an_object", f'"{name}" is a JSON object')
    return value


def traits(name: str, value: object) -> dict[str, Any]:
    """Return an object of traits, {} for null. Raises Unusable for too many, or too long names."""
    known = mapping(name, value)
    if len(known) > TRAIT_LIMIT:
        raise Unusable("too_many_traits", f'"{name}" has at most {TRAIT_LIMIT} entries')
    if any(len(key) > TRAIT_NAME_LIMIT for key in known):
        raise Unusable("trait_name_too_long", f'the names in "{name}" have at most {TRAIT_NAME_LIMIT} characters')
    return known


def event_name(value: object) -> str:
    """Return the name of an event. Raises Unusable if there is none."""
    if not isinstance(value, str) or not value.strip():
        raise Unusable("no_event_name", '"event" is the name of what happened')
    if len(value) > ID_LIMIT:
        raise Unusable("event_name_too_long", f'"event" has at most {ID_LIMIT} characters')
    return value


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
    return Fact(
        message_id=identifier("messageId", call.get("messageId")) or str(uuid.uuid4()),
        at=time_of(call=call, received_at=received_at, sent_at=sent_at),
        name=event_name(call.get("event")) if kind == "track" else f"${kind}",
        user_id=user,
        anonymous_id=anonymous,
        aliases=_aliases(call) if kind == "alias" else (),
        group_id=group,
        joins=kind == "group" and (user is not None or anonymous is not None),
        properties=_properties(call, str(kind)),
        user_traits=_user_traits(call, context) if kind == "identify" else {},
        account_traits=traits("traits", call.get("traits")) if kind == "group" else {},
    )


def _sent(value: object) -> datetime | None:
    """Return when the call was sent; a sentAt that says nothing is no reason to lose the call."""
    try:
        return instant("sentAt", value)
    except Unusable:
        return None


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


def _user_traits(call: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Traits of an identify call: Segment has them at the top, RudderStack's Python library in the context."""
    below, above = mapping("context.traits", context.get("traits")), mapping("traits", call.get("traits"))
    return traits("traits", below | above)


def _properties(call: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What is kept of the call besides who and when; name and category of a page are part of it."""
    if kind == "identify":
        return _user_traits(call, mapping("context", call.get("context")))
    if kind == "group":
        return traits("traits", call.get("traits"))
    properties = mapping("properties", call.get("properties"))
    if kind in ("page", "screen"):
        titles = {key: call[key] for key in ("name", "category") if isinstance(call.get(key), str)}
        return properties | titles
    return properties
