"""What every door for events does alike: read the body, know the sender, store, ring, answer.

A key that was found is remembered for five seconds in each process, so a revoked key stops within five seconds.
"""

import base64
import binascii
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import wraps
from http import HTTPStatus
from itertools import islice
from typing import Any

import psycopg
from django import db
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from pqlapp import bell, parser
from pqlapp.ingest import admission, samples, together, visits
from pqlapp.parser import Refused, Rejected
from scoring import facts
from scoring.facts import Envelope, Fact
from scoring.models import Key, Lane, Source

READ_OUT_LIMIT = 24_000_000  # bytes of a body that is too large, before the line is cut
KEY_LENGTH_LIMIT = 200
REMEMBER_KEYS_FOR = 5.0  # seconds
REMEMBERED_KEYS_LIMIT = 1_000
PIECE = 65_536  # bytes
RETRY_AFTER = {429: "2", 503: "5"}  # seconds, by status

# facts speaks to psycopg directly in places, where Django does not translate its errors.
DATABASE_AWAY = (db.OperationalError, db.InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
NOT_STORABLE = (db.DataError, psycopg.DataError)
TURNED_AWAY = {
    "broken_id": Rejected(
        "broken_id", 'each id that it names is none, such as "null" or "anonymous": nobody to credit'
    ),
    "too_old": Rejected(
        "too_old", "it is dated before the days of which the source still has events: nobody could tell a duplicate"
    ),
}

_known_keys: dict[str, tuple[Key, float]] = {}

View = Callable[..., HttpResponse]


def ingest_door(
    *,
    methods: Sequence[str] = ("POST",),
    errors: Callable[[Refused], HttpResponse] | None = None,
    credentials: bool = False,
) -> Callable[[View], View]:
    """Return a decorator for a view that takes calls from any origin by these methods.

    What the view raises is answered in the wire's own words for errors (as a problem document, without any). With
    `credentials` pages may send cookies along, as Mixpanel's library insists on; nobody here looks at them.
    """

    def decorated(view: View) -> View:
        wire = view.__module__.removeprefix(f"{__package__}.").partition(".")[0]

        def answer(request: HttpRequest, **kwargs: str) -> HttpResponse:
            """Let the view answer, and count the answer if it refuses everything."""
            with visits.begun(wire=wire) as visit:
                try:
                    if request.method not in methods:
                        raise Refused(405, "method_not_allowed", f"use {' or '.join(methods)}")
                    return view(request, **kwargs)
                except Refused as refused:
                    visit.refuse(refused, at=timezone.now())
                    raise

        @csrf_exempt
        @wraps(view)
        def opened(request: HttpRequest, **kwargs: str) -> HttpResponse:
            if request.method == "OPTIONS":
                return _for_browsers(HttpResponse(status=204), request, methods, credentials)
            try:
                with admission.gate.passed():  # outside the count: to refuse a flood must cost next to nothing
                    response = answer(request, **kwargs)
            except Refused as refused:
                _hear_out(request)
                response = _refusal(refused, errors or problem, methods)
            except DATABASE_AWAY:
                _drop_dead_connection()
                message = "nothing was stored for certain; send the same again later, with the same ids"
                response = _refusal(Refused(503, "database_away", message), errors or problem, methods)
            return _for_browsers(response, request, methods, credentials)

        return opened

    return decorated


def problem(refused: Refused) -> JsonResponse:
    """Return an error as RFC 9457 describes it, with the members that SDKs look for.

    RudderStack's Python library drops a refused batch only if the body has `code` and `message`; with any other
    JSON it would send the batch again and again.
    """
    title = HTTPStatus(refused.status).phrase
    document = {"type": "about:blank", "title": title, "status": refused.status, "detail": refused.message}
    return JsonResponse(
        document | {"code": refused.code, "message": refused.message, "error": refused.message},
        status=refused.status,
        content_type="application/problem+json",
    )


def patient(refused: Refused) -> Refused:
    """Return a 429 as a 503, all else as it is: for wires whose libraries come again for a 5xx only."""
    return Refused(503, refused.code, refused.message) if refused.status == 429 else refused


def _refusal(refused: Refused, errors: Callable[[Refused], HttpResponse], methods: Sequence[str]) -> HttpResponse:
    """Return the wire's answer with the headers that belong to its status."""
    response = errors(refused)
    if refused.status == 401:  # not "Basic": a browser would ask the customer's visitor for a password
        response["WWW-Authenticate"] = 'WriteKey realm="ingest"'
    if refused.status == 405:
        response["Allow"] = ", ".join((*methods, "OPTIONS"))
    if refused.status in RETRY_AFTER:
        response["Retry-After"] = RETRY_AFTER[refused.status]
    return response


def body_of(*, request: HttpRequest) -> bytes:
    """Return the request's body, unpacked. Its content type is not asked: clients lie. Raises Refused."""
    # Django reads nothing without a length; the server below it does, when the body comes in chunks.
    stream = request.META["wsgi.input"] if _comes_in_chunks(request) else request
    try:
        sent = stream.read(parser.SENT_LIMIT + 1)
    except Exception as error:  # a broken line has many names: Django's, Python's, and the server's for its chunks
        raise Refused(400, "incomplete_body", "the body broke off") from error
    return parser.unpack(sent=sent, encoding=request.headers.get("Content-Encoding", ""))


def _comes_in_chunks(request: HttpRequest) -> bool:
    return "chunked" in request.headers.get("Transfer-Encoding", "")


def _hear_out(request: HttpRequest) -> None:
    """Read on and forget it: whoever still sends when the line is cut never hears the answer, and sends all again."""
    left = 0 if _comes_in_chunks(request) else READ_OUT_LIMIT  # of chunks nobody knows when they end
    with suppress(Exception):  # that it broke off changes nothing any more
        while left > 0 and (piece := request.read(PIECE)):
            left -= len(piece)


def secret_in_header(*, request: HttpRequest) -> str | None:
    """Return the key in `Authorization: Basic base64(key:)` or `Bearer key`; None without such a header."""
    scheme, _, credentials = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def sender(*, secret: object) -> Source:
    """Return the source whose live key this is. Raises Refused (401)."""
    if isinstance(secret, str) and secret and len(secret) <= KEY_LENGTH_LIMIT and "\0" not in secret:
        key = _key(secret)
        if key is not None:
            visits.knows(source=key.source)
            return key.source
    visits.knows_not(secret=secret)
    raise Refused(401, "unknown_key", "send a live write key of this system: manage.py create_key makes one")


def take(
    *,
    source: Source,
    read: Sequence[Fact | Rejected],
    received_at: datetime,
    said: Sequence[object] = (),
    sent_at: datetime | None = None,
    wire: str = "",
    ring: bool = True,
) -> list[str | Rejected]:
    """Store the facts among what was read, count all of it, and ring.

    For whoever sets a sender up: `said` are the items of `read` as they came, `sent_at` is when the client says that
    it sent them. `wire` is for facts that come by no view; without `ring` their accounts wait in the bulk lane.
    Returns for each entry of `read`, in its order, "accepted", "duplicate", or why it is rejected.
    """
    skew = None if sent_at is None else received_at - sent_at
    lane = Lane.LIVE if ring else Lane.BULK
    envelope = Envelope(wire=wire or visits.wire(), library=samples.library(items=said), skew=skew, lane=lane)
    shards: set[int] = set()
    results = iter(_store(source, [fact for fact in read if isinstance(fact, Fact)], received_at, envelope, shards))
    answer = [entry if isinstance(entry, Rejected) else next(results) for entry in read]
    visits.tell(source=source, envelope=envelope, read=read, answer=answer, said=said, at=received_at)
    if ring and shards:
        bell.ring_soon(shards=shards)
    return answer


def take_items(
    *,
    source: Source,
    read: Sequence[Sequence[Fact] | Rejected],
    received_at: datetime,
    said: Sequence[object] = (),
    sent_at: datetime | None = None,
    wire: str = "",
    ring: bool = True,
) -> list[str | Rejected]:
    """Do as take() does for items of which each may state several facts (at least one), and answer for each item.

    An item is rejected if one of its facts is, and a duplicate if all of them are.
    """
    sizes = [1 if isinstance(item, Rejected) else len(item) for item in read]
    flat = [fact for item in read for fact in ([item] if isinstance(item, Rejected) else item)]
    each = [item for item, size in zip(said, sizes, strict=False) for _ in range(size)]
    results = iter(
        take(source=source, read=flat, received_at=received_at, said=each, sent_at=sent_at, wire=wire, ring=ring)
    )
    return [_of_item(list(islice(results, size))) for size in sizes]


def rejections(*, results: Sequence[str | Rejected]) -> dict[str, Any]:
    """Return what an answer says of items that were not taken: {"rejected": [{index, code, message}, …]}, or {}."""
    rejected = [
        {"index": index, "code": result.code, "message": result.message}
        for index, result in enumerate(results)
        if isinstance(result, Rejected)
    ]
    return {"rejected": rejected} if rejected else {}


def _of_item(results: list[str | Rejected]) -> str | Rejected:
    rejected = next((result for result in results if isinstance(result, Rejected)), None)
    return rejected or ("accepted" if "accepted" in results else "duplicate")


def _store(
    source: Source, batch: list[Fact], received_at: datetime, envelope: Envelope, shards: set[int]
) -> list[str | Rejected]:
    """Record the batch; if PostgreSQL cannot hold something in it, halve it until that something is alone.

    The parser should let no such thing through. If it does, one item must not stop a sender for ever.
    """
    if not batch:
        return []
    try:
        recorded = together.crew.record(source=source, facts=batch, received_at=received_at, envelope=envelope)
    except NOT_STORABLE as error:
        if len(batch) == 1:
            return [Rejected("not_storable", f"the database cannot hold this: {str(error).splitlines()[0]}")]
        half = len(batch) // 2
        first = _store(source, batch[:half], received_at, envelope, shards)
        return first + _store(source, batch[half:], received_at, envelope, shards)
    shards |= recorded.shards
    return [TURNED_AWAY.get(status, status) for status in recorded.statuses]


def _key(secret: str) -> Key | None:
    now = time.monotonic()
    known = _known_keys.get(secret)
    if known is not None and known[1] > now:
        return known[0]
    _known_keys.pop(secret, None)
    key = facts.key_for(secret=secret)
    if key is not None:
        if len(_known_keys) >= REMEMBERED_KEYS_LIMIT:
            _known_keys.clear()
        _known_keys[secret] = (key, now + REMEMBER_KEYS_FOR)
    return key


def _drop_dead_connection() -> None:
    """Let the next request connect anew; Django does so only after errors that went through its own cursors."""
    db.connection.errors_occurred = True
    db.connection.close_if_unusable_or_obsolete()


def _for_browsers(
    response: HttpResponse, request: HttpRequest, methods: Sequence[str], credentials: bool
) -> HttpResponse:
    """Let pages of any origin send here: write keys are public, and no cookie counts."""
    origin = request.headers.get("Origin") if credentials else None
    response["Access-Control-Allow-Origin"] = origin or "*"
    if origin:  # with credentials a browser takes no "*"
        response["Access-Control-Allow-Credentials"] = "true"
        patch_vary_headers(response, ["Origin"])
    response["Access-Control-Expose-Headers"] = "Retry-After"
    if request.method == "OPTIONS":
        wanted = request.headers.get("Access-Control-Request-Headers")
        response["Access-Control-Allow-Headers"] = wanted or "authorization, content-type"
        response["Access-Control-Allow-Methods"] = ", ".join((*methods, "OPTIONS"))
        response["Access-Control-Max-Age"] = "86400"
    return response
