"""Keeps web, worker and beat running as one process tree, with the servers that they need."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from pqlapp.local import BASE_DIR, Servers
from pqlapp.processes import ServerFailed, dying_with_us, end, wait_until

MARK = "PQL_TREE"  # in the environment of every process of a tree: how leftovers are told from strangers
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0  # seconds until a dead child is started again; doubled while it keeps dying
SETTLED = 30.0  # seconds after which a child counts as healthy again
LAST_WORDS = 12.0  # seconds that a child has to finish what it is doing; what it cannot finish is found again
LOOK = 0.2  # seconds between two looks at the children
ROUND = 2.0  # seconds between two looks at the servers


class Refused(Exception):
    """The tree cannot start; the message says why and what to do."""


@contextmanager
def only_one(directory: Path, *, address: str) -> Iterator[None]:
    """Hold the place of the one tree of this data directory; raises Refused with the address of the one that runs."""
    with (directory / "up").open("a+") as place:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            place.seek(0)
            raise Refused(f"It is running already, at {place.read()} ({directory}).") from None
        place.truncate(0)
        place.write(address)
        place.flush()
        yield


def listen(host: str, port: int) -> socket.socket:
    """Take the address before anything is started; raises Refused if somebody has it.

    The socket stays with us and is lent to the web process: while that restarts, visitors wait and are not refused.
    """
    try:
        return socket.create_server((host, port), backlog=512)
    except (OSError, OverflowError) as error:
        raise Refused(f"Cannot listen on {host}:{port}: {error}. Choose another: PORT=8001 make …") from error


def end_leftovers(mark: str) -> None:
    """End what a killed tree of this data directory left: it has been asked to stop by the kernel, so wait a little."""
    wait_until(lambda: not any(marked(mark)), within=3)
    for process in marked(mark):
        end(process, how=signal.SIGKILL)


def marked(mark: str) -> Iterator[psutil.Process]:
    """Every live process of the tree that carries this mark."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


class Child:
    """One process of the tree and how it fared lately."""

    def __init__(self, name: str, *command: str, fds: tuple[int, ...] = ()) -> None:
        self.name, self.command, self.fds = name, (sys.executable, "-m", *command), fds
        self.process: subprocess.Popen[bytes] | None = None
        self.wait, self.started, self.due = FIRST_WAIT / 2, 0.0, 0.0

    def start(self, environment: dict[str, str]) -> None:
        """Start it in a session of its own, to stop with us even if we are killed."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - only commands of ours
            self.command,
            cwd=BASE_DIR,
            env=environment,
            pass_fds=self.fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dying_with_us(signal.SIGTERM),
        )

    def bury(self) -> int | None:
        """Return the exit code of a child found dead, and settle when it starts again.

        Its own children see its death and end by themselves, after what they are doing.
        """
        if self.process is None or self.process.poll() is None:
            return None
        code, self.process = self.process.returncode, None
        lived = time.monotonic() - self.started
        self.wait = FIRST_WAIT if lived > SETTLED else min(self.wait * 2, LONGEST_WAIT)
        self.due = time.monotonic() + self.wait
        return code

    def signal(self, number: int) -> None:
        """Signal the child and its own children."""
        with suppress(ProcessLookupError):
            if self.process:
                os.killpg(self.process.pid, number)

    def ask_to_stop(self) -> None:
        """Signal the child alone: it stops its own children in its own way."""
        if self.process:
            self.process.terminate()

    def gone(self) -> bool:
        """Say whether it has ended."""
        return self.process is None or self.process.poll() is not None


class Tree:
    """The children, the servers, and the loop that looks after both."""

    def __init__(self, children: list[Child], *, servers: Servers | None, say: Callable[[str], None]) -> None:
        self._children, self._servers, self._say = children, servers, say
        self._stop, self._hurry = threading.Event(), threading.Event()

    def run(self, environment: dict[str, str], *, ready: Callable[[], bool], announce: Callable[[], None]) -> None:
        """Start the children and keep them alive until a signal says stop; then stop them."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: (self._hurry if self._stop.is_set() else self._stop).set())
        announced, looked = False, time.monotonic()
        try:
            while not self._stop.wait(LOOK):
                self._tend(environment)
                if not announced and (announced := ready()):
                    announce()
                if time.monotonic() - looked > ROUND:
                    self.mend_servers(environment)
                    looked = time.monotonic()
        finally:
            self._end()

    def _tend(self, environment: dict[str, str]) -> None:
        for child in self._children:
            if (code := child.bury()) is not None:
                self._say(f"{child.name} ended with {code}; it starts again in {child.wait:g} s.")
            if child.process is None and time.monotonic() >= child.due:
                child.start(environment)

    def mend_servers(self, environment: dict[str, str]) -> None:
        """Bring a dead server back. It keeps its port unless somebody took that; then the children start anew."""
        if self._servers is None or self._servers.alive():
            return
        self._say("A server has died; it is started again.")
        try:
            self._servers.start()
        except (ServerFailed, psutil.Error) as error:  # tried again in the next round
            self._say(f"{error}")
            return
        if not self._servers.urls().items() <= environment.items():
            environment.update(self._servers.urls())
            for child in self._children:
                child.ask_to_stop()

    def _end(self) -> None:
        for child in self._children:
            child.ask_to_stop()
        wait_until(lambda: self._hurry.is_set() or all(child.gone() for child in self._children), within=LAST_WORDS)
        for child in self._children:
            child.signal(signal.SIGKILL)


def answers(host: str, port: int, *, within: float = 1.0) -> bool:
    """Say whether the web process answers a request, whatever it answers."""
    connection = HTTPConnection(host, port, timeout=within)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        return connection.getresponse().status > 0
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
