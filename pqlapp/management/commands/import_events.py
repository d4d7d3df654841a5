"""Bring history in from files."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from pqlapp import bell
from pqlapp.ingest import door
from pqlapp.ingest.history import files, formats, tables
from pqlapp.ingest.history.files import File, NoFiles, Part, StandardInput
from pqlapp.ingest.history.formats import UnknownFormat
from pqlapp.ingest.history.importing import How, Outcome, Step, import_part, newest_day_in
from pqlapp.ingest.history.running import NothingFits
from pqlapp.ingest.history.tables import BadMapping, Mapped
from pqlapp.management.arguments import source_name
from scoring import facts, imports
from scoring.models import Source

SECONDS_BETWEEN_REPORTS = 5.0
UNFIT = (NoFiles, UnknownFormat, BadMapping, NothingFits)


class Command(BaseCommand):
    """Reads files in batches and records each; reading a file twice changes nothing."""

    help = (
        "Import events from files: Segment calls and other exports as JSON lines, CSV, Parquet; plain, gzip or zip. "
        "Running it again changes nothing, so after an interruption just run it again: it goes on where it was. "
        "docs/importing.md has an example for each format."
    )
    requires_system_checks: list[str] = []  # they load all pages, which took as long as to import 20,000 events

    def add_arguments(self, parser: CommandParser) -> None:
        """Add FILE, --source and how to read."""
        parser.add_argument("file", metavar="FILE", nargs="+", help="a file, a folder, a glob, or - for standard input")
        parser.add_argument(
            "--source", required=True, type=source_name, metavar="NAME", help="whose calls these are (made if new)"
        )
        parser.add_argument("--format", choices=formats.NAMES, default="", help="what the files are, if it is not seen")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="FIELD=COLUMN,…",
            help=f"for tables: {', '.join(tables.FIELDS)}, traits.NAME, account_traits.NAME; =TEXT is a constant; "
            "other columns become properties",
        )
        parser.add_argument("--map-file", type=Path, metavar="YAML", help="the same as lines of `field: column`")
        parser.add_argument(
            "--rejects", type=Path, metavar="FILE", help="write each rejected line here, as JSON, with its reason"
        )
        parser.add_argument("--again", action="store_true", help="read from the start what was read before")
        parser.add_argument(
            "--rebase",
            action="store_true",
            help="move all times by whole days, so that the newest call of the source's first such import was "
            "yesterday (UTC); ISO dates among traits and properties named …_at, …_on, …date move along",
        )

    def handle(self, *, file: list[str] | str, source: str, rebase: bool, **options: Any) -> None:
        """Import the files."""
        places = [file] if isinstance(file, str) else file
        outcome = Outcome()
        try:
            with ExitStack() as stack:
                parts = self._parts(places, stack, rewindable=rebase)
                how = How(format=options["format"], mapped=_mapped(options["map"], options["map_file"]))
                sender = facts.create_source(slug=source, at=timezone.now())
                if sender.rebase_days and not rebase:
                    self.stderr.write(f"{source} has calls moved by {sender.rebase_days} days; these are not moved")
                if rebase:
                    how = How(how.format, how.mapped, self._days(sender, parts, how))
                self._import(sender, parts, how, outcome, again=options["again"], rejects=options["rejects"])
                bell.ring_for_bulk()
        except KeyboardInterrupt as error:
            raise CommandError("stopped; run the same command again to go on") from error
        except files.UNREADABLE as error:
            raise CommandError(f"cannot read {', '.join(places)}: {error}") from error
        except UNFIT as error:
            raise CommandError(f"{error}") from error
        except door.DATABASE_AWAY as error:
            raise CommandError(f"the database went away; run the same command again: {error}") from error

    def _parts(self, places: list[str], stack: ExitStack, *, rewindable: bool) -> list[Part]:
        """Return what is to be read; standard input by way of a temporary file if it has to be read twice."""
        parts = files.parts(places=places)
        if not rewindable:
            return parts
        return [
            File(stack.enter_context(files.copied(stream=sys.stdin.buffer)), part.name)
            if isinstance(part, StandardInput)
            else part
            for part in parts
        ]

    def _days(self, source: Source, parts: list[Part], how: How) -> int:
        """Return the source's offset, fixed at its first import with --rebase."""
        if source.rebase_days is not None:
            return source.rebase_days
        newest = max((day for part in parts if (day := newest_day_in(source=source, part=part, how=how))), default=None)
        if newest is None:
            return 0
        yesterday = timezone.now().date() - timedelta(days=1)
        return facts.fix_rebase(source=source, days=(yesterday - newest).days)

    def _import(
        self, source: Source, parts: list[Part], how: How, outcome: Outcome, *, again: bool, rejects: Path | None
    ) -> None:
        sizes = [part.size for part in parts]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        shown = _bar(total) if sys.stderr.isatty() else _plain_lines(total, self.stdout.write)
        read = 0  # bytes of the parts that are done
        imports.forget(at=timezone.now())
        try:
            with shown as on_step:
                for part in parts:

                    def step(step: Step, before: int = read) -> None:
                        on_step(Step(step.records, None if step.position is None else before + step.position))

                    import_part(source=source, part=part, how=how, outcome=outcome, on_step=step, again=again)
                    read += part.size or 0
        finally:
            self._report(outcome, rejects, several=len(parts) > 1)

    def _report(self, outcome: Outcome, rejects: Path | None, *, several: bool) -> None:
        if before := outcome.before.stored + outcome.before.rejected:
            self.stderr.write(f"{before:,} of them were read by an earlier run, and passed over (--again reads them)")
        if rejects:
            _write(rejects, outcome)
        for reason in imports.reasons(files=outcome.files):
            where = f"line {reason.line} of {reason.file}" if several else f"line {reason.line}"
            self.stdout.write(f"rejected {reason.count}: {reason.code}, first in {where}: {reason.message}")
        tally = outcome.tally
        self.stdout.write(f"accepted={tally.accepted} duplicate={tally.duplicate} rejected={tally.rejected}")


def _mapped(pairs: list[str], path: Path | None) -> Mapped | None:
    if not pairs and path is None:
        return None
    return tables.mapping(pairs=pairs, document=path.read_text() if path else "")


def _write(rejects: Path, outcome: Outcome) -> None:
    """Write the rejected lines of all files: those of earlier runs too."""
    with rejects.open("wb") as out:
        for rejected in imports.rejections(files=outcome.files):
            out.write(orjson.dumps(rejected.told(), option=orjson.OPT_APPEND_NEWLINE))


@contextmanager
def _bar(total: int | None) -> Iterator[Callable[[Step], object]]:
    """Show a bar over the bytes of the files, or a count of lines where those are unknown."""
    if total is None:
        with tqdm(unit=" lines", unit_scale=True) as bar:
            yield lambda step: bar.update(step.records)
        return
    with tqdm(total=total, unit="B", unit_scale=True) as bar:
        yield lambda step: bar.update(max((step.position or 0) - bar.n, 0))


@contextmanager
def _plain_lines(total: int | None, write: Callable[[str], object]) -> Iterator[Callable[[Step], object]]:
    """Say every few seconds how far it is."""
    meter = Meter(total)

    def on_step(step: Step) -> None:
        if said := meter.after(step):
            write(said)

    yield on_step


@dataclass(slots=True)
class Meter:
    """Rate and remaining time. Both are of the last stretch: passing over what is stored goes faster."""

    total: int | None
    _lines: int = 0
    _position: int | None = 0
    _said: tuple[float, int, int] = field(default_factory=lambda: (time.monotonic(), 0, 0))  # when, lines, bytes

    def after(self, step: Step) -> str:
        """Return what to say after a step; nothing if something was said a moment ago."""
        self._lines += step.records
        self._position = step.position
        now = time.monotonic()
        said_at, lines, position = self._said
        if now - said_at < SECONDS_BETWEEN_REPORTS:
            return ""
        seconds = max(now - said_at, 1e-6)
        self._said = (now, self._lines, self._position or 0)
        text = f"{self._lines:,} lines, {(self._lines - lines) / seconds:,.0f} a second"
        return text + self._left(((self._position or 0) - position) / seconds)

    def _left(self, speed: float) -> str:
        if not self.total or self._position is None or speed <= 0:
            return ""
        left = (self.total - self._position) / speed
        return f", {self._position / self.total:.0%}, {_words(left)} left"


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
