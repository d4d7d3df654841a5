"""What the measurements stand on: the whole system, or a database alone, in a directory that is thrown away."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import django

from pqlapp import local

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE = 180.0  # seconds


@dataclass(frozen=True, slots=True)
class Tree:
    """Web, worker and beat with their servers; this process is connected to the same ones."""

    address: str
    environment: dict[str, str]

    def manage(self, *arguments: str) -> str:
        """Run a management command, and return what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a management command, and return its process; what it prints is lost."""
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.Popen(command, cwd=REPOSITORY, env=self.environment, stdout=subprocess.DEVNULL)


@contextmanager
def running() -> Iterator[Tree]:
    """Start the system, wait until it answers, and stop it at the end. Sets Django up."""
    with tempfile.TemporaryDirectory(prefix="pql-bench-") as place:
        port = free_port()
        directory = Path(place) / "data"
        environment = {**os.environ, "DATA_DIR": str(directory), "PORT": str(port)}
        for given in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY"):
            environment.pop(given, None)
            os.environ.pop(given, None)
        with serving(environment, "serve"):
            os.environ.update(local.recorded(directory), DATA_DIR=str(directory))
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pqlapp.settings")
            django.setup()
            yield Tree(f"http://127.0.0.1:{port}", environment)


@contextmanager
def database() -> Iterator[None]:
    """Start only a database, in a directory that is thrown away afterwards. Sets Django up."""
    with tempfile.TemporaryDirectory(prefix="pql-bench-") as place, local.use(Path(place)) as servers:
        os.environ.update(servers.urls(), SECRET_KEY="only-for-the-bench")
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pqlapp.settings")
        django.setup()
        yield


@contextmanager
def serving(environment: dict[str, str], *arguments: str) -> Iterator[float]:
    """Run `manage.py serve`; yields how many seconds it took until it said that it runs."""
    began = time.perf_counter()
    command = [sys.executable, "manage.py", *arguments]
    with tempfile.NamedTemporaryFile("r+", suffix=".log") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: "PQL runs at" in Path(log.name).read_text(), process, log.name)
            yield time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)


def wait_for(condition: object, process: "subprocess.Popen[bytes]", log: str) -> None:
    """Wait until the condition holds; ends the measurement with the log if the process ends first."""
    ends = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        if process.poll() is not None or time.monotonic() > ends:
            sys.exit(f"the system did not start:\n{Path(log).read_text()}")
        time.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(what: str, measured: str, promised: str, *, holds: bool) -> None:
    """Print one line of the report."""
    print(f"{what}: {measured}   (promised: {promised}; {'kept' if holds else 'MISSED'})", flush=True)
