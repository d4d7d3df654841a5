"""Bring a PQL definition in from a YAML file, and make it live on request."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from pqlapp import bell
from pqlapp.management.arguments import document_text, write_faults
from scoring import jobs, language, rules, tasks
from scoring.models import SHARDS, Job, RuleVersion

SECONDS_BETWEEN_LINES = 1.0


class Command(BaseCommand):
    """Stores the text as a draft; with --publish carries its publication to the end."""

    help = (
        "Store a rule document as the newest draft of its rule set; with --publish make it live and have every "
        "account rescored. Running it again with the same text changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add FILE, --publish and --note."""
        parser.add_argument("file", metavar="FILE", help="a YAML document, or - for standard input")
        parser.add_argument("--publish", action="store_true", help="make it the live version")
        parser.add_argument("--note", metavar="TEXT", help="why, for the record of publications")

    def handle(self, *, file: str, publish: bool, note: str | None, **options: Any) -> None:
        """Store the document, and publish it if asked to."""
        version = self._draft(file)
        if publish:
            self._publish(version, note or f"imported from {'standard input' if file == '-' else Path(file).name}")

    def _draft(self, file: str) -> RuleVersion:
        now = timezone.now()
        try:
            version = rules.draft(text=document_text(file), by=None, at=now)
        except language.Invalid as invalid:
            write_faults(self.stderr, file, invalid)
            count = len(invalid.faults)
            raise CommandError(f"{count} fault{'' if count == 1 else 's'}; nothing was stored") from invalid
        is_live = version.rule_set.live_version_id == version.pk
        if version.created_at == now:
            self.stdout.write(f"{version} is stored as a draft")
        else:
            self.stdout.write(f"nothing changed: {version} says just this{' and is live' if is_live else ''}")
        return version

    def _publish(self, version: RuleVersion, note: str) -> None:
        if version.rule_set.live_version_id == version.pk:
            return
        if reading := rules.prepare(version=version, by=None, at=timezone.now()):
            self._refuse_failed(version, self._carry_on(reading))
        now = timezone.now()
        diff = rules.diff(version=version, at=now)
        self.stdout.write("\n".join(diff.lines))
        try:
            job = rules.publish(version=version, note=note, by=None, at=now, seen=diff.seen)
        except (rules.PublishRunning, rules.NotSeen) as refusal:
            raise CommandError(f"{refusal}") from refusal
        job = self._carry_on(job)
        bell.ring(shards=range(SHARDS))
        self._refuse_failed(version, job)
        self.stdout.write(f"{version} is live; {job.result['touched']:,} accounts are being rescored")

    def _refuse_failed(self, version: RuleVersion, job: Job) -> None:
        if job.state != Job.State.DONE:
            raise CommandError(f"{version} was not published: {job.error}")

    def _carry_on(self, job: Job) -> Job:
        """Run the job here, or follow whoever runs it, until it is over."""
        with _told(job, self.stderr.write):
            while (job := tasks.carry_on(job=job)).state in jobs.OPEN:
                time.sleep(SECONDS_BETWEEN_LINES)
        return job


@contextmanager
def _told(job: Job, write: Callable[[str], object]) -> Iterator[None]:
    """Tell meanwhile how far the job has come, from a thread of its own: the job keeps this one busy."""
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(job.pk, over, write), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell(job_id: int, over: threading.Event, write: Callable[[str], object]) -> None:
    told = ""
    try:
        while not over.wait(SECONDS_BETWEEN_LINES):
            line = _progress(Job.objects.get(pk=job_id))
            if line != told:
                write(line)
            told = line
    finally:
        connection.close()


def _progress(job: Job) -> str:
    """Return in words how far a job has come."""
    if job.total is None:
        return f"{job.step or job.get_state_display()} …"
    return f"{job.step}: {job.done:,} of {job.total:,}"
