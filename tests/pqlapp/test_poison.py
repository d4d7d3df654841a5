"""Poison on every way in, one bad item to fifty good ones, against a real server of the kind that is deployed.

Each poison has its reason, no good item is lost, and nothing whatever is a fault of ours.
"""

import gzip
import http.client
import os
import socket
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

import orjson
import psutil
import psycopg
import pytest
from backports import zstd
from django.db import connections
from pytest_django.plugin import DjangoDbBlocker

from pqlapp.processes import free_port, wait_until
from scoring import facts
from scoring.models import Key, Source
from tests import cleaning
from tests.pqlapp.test_history import database_url
from tests.pqlapp.test_parser import POISONS
from tests.pqlapp.ways import WAYS, Request, Way
from tests.serving import PATIENCE, REPOSITORY

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("poison")]  # all of them ask one server

T = TypeVar("T")
SINCE = datetime(2020, 1, 1, tzinfo=UTC)
GOOD_TO_EACH = 50  # at each door, and fewer where the same door has another address
POISONS_AT_ONCE = 20
LONGEST_ADDRESS = 4_000  # bytes: what the server takes
# One of each door: what they do with a body that is none, they do before they look into it.
DOORS = {"segment batch", "segment call", "posthog batch", "posthog v1", "mixpanel track", "mixpanel import"}
DOORS |= {"amplitude upload", "amplitude form", "amplitude identify", "cloudevents alone", "native"}
BODIES = [way for way in WAYS if not way.name.endswith("address")]

# What an item says that cannot be right, and the code it is rejected with, on every wire alike.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a name of 513 characters": ({"name": "x" * 513}, "event_name_too_long"),
    "no name": ({"name": None}, "no_event_name"),
    "a name of blanks": ({"name": " \t"}, "no_event_name"),
    "a number for a name": ({"name": 17}, "no_event_name"),
    "a list for a name": ({"name": ["x"]}, "no_event_name"),
    "an id of 513 characters": ({"user": "é" * 513}, "id_too_long"),
    "an object for an id": ({"user": {"id": 1}}, "bad_id"),
    "true for an id": ({"user": True}, "bad_id"),
    "nobody": ({"user": None}, "nobody"),
    "nobody's empty id": ({"user": ""}, "nobody"),
    "a word for a time": ({"at": "soon"}, "bad_time"),
    "a list for a time": ({"at": [1]}, "bad_time"),
    "a time of no calendar": ({"at": "99999-12-31T00:00:00Z"}, "bad_time"),
    "a time after all calendars": ({"at": 9e15}, "bad_time"),
    "a time before all calendars": ({"at": -9e15}, "bad_time"),
}
# What looks bad and is not: bytes among the properties, or something that an item says.
ODD_BYTES = {
    "the same name twice": b'"a":1,"a":2',
    "a name of nothing": b'"":""',
    "a name of 5,000 characters": b'"%s":1' % (b"x" * 5_000),
    "the largest whole number": b'"a":9007199254740992',
    "a number too small to be told from none": b'"a":1e-400',
    "minus nothing": b'"a":-0.0',
    "25 levels": b'"a":' + b"[" * 25 + b"]" * 25,
    "an emoji in two escapes": rb'"a":"\ud83d\ude00"',
    "an emoji in two halves": b'"a":"\xed\xa0\xbd\xed\xb8\x80"',
    "letters that turn a line round": '"a":"\u202e\u2028"'.encode(),
    "the text of a NUL": rb'"a":"\\u0000"',
}
ODD: dict[str, dict[str, Any]] = {
    "a name of 512 emojis": {"name": "\U0001f600" * 512},
    "an id of 512 emojis": {"user": "\U0001f600" * 512},
    "a number for an id": {"user": 17},
}


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    port: int
    process: psutil.Process
    database: psycopg.Connection[tuple[Any, ...]]  # what the test's own transaction does, no server sees

    def send(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (in lower case) and body of the answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)) as connection:
            connection.request(request.method, request.path, request.body or None, dict(request.headers))
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def say(self, text: bytes, *, end: bool = False) -> bytes:
        """Send these very bytes; return what is answered, until the server hangs up. `end`: nothing more will come."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as line:
            line.sendall(text)
            if end:
                line.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionResetError):
                while piece := line.recv(65_536):
                    answer += piece
            return answer

    def memory(self) -> int:
        """Return the bytes that its processes hold."""
        return sum(each.memory_info().rss for each in (self.process, *self.process.children(recursive=True)))


@pytest.fixture(scope="module")
def served(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Return gunicorn with the settings of the deployment, over the test's own database."""
    port = free_port()
    log = tmp_path_factory.mktemp("poison") / "web.log"
    more = {"DATABASE_URL": database_url(), "BIND": f"127.0.0.1:{port}", "WEB_WORKERS": "1", "SECRET_KEY": "x"}
    command = [sys.executable, "-m", "gunicorn", "-c", str(REPOSITORY / "deploy" / "gunicorn.conf.py")]
    with (
        django_db_blocker.unblock(),
        psycopg.connect(database_url(), autocommit=True) as database,
        log.open("w") as out,
    ):
        process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | more, stdout=out, stderr=out)
        server = Served(port, psutil.Process(process.pid), database)
        try:
            assert wait_until(lambda: _is_up(server), within=PATIENCE), log.read_text()
            yield server
            assert "Traceback" not in log.read_text()
        finally:
            process.terminate()
            process.wait(PATIENCE)
            cleaning.flush()


def outside(work: Callable[[], T]) -> T:
    """Do work of the ORM on a connection of its own, like `database`."""

    def and_hang_up() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(and_hang_up).result()


def _is_up(server: Served) -> bool:
    with suppress(OSError):
        return server.send(Request("GET", "/healthz"))[0] == 200
    return False


@dataclass(slots=True)
class Sender:
    """A source of its own for each test, and what became of what it sent."""

    server: Served
    source: Source
    key: str
    sent: int = 0

    def item(self, way: Way, **more: Any) -> bytes:
        """Return the next good item, unless the test says what is wrong with it."""
        self.sent += 1
        return way.text(self.sent, self.key, **more)

    def send(self, way: Way, *items: bytes) -> tuple[int, dict[str, str], bytes]:
        return self.server.send(way.request(items, self.key))

    def stored(self) -> int:
        found = self.server.database.execute(
            "SELECT count(*) FROM scoring_event WHERE source_id = %s", [self.source.pk]
        ).fetchone()
        assert found
        return int(found[0])

    def rejected(self) -> Counter[str]:
        """Return how often each reason was given, by the books that the Sources page shows."""
        turned = outside(lambda: facts.turned_away(source=self.source, since=SINCE))
        return Counter({each.code: each.count for each in turned})


@pytest.fixture
def sender(served: Served) -> Sender:
    source = outside(lambda: facts.create_source(slug=f"poison-{uuid4().hex[:12]}", at=SINCE))
    _, secret = outside(lambda: facts.create_key(source=source, kind=Key.Kind.WRITE, by=None, at=SINCE))
    return Sender(served, source, secret)


def said_code(body: bytes) -> Any:
    """Return the reason that an answer names for machines, wherever its wire has it."""
    document = orjson.loads(body)
    (said,) = {each["code"] for each in document.get("rejected", [])} or {document.get("reason", document.get("code"))}
    return "not_an_object" if said == "no_items" else said  # they cannot tell a lone number from no items at all


def poisons(way: Way, sender: Sender) -> list[tuple[bytes, str]]:
    """Return every poison as this way would bring it, and its reason."""
    made = [(text, code) for text, code in POISONS.values() if not (way.is_alone and text == b"")]
    if way.takes_any_json:
        return [(text, code) for text, code in made if code != "not_an_object"]
    if way.says_what_happened:
        made += [(sender.item(way, **said), code) for said, code in WRONG.values()]
    return made


def in_parts(whole: Any, size: int) -> list[Any]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def odd(way: Way, sender: Sender) -> list[bytes]:
    longest = 1_000_000 if way.says_what_happened else 256  # what is a trait elsewhere is only a property here
    texts = [sender.item(way, raw=raw) for raw in ODD_BYTES.values() if len(raw) < longest]
    return texts + [sender.item(way, **said) for said in ODD.values() if way.says_what_happened]


@pytest.mark.parametrize("way", [way for way in WAYS if not way.is_alone], ids=lambda way: way.name)
class TestLists:
    def test_each_poison_has_its_reason_and_no_good_item_is_lost(self, sender: Sender, way: Way) -> None:
        good, expected = 0, Counter[str]()
        to_each = GOOD_TO_EACH if way.name in DOORS else 4
        for some in in_parts(poisons(way, sender), POISONS_AT_ONCE):
            items = []
            for text, code in some:
                items += [sender.item(way) for _ in range(to_each // 2)]
                items += [text]
                items += [sender.item(way) for _ in range(to_each // 2)]
                expected[code] += 1
            good += to_each * len(some)
            status, _, answer = sender.send(way, *items)
            assert status == (400 if way.name == "mixpanel import" else 200), answer  # it alone has a word for it
        assert sender.rejected() == expected
        assert sender.stored() == good

    def test_what_only_looks_bad_is_stored(self, sender: Sender, way: Way) -> None:
        items = odd(way, sender)
        status, _, answer = sender.send(way, *items)
        assert (status, sender.rejected(), sender.stored()) == (200, {}, len(items)), answer

    def test_a_list_of_poison_only_is_no_fault_of_ours(self, sender: Sender, way: Way) -> None:
        made = poisons(way, sender)
        status, _, answer = sender.send(way, *(text for text, _ in made))
        assert status in (200, 400), answer
        assert sender.stored() == 0


@pytest.mark.parametrize("way", [way for way in WAYS if way.is_alone], ids=lambda way: way.name)
class TestAlone:
    def test_each_poison_is_refused_with_its_reason_and_the_next_one_is_taken(self, sender: Sender, way: Way) -> None:
        good = 0
        for text, code in poisons(way, sender):
            if len(way.request([text], sender.key).path) > LONGEST_ADDRESS:
                continue
            status, _, answer = sender.send(way, text)
            assert status in ({200} if b'"rejected"' in answer else {400, 413}), answer
            assert said_code(answer) == code, text[:200]
            good += sender.send(way, sender.item(way))[0] == 200
            assert sender.stored() == good
        assert good > 20

    def test_what_only_looks_bad_is_stored(self, sender: Sender, way: Way) -> None:
        items = [text for text in odd(way, sender) if len(way.request([text], sender.key).path) <= LONGEST_ADDRESS]
        assert [sender.send(way, text)[0] for text in items] == [200] * len(items)
        assert sender.stored() == len(items)


def bomb() -> bytes:
    """Return about 1 MB of gzip that would unpack to 1 GB. Its end is never reached, so it needs no true checksum."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(b"[") + packer.flush(zlib.Z_FULL_FLUSH)
    megabyte = packer.compress(b" " * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + megabyte * 1_000


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED: dict[str, tuple[Callable[[bytes], bytes], str | None]] = {
    "gzip": (gzip.compress, "gzip"),
    "gzip, unsaid": (gzip.compress, None),
    "zlib": (zlib.compress, "deflate"),
    "zlib, unsaid": (zlib.compress, None),
    "deflate": (raw_deflate, "deflate"),
    "zstd": (zstd.compress, "zstd"),
    "zstd, called gzip": (zstd.compress, "gzip"),
    "nothing, called gzip": (bytes, "gzip"),
    "nothing, called br": (bytes, "br"),
}
TYPES = ["application/json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "image/png", ""]
TYPES += ["multipart/form-data; boundary=x", "multipart/form-data", "application/json; charset=utf-16", '\t;;="']
NO_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a blank": b" ",
    "a NUL": b"\0",
    "bytes": b"\xff" * 100,
    "UTF-16": '{"batch":[]}'.encode("utf-16"),
    "a million brackets": b"[" * 1_000_000,
    "a million objects": b'{"a":' * 1_000_000,
    "ten thousand levels": b"[" * 10_000 + b"]" * 10_000,
    "NaN": b"NaN",
    "a list in a list": b"[[[]]]",
    "a broken escape": b"data=%zz%",
    "a form without data": b"api_key=x&data=",
    "a form of many fields": b"&".join(b"a%d=1" % n for n in range(2_000)) + b"&data=e30=",
    "no base64": b"data=!!!!",
    "half a gzip": gzip.compress(b"[" + b"1," * 10_000)[:-20],
    "two bytes of gzip": b"\x1f\x8b",
    "gzip and more": gzip.compress(b"[]") + b"more",
    "half a zstd": zstd.compress(b"[" + b"1," * 10_000)[:-5],
    "gzip of gzip": gzip.compress(gzip.compress(b"[]")),
    "a bomb": bomb(),
    "a bomb of zstd": zstd.compress(b" " * 50_000_000),
    "6 MB": b"[" + b" " * 6_000_000,
    "a million commas": b"[" + b"0," * 1_100_000 + b"0]",
}


@pytest.mark.parametrize("way", BODIES, ids=lambda way: way.name)
class TestBodies:
    def test_are_unpacked_whatever_they_are_called(self, sender: Sender, way: Way) -> None:
        for pack, encoding in PACKED.values():
            request = way.request([sender.item(way)], sender.key)
            headers = dict(request.headers) | ({"Content-Encoding": encoding} if encoding else {})
            status, _, answer = sender.server.send(replace(request, body=pack(request.body), headers=headers))
            assert status == 200, (encoding, answer)
        assert sender.stored() == len(PACKED)

    def test_are_read_whatever_their_type_says(self, sender: Sender, way: Way) -> None:
        for kind in TYPES:
            request = way.request([sender.item(way)], sender.key)
            request = replace(request, headers=dict(request.headers) | {"Content-Type": kind})
            status, _, answer = sender.server.send(request)
            assert status == 200, (kind, answer)
        assert sender.stored() == len(TYPES)


class TestNoBodies:
    @pytest.mark.parametrize("way", [way for way in WAYS if way.name in DOORS], ids=lambda way: way.name)
    def test_are_refused_with_a_reason(self, sender: Sender, way: Way) -> None:
        before = sender.server.memory()
        for name, body in NO_BODIES.items():
            request = way.request([sender.item(way)], sender.key)
            headers = dict(request.headers) | {"Authorization": f"Bearer {sender.key}"}
            status, headers, answer = sender.server.send(replace(request, body=body, headers=headers))
            assert status in (200, 400, 401, 413), (name, status, answer)
            assert status == 200 or orjson.loads(answer), name
            assert headers["access-control-allow-origin"] == "*", name
        assert sender.server.memory() - before < 400_000_000
        stored = sender.stored()
        assert sender.send(way, sender.item(way))[0] == 200
        assert sender.stored() == stored + 1


class TestPages:
    """What a browser asks and needs back, on every way in."""

    @pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
    def test_of_any_origin_may_send(self, sender: Sender, way: Way) -> None:
        request = way.request([sender.item(way)], sender.key)
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": request.method}
        asked |= {"Access-Control-Request-Headers": "authorization,content-type,x-retry-count"}
        status, headers, _ = sender.server.send(Request("OPTIONS", request.path, headers=asked))
        assert status == 204
        assert headers["access-control-allow-headers"] == "authorization,content-type,x-retry-count"
        assert request.method in headers["access-control-allow-methods"]
        wrong = replace(request, path=request.path.replace(sender.key, "x"), body=request.body.replace(b"_", b"-"))
        origin = {"Origin": "https://shop.example"}
        for each in (request, wrong, replace(request, method="PUT")):
            _, headers, _ = sender.server.send(replace(each, headers=origin | dict(each.headers)))
            assert headers["access-control-allow-origin"] in ("*", "https://shop.example")
            assert headers["access-control-expose-headers"] == "Retry-After"
            if way.name.startswith("mixpanel"):  # it sends cookies along, and a browser then takes no "*"
                assert headers["access-control-allow-origin"] == "https://shop.example"
                assert headers["access-control-allow-credentials"] == "true"
                assert "Origin" in headers["vary"]


def line(way: Way, sender: Sender, **headers: str) -> tuple[bytes, bytes]:
    """Return the head of a good request, without its length, and its body."""
    request = way.request([sender.item(way)], sender.key)
    lines = [f"{request.method} {request.path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in {**request.headers, **headers}.items()]
    return "\r\n".join(lines).encode() + b"\r\n", request.body


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


class TestTheLine:
    """What arrives, arrives as the network brings it."""

    @pytest.mark.parametrize("way", BODIES, ids=lambda way: way.name)
    def test_a_body_may_come_in_chunks(self, sender: Sender, way: Way) -> None:
        head, body = line(way, sender, Transfer_Encoding="chunked")
        chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in in_parts(body, 37)]
        answer = sender.server.say(head + b"\r\n" + b"".join(chunks) + b"0\r\n\r\n")
        assert status_of(answer) == 200, answer
        assert sender.stored() == 1

    def test_chunks_that_unpack_to_too_much_are_refused(self, sender: Sender) -> None:
        head, _ = line(WAYS[0], sender, Transfer_Encoding="chunked")
        body = bomb()
        answer = sender.server.say(head + b"\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert status_of(answer) == 413

    def test_chunks_without_an_end_are_refused_at_the_limit(self, sender: Sender) -> None:
        head, _ = line(WAYS[0], sender, Transfer_Encoding="chunked")
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        with suppress(ConnectionError):  # it may hang up before all of it is sent
            assert status_of(sender.server.say(head + b"\r\n" + chunk * 7)) == 413

    @pytest.mark.parametrize(
        "rest",
        [
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
            b"Content-Length: 1000\r\n\r\n{",
            b"Content-Length: nine\r\n\r\n{}",
            b"Content-Length: -1\r\n\r\n{}",
            b"Content-Length: 99999999999999999999\r\n\r\n{}",
            b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"Content-Length: 0\r\n\r\n",
            b"\r\n",
        ],
    )
    def test_what_breaks_off_or_lies_is_refused(self, sender: Sender, rest: bytes) -> None:
        head, _ = line(WAYS[0], sender)
        answer = sender.server.say(head + rest, end=True)
        assert status_of(answer) in (0, 400, 401, 413), answer
        assert sender.stored() == 0
        assert sender.send(WAYS[0], sender.item(WAYS[0]))[0] == 200
