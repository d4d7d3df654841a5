"""One shape for every error (RFC 9457), and the one table of which exception is which problem."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from django import db
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.defaults import server_error as server_error_page
from rest_framework import exceptions
from rest_framework.response import Response

from pqlapp.parser import Refused
from routing import leads
from scoring import engine, facts, language, rules

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER = "5"  # seconds
Fault = dict[str, str | int | None]


class NotLive(Exception):
    """The version is not the live one, so there is nothing to take back."""


class NoRevision(Exception):
    """The request does not say which revision of the draft it changes, so it could overwrite another's change."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of error: its stable name, status and title."""

    slug: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The URI that names the kind; it never changes."""
        return f"urn:pql:problem:{self.slug}"


# The first entry whose class fits counts: narrow ones stand before wide ones.
PROBLEMS: Mapping[type[Exception], Problem] = {
    language.Invalid: Problem("invalid-rules", 422, "The rule document is not valid"),
    rules.AlreadyLive: Problem("already-live", 409, "The version is live already"),
    rules.PublishRunning: Problem("publish-running", 409, "Another publication is under way"),
    rules.NotSeen: Problem("diff-not-seen", 409, "Look at what it would change first"),
    rules.NoteMissing: Problem("invalid-request", 422, "The request is not valid"),
    rules.WrongTime: Problem("invalid-request", 422, "The request is not valid"),
    rules.EditedMeanwhile: Problem("edited-meanwhile", 412, "Somebody else changed it meanwhile"),
    rules.IsScheduled: Problem("is-scheduled", 409, "The draft is about to go live"),
    rules.NothingToCancel: Problem("nothing-to-cancel", 409, "Nothing waits to be published"),
    rules.LiveAlready: Problem("already-live", 409, "The version is live already"),
    rules.NotPublished: Problem("not-published", 409, "A draft is not reviewed"),
    NoRevision: Problem("revision-missing", 428, "Say which revision this is a change of"),
    rules.IsPublished: Problem("is-published", 409, "A published version never changes"),
    rules.NothingToRollBackTo: Problem("nothing-to-roll-back-to", 409, "No version was live before"),
    NotLive: Problem("not-live", 409, "The version is not live"),
    engine.SignalsMissing: Problem("signals-missing", 409, "History has not been read for this document"),
    facts.CannotMerge: Problem("cannot-merge", 409, "The accounts cannot become one"),
    leads.IllegalMove: Problem("illegal-move", 409, "The lead does not allow this now"),
    leads.CannotUndo: Problem("cannot-undo", 409, "This can no longer be undone"),
    leads.HasLead: Problem("has-lead", 409, "The account has an open lead"),
    leads.NoRules: Problem("no-rules", 409, "The rule set is not live"),
    leads.NotAvailable: Problem("not-available", 409, "The AE cannot be given the lead"),
    leads.LeadError: Problem("invalid-request", 422, "The request is not valid"),
    exceptions.ValidationError: Problem("invalid-request", 422, "The request is not valid"),
    exceptions.AuthenticationFailed: Problem("unknown-key", 401, "The key is not known"),
    exceptions.NotAuthenticated: Problem("not-authenticated", 401, "Nobody is logged in and no key was sent"),
    exceptions.PermissionDenied: Problem("forbidden", 403, "This is not allowed to you"),
    PermissionDenied: Problem("forbidden", 403, "This is not allowed to you"),
    exceptions.NotFound: Problem("not-found", 404, "There is no such thing here"),
    Http404: Problem("not-found", 404, "There is no such thing here"),
    exceptions.MethodNotAllowed: Problem("method-not-allowed", 405, "The address has no such method"),
    exceptions.NotAcceptable: Problem("not-acceptable", 406, "Only JSON is answered"),
    exceptions.UnsupportedMediaType: Problem("unsupported-media-type", 415, "Send application/json"),
    exceptions.ParseError: Problem("unreadable-body", 400, "The body cannot be read"),
    db.OperationalError: Problem("database-away", 503, "The database does not answer"),
    db.InterfaceError: Problem("database-away", 503, "The database does not answer"),
    psycopg.OperationalError: Problem("database-away", 503, "The database does not answer"),
    psycopg.InterfaceError: Problem("database-away", 503, "The database does not answer"),
}
NOT_FOUND = PROBLEMS[Http404]
BROKEN = Problem("broken", 500, "Something is broken here; it has been logged")


def handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Return the answer to an exception of a view; None for one that no table foresaw, which is a fault of ours."""
    problem = _problem(error)
    if problem is None:
        return None
    if problem.status == 503:
        log.warning("database_away", reason=str(error))
    return Response(
        document(problem=problem, detail=_detail(error, problem), faults=list(_faults(error))),
        status=problem.status,
        headers=_headers(error, problem),
        content_type=CONTENT_TYPE,
    )


def document(*, problem: Problem, detail: str, faults: Sequence[Fault] = ()) -> dict[str, Any]:
    """Return the body of an error. `faults` are {path, line, message}, where something of the request is wrong."""
    members = {"type": problem.type, "title": problem.title, "status": problem.status, "detail": detail}
    return members | ({"faults": list(faults)} if faults else {})


def faults_of(*, invalid: language.Invalid) -> list[Fault]:
    """Return what is wrong with a rule document, in the order of its text."""
    return [{"path": fault.path, "line": fault.line, "message": fault.message} for fault in invalid.faults]


@csrf_exempt
def not_found(request: HttpRequest) -> HttpResponse:
    """Answer an address below /api/ that there is not."""
    return _plain(NOT_FOUND, f"{request.path[:200]} is no address of this API; /api/v1/ lists them")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what nobody foresaw: programs with a problem document, people with a page."""
    if request.path.startswith("/api/"):
        return _plain(BROKEN, "try again; if it stays, tell whoever runs this system")
    return server_error_page(request)


def _plain(problem: Problem, detail: str) -> JsonResponse:
    body = document(problem=problem, detail=detail)
    return JsonResponse(body, status=problem.status, content_type=CONTENT_TYPE)


def _problem(error: Exception) -> Problem | None:
    if isinstance(error, Refused):
        return Problem(error.code.replace("_", "-"), error.status, "The body cannot be read")
    return next((problem for kind, problem in PROBLEMS.items() if isinstance(error, kind)), None)


def _detail(error: Exception, problem: Problem) -> str:
    """Return the sentence about this very case; of a database's error nothing is passed on."""
    if problem.status == 503:
        return "nothing was changed for certain; try again in a few seconds"
    faults = list(_faults(error))
    if faults:
        first = f"{faults[0]['path'] or 'document'}: {faults[0]['message']}"
        return first if len(faults) == 1 else f"{first} (and {len(faults) - 1} more)"
    if isinstance(error, exceptions.APIException):
        return f"{error.detail}"
    return f"{error}" or problem.title


def _faults(error: Exception) -> Iterator[Fault]:
    if isinstance(error, language.Invalid):
        yield from faults_of(invalid=error)
    elif isinstance(error, exceptions.ValidationError):
        yield from _flat(error.detail, "")


def _flat(detail: Any, path: str) -> Iterator[Fault]:
    """Yield the messages of a nested detail, each with its path."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            yield from _flat(inner, f"{path}.{key}" if path else f"{key}")
    elif isinstance(detail, list | tuple):
        for inner in detail:
            yield from _flat(inner, path)
    else:
        yield {"path": path.removeprefix("non_field_errors"), "line": None, "message": f"{detail}"}


def _headers(error: Exception, problem: Problem) -> dict[str, str]:
    headers = {"Retry-After": RETRY_AFTER} if problem.status == 503 else {}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = getattr(error, "auth_header", "Bearer")
    return headers
