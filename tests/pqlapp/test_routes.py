"""Every address of the house, every method, everybody: who may enter is written down here, and nowhere implied."""

from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, World

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

ANYBODY = frozenset({"anonymous", "AE", "manager", "admin", "write key", "server key"})
KEYS = frozenset({"write key", "server key"})
WORKERS = frozenset({"AE", "manager", "admin", "server key"})
OVERSEERS = frozenset({"manager", "admin", "server key"})
OWNERS = frozenset({"admin", "server key"})
LOGGED_IN = frozenset({"AE", "manager", "admin"})
MANAGERS = frozenset({"manager", "admin"})
ADMIN = frozenset({"admin"})
NOBODY: frozenset[str] = frozenset()

# Who may, by the name of the route and the method. What is not here, nobody may.
TABLE: dict[str, dict[str, frozenset[str]]] = {
    "healthz": {"GET": ANYBODY},
    "readyz": {"GET": ANYBODY},
    "rules-schema": {"GET": ANYBODY},  # constants
    # Browsers of the customer's visitors ask first, without a key, whether they may send.
    "ingest:batch": {"POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:call": {"POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:beacon": {"POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:metrics": {"POST": ANYBODY, "OPTIONS": ANYBODY},
    "ingest:segment-settings": {"GET": ANYBODY, "OPTIONS": ANYBODY},  # constants
    "ingest:segment-library": {"OPTIONS": ANYBODY},  # says only that it is not here
    "ingest:rudder-settings": {"GET": ANYBODY, "OPTIONS": ANYBODY},
    "ingest:posthog-capture": {"GET": ANYBODY, "POST": KEYS, "OPTIONS": ANYBODY},  # GET: refused, without an event
    "ingest:posthog-analytics": {"POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:posthog-flags": {"GET": ANYBODY, "POST": ANYBODY, "OPTIONS": ANYBODY},  # constants
    "ingest:posthog-settings": {"GET": ANYBODY, "OPTIONS": ANYBODY},
    "ingest:posthog-library": {"OPTIONS": ANYBODY},  # says only that it is not here
    "ingest:mixpanel-track": {"GET": KEYS, "POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:mixpanel-engage": {"GET": KEYS, "POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:mixpanel-groups": {"GET": KEYS, "POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:mixpanel-import": {"GET": KEYS, "POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:mixpanel-record": {"GET": ANYBODY, "POST": ANYBODY, "OPTIONS": ANYBODY},
    "ingest:mixpanel-settings": {"GET": ANYBODY, "POST": ANYBODY, "OPTIONS": ANYBODY},
    "ingest:amplitude-upload": {"POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:amplitude-batch": {"POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:amplitude-identify": {"OPTIONS": ANYBODY},  # the key stands in the form
    "ingest:amplitude-group-identify": {"OPTIONS": ANYBODY},
    "ingest:cloudevents": {"POST": KEYS, "OPTIONS": ANYBODY},
    "ingest:events": {"POST": KEYS, "OPTIONS": ANYBODY},
    "api:root": {"GET": WORKERS},
    "api:schema": {"GET": WORKERS},
    "api:account-list": {"GET": OVERSEERS},
    "api:account-detail": {"GET": WORKERS},
    "api:account-score": {"GET": WORKERS},
    "api:account-merge": {"POST": OWNERS},
    "api:account-separate": {"POST": OWNERS},
    "api:account-history": {"GET": WORKERS},
    "api:account-routing": {"GET": OVERSEERS},
    "api:outcome-list": {"GET": OVERSEERS, "POST": OWNERS},
    "api:exclusion-list": {"GET": OVERSEERS, "POST": OWNERS},
    "api:exclusion-detail": {"GET": OVERSEERS, "DELETE": OWNERS},
    "api:rule-set-list": {"GET": OVERSEERS},
    "api:rule-set-detail": {"GET": OVERSEERS},
    "api:rule-set-rollback": {"GET": OVERSEERS, "POST": OWNERS},
    "api:rule-set-cancel": {"POST": OWNERS},
    "api:rule-version-list": {"GET": OVERSEERS, "POST": OWNERS},
    "api:rule-version-detail": {"GET": OVERSEERS, "PATCH": OWNERS},
    "api:rule-version-validate": {"POST": OWNERS},
    "api:rule-version-diff": {"GET": OVERSEERS},
    "api:rule-version-prepare": {"POST": OWNERS},
    "api:rule-version-publish": {"POST": OWNERS},
    "api:rule-version-review": {"POST": OWNERS},
    "api:rule-version-rollback": {"POST": OWNERS},
    "api:signal-list": {"GET": OVERSEERS},
    "api:backtest-list": {"GET": OVERSEERS, "POST": OWNERS},
    "api:backtest-detail": {"GET": OVERSEERS},
    "api:backtest-stop": {"POST": OWNERS},
    "api:backtest-accounts": {"GET": OVERSEERS},
    "api:job-list": {"GET": OVERSEERS},
    "api:job-detail": {"GET": OVERSEERS},
    "api:assignment-list": {"GET": OVERSEERS},
    "api:assignment-log": {"GET": OVERSEERS},
    "api:assignment-detail": {"GET": OVERSEERS},
    "api:assignment-replay": {"GET": OVERSEERS},
    "api:simulation-list": {"POST": OWNERS},
    "api:lead-list": {"GET": WORKERS, "POST": WORKERS},
    "api:lead-detail": {"GET": WORKERS},
    "api:lead-accept": {"POST": WORKERS},
    "api:lead-snooze": {"POST": WORKERS},
    "api:lead-disqualify": {"POST": WORKERS},
    "api:lead-win": {"POST": WORKERS},
    "api:lead-lose": {"POST": WORKERS},
    "api:lead-recycle": {"POST": WORKERS},
    "api:lead-wake": {"POST": WORKERS},
    "api:lead-undo": {"POST": WORKERS},
    "api:mql-list": {"GET": OVERSEERS, "POST": OWNERS},
    "api:mql-detail": {"GET": OVERSEERS},
    "api:breach-list": {"GET": OVERSEERS},
    "api:close-reason-list": {"GET": WORKERS},
    "api:lead-reassign": {"POST": OVERSEERS},
    "api:pool-list": {"GET": OVERSEERS},
    "api:pool-detail": {"GET": OVERSEERS},
    "api:ae-list": {"GET": OVERSEERS},
    "api:ae-detail": {"GET": OVERSEERS},
    "api:nowhere": {},
    "queue": {"GET": LOGGED_IN},
    "lead": {"GET": LOGGED_IN},
    "act": {"POST": LOGGED_IN},
    "account": {"GET": LOGGED_IN},
    "ledger-file": {"GET": LOGGED_IN},
    "history-file": {"GET": LOGGED_IN},
    "team": {"GET": MANAGERS},
    "roster": {"GET": MANAGERS},
    "my-time": {"GET": LOGGED_IN},
    "time": {"GET": LOGGED_IN},
    "set-hours": {"POST": LOGGED_IN},
    "add-absence": {"POST": LOGGED_IN},
    "end-absence": {"POST": LOGGED_IN},
    "sources": {"GET": ADMIN},
    "new-source": {"POST": ADMIN},
    "source": {"GET": ADMIN},
    "new-key": {"POST": ADMIN},
    "revoke-key": {"POST": ADMIN},
    "forget-samples": {"POST": ADMIN},
    "import": {"GET": ADMIN, "POST": ADMIN},
    "stop-import": {"POST": ADMIN},
    "import-rejects": {"GET": ADMIN},
    "rules": {"GET": ADMIN},
    "new-rules": {"GET": ADMIN, "POST": ADMIN},
    "preview-rules": {"POST": ADMIN},
    "rule-hints": {"GET": ADMIN},
    "rule-set": {"GET": ADMIN},
    "roll-back": {"POST": ADMIN},
    "cancel-publication": {"POST": ADMIN},
    "rule-version": {"GET": ADMIN, "POST": ADMIN},
    "compare": {"GET": ADMIN},
    "publish-rules": {"POST": ADMIN},
    "prepare-rules": {"POST": ADMIN},
    "backtests": {"GET": ADMIN, "POST": ADMIN},
    "backtest": {"GET": ADMIN},
    "stop-backtest": {"POST": ADMIN},
    "backtest-accounts": {"GET": ADMIN},
    "simulations": {"GET": MANAGERS, "POST": MANAGERS},
    "simulation": {"GET": MANAGERS},
    "stop-simulation": {"POST": MANAGERS},
    "prefer": {"POST": LOGGED_IN},
    "login": {},
    "logout": {},
}
# Django's own, for anybody who comes.
OPEN = frozenset({"login", "logout"})
# The admin makes its own routes, several for each model: all of them are the admin's alone.
OPEN_IN_ADMIN = frozenset({"admin:login", "admin:logout", "admin:jsi18n"})
IN_ADMIN = {"app_label": "auth"}
# The ingest doors look for a key in the body too, so there has to be one that they can read.
BODY = b'{"batch": [], "events": []}'
REFUSED = (401, 403, 404, 405)
SOURCE_PAGES = ("source", "new-key", "revoke-key", "forget-samples", "import", "stop-import", "import-rejects")


@pytest.fixture
def world() -> Iterator[World]:
    with time_machine.travel(NOW, tick=False):
        yield api_world.make()


def routes(resolver: URLResolver | None = None, space: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield each route's qualified name, and the names of its arguments."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, f"{space}{pattern.namespace}:" if pattern.namespace else space)
        else:
            assert isinstance(pattern, URLPattern)
            yield f"{space}{pattern.name}", set(pattern.pattern.regex.groupindex)


def address(name: str, arguments: set[str], world: World) -> str:
    """Return the path of a route to something that is there."""
    if name == "api:nowhere":
        return "/api/v1/no-such-thing"
    ids = {"lead": world.lead.pk, "act": world.lead.pk, "rule-version": world.version.pk, "pool": world.lead.pool_id}
    ids |= {"account": world.acme.pk, "ae": world.lead.ae_id}
    ids |= dict.fromkeys(("time", "set-hours", "add-absence", "end-absence"), world.lead.ae_id)
    noun = name.removeprefix("api:").removesuffix(f"-{name.rpartition('-')[2]}")
    slug = "app" if name in SOURCE_PAGES else "new-business"
    known = {"pk": ids.get(name, ids.get(noun, 1)), "slug": slug, "verb": "accept", "kind": "track"}
    known |= {"absence": 1, "key": "phc_test", "form": "config", "number": world.version.number}
    return reverse(name, kwargs={argument: known[argument] for argument in arguments})


def status(client: Client, method: str, path: str) -> int:
    """Return what is answered; 401 too where the answer is the way to the log-in page."""
    answer = client.generic(method, path, BODY, content_type="application/json")
    assert answer.status_code < 500 or path == "/readyz", (method, path, answer.content[:500])
    is_sent_to_log_in = answer.status_code == 302 and "/login/" in answer["Location"]
    return 401 if is_sent_to_log_in else answer.status_code


class TestEveryRoute:
    def test_is_in_the_table(self) -> None:
        names = {name for name, _ in routes() if not name.startswith("admin:")}
        assert names == set(TABLE)

    @pytest.mark.parametrize("who", sorted(ANYBODY))
    def test_lets_in_whom_the_table_names_and_nobody_else(self, world: World, who: str) -> None:
        client, wrong = world.callers[who].client(), []
        for name, arguments in dict(routes()).items():
            if name.startswith("admin:") or name in OPEN:
                continue
            path = address(name, arguments, world)
            for method in METHODS:
                answered, may = status(client, method, path), who in TABLE[name].get(method, NOBODY)
                # A 404 tells a stranger nothing.
                if answered in (401, 403, 405) if may else answered not in REFUSED:
                    wrong.append((name, method, answered))
        assert wrong == []

    @pytest.mark.parametrize("who", sorted(ANYBODY - {"admin"}))
    def test_of_the_admin_is_closed_to_others(self, world: World, who: str) -> None:
        client = world.callers[who].client()
        for name, arguments in routes():
            if name.startswith("admin:") and name not in OPEN_IN_ADMIN and not name.endswith(":None"):
                path = reverse(name, kwargs={argument: IN_ADMIN.get(argument, "1") for argument in arguments})
                assert status(client, "GET", path) in REFUSED, name
                assert status(client, "POST", path) in REFUSED, name


class TestNowhere:
    def test_is_a_problem_and_not_a_page(self, world: World) -> None:
        answer = world.admin.ask("GET", "no-such-thing")
        assert answer.status_code == 404
        assert answer["Content-Type"] == "application/problem+json"
