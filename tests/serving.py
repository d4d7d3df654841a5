"""`manage.py serve` as tests see it: a real process tree, with servers of its own in a throw-away directory."""

import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

from pqlapp import supervisor

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE = 300.0  # seconds; a start takes five on an idle machine, and this one may be busy


class Serving:
    """`manage.py serve` as a process of its own."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        handle, log = tempfile.mkstemp(dir=directory.parent, suffix=".log")
        os.close(handle)
        self.log = Path(log)
        environment = {"DATA_DIR": str(directory), "PORT": str(port), "WORKERS": "1", "WEB_WORKERS": "1"}
        with self.log.open("w") as out:
            command = [sys.executable, str(REPOSITORY / "manage.py"), "serve"]
            self.process = subprocess.Popen(command, cwd="/", env=environment, stdout=out, stderr=out)

    def output(self) -> str:
        return self.log.read_text()

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.output()
        return "PQL runs at" in self.output()

    def child(self, name: str) -> psutil.Process | None:
        """Return the living master process of web, worker, jobs (the worker of the jobs) or beat."""
        word = {"web": "gunicorn", "worker": "worker", "jobs": "worker", "beat": "beat"}[name]
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                command = child.cmdline()  # a dead one has none
                if word in command and ("--queues=jobs" in command) == (name == "jobs"):
                    return child
        return None

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def family(self) -> list[psutil.Process]:
        return list(supervisor.marked(str(self.directory)))

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)
