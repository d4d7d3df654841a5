"""Processes of our own beside this one: under which account they run, how they start, live and end.

Used before Django's settings exist, so it imports no Django.
"""

import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ACCOUNT = "pqldb"  # the system account that runs the servers when we are root
ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
# Nothing of the caller's environment reaches a server: an odd LC_ALL, PGDATA or TZ breaks one.
SERVER_ENV = {"PATH": ADMIN_PATH, "LC_ALL": "C", "TZ": "UTC"}
LOG_LIMIT = 10_000_000  # bytes; a longer log starts anew
QUIET_END = 30.0  # seconds a process may take to end before it is killed
# Below the ports that systems give to outgoing connections: a client that keeps knocking at a dead server's port there
# may be given that very port and keep the server from coming back to it.
PORTS = range(15_000, 32_000)
PR_SET_PDEATHSIG = 1


class ServerFailed(Exception):
    """A server could not be started; the message says why and what to do."""


@dataclass(frozen=True)
class Runner:
    """Who runs the servers: ourselves, or an unprivileged account that we as root become."""

    uid: int | None = None
    gid: int | None = None

    @property
    def drops(self) -> bool:
        """Whether the servers run under another account than ours."""
        return self.uid is not None

    def own(self, path: Path) -> None:
        """Give a file or directory to the account that the servers run as."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def run(self, command: list[str], *, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a short command as that account and return its output."""
        return subprocess.run(  # noqa: S603 - only commands of ours
            command,
            cwd=cwd,
            env=SERVER_ENV,
            capture_output=True,
            text=True,
            user=self.uid,
            group=self.gid,
            extra_groups=[] if self.drops else None,
        )

    def launch(self, command: list[str], *, cwd: Path, log: Path, mortal: bool) -> subprocess.Popen[bytes]:
        """Start a server in a session of its own, so that a Ctrl-C meant for us does not reach it."""
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.unlink()
        with log.open("ab") as out:
            return subprocess.Popen(  # noqa: S603 - only commands of ours
                command,
                cwd=cwd,
                env=SERVER_ENV,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=dying_with_us(signal.SIGINT) if mortal else None,
                user=self.uid,
                group=self.gid,
                extra_groups=[] if self.drops else None,
            )

    def can_execute(self, program: Path) -> bool:
        """Whether that account can run this program: tried, since modes, ACLs and mounts all have a say."""
        try:
            return self.run([str(program), "--version"], cwd=Path("/")).returncode == 0
        except PermissionError:
            return False

    def can_enter(self, directory: Path) -> bool:
        """Whether that account can go to this directory: tried as well."""
        probe = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]
        return not self.drops or self.run(probe, cwd=Path("/")).returncode == 0


def choose_runner(*, owner_of: Path) -> Runner:
    """Return who shall run the servers: ourselves; for root the owner of an existing cluster, else a system account."""
    if os.geteuid() != 0:
        return Runner()
    if owner_of.exists() and (found := owner_of.stat()).st_uid != 0:
        return Runner(uid=found.st_uid, gid=found.st_gid)
    account = _account(ACCOUNT) or _make_account(ACCOUNT) or _account("nobody")
    if account is None:
        raise ServerFailed("PostgreSQL does not run as root, and no other account could be made. Set DATABASE_URL.")
    return Runner(uid=account.pw_uid, gid=account.pw_gid)


def _account(name: str) -> pwd.struct_passwd | None:
    with suppress(KeyError):
        return pwd.getpwnam(name)
    return None


def _make_account(name: str) -> pwd.struct_passwd | None:
    if useradd := shutil.which("useradd", path=ADMIN_PATH):
        options = ["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
        subprocess.run([useradd, *options, name], capture_output=True, check=False)  # noqa: S603
    return _account(name)


def dying_with_us(how: int) -> Callable[[], None] | None:
    """Return what a child calls before exec so that Linux sends it this signal when we die, however we die."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def bind_life() -> None:
        libc.prctl(PR_SET_PDEATHSIG, how)
        if os.getppid() != parent:
            os._exit(1)

    return bind_life


def lives(process: psutil.Process) -> bool:
    """Whether this very process still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(process: psutil.Process, *, how: int, within: float = QUIET_END) -> None:
    """Signal a process and wait for its end; kill it if that takes too long."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(how)
        try:
            process.wait(within)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(QUIET_END)


def wait_until(true: Callable[[], bool], *, within: float) -> bool:
    """Poll a condition up to a deadline in seconds; say whether it came true."""
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def free_port(wanted: int | None = None) -> int:
    """Return the wanted port if it is free on 127.0.0.1, else any free one that no outgoing connection may take."""
    tries = [wanted] if wanted else []
    for port in tries + random.sample(PORTS, 50):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerFailed("There is no free port on 127.0.0.1.")


def tail(log: Path) -> str:
    """Return the last lines of a log, for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
