"""How fast a file comes in while scoring runs. BENCH_EVENTS names a file of one's own to measure too."""

import gzip
import json
import os
import re
import tempfile
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from bench.tree import Tree, running, say

if TYPE_CHECKING:
    from scoring.facts import Fact

PROMISED = 8_000  # calls a second


def main() -> None:
    """Import a made-up file, and the given one; print the calls a second."""
    with running() as tree, tempfile.NamedTemporaryFile(suffix=".jsonl.gz") as made:
        tree.manage("load_demo", "--accounts", "60", "--days", "3")
        write(made.name)
        measure(tree, made.name, "made-up file", "--source", "bench")
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
