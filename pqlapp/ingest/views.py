"""The HTTP API that Segment's and RudderStack's libraries speak.

A good call is answered with exactly 200: RudderStack's Python library sends anything else again.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from pqlapp import parser
from pqlapp.ingest import door, segment
from pqlapp.parser import Refused, Rejected
from scoring.models import Source


@door.ingest_door
def batch(request: HttpRequest) -> HttpResponse:
    """Take `{"batch": [call, …], "sentAt": …}`; bad calls are listed in the answer, the others are stored."""
    source = _source_in_header(request)
    parsed = parser.parse_batch(body=door.body_of(request=request), field="batch")
    source = source or door.sender(secret=parsed.envelope.get("writeKey"))
    received_at = timezone.now()
    sent_at = parsed.envelope.get("sentAt")
    read = [
        item if isinstance(item, Rejected) else segment.read(call=item, received_at=received_at, sent_at=sent_at)
        for item in parsed.items
    ]
    results = door.take(source=source, read=read, received_at=received_at)
    rejected = [
        {"index": index, "code": result.code, "message": result.message}
        for index, result in enumerate(results)
        if isinstance(result, Rejected)
    ]
    return JsonResponse({"success": True} | ({"rejected": rejected} if rejected else {}))


@door.ingest_door
def call(request: HttpRequest, kind: str) -> HttpResponse:
    """Take one call, of the kind that the address names."""
    source = _source_in_header(request)
    item = parser.parse_call(body=door.body_of(request=request))
    source = source or door.sender(secret=item.get("writeKey"))
    received_at = timezone.now()
    fact = segment.read(call=item, kind=kind, received_at=received_at)
    (result,) = door.take(source=source, read=[fact], received_at=received_at)
    if isinstance(result, Rejected):
        raise Refused(400, result.code, result.message)
    return JsonResponse({"success": True})


def _source_in_header(request: HttpRequest) -> Source | None:
    """Return the source of the key in the header, None if there is none; a wrong one is refused at once."""
    secret = door.secret_in_header(request=request)
    return None if secret is None else door.sender(secret=secret)
