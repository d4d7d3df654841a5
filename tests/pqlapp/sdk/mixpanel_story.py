"""What the tests tell through Mixpanel's libraries for servers, and what must be stored of it, each once."""

from collections import Counter
from datetime import UTC, datetime

from scoring.models import ProductUser
from tests.sdks import Wire

NOON = 1795176000  # 20 November 2026, in seconds; one more for each call
FILE = {"size": 17.5, "name": "Q3 🎉.csv", "tags": ["a", {"b": None}]}
TRAITS = {"$email": "ann@acme.example", "seats": 4}
ACCOUNT_TRAITS = {"$name": "Acme & Søns", "plan": "free"}
NAMES = Counter(
    {"File Uploaded": 1, "$alias": 1, "Imported": 1, "$identify": 3, "$add": 1, "$append": 1, "$union": 1}
    | {"$remove": 1, "$delete": 1, "$group": 1}
)


def check(wire: Wire) -> None:
    """Assert that the story was stored, each call once."""
    assert wire.names() == NAMES
    assert wire.ids("ann") == {"ann", "cookie-1"}
    assert wire.user("ann").known
    assert wire.account("ann") == ("group", "acme")
    assert ProductUser.objects.filter(merged_into=None).count() == 1
    assert wire.user_traits("ann") == {"email": "ann@acme.example", "seats": 4, "source": "ad", "trial": None}
    assert wire.account_traits("acme") == {"name": "Acme & Søns", "plan": "free"}
    upload = wire.event("File Uploaded")
    assert upload.at == datetime.fromtimestamp(NOON, UTC)
    assert {name: upload.properties[name] for name in FILE} == FILE
    assert upload.account is not None
    assert upload.account.external_id == "acme"
    assert "token" not in upload.properties
    assert wire.event("$add").properties == {"logins": 2}
    assert wire.event("Imported").at == datetime.fromtimestamp(NOON - 86_400 * 30, UTC)
