"""What the tests tell through Amplitude's libraries, and what must be stored of it, each once."""

from collections import Counter
from datetime import UTC, datetime

from scoring.models import ProductUser
from tests.sdks import Wire

NOON = 1795176000000  # 20 November 2026, in milliseconds
FILE = {"size": 17.5, "name": "Q3 🎉.csv", "tags": ["a", "b"]}
TRAITS = {"email": "ann@acme.example", "seats": 4}
ACCOUNT_TRAITS = {"name": "Acme & Søns", "plan": "free"}
NAMES = Counter(["File Uploaded", "$identify", "$identify", "$add", "$append", "$group", "revenue_amount"])


def check(wire: Wire) -> None:
    """Assert that the story was stored, each call once."""
    assert wire.names() == NAMES
    assert wire.ids("ann") == {"ann", "device-1"}
    assert wire.user("ann").known
    assert wire.account("ann") == ("group", "acme")
    assert ProductUser.objects.filter(merged_into=None).count() == 1
    traits = wire.user_traits("ann")
    assert {name: traits[name] for name in ("email", "seats", "source", "trial")} == {
        **TRAITS,
        "source": "ad",
        "trial": None,
    }
    assert wire.account_traits("acme") == ACCOUNT_TRAITS
    upload = wire.event("File Uploaded")
    assert upload.at == datetime.fromtimestamp(NOON / 1000, UTC)
    assert {name: upload.properties[name] for name in FILE} == FILE
    assert upload.account is not None
    assert upload.account.external_id == "acme"
    assert wire.event("$add").properties == {"logins": 2}
    assert wire.event("revenue_amount").properties["revenue"] == 59.7
