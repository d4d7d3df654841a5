"""A running tree with a source, a key and a live rule set, for tests that hurt it."""

import json
import random
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from pqlapp import local, supervisor
from pqlapp.processes import free_port, wait_until
from tests.serving import PATIENCE, REPOSITORY, Serving

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


def kill(town: Town, victim: str, *, chance: random.Random) -> None:
    """Kill -9 the master of web or worker or one of its children; of postgres and redis all processes at once."""
    if victim in ("web", "worker"):
        master = town.tree.child(victim)
        if master is not None:
            with suppress(psutil.NoSuchProcess):
                chance.choice([master, *master.children(recursive=True)]).kill()
        return
    for process in psutil.process_iter(["name", "cwd"]):
        inside = str(process.info["cwd"] or "").startswith(f"{town.tree.directory}/")
        if inside and victim in process.info["name"]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
