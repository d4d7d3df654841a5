"""What the tests tell through each library of the Segment family, and what must be stored of it, each once."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.sdks import Wire

AT = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)
TRAITS = {"email": "ann@acme.example", "seats": 4}
ACCOUNT_TRAITS = {"name": "Acme & Søns", "plan": "free"}
FILE = {"size": 17.5, "name": "Q3 🎉.csv", "tags": ["a", {"b": None}]}
NAMES = Counter(["$identify", "$alias", "$group", "$page", "$screen", "File Uploaded"])


def tell(client: Any) -> None:
    """Make the six calls with a Python library, a minute apart; Segment's and RudderStack's look alike."""
    minute = (AT + timedelta(minutes=n) for n in range(6))
    client.identify("ann", TRAITS, anonymous_id="anon-1", timestamp=next(minute))
    client.alias("anon-2", "ann", timestamp=next(minute))
    client.group("ann", "acme", ACCOUNT_TRAITS, timestamp=next(minute))
    client.page("ann", "Docs", "Pricing", {"path": "/pricing"}, timestamp=next(minute))
    client.screen("ann", "Docs", "Home", {"dark": True}, timestamp=next(minute))
    client.track("ann", "File Uploaded", FILE, {"groupId": "globex"}, timestamp=next(minute), message_id="m-6")


def check(wire: Wire, *, names: Counter[str] = NAMES, file: Mapping[str, Any] = FILE, dated: bool = True) -> None:
    """Assert that the story was stored, each call once, at its own minute if it was `dated`."""
    assert wire.names() == names
    assert {"ann", "anon-1", "anon-2"} <= wire.ids("ann")
    assert wire.user("ann").known
    assert wire.account("ann") == ("group", "acme")
    assert wire.user_traits("ann") == TRAITS
    assert wire.account_traits("acme") == ACCOUNT_TRAITS
    assert wire.event("$page").properties.items() >= {"path": "/pricing", "name": "Pricing"}.items()
    assert wire.event("File Uploaded").properties == file
    account = wire.event("File Uploaded").account
    assert account is not None and account.external_id == "globex"
    if dated:
        assert [event.at for event in wire.events()] == [AT + timedelta(minutes=n) for n in range(len(names))]
        assert wire.event("File Uploaded").message_id == "m-6"
    else:
        assert all(abs(event.received_at - event.at) < timedelta(minutes=1) for event in wire.events())
