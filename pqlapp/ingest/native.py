"""The house's own wire: POST /api/v1/events with a list of items, answered item by item.

An item is {id?, event, at?, user?, anonymous?, account?, properties?, traits?, account_traits?}. `account` is the
account that the event belongs to; the event "$group" says besides that the user belongs to it.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone

from pqlapp import parser
from pqlapp.ingest import door, fields
from pqlapp.ingest.fields import Unusable
from pqlapp.parser import Rejected
from scoring.facts import Fact

FIELDS = frozenset(("id", "event", "at", "user", "anonymous", "account", "properties", "traits", "account_traits"))


def read(*, item: Mapping[str, Any], received_at: datetime) -> Fact | Rejected:
    """Return the fact that a checked item states, or why it states none. `received_at` is in UTC."""
    try:
        return _fact(item, received_at)
    except Unusable as error:
        return error.rejected


@door.ingest_door()
def events(request: HttpRequest) -> HttpResponse:
    """Take `{"events": [item, …]}` or a bare list, and answer with a status for each item in its order."""
    source = door.sender(secret=door.secret_in_header(request=request))
    parsed = parser.parse_batch(body=door.body_of(request=request), field="events")
    received_at = timezone.now()
    facts = [item if isinstance(item, Rejected) else read(item=item, received_at=received_at) for item in parsed.items]
    results = door.take(source=source, read=facts, received_at=received_at, said=parsed.items)
    ids = [
        fact.message_id if isinstance(fact, Fact) else _stated_id(item)
        for item, fact in zip(parsed.items, facts, strict=True)
    ]
    return JsonResponse({"items": [_status(*line) for line in zip(range(len(ids)), ids, results, strict=True)]})


def _fact(item: Mapping[str, Any], received_at: datetime) -> Fact:
    if unknown := sorted(item.keys() - FIELDS):
        raise Unusable("unknown_field", f'"{unknown[0][:64]}" is none of {", ".join(sorted(FIELDS))}')
    user = fields.identifier("user", item.get("user"))
    anonymous = fields.identifier("anonymous", item.get("anonymous"))
    account = fields.identifier("account", item.get("account"))
    somebody = user is not None or anonymous is not None
    if not somebody and account is None:
        raise Unusable("nobody", "an item needs a user, an anonymous or an account")
    user_traits = fields.traits("traits", item.get("traits"))
    account_traits = fields.traits("account_traits", item.get("account_traits"))
    if (user_traits and not somebody) or (account_traits and account is None):
        raise Unusable("traits_of_nobody", '"traits" need a user, "account_traits" need an account')
    name = fields.event_name(item.get("event"))
    return Fact(
        message_id=fields.identifier("id", item.get("id")) or str(uuid.uuid4()),
        at=fields.instant("at", item.get("at")) or received_at,
        name=name,
        user_id=user,
        anonymous_id=anonymous,
        group_id=account,
        joins=name == "$group" and somebody and account is not None,
        properties=fields.mapping("properties", item.get("properties")),
        user_traits=user_traits,
        account_traits=account_traits,
    )


def _stated_id(item: dict[str, Any] | Rejected) -> str | None:
    """Return the id of an item that was rejected, if it has one that can be repeated."""
    stated = None if isinstance(item, Rejected) else item.get("id")
    return stated if isinstance(stated, str) and len(stated) <= fields.ID_LIMIT else None


def _status(index: int, message_id: str | None, result: str | Rejected) -> dict[str, Any]:
    line: dict[str, Any] = {"index": index, "id": message_id}
    if isinstance(result, Rejected):
        return line | {"status": "rejected", "code": result.code, "reason": result.message}
    return line | {"status": result}


urlpatterns = [path("api/v1/events", events, name="events")]
