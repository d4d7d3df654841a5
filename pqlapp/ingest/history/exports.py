"""What the exports of other systems have otherwise than their wires: from here on the wire's own reading goes on.

An export is history, so each of its events has to say when it happened.
"""

from datetime import timedelta
from typing import Any

from pqlapp import parser
from pqlapp.ingest.fields import EPOCH, Unusable, instant
from pqlapp.parser import Rejected

Item = dict[str, Any]
AMPLITUDE_IDS = ("$insert_id", "insert_id", "uuid")  # the first two are the sender's own, as it would send it again
MILLISECOND = timedelta(milliseconds=1)


def posthog(item: Item) -> Item:
    """Return a row of PostHog's events as its libraries would have sent it. Raises Unusable.

    Exports by SQL have the properties as JSON in a text; batch exports have the time of arrival too. What they say of
    the person is left out: the events that set it are in the same export.
    """
    at = item.get("timestamp") or item.get("created_at")
    if at is None:
        raise Unusable("no_time", 'an exported event says in "timestamp" when it happened')
    return {**item, "timestamp": at, "properties": embedded("properties", item.get("properties"))}


def amplitude(item: Item) -> Item:
    """Return an event of Amplitude's export as its libraries would have sent it. Raises Unusable."""
    at = instant("event_time", item.get("event_time"))
    if at is None:
        raise Unusable("no_time", 'an exported event says in "event_time" when it happened')
    own = next((item[name] for name in AMPLITUDE_IDS if item.get(name) not in (None, "")), None)
    return {**item, "time": int((at - EPOCH) / MILLISECOND), "insert_id": own}


def embedded(name: str, value: object) -> object:
    """Return an object that may stand there as JSON in a text. Raises Unusable."""
    if not isinstance(value, str):
        return value
    found = parser.parse_item(text=value.encode())
    if isinstance(found, Rejected):
        raise Unusable(found.code, f'in "{name}": {found.message}')
    return found
