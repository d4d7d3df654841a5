"""The process tree of a first run, as a person starts it, and what becomes of it when parts are killed."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import psutil
import psycopg
import pytest
import redis

from pqlapp import local, supervisor
from pqlapp.processes import free_port, lives, wait_until
from pqlapp.supervisor import Child
from tests.serving import PATIENCE, Serving

Until = Callable[..., None]

pytestmark = pytest.mark.xdist_group("tree")  # the tests of a module share one tree, so they share one worker


@pytest.fixture(scope="module", autouse=True)
def nothing_given() -> Iterator[None]:
    """This process knows of no servers, so that it can read the addresses of the tree's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        patch.delenv("REDIS_URL", raising=False)
        yield


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A data directory for the whole module."""
    with tempfile.TemporaryDirectory(prefix="pql-tree-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made) / "data"
        for process in [*supervisor.marked(f"{made}/data"), *_servers_of(Path(made))]:  # whatever a failed test left
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="module")
def serving(directory: Path) -> Iterator[Serving]:
    """A tree that runs; it ends with the module, unless a test has ended it."""
    tree = Serving(directory, free_port())
    assert wait_until(tree.is_up, within=PATIENCE), tree.output()
    yield tree
    if tree.process.poll() is None:
        tree.end()


class TestServe:
    def test_runs_web_worker_and_beat(self, serving: Serving) -> None:
        assert serving.answers()
        assert all(serving.child(name) for name in ("web", "worker", "jobs", "beat"))
        assert f"http://localhost:{serving.port}/" in serving.output()
        assert "manage.py setup" in serving.output()

    def test_a_second_one_names_the_address_of_the_first(self, serving: Serving) -> None:
        second = Serving(serving.directory, free_port())
        assert second.process.wait(PATIENCE) == 1
        assert f"running already, at http://localhost:{serving.port}/" in second.output()
        assert serving.answers()

    def test_a_taken_port_is_named(self, serving: Serving, directory: Path) -> None:
        other = Serving(directory.with_name("other"), serving.port)
        assert other.process.wait(PATIENCE) == 1
        assert f"127.0.0.1:{serving.port}" in other.output()
        assert "PORT=" in other.output()

    @pytest.mark.parametrize("name", ["web", "worker", "jobs", "beat"])
    def test_a_killed_child_is_started_again(self, serving: Serving, name: str, until: Until) -> None:
        victim = serving.child(name)
        assert victim
        orphans = victim.children(recursive=True)
        victim.kill()
        until(lambda: serving.child(name) not in (None, victim), within=PATIENCE, what=f"a new {name}")
        until(lambda: not any(lives(orphan) for orphan in orphans), what="the end of what it left")
        until(serving.answers, within=PATIENCE, what="an answer")

    def test_killed_servers_are_started_again_where_they_were(self, serving: Serving, until: Until) -> None:
        urls = local.recorded(serving.directory)
        killed = _servers_of(serving.directory)
        for process in killed:
            process.kill()
        until(lambda: not any(lives(process) for process in killed), what="their death")
        until(lambda: _both_answer(local.recorded(serving.directory)), within=PATIENCE, what="their return")
        assert local.recorded(serving.directory) == urls

    def test_after_a_kill_of_the_tree_the_next_start_finds_no_leftovers(self, serving: Serving, until: Until) -> None:
        left = serving.family()
        assert len(left) >= 3
        serving.process.kill()
        serving.process.wait()
        second = Serving(serving.directory, serving.port)
        until(second.is_up, within=PATIENCE, what="the second start")
        assert not any(lives(process) for process in left)
        assert second.answers()
        family = second.family()
        assert second.end() == 0
        assert "Stopped." in second.output()
        assert not any(lives(process) for process in family)
        assert not _servers_of(serving.directory)


def _servers_of(directory: Path) -> list[psutil.Process]:
    inside = f"{directory}/"
    servers = psutil.process_iter(["name", "cwd"])
    return [found for found in servers if str(found.info["cwd"] or "").startswith(inside) and lives(found)]


def _both_answer(urls: dict[str, str]) -> bool:
    try:
        with redis.Redis.from_url(urls["REDIS_URL"]) as client, psycopg.connect(urls["DATABASE_URL"]):
            return bool(client.ping())
    except (redis.RedisError, psycopg.OperationalError):
        return False


class MovedServers:
    """Servers that were found dead and came back under another address."""

    def alive(self) -> bool:
        return False

    def start(self) -> None:
        pass

    def urls(self) -> dict[str, str]:
        return {"REDIS_URL": "redis://moved/0"}


class TestTree:
    def test_starts_the_children_anew_when_a_server_has_moved(self, until: Until) -> None:
        child = Child("idle", "http.server", "0")
        environment = {**os.environ, "REDIS_URL": "redis://dead/0"}
        child.start(environment)
        tree = supervisor.Tree([child], servers=cast(local.Servers, MovedServers()), say=lambda words: None)
        tree.mend_servers(environment)
        assert environment["REDIS_URL"] == "redis://moved/0"
        until(child.gone, what="the end of the child that knew the old address")


class TestChild:
    def test_waits_longer_each_time_it_dies_at_once(self, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(supervisor, "SETTLED", PATIENCE)  # at once is long on a busy machine
        child = Child("broken", "no_such_module")
        waits = []
        for _ in range(7):
            child.start(dict(os.environ))
            until(child.gone, what="its death")
            found_at = time.monotonic()
            assert child.bury() == 1
            waits.append(child.wait)
        assert waits == [0.5, 1, 2, 4, 8, 15, 15]
        assert child.due >= found_at + 15

    def test_is_forgiven_once_it_has_lived(self, until: Until) -> None:
        child = Child("broken", "no_such_module")
        child.wait = 8
        child.start(dict(os.environ))
        child.started -= supervisor.SETTLED
        until(child.gone, what="its death")
        child.bury()
        assert child.wait == supervisor.FIRST_WAIT


class TestListen:
    def test_refuses_in_words(self) -> None:
        with pytest.raises(supervisor.Refused, match=r"127\.0\.0\.1:70000"):
            supervisor.listen("127.0.0.1", 70000)
