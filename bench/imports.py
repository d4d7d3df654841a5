"""How fast files come in while scoring runs, and whether a large one comes in evenly and in flat memory.

BENCH_IMPORT is the number of events in the large one (200,000; the promise is for 10,000,000, which takes an hour or
less). BENCH_EVENTS names a file of one's own to measure too.
"""

import gzip
import json
import os
import random
import re
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from bench.tree import Tree, running, say

if TYPE_CHECKING:
    from scoring.facts import Fact

PROMISED = 8_000  # calls a second
EVENNESS = 1.15  # times the first half's time that the second may take
GROWTH = 1.25  # times the memory at a quarter of the file that it may take later
LOOK = 0.2  # seconds


def main() -> None:
    """Import a made-up file, and the given one; print the calls a second."""
    with running() as tree, tempfile.NamedTemporaryFile(suffix=".jsonl.gz") as made:
        tree.manage("load_demo", "--accounts", "60", "--days", "3")
        write(made.name)
        measure(tree, made.name, "made-up file", "--source", "bench")
        evenly(tree, int(os.environ.get("BENCH_IMPORT") or 200_000))
        if given := os.environ.get("BENCH_EVENTS"):
            measure(tree, os.path.abspath(given), given, "--source", "given", "--rebase")  # noqa: PTH100


def measure(tree: Tree, path: str, label: str, *options: str) -> None:
    """Import one file and print how fast it went, the start of the command included."""
    began = time.perf_counter()
    said = tree.manage("import_events", path, *options)
    took = time.perf_counter() - began
    counted = {key: int(n) for key, n in re.findall(r"(accepted|duplicate|rejected)=(\d+)", said)}
    rate = sum(counted.values()) / took
    measured = f"{rate:,.0f} calls a second ({counted['accepted']:,} accepted in {took:.1f} s)"
    say(f"import_events, {label}", measured, f"{PROMISED:,}", holds=rate >= PROMISED)


def evenly(tree: Tree, count: int) -> None:
    """Import one large file; print the second half's time over the first's, and how memory grew."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl.gz") as made:
        write_large(made.name, count)
        seen = watched(tree, made.name, count)
    first = next(moment.seconds for moment in seen if moment.records >= count / 2)
    ratio = (seen[-1].seconds - first) / first
    quarter = max(moment.memory for moment in seen if moment.records <= count / 4)
    most = max(moment.memory for moment in seen)
    rate = count / seen[-1].seconds
    say(
        f"import of {count:,} events, second half over first",
        f"{ratio:.2f} ({rate:,.0f} events a second)",
        f"{EVENNESS}",
        holds=ratio <= EVENNESS,
    )
    say(
        f"import of {count:,} events, most memory over that at a quarter",
        f"{most / quarter:.2f} ({most / 2**20:,.0f} MB)",
        f"{GROWTH}",
        holds=most <= GROWTH * quarter,
    )


class Moment(NamedTuple):
    """How far an import is."""

    seconds: float  # since its first record
    records: int
    memory: int  # bytes


def watched(tree: Tree, path: str, count: int) -> list[Moment]:
    """Import a file, and return what was seen of it on the way; the last moment is its end."""
    from scoring.models import ImportedFile  # Django is set up only now

    seen: list[Moment] = []
    began = 0.0
    process = tree.start("import_events", path, "--source", "large")
    memory = psutil.Process(process.pid)
    while process.poll() is None:
        records = ImportedFile.objects.filter(source__slug="large").values_list("records", flat=True).first() or 0
        with suppress(psutil.NoSuchProcess):
            if records and records < count:
                began = began or time.perf_counter()
                seen.append(Moment(time.perf_counter() - began, records, memory.memory_info().rss))
        time.sleep(LOOK)
    if process.returncode or not seen:
        sys.exit("the import failed")
    return [*seen, Moment(time.perf_counter() - began, count, seen[-1].memory)]


def write_large(path: str, count: int) -> None:
    """Write so many events of 180 days in their order: a few accounts have most of them."""
    chance = random.Random(7)
    began = datetime.now(UTC) - timedelta(days=180)
    with gzip.open(path, "wt", compresslevel=1) as lines:
        for number in range(count):
            account = int(chance.paretovariate(1.1)) % 5_000
            user = f"user-{account}-{int(chance.paretovariate(1.2)) % 200}"
            at = (began + timedelta(days=179 * number / count)).isoformat()
            call = (
                f'{{"type":"track","event":"{EVENTS[number % len(EVENTS)]}","messageId":"large-{number}",'
                f'"userId":"{user}","timestamp":"{at}","context":{{"groupId":"account-{account}"}},'
                f'"properties":{{"size":{number % 977},"name":"report {number % 31}"}}}}\n'
            )
            lines.write(call)


EVENTS = ("File Uploaded", "Report Exported", "Teammate Invited", "Page Seen", "Search Done", "Comment Added")


def write(path: str) -> None:
    """Write 120 days of a made-up company of 400 accounts as Segment calls."""
    from pqlapp.demo.life import World  # Django is set up only now

    world = World(11, 400, date.today() - timedelta(days=120))
    with gzip.open(path, "wt", compresslevel=1) as lines:
        for number in range(120):
            for fact in world.facts(world.day_zero + timedelta(days=number)):
                lines.write(json.dumps(call_of(fact)) + "\n")


def call_of(fact: "Fact") -> dict[str, Any]:
    """Return a fact as the call that states it."""
    kind = fact.name[1:] if fact.name.startswith("$") else "track"
    call: dict[str, Any] = {"type": kind, "messageId": f"bench-{fact.message_id}", "timestamp": fact.at.isoformat()}
    call |= {"userId": fact.user_id} if fact.user_id else {}
    call |= {"anonymousId": fact.anonymous_id} if fact.anonymous_id else {}
    if kind == "track":
        call |= {"event": fact.name}
    if kind == "group":
        return call | {"groupId": fact.group_id, "traits": dict(fact.account_traits)}
    if kind == "identify":
        return call | {"traits": dict(fact.user_traits)}
    return call | {"properties": dict(fact.properties), "context": {"groupId": fact.group_id} if fact.group_id else {}}


if __name__ == "__main__":
    main()
