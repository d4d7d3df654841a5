"""Bring history in from a file of Segment-spec calls."""

import io
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from pqlapp.ingest import door, lines
from pqlapp.ingest.history import Import
from pqlapp.management.arguments import source_name
from scoring import facts
from scoring.models import Source

SECONDS_BETWEEN_REPORTS = 5.0
UNREADABLE = (OSError, EOFError, zlib.error)


class Command(BaseCommand):
    """Reads the file in batches and records each; reading a file twice changes nothing."""

    help = (
        "Import Segment-spec calls, one JSON object a line, plain or gzip. Running it again changes nothing, "
        "so after an interruption just run it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add FILE, --source and --rebase."""
        parser.add_argument("file", metavar="FILE", help="a path, or - for standard input")
        parser.add_argument(
            "--source", required=True, type=source_name, metavar="NAME", help="whose calls these are (made if new)"
        )
        parser.add_argument(
            "--rebase",
            action="store_true",
            help="move all times by whole days, so that the newest call of the source's first such import was "
            "yesterday (UTC); ISO dates among traits and properties named …_at, …_on, …date move along",
        )

    def handle(self, *, file: str, source: str, rebase: bool, **options: Any) -> None:
        """Import the file."""
        try:
            with _opened(file, rewindable=rebase) as raw:
                sender = facts.create_source(slug=source, at=timezone.now())
                if sender.rebase_days and not rebase:
                    self.stderr.write(f"{source} has calls moved by {sender.rebase_days} days; these are not moved")
                reader = lines.Reader(days=self._days(sender, raw) if rebase else 0)
                self._import(raw, sender, reader)
        except KeyboardInterrupt as error:
            raise CommandError("stopped; run the same command again to go on") from error
        except UNREADABLE as error:
            raise CommandError(f"cannot read {file}: {error}") from error
        except door.DATABASE_AWAY as error:
            raise CommandError(f"the database went away; run the same command again: {error}") from error

    def _days(self, source: Source, raw: BinaryIO) -> int:
        """Return the source's offset, fixed at its first import with --rebase."""
        if source.rebase_days is not None:
            return source.rebase_days
        newest = lines.newest_day(texts=(text for _, text in lines.numbered(stream=lines.unpacked(raw=raw))))
        raw.seek(0)
        if newest is None:
            return 0
        yesterday = timezone.now().date() - timedelta(days=1)
        return facts.fix_rebase(source=source, days=(yesterday - newest).days)

    def _import(self, raw: BinaryIO, source: Source, reader: lines.Reader) -> None:
        texts = lines.numbered(stream=lines.unpacked(raw=raw))
        job = Import(source=source, reader=reader, lines=texts)
        progress = _bar(raw) if sys.stderr.isatty() else _plain_lines(self.stdout.write)
        try:
            with progress as on_progress:
                job.run(on_progress=on_progress)
        finally:
            self._report(job)

    def _report(self, job: Import) -> None:
        for code, reason in sorted(job.reasons.items()):
            self.stdout.write(f"rejected {reason.count}: {code}, first in line {reason.line}: {reason.message}")
        tally = job.tally
        self.stdout.write(f"accepted={tally['accepted']} duplicate={tally['duplicate']} rejected={tally['rejected']}")


@contextmanager
def _opened(file: str, *, rewindable: bool) -> Iterator[BinaryIO]:
    """Open the file, or standard input: by way of a temporary file if it has to be read twice."""
    if file != "-":
        with Path(file).open("rb") as raw:
            yield raw
    elif not rewindable:
        yield sys.stdin.buffer
    else:
        with tempfile.NamedTemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.flush()
            with Path(copy.name).open("rb") as raw:
                yield raw


@contextmanager
def _bar(raw: BinaryIO) -> Iterator[Callable[[int], object]]:
    """Show a bar over the bytes of the file, or a count of lines where its size is unknown."""
    if not raw.seekable():
        with tqdm(unit=" lines", unit_scale=True) as bar:
            yield bar.update
        return
    size = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    with tqdm(total=size, unit="B", unit_scale=True) as bar:
        yield lambda count: bar.update(raw.tell() - bar.n)


@contextmanager
def _plain_lines(write: Callable[[str], object]) -> Iterator[Callable[[int], object]]:
    """Say every few seconds how far it is."""
    began = said_at = time.monotonic()
    done = 0

    def step(count: int) -> None:
        nonlocal done, said_at
        done += count
        now = time.monotonic()
        if now - said_at >= SECONDS_BETWEEN_REPORTS:
            said_at = now
            write(f"{done:,} lines, {done / (now - began):,.0f} a second")

    yield step
