"""Reading one call: ids, times, names and traits as every wire has them, each checked alike."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from pqlapp.parser import Rejected

ID_LIMIT = 512  # characters of an id or an event name
TRAIT_LIMIT = 200  # traits in one call
TRAIT_NAME_LIMIT = 256  # characters

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM = 1e11  # in seconds that is the year 5138, in milliseconds 1973
HONEST_CLOCK = timedelta(seconds=30)  # a difference up to this is the network's, not the clock's

# Which of several groups is the account, where the source does not say: the first of these that a call names.
ACCOUNT_GROUPS = (
    "company",
    "company_id",
    "organization",
    "organization_id",
    "account",
    "account_id",
    "workspace",
    "team",
)


class Unusable(Exception):
    """A call cannot become a fact; carries the code and the sentence to answer with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.rejected = Rejected(code, message)


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


def unix_time(name: str, value: object) -> datetime | None:
    """Return seconds or milliseconds since 1970 (a number, or a text of one) as UTC, None for null. Raises Unusable."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value = float(value)
        if type(value) is int or type(value) is float:
            is_milliseconds = abs(value) >= MILLISECONDS_FROM
            return EPOCH + (timedelta(milliseconds=value) if is_milliseconds else timedelta(seconds=value))
    except (ValueError, OverflowError):
        pass
    raise Unusable("bad_time", f'"{name}" is a number of seconds or milliseconds since 1970')


def sent_time(value: object, *, read: Callable[[str, object], datetime | None] = instant) -> datetime | None:
    """Return when a client says that it sent a request; what says nothing is no reason to lose what it brings."""
    try:
        return read("sent", value)
    except Unusable:
        return None


def unix_time_by_our_clock(name: str, value: object, *, sent: datetime | None, received_at: datetime) -> datetime:
    """Return a unix_time() put right as by_our_clock() does, and without one when it was received. Raises Unusable."""
    at = unix_time(name, value)
    return received_at if at is None else by_our_clock(at=at, sent=sent, received_at=received_at)


def by_our_clock(*, at: datetime, sent: datetime | None, received_at: datetime) -> datetime:
    """Return when something happened whose time, and whose time of sending, were read off the same clock.

    That clock may lie: the time is moved by its difference to ours, if that is more than HONEST_CLOCK. Without `sent`
    it stays. Raises Unusable if the result is no date.
    """
    if sent is None or abs(received_at - sent) <= HONEST_CLOCK:
        return at
    try:
        return received_at - (sent - at)
    except OverflowError as error:
        raise Unusable("bad_time", "corrected by the time of sending, it is outside the years 1 to 9999") from error


def content_id(call: object) -> str:
    """Return a message id made of a call's content: the same for its repetition, whatever the order of its keys."""
    return f"content-{hashlib.sha256(orjson.dumps(call, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]}"


def identifier(name: str, value: object) -> str | None:
    """Return an id as text; whole numbers are taken, null and "" are no id. Raises Unusable."""
    if type(value) is str and 0 < len(value) <= ID_LIMIT:
        return value  # as nearly all are
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


def account_of(*, groups: Mapping[str, Any], types: Sequence[str]) -> str | None:
    """Return the id of the account among the groups that a call names, as {type: id or [id, …]}; None without any.

    `types` are the source's own group types for accounts, the first that is named counts; without them ACCOUNT_GROUPS
    are tried, then the type that comes first in the alphabet. Raises Unusable.
    """
    order: Iterable[str] = types or (*ACCOUNT_GROUPS, *sorted(groups))
    for kind in order:
        value = groups.get(kind)
        first = next(iter(value), None) if isinstance(value, list) else value
        if (account := identifier(kind, first)) is not None:
            return account
    return None


def page(properties: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the properties of a page view with url, path, title and so on under the names that Segment gives them.

    `names` says which property of the wire's own has each. All others stay, and one that is there already wins.
    """
    ours = {name: properties[own] for name, own in names.items() if isinstance(properties.get(own), str)}
    return {**ours, **properties}
