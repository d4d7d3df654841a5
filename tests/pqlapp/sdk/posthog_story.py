"""What the tests tell through each of PostHog's libraries, and what must be stored of it, each once."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from scoring.models import ProductUser
from tests.sdks import Wire

AT = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)
UUID = "0196ab3c-5f2e-7000-8000-00000000000a"  # of the upload
TRAITS = {"email": "ann@acme.example", "seats": 4}
ONCE = {"source": "ad"}
ACCOUNT_TRAITS = {"name": "Acme & Søns", "plan": "free"}
FILE = {"size": 17.5, "name": "Q3 🎉.csv", "tags": ["a", {"b": None}]}
PAGE = {"$current_url": "https://acme.example/pricing", "$pathname": "/pricing", "$referrer": "$direct"}
ACME = {"company": "acme"}
NAMES = Counter(["$identify", "$alias", "$group", "$page", "File Uploaded", "Report Built"])


def tell(client: Any) -> None:
    """Make the six calls with the library for Python, a minute apart."""
    minute = (AT + timedelta(minutes=n) for n in range(6))
    identify = {"$anon_distinct_id": "anon-1", "$set": TRAITS, "$set_once": ONCE}
    client.capture("$identify", distinct_id="ann", properties=identify, timestamp=next(minute))
    client.alias("anon-2", "ann", timestamp=next(minute))
    client.group_identify("company", "acme", ACCOUNT_TRAITS, timestamp=next(minute))
    client.capture("$pageview", distinct_id="ann", properties=PAGE, timestamp=next(minute))
    client.capture("File Uploaded", distinct_id="ann", properties=FILE, groups=ACME, timestamp=next(minute), uuid=UUID)
    client.capture("Report Built", groups=ACME, timestamp=next(minute))  # by nobody: the library makes an id up


def check(wire: Wire) -> None:
    """Assert that the story was stored, each call once, at its own minute."""
    assert wire.names() == NAMES
    assert [event.at for event in wire.events()] == [AT + timedelta(minutes=n) for n in range(6)]
    assert wire.ids("ann") == {"ann", "anon-1", "anon-2"}
    assert wire.user("ann").known
    assert wire.account("ann") == ("group", "acme")
    assert ProductUser.objects.filter(merged_into=None).count() == 1
    assert wire.user_traits("ann") == {**TRAITS, **ONCE}
    assert wire.account_traits("acme") == ACCOUNT_TRAITS
    page = {**PAGE, "url": "https://acme.example/pricing", "path": "/pricing", "referrer": "$direct"}
    assert wire.event("$page").properties.items() >= page.items()
    upload, report = wire.event("File Uploaded"), wire.event("Report Built")
    assert upload.message_id == UUID
    assert {name: upload.properties[name] for name in FILE} == FILE
    for event in (upload, report):
        assert event.account is not None and event.account.external_id == "acme"
    assert report.identity is None
