"""Senders who go on whatever is killed, and remember what they were told.

CHAOS_SEED repeats a run's choices, CHAOS_ROUNDS kills more often.
"""

import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from tests.pqlapp.test_parser import POISONS
from tests.towns import Town

SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "5"))
SENDERS = 3
VICTIMS = ("web", "worker", "postgres", "redis")
PEOPLE, COMPANIES = 20, 5
TRIES = 3  # of a batch before its sender gives up, as some do
ONE_IN = 50  # items is poison


@dataclass
class Sender:
    """Somebody who sends batches until told to stop, and remembers what was said to them."""

    town: Town
    name: str
    stop: threading.Event
    past: list[list[bytes]]  # what any of them sent
    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    batches: int = 0

    def run(self) -> None:
        chance = random.Random(f"{SEED} {self.name}")
        while not self.stop.is_set():
            batch = [self._item(chance) for _ in range(chance.randrange(1, 40))]
            if self.past and chance.random() < 0.5:  # what another sent, maybe at this moment, in another order
                batch += self.past[-chance.randrange(1, min(len(self.past), 20) + 1)][:200]
                chance.shuffle(batch)
            self.past.append(batch)
            for _ in range(TRIES):
                if self._send(batch):
                    break
            self.batches += 1

    def _item(self, chance: random.Random) -> bytes:
        if chance.randrange(ONE_IN) == 0:
            return POISONS[chance.choice(sorted(POISONS))][0]
        message_id = f"{self.name}-{len(self.sent)}"
        self.sent.add(message_id)
        person, company = f"u{chance.randrange(PEOPLE)}", f"company-{chance.randrange(COMPANIES)}"
        device = f"d{chance.randrange(PEOPLE)}"
        shape: dict[str, object] = chance.choice(
            [
                {"type": "track", "event": "used", "userId": person, "context": {"groupId": company}},
                {"type": "track", "event": "used", "anonymousId": device},
                {"type": "track", "event": "used", "userId": person},
                {"type": "track", "event": "used", "anonymousId": device},
                {"type": "identify", "userId": person, "anonymousId": f"d-of-{person}"},
                {"type": "group", "userId": person, "groupId": company, "traits": {"seats": chance.randrange(99)}},
            ]
        )
        happened = time.time() - chance.expovariate(1 / 86_400)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(happened))
        return json.dumps({"messageId": message_id, "timestamp": stamp} | shape).encode()

    def _send(self, batch: list[bytes]) -> bool:
        """Send it once; return whether it was acknowledged."""
        body = b'{"batch":[' + b",".join(batch) + b'],"writeKey":' + json.dumps(self.town.key).encode() + b"}"
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.town.tree.port}/v1/batch", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                self._note(batch, json.loads(response.read()))
                return True
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                self.faults.append(f"{error.code}: {error.read()[:200]!r}")
        except (OSError, ValueError):
            pass  # broken off: it may be stored, or not
        time.sleep(0.05)
        return False

    def _note(self, batch: list[bytes], answer: dict[str, object]) -> None:
        """Hold the answer against what was sent: each poison with its reason, nothing else."""
        told = {line["index"]: line["code"] for line in answer.get("rejected", ())}  # type: ignore[attr-defined]
        codes = {item: code for item, code in POISONS.values()}
        expected = {index: codes[item] for index, item in enumerate(batch) if item in codes}
        if told != expected:
            self.faults.append(f"rejected {told}, not {expected}")
        self.acknowledged.update(json.loads(item)["messageId"] for item in batch if item not in codes)


def drained(town: Town) -> bool:
    """Whether nothing waits to be scored or considered any more."""
    try:
        waiting = town.query("SELECT (SELECT count(*) FROM scoring_touched) + (SELECT count(*) FROM scoring_crossed)")
    except Exception:  # the database may be on its way back
        return False
    return waiting == [(0,)]
