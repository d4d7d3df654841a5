"""From the POST of one event until its score is there for everybody to read."""

import base64
import json
import statistics
import time
import urllib.request
import uuid
from datetime import datetime

from django.db import connection

from bench.tree import Tree, running, say

EVENTS = 300
PAUSE = 0.03  # seconds between two events: low load
COMPANIES = ("acme", "globex", "fieldnote", "harvest-cloud", "tern-tide")


def main() -> None:
    """Measure and print p50 and p99."""
    with running() as tree:
        tree.manage("load_demo", "--accounts", "60", "--days", "15")
        key = tree.manage("create_key", "--source", "bench", "--kind", "write").split()[-1]
        for company in COMPANIES * 4:
            measure(tree, key, company)
        took = sorted(1000 * measure(tree, key, COMPANIES[n % len(COMPANIES)]) for n in range(EVENTS))
    p50, p99 = statistics.median(took), took[round(EVENTS * 0.99) - 1]
    say("POST to score visible, p50", f"{p50:.1f} ms", "25 ms", holds=p50 <= 25)
    say("POST to score visible, p99", f"{p99:.1f} ms", "100 ms", holds=p99 <= 100)


def measure(tree: Tree, key: str, company: str) -> float:
    """Return the seconds that one event took."""
    before = scored_at(company)
    began = time.perf_counter()
    post(tree, key, company)
    while scored_at(company) == before:
        if time.perf_counter() - began > 10:
            raise SystemExit(f"the score of {company} did not change within 10 seconds")
        time.sleep(0.001)  # to watch must not cost what is watched
    took = time.perf_counter() - began
    time.sleep(PAUSE)
    return took


def post(tree: Tree, key: str, company: str) -> None:
    """Send one event as an SDK does."""
    call = {
        "messageId": f"{uuid.uuid4()}",
        "event": "Comment Added",
        "userId": "u-bench",
        "context": {"groupId": company},
    }
    authorization = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": authorization}
    request = urllib.request.Request(f"{tree.address}/v1/track", json.dumps(call).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        response.read()


def scored_at(company: str) -> datetime | None:
    """Return when all of the company's scores were last written."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(s.scored_at) FROM scoring_score s JOIN scoring_account a ON a.id = s.account_id "
            "WHERE a.external_id = %s AND a.kind = 'group'",
            [company],
        )
        row = cursor.fetchone()
    return row[0] if row else None


if __name__ == "__main__":
    main()
