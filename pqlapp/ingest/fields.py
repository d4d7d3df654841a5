"""Reading one call: ids, times, names and traits as every wire has them, each checked alike."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pqlapp.parser import Rejected

ID_LIMIT = 512  # characters of an id or an event name
TRAIT_LIMIT = 200  # traits in one call
TRAIT_NAME_LIMIT = 256  # characters

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
