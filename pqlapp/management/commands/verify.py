"""Check that nothing drifted: tiles fold the events, scores are what facts say, the mirror mirrors, turns add up."""

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from routing import audit
from routing.models import Assignment
from scoring import bulk, jobs, scores, tiles
from scoring.facts import MERGE
from scoring.models import Job, RuleSet


class Command(BaseCommand):
    """Compares, and writes nothing."""

    help = (
        "Fold all stored events anew and compare with the tiles; judge every account anew and compare with the scores; "
        "compare the mirror with all that it mirrors; decide anew who got each lead. Names the first "
        "difference and exits with 1. Writes nothing, and may run beside everything else."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --tiles, --scores, --mirror and --routing."""
        parser.add_argument("--tiles", action="store_true", help="only the tiles")
        parser.add_argument("--scores", action="store_true", help="only the scores")
        parser.add_argument("--mirror", action="store_true", help="only the mirror, which is brought up to date first")

        parser.add_argument("--routing", action="store_true", help="only who got the leads")

    def handle(self, *, tiles: bool, scores: bool, mirror: bool, routing: bool, **options: Any) -> None:
        """Compare what is asked for; everything, if nothing is."""
        everything = not (tiles or scores or mirror or routing)
        if tiles or everything:
            self._verify_tiles()
        if scores or everything:
            self._verify_scores()
        if mirror or everything:
            self._verify_mirror()
        if routing or everything:
            self._verify_routing()

    def _verify_tiles(self) -> None:
        if job := jobs.left(kinds=[tiles.REFOLD, MERGE]):
            raise CommandError(f"{_told(job)}: verify again when it is done")
        since, began = tiles.verified_from(), time.monotonic()
        self.stdout.write(
            f"comparing the tiles with the events of {f'{since} (UTC) and later' if since else 'all days'}"
        )
        stretches: list[tiles.Stretch] = []

        def told(stretch: tiles.Stretch) -> None:
            stretches.append(stretch)
            if self.stderr.isatty():
                self.stderr.write(f"  up to {stretch.end}: {stretch.tiles:,} tiles")

        difference = tiles.verify(on_progress=told)
        if difference is not None:
            self.stdout.write(f"DIFFERENT: {tiles.words(difference)}")
            sys.exit(1)
        keys, counted = sum(s.tiles for s in stretches), sum(s.counted for s in stretches)
        took = time.monotonic() - began
        self.stdout.write(f"equal: {keys:,} tiles, which count {counted:,} events by their signals, in {took:.1f} s")

    def _verify_scores(self) -> None:
        today, began = timezone.now().date(), time.monotonic()
        live = RuleSet.objects.filter(live_version__isnull=False).count()
        self.stdout.write(f"comparing the scores of {live} live rule sets with a new judgement of {today} (UTC)")
        compared: list[int] = []
        mismatch = scores.verify(as_of=today, on_progress=compared.append)
        if mismatch is not None:
            self.stdout.write(f"DIFFERENT: {scores.mismatch_words(mismatch)}")
            sys.exit(1)
        self.stdout.write(f"equal: {sum(compared):,} accounts, in {time.monotonic() - began:.1f} s")

    def _verify_mirror(self) -> None:
        if bulk.present() is None:
            self.stdout.write("there is no mirror: PostgreSQL judges what is asked of it")
            return
        at, began = timezone.now(), time.monotonic()
        self.stdout.write("comparing the mirror with what it mirrors, in one snapshot")
        compared: list[int] = []
        try:
            difference = bulk.verify(at=at, on_progress=compared.append)
        except (bulk.Busy, bulk.Overtaken) as instead:
            raise CommandError(str(instead)) from instead
        if difference is not None:
            self.stdout.write(f"DIFFERENT: {bulk.words(difference)}")
            sys.exit(1)
        took = time.monotonic() - began
        self.stdout.write(f"equal: {sum(compared):,} rows, complete as of {at:%H:%M:%S} (UTC), in {took:.1f} s")

    def _verify_routing(self) -> None:
        began = time.monotonic()
        self.stdout.write("deciding anew who got each lead, from the records alone")
        fault = audit.verify()
        if fault is not None:
            self.stdout.write(f"DIFFERENT: {fault.about}: {fault.words}")
            sys.exit(1)
        self.stdout.write(f"equal: {Assignment.objects.count():,} decisions, in {time.monotonic() - began:.1f} s")


def _told(job: Job) -> str:
    """Say how the job stands that has to put tiles in order first."""
    if job.state in jobs.OPEN:
        return f"job {job.pk} is putting tiles in order ({job.arguments.get('label', job.kind)})"
    again = f"begins again on {jobs.begins_again_at(job):%-d %b at %H:%M} UTC"
    return f"job {job.pk}, which puts tiles in order, was not done ({job.error}) and {again}"
