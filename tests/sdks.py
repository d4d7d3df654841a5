"""A running server for the libraries that customers use, and a look at what it stored.

`wire` is the server with a source and its write key; `flaky` makes it fail; `node` runs a script of tests/sdk with the
libraries from npm; `shop` opens a customer's page, of another origin, in Chromium.
"""

import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from typing import Any
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from django.db import connections
from django.utils import timezone
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from pqlapp.ingest import door
from pqlapp.parser import Refused
from scoring import facts
from scoring.models import Event, Identity, Key, ProductUser, Source, TraitChange
from scoring.models.facts import WHOSE_WORD_COUNTS

SCRIPTS = Path(__file__).parent / "sdk"
ANSWERS_WITHIN = 30.0  # seconds in which the server must have answered all calls of a test
NODE_WITHIN = 120.0  # seconds for one script

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that reached the server, and the status of its answer."""

    method: str
    path: str  # with the query
    headers: dict[str, str]  # names in lower case
    status: int
    at: float  # seconds by a clock that only runs on

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Failure:
    """What is to be answered instead, and how often still."""

    times: int
    status: int
    stored: bool
    on: re.Pattern[str]
    headers: Headers


class Flaky:
    """The server's application with a gateway in front that fails as told, and remembers what came."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self.sent: list[Sent] = []
        self._failures: list[Failure] = []
        self._changed = Condition()
        self._open = 0

    def fail(
        self, times: int = 1, *, status: int = 500, stored: bool = False, on: str = "^POST ", **headers: str
    ) -> None:
        """Answer the next requests that match `on` ("METHOD /path?query") with this status and no words.

        With `stored` the request is served all the same, and only its answer is lost. `headers` are the answer's,
        as Retry_After="1".
        """
        given = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self._failures.append(Failure(times, status, stored, re.compile(on), given))

    def posts(self, path: str = "") -> list[int]:
        """Return the statuses that were answered to what was posted below this path, in their order."""
        return [sent.status for sent in self.sent if sent.method == "POST" and sent.path.startswith(path)]

    def wait_until_idle(self) -> None:
        """Wait until every request is answered. A library may still have one on its way when its test ends."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._open, ANSWERS_WITHIN), "the server still answers"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._changed:
            self._open += 1
            failure = self._due(_address(environ))
        try:
            return self._answer(environ, start_response, failure)
        finally:
            connections.close_all()  # this thread's: a page's open line would keep it, and the database could not go
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _due(self, address: str) -> Failure | None:
        for failure in self._failures:
            if failure.times and failure.on.search(address):
                failure.times -= 1
                return failure
        return None

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse, failure: Failure | None) -> list[bytes]:
        answered: list[Any] = []

        def keep(status: str, headers: Headers, *_: object) -> Callable[[bytes], object]:
            answered[:] = [status, headers]
            return lambda written: None

        body: list[bytes] = []
        if failure is None or failure.stored:
            body = _whole(self.app(environ, keep))
        if failure is not None:
            headers = [*_for_pages(environ), *failure.headers]
            answered, body = [f"{failure.status} {HTTPStatus(failure.status).phrase}", headers], []
        status, headers = answered
        self.sent.append(_sent(environ, status))
        start_response(status, headers)
        return body


def _for_pages(environ: WSGIEnvironment) -> Headers:
    """Let the page see the answer, even one that sends its cookies along; else it would be a broken connection."""
    return [
        ("Access-Control-Allow-Origin", environ.get("HTTP_ORIGIN", "*")),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "Retry-After"),
    ]


def _whole(answer: Iterable[bytes]) -> list[bytes]:
    """Return the answer's body; Django gives its database connection back when it is closed."""
    try:
        return list(answer)
    finally:
        if close := getattr(answer, "close", None):
            close()


def _address(environ: WSGIEnvironment) -> str:
    query = environ.get("QUERY_STRING")
    return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}" + (f"?{query}" if query else "")


def _sent(environ: WSGIEnvironment, status: str) -> Sent:
    method, _, path = _address(environ).partition(" ")
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
    }
    return Sent(method, path, headers, int(status[:3]), time.monotonic())


@dataclass(slots=True)
class Wire:
    """The running server, a source of events with its key, and what the server stored of it."""

    url: str
    key: str
    source: Source
    flaky: Flaky = field(repr=False)

    def events(self) -> list[Event]:
        """Return what was stored, by time; what happened at once by its name."""
        return list(Event.objects.filter(source=self.source).select_related("identity").order_by("at", "name", "id"))

    def names(self) -> Counter[str]:
        """Return how often each event was stored."""
        return Counter(event.name for event in self.events())

    def event(self, name: str) -> Event:
        """Return the only event of this name."""
        (event,) = (event for event in self.events() if event.name == name)
        return event

    def user(self, value: str) -> ProductUser:
        """Return the person who has this id."""
        return Identity.objects.get(value=value).user

    def ids(self, value: str) -> set[str]:
        """Return all ids of the person who has this one."""
        return set(Identity.objects.filter(user=self.user(value)).values_list("value", flat=True))

    def account(self, value: str) -> tuple[str, str]:
        """Return kind and id of the home of the person who has this id."""
        home = self.user(value).home
        return home.kind, home.external_id

    def user_traits(self, value: str) -> dict[str, Any]:
        """Return what is known of the person who has this id."""
        return _traits(identity__user=self.user(value))

    def account_traits(self, external_id: str) -> dict[str, Any]:
        """Return what is known of the account with this id."""
        return _traits(account__external_id=external_id)


def _traits(**whose: Any) -> dict[str, Any]:
    changes = TraitChange.objects.filter(**whose).order_by("key", *WHOSE_WORD_COUNTS).distinct("key")
    return {change.key: change.value for change in changes}


@pytest.fixture
def flaky(live_server: LiveServer) -> Iterator[Flaky]:
    """Return the switch that makes the running server fail."""
    server = live_server.thread.httpd
    application = server.get_app()
    assert application is not None
    gateway = Flaky(application)
    server.set_app(gateway)
    yield gateway
    gateway.wait_until_idle()
    server.set_app(application)


@pytest.fixture
def wire(live_server: LiveServer, flaky: Flaky) -> Wire:
    """Return the running server with a source and its write key."""
    now = timezone.now()
    source = facts.create_source(slug="shop", at=now)
    secret = facts.create_key(source=source, kind=Key.Kind.WRITE, by=None, at=now)[1]
    return Wire(live_server.url, secret, source, flaky)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that lets the door refuse the next calls by itself, in the wire's own words."""

    def refuse(times: int = 1, *, status: int = 503, code: str = "busy", retry_after: str = "1") -> None:
        take, left = door.take, [times]

        def taken(**given: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise Refused(status, code, "not now")
            return take(**given)

        monkeypatch.setattr(door, "take", taken)
        monkeypatch.setitem(door.RETRY_AFTER, status, retry_after)

    return refuse


@pytest.fixture
def node(wire: Wire) -> Callable[..., Any]:
    """Return a function that runs a script of tests/sdk and returns the JSON that it prints last.

    The script finds the server in HOST (with its http://), the write key in KEY, and whatever else is given.
    """

    def run(script: str, **env: object) -> Any:
        given = {"PATH": os.environ["PATH"], "HOST": wire.url, "KEY": wire.key}
        given |= {name: str(value) for name, value in env.items()}
        done = subprocess.run(
            ["node", script], cwd=SCRIPTS, env=given, capture_output=True, text=True, timeout=NODE_WITHIN, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


class _Shelf(SimpleHTTPRequestHandler):
    """The customer's own web server: one empty page at /, and the libraries below /node_modules/."""

    page = b'<!doctype html><meta charset="utf-8"><title>Shop</title><link rel="icon" href="data:,"><h1>Shop</h1>'

    def do_GET(self) -> None:
        if self.path.startswith("/node_modules/"):
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _another_origin() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Shelf, directory=str(SCRIPTS))) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def shop(browser: Browser, wire: Wire) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page of the customer's, with these files of node_modules loaded as scripts.

    It takes Playwright's options of a context (`user_agent=…`). Nothing but the two local servers can be reached.
    """
    contexts = []
    with _another_origin() as origin:

        def visit(*scripts: str, path: str = "/", **options: Any) -> Page:
            context = browser.new_context(base_url=origin, **options)
            contexts.append(context)
            page = context.new_page()
            page.goto(path)
            for script in scripts:
                page.add_script_tag(url=f"/node_modules/{quote(script)}")
            return page

        yield visit
        for context in contexts:
            context.close()
        wire.flaky.wait_until_idle()
