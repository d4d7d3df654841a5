"""What the exports of other systems have otherwise than their wires: from here on the wire's own reading goes on.

An export is history, so each of its events has to say when it happened.
"""

from typing import Any

from pqlapp import parser
from pqlapp.ingest.fields import Unusable
from pqlapp.parser import Rejected

Item = dict[str, Any]


def posthog(item: Item) -> Item:
    """Return a row of PostHog's events as its libraries would have sent it. Raises Unusable.

    Exports by SQL have the properties as JSON in a text; batch exports have the time of arrival too. What they say of
    the person is left out: the events that set it are in the same export.
    """
    at = item.get("timestamp") or item.get("created_at")
    if at is None:
        raise Unusable("no_time", 'an exported event says in "timestamp" when it happened')
    return {**item, "timestamp": at, "properties": embedded("properties", item.get("properties"))}


def embedded(name: str, value: object) -> object:
    """Return an object that may stand there as JSON in a text. Raises Unusable."""
    if not isinstance(value, str):
        return value
    found = parser.parse_item(text=value.encode())
    if isinstance(found, Rejected):
        raise Unusable(found.code, f'in "{name}": {found.message}')
    return found
