"""What is killed for real loses nothing and doubles nothing: web during ingest, workers during a rescore, Redis."""

import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from pqlapp import local, supervisor
from pqlapp.processes import free_port, wait_until
from tests.serving import PATIENCE, REPOSITORY, Serving

Until = Callable[..., None]
Batch = list[dict[str, object]]

pytestmark = pytest.mark.xdist_group("faults")

# A point for each event: what an account scores is what was counted of it.
COUNTING = """
slug: counting
name: Counting
motion: new_business
signals: {used: {event: used}}
groups: {all: {score: usage}}
rules:
  - {id: used, group: all, points: 1, per: {count: used, within: 30}, max: 100000}
tiers:
  - {name: hot, pql: true, enter: {usage: 100000}}
"""


class Town:
    """A running tree with a source, a key and a live rule set."""

    def __init__(self, tree: Serving, scratch: Path) -> None:
        self.tree = tree
        rules = scratch / "counting.yaml"
        rules.write_text(COUNTING)
        self.command("import_rules", str(rules), "--publish")
        self.key = self.command("create_key", "--source", "web", "--kind", "server").strip().splitlines()[-1]

    def command(self, *arguments: str) -> str:
        environment = {"DATA_DIR": str(self.tree.directory)}
        command = [sys.executable, str(REPOSITORY / "manage.py"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def post(self, batch: list[dict[str, object]]) -> bool:
        """Send a batch; return whether it was acknowledged."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.tree.port}/v1/batch",
            json.dumps({"batch": batch, "writeKey": self.key}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(local.recorded(self.tree.directory)["DATABASE_URL"]) as connection:
            return connection.execute(sql).fetchall()

    def scores(self) -> dict[str, int]:
        """Return points by account, as the scores have them now."""
        rows = self.query(
            "SELECT a.external_id, s.usage / 100 FROM scoring_score s JOIN scoring_account a ON a.id = s.account_id"
            " WHERE a.kind = 'group'"
        )
        return {str(account): int(str(points)) for account, points in rows}


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="pql-faults-") as made:
        patch.delenv("DATABASE_URL", raising=False)
        patch.delenv("REDIS_URL", raising=False)
        Path(made).chmod(0o755)
        tree = Serving(Path(made) / "data", free_port())
        try:
            assert wait_until(tree.is_up, within=PATIENCE), tree.output()
            yield Town(tree, Path(made))
        finally:
            if tree.process.poll() is None:
                tree.end()
            for process in supervisor.marked(str(tree.directory)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def batches(name: str, many: int, *, size: int = 40, accounts: int = 25) -> tuple[list[Batch], Counter[str]]:
    """Return batches of events, some of them in two batches, and how many each account really has."""
    chance = random.Random(name)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    made: list[Batch] = []
    expected: Counter[str] = Counter()
    for b in range(many):
        batch: Batch = []
        for i in range(size):
            account = f"{name}-{int(chance.paretovariate(1)) % accounts}"
            expected[account] += 1
            call: dict[str, object] = {
                "type": "track",
                "event": "used",
                "messageId": f"{name}-{b}-{i}",
                "userId": f"{account}-u{chance.randrange(3)}",
                "timestamp": now,
                "context": {"groupId": account},
            }
            batch.append(call)
        made.append(batch + (chance.sample(made[-1], 5) if made else []))
    return made, expected


def send_all(town: Town, some: list[Batch]) -> None:
    """Send each batch until it is acknowledged, as an SDK does."""
    for batch in some:
        assert wait_until(lambda batch=batch: town.post(batch), within=PATIENCE)  # type: ignore[misc]


def everything_counted(town: Town, expected: Counter[str], until: Until) -> None:
    def counted() -> bool:
        found = town.scores()
        return all(found.get(account) == points for account, points in expected.items())

    until(counted, within=PATIENCE, what=f"every event in the scores ({expected})")
    (events,) = town.query(f"SELECT count(*) FROM scoring_event WHERE message_id LIKE '{min(expected)[:4]}%'")[0]
    assert events == sum(expected.values())
    tiles = town.query("SELECT sum(count) FROM scoring_tile WHERE signal_id = (SELECT min(id) FROM scoring_signal)")
    assert tiles == town.query("SELECT count(*) FROM scoring_event")


def kill_one(tree: Serving, name: str, *, chance: random.Random) -> None:
    """Kill -9 the master or one of its children."""
    master = tree.child(name)
    if master is not None:
        with suppress(psutil.NoSuchProcess):
            chance.choice([master, *master.children(recursive=True)]).kill()


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_killed_process_loses_and_doubles_nothing(town: Town, name: str, until: Until) -> None:
    some, expected = batches(f"{name}s", 40)
    senders = [threading.Thread(target=send_all, args=(town, some[i::3])) for i in range(3)]
    chance = random.Random(7)
    for sender in senders:
        sender.start()
    for _ in range(4):
        kill_one(town.tree, name, chance=chance)
        until(town.tree.answers, within=PATIENCE, what="the next life")
    for sender in senders:
        sender.join()
    everything_counted(town, expected, until)


def test_with_redis_stopped_ingest_goes_on_and_scores_come_later(town: Town, until: Until) -> None:
    some, expected = batches("stop", 5)
    redis = next(p for p in psutil.process_iter(["name", "cwd"]) if _is_redis_of(p, town.tree.directory))
    redis.send_signal(signal.SIGSTOP)
    try:
        assert all(town.post(batch) for batch in some)
    finally:
        redis.send_signal(signal.SIGCONT)
    everything_counted(town, expected, until)


def test_with_redis_killed_ingest_goes_on_and_scores_come_later(town: Town, until: Until) -> None:
    some, expected = batches("died", 5)
    next(p for p in psutil.process_iter(["name", "cwd"]) if _is_redis_of(p, town.tree.directory)).kill()
    assert all(town.post(batch) for batch in some)
    everything_counted(town, expected, until)


def _is_redis_of(process: psutil.Process, directory: Path) -> bool:
    inside = str(process.info["cwd"] or "").startswith(f"{directory}/")
    return inside and "redis" in process.info["name"]


def test_a_killed_database_loses_nothing_that_was_acknowledged(town: Town, until: Until) -> None:
    some, expected = batches("base", 30)
    sender = threading.Thread(target=send_all, args=(town, some))
    sender.start()
    for _ in range(2):
        found = psutil.process_iter(["name", "cwd", "ppid"])
        inside = [p for p in found if str(p.info["cwd"] or "").startswith(f"{town.tree.directory}/")]
        for process in inside:
            if "postgres" in process.info["name"]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        until(lambda: _answers(town), within=PATIENCE, what="the database's return")
    sender.join()
    everything_counted(town, expected, until)


def _answers(town: Town) -> bool:
    try:
        return town.query("SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False
