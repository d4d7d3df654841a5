"""`manage.py serve`: everything that a first run needs, in the foreground, until Ctrl-C."""

import os
import socket
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from pqlapp import local, supervisor
from pqlapp.supervisor import Child, Tree


class Command(BaseCommand):
    """Migrates, optionally loads the demo, then runs web, workers and beat and restarts what dies."""

    help = "Run the whole system in the foreground: servers, web, workers, beat."
    requires_system_checks: list[str] = []  # migrate runs them
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take --demo."""
        parser.add_argument("--demo", action="store_true", help="load the demo company, or extend it to today")

    def handle(self, *args: Any, demo: bool, **options: Any) -> None:
        """Refuse early and clearly, prepare, then stay."""
        host, port = os.environ.get("HOST") or "127.0.0.1", _port()
        directory: Path = settings.DATA_DIR
        directory.mkdir(parents=True, exist_ok=True)
        address = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0') else host}:{port}/"  # noqa: S104
        try:
            with supervisor.only_one(directory, address=address), supervisor.listen(host, port) as listener:
                supervisor.end_leftovers(str(directory))
                self._prepare(demo=demo)
                self._run(listener, address=address, demo=demo)
        except supervisor.Refused as error:
            raise CommandError(f"{error}") from error
        except DatabaseError as error:
            raise CommandError(f"The database does not do what is asked: {error}") from error

    def _prepare(self, *, demo: bool) -> None:
        self.stdout.write("Preparing the database …")
        call_command("migrate", verbosity=0, interactive=False)
        if demo:
            call_command("load_demo")
        connections.close_all()

    def _run(self, listener: socket.socket, *, address: str, demo: bool) -> None:
        port = listener.getsockname()[1]
        fd = listener.fileno()
        environment = {
            **os.environ,
            "BIND": f"fd://{fd}",
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser",  # a first run as root is a container
            supervisor.MARK: str(settings.DATA_DIR),
        }
        children = [
            Child("web", "gunicorn", "--config", "deploy/gunicorn.conf.py", fds=(fd,)),
            Child("worker", "celery", "--app", "pqlapp.celery", "--quiet", "worker", *QUIET_WORKER),
            Child("jobs", "celery", "--app", "pqlapp.celery", "--quiet", "worker", *FOR_JOBS, *QUIET_WORKER),
            Child("beat", "celery", "--app", "pqlapp.celery", "--quiet", "beat", "--pidfile="),
        ]
        tree = Tree(children, servers=local.held, say=self.stderr.write)
        tree.run(
            environment,
            ready=lambda: supervisor.answers("127.0.0.1", port),
            announce=lambda: self._announce(address, demo=demo),
        )
        self.stdout.write("Stopped.")

    def _announce(self, address: str, *, demo: bool) -> None:
        self.stdout.write(f"\n  PQL runs at {address}   (Ctrl-C stops it)")
        if not demo:
            self.stdout.write("  First make yourself an account:  .venv/bin/python manage.py setup")
        if os.environ.get("HOST") and not os.environ.get("ALLOWED_HOSTS"):
            self.stdout.write("  Visitors who call it by another name than localhost need ALLOWED_HOSTS.")
        self.stdout.write("")
        self.stdout.flush()


# Threads: a job mostly waits for PostgreSQL, and Celery sets threads no time limit.
FOR_JOBS = ("--queues=jobs", "--pool=threads", "--concurrency=3", "--hostname=jobs@%h")
QUIET_WORKER = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise CommandError(f"PORT must be a number from 1 to 65535, not {text!r}.")
    return int(text)
