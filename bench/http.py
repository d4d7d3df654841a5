"""How many events a second come in over HTTP, each stored before its 200, with everything else running beside.

By the size of a POST; then the backlog of scoring under a steady load; then what happens under ten times too much.
BENCH_SECONDS says how long each lasts (10).
"""

import base64
import http.client
import itertools
import json
import multiprocessing as mp
import os
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psutil
from django.db import connection

from bench.tree import Tree, running, say

SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
PROMISED = {1_000: 20_000, 100: 12_000, 1: 700}  # events a second, by events in a POST
CLIENTS = 4
CONNECTIONS = {1_000: 1, 100: 1, 1: 4}  # of each client: who sends single events is many
CROWD = 40  # connections that never pause: about ten times what can be taken at once
STEADY = 0.8  # of what was reached
WAIT_PROMISED = 2.0  # seconds
MEMORY_PROMISED = 1.5  # times what the web processes had before
ACCOUNTS = 500
NAMES = ("Board Created", "Board Saved", "Comment Added", "Board Exported", "Teammate Invited", "$page")


@dataclass(frozen=True, slots=True)
class Load:
    """What a client is told to send."""

    address: str
    key: str
    size: int  # events in a POST
    seconds: float
    pace: float = 0.0  # POSTs a second of this client; 0: as fast as it can
    connections: int = 1  # that it sends on at once; then it waits for all answers


def main() -> None:
    """Measure and print all of it."""
    with running() as tree:
        tree.manage("load_demo", "--accounts", "60", "--days", "15")
        key = tree.manage("create_key", "--source", "bench", "--kind", "write").split()[-1]
        send(Load(tree.address, key, 100, 2.0))
        reached = {size: measure(tree, key, size) for size in PROMISED}
        keep_up(tree, key, reached[100])
        overload(tree, key)


def measure(tree: Tree, key: str, size: int) -> float:
    """Return the events a second that a few clients got acknowledged."""
    answers = send(Load(tree.address, key, size, SECONDS, connections=CONNECTIONS[size]))
    rate = answers[200] * size / SECONDS
    others = {status: count for status, count in answers.items() if status != 200}
    told = f"{rate:,.0f} events a second" + (f", other answers: {others}" if others else "")
    say(f"HTTP, {size:,} events in a POST", told, f"{PROMISED[size]:,}", holds=rate >= PROMISED[size])
    settle()
    return rate


def keep_up(tree: Tree, key: str, rate: float) -> None:
    """Print how long the oldest touched account waited at most, under a steady load."""
    pace = STEADY * rate / 100 / CLIENTS
    with mp.get_context("spawn").Pool(CLIENTS) as pool:
        sent = pool.map_async(_client, [Load(tree.address, key, 100, 6 * SECONDS, pace)] * CLIENTS)
        longest = 0.0
        while not sent.ready():
            longest = max(longest, waiting())
            time.sleep(0.1)
    told = f"{longest:.2f} s at most in {6 * SECONDS:.0f} s"
    say(
        f"oldest account that waits, at {STEADY:.0%} of that",
        told,
        f"{WAIT_PROMISED:.0f} s",
        holds=longest <= WAIT_PROMISED,
    )
    settle()


def overload(tree: Tree, key: str) -> None:
    """Print what a crowd is answered, what is stored of it, and what it costs in memory."""
    before, stored = memory(tree), events()
    with mp.get_context("spawn").Pool(2) as pool:
        sent = pool.map_async(_client, [Load(tree.address, key, 1_000, SECONDS, connections=CROWD // 2)] * 2)
        most = 0.0
        while not sent.ready():
            most = max(most, memory(tree) / before)
            time.sleep(0.1)
        answers = sum(sent.get(), Counter())
    accepted, kept = 1_000 * answers[200], events() - stored
    only = answers.keys() <= {200, 429}
    told = f"{dict(answers)}; {accepted:,} events accepted, {kept:,} stored; memory x{most:.2f}"
    holds = only and answers[429] > 0 and accepted == kept and most <= MEMORY_PROMISED
    say("ten times too much", told, f"only 200 and 429, accepted = stored, memory x{MEMORY_PROMISED}", holds=holds)


def send(load: Load, clients: int = CLIENTS) -> Counter[int]:
    """Let the clients send at once; return how often each status came back."""
    with mp.get_context("spawn").Pool(clients) as pool:
        return sum(pool.map(_client, [load] * clients), Counter())


def _client(load: Load) -> Counter[int]:
    host = urlsplit(load.address)
    lines = [http.client.HTTPConnection(host.hostname or "", host.port, timeout=60) for _ in range(load.connections)]
    bodies, headers = _bodies(load.size), _headers(load.key)
    answers: Counter[int] = Counter()
    began, rounds = time.monotonic(), itertools.count()
    while time.monotonic() - began < load.seconds:
        if load.pace:
            time.sleep(max(0.0, began + next(rounds) / load.pace - time.monotonic()))
        for line, body in zip(lines, bodies, strict=False):
            line.request("POST", "/v1/batch", body, headers)
        for line in lines:
            with line.getresponse() as response:
                response.read()
                answers[response.status] += 1
    return answers


def _headers(key: str) -> dict[str, str]:
    basic = base64.b64encode(f"{key}:".encode()).decode()
    return {"Content-Type": "application/json", "Authorization": f"Basic {basic}"}


def _bodies(size: int) -> Iterator[bytes]:
    """Yield bodies without end: a few made in earnest, their message ids new each time."""
    run = uuid.uuid4().hex[:12]
    mark = f"{run}-{0:08}".encode()
    made = [_body(size, mark.decode()) for _ in range(8)]
    return (made[n % 8].replace(mark, f"{run}-{n:08}".encode()) for n in itertools.count(1))


def _body(size: int, mark: str) -> bytes:
    chance = random.Random(mark)
    return json.dumps({"batch": [_event(chance, f"{mark}-{i}") for i in range(size)]}).encode()


def _event(chance: random.Random, message_id: str) -> dict[str, object]:
    account = min(int(chance.paretovariate(0.7)), ACCOUNTS)
    return {
        "type": "track",
        "messageId": message_id,
        "event": chance.choice(NAMES),
        "userId": f"bench-{account}-{chance.randrange(8)}",
        "timestamp": datetime.now(UTC).isoformat(),
        "properties": {"storage_mb": chance.randrange(500), "limit_mb": 500, "template": "roadmap", "plan": "free"},
        "context": {"groupId": f"bench-{account}", "library": {"name": "analytics-python", "version": "2.4.0"}},
    }


def waiting() -> float:
    """Return how many seconds the oldest live touch has waited."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM now() - min(at)) FROM scoring_touched WHERE lane = 'live'")
        (seconds,) = cursor.fetchone() or (None,)
    return float(seconds or 0)


def settle() -> None:
    """Wait until all of it is scored."""
    while waiting():
        time.sleep(0.05)


def events() -> int:
    """Return how many events are stored."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM scoring_event_key")
        (count,) = cursor.fetchone() or (0,)
    return int(count)


def memory(tree: Tree) -> float:
    """Return the resident bytes of the web processes."""
    port = str(urlsplit(tree.address).port)
    web = [one for one in psutil.process_iter(["cmdline"]) if "gunicorn" in " ".join(one.info["cmdline"] or ())]
    mine = [one for one in web if one.environ().get("PORT") == port]
    return float(sum(one.memory_info().rss for one in mine))


if __name__ == "__main__":
    main()
