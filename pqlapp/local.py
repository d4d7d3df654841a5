"""The servers and the secret of one data directory: who needs PostgreSQL and Redis finds them here, or starts them.

Whoever uses the servers holds a shared lock on the file `users` while it lives; the last user to leave stops them. The
kernel drops the lock of a killed process, so no count can go wrong, and servers that outlived a kill -9 are adopted.
"""

import fcntl
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from pqlapp.embedded import Postgres, Redis, write_private
from pqlapp.processes import Runner, ServerFailed, choose_runner, wait_until

BASE_DIR = Path(__file__).resolve().parent.parent
PATIENCE = 180.0  # seconds to wait for another process that is starting or stopping the same servers
# Where the servers live when their account cannot reach the data directory (a clone below /root).
ELSEWHERE = (Path("/var/lib/pql"), Path("/var/tmp/pql"))  # noqa: S108 - the homes in it get random names
WITHOUT_SERVERS = {
    *("check", "collectstatic", "diffsettings", "findstatic", "help"),
    *("makemessages", "makemigrations", "spectacular", "version"),
}
ONLY_FILES = {("rules", "lint"), ("rules", "schema")}


held: "Servers | None" = None  # what for_command has started or found for this process


def data_dir() -> Path:
    """Return DATA_DIR, by default `.data` beside manage.py; a relative one is meant from there too."""
    return BASE_DIR / (os.environ.get("DATA_DIR") or ".data")


def secret_key(directory: Path) -> str:
    """Return the SECRET_KEY of this data directory, made at its first use."""
    path = directory / "secret_key"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with _starting(directory):
            if not path.exists():
                write_private(path, secrets.token_urlsafe(50), runner=Runner())
    return path.read_text()


def given() -> dict[str, str]:
    """Return the server addresses that the environment gives: for these nothing is ever started."""
    return {key: os.environ[key] for key in ("DATABASE_URL", "REDIS_URL") if os.environ.get(key)}


def recorded(directory: Path) -> dict[str, str]:
    """Return the addresses of the servers last started for this directory, without asking whether they live."""
    own = _servers_in((directory / "servers").resolve(), durable=True)
    return given() | {key: server.url for key, server in own.items() if server.made()}


@contextmanager
def for_command(argv: Sequence[str]) -> Iterator[None]:
    """Put the servers' addresses into the environment of a management command that needs them.

    The command finds the servers themselves in `held`; to it and to its children the addresses look given.
    """
    global held
    signal.signal(signal.SIGTERM, _leave)  # so that a terminated command puts away what it started
    with ExitStack() as stack, _without_traceback():
        if _needs_servers(argv) and len(given()) < 2:
            try:
                held = stack.enter_context(use(data_dir()))
                os.environ.update(held.urls())
            except (ServerFailed, PermissionError) as error:
                sys.exit(f"{error}")
        yield


def _needs_servers(argv: Sequence[str]) -> bool:
    needs = len(argv) > 1 and argv[1] not in WITHOUT_SERVERS and tuple(argv[1:3]) not in ONLY_FILES
    return needs and not {"-h", "--help", "--version"} & set(argv)


@contextmanager
def _without_traceback() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def use(directory: Path, *, durable: bool = True, mortal: bool = False) -> Iterator["Servers"]:
    """Lend the servers of a data directory: started if they do not live, stopped when their last user leaves.

    Raises ServerFailed. For tests, `durable=False` trades the data's safety for speed, and `mortal=True` ends the
    servers with this process, however it ends.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _open(directory / "users") as users:
        servers = Servers(directory, durable=durable, mortal=mortal)
        with _starting(directory):
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            servers.start()
            yield servers
        finally:
            with _starting(directory):
                if _lock_now(users):
                    servers.stop()


class Servers:
    """The embedded servers of one data directory, without those whose address the environment gives."""

    def __init__(self, directory: Path, *, durable: bool, mortal: bool) -> None:
        self._directory, self._mortal = directory, mortal
        if len(given()) == 2:  # then no account and no home are made either
            self._own: dict[str, Postgres | Redis] = {}
            return
        with _starting(directory):
            home, self._runner = _settle(directory)
        self._own = _servers_in(home, durable=durable)

    def urls(self) -> dict[str, str]:
        """Return DATABASE_URL and REDIS_URL: the environment's, else those of our own servers."""
        return given() | {key: server.url for key, server in self._own.items()}

    def alive(self) -> bool:
        """Say whether every server of ours lives."""
        return all(server.process() for server in self._own.values())

    def start(self) -> None:
        """Start what does not live. A second process that does the same waits, then adopts."""
        with _starting(self._directory):
            for server in self._own.values():
                server.start(runner=self._runner, mortal=self._mortal)

    def stop(self) -> None:
        """Stop them in an orderly way, whoever started them."""
        for server in self._own.values():
            server.stop()


def _servers_in(home: Path, *, durable: bool) -> dict[str, Postgres | Redis]:
    made: dict[str, Postgres | Redis] = {"DATABASE_URL": Postgres(home, durable=durable), "REDIS_URL": Redis(home)}
    return {key: server for key, server in made.items() if key not in given()}


def _settle(directory: Path) -> tuple[Path, Runner]:
    """Return the servers' home and who runs them: it is below DATA_DIR unless that account cannot go there."""
    home = directory / "servers"
    runner = choose_runner(owner_of=home / "postgres")
    if not home.exists():
        home.unlink(missing_ok=True)  # a link whose target is gone
        _make_home(home, runner)
    return home.resolve(), runner


def _make_home(home: Path, runner: Runner) -> None:
    home.mkdir(mode=0o755)
    if not runner.drops:
        return
    for path in (home.parent, home):
        path.chmod(path.stat().st_mode | 0o111)
    if not runner.can_enter(home):
        home.rmdir()
        home.symlink_to(_home_elsewhere(runner))


def _home_elsewhere(runner: Runner) -> Path:
    for place in ELSEWHERE:
        home = place / secrets.token_hex(8)
        try:
            home.mkdir(parents=True, mode=0o711)
        except OSError:
            continue
        if runner.can_enter(home):
            return home
    raise ServerFailed("There is no place that the servers' account can reach. Choose another DATA_DIR.")


@contextmanager
def _starting(directory: Path) -> Iterator[None]:
    """Hold the lock under which servers are started and stopped, waiting for another process that holds it."""
    with _open(directory / "lock") as lock:
        if not wait_until(lambda: _lock_now(lock), within=PATIENCE):
            raise ServerFailed(f"Another process has been starting or stopping the servers in {directory} for minutes.")
        yield


def _lock_now(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: Path) -> IO[str]:
    try:
        return path.open("a")
    except PermissionError as error:
        raise ServerFailed(f"{path} is another user's. Run as that user or choose another DATA_DIR.") from error
