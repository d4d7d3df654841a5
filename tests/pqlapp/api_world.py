"""The known world as the API sees it: acme is hot, globex cold, initech won last quarter; ben has acme's lead."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from routing import leads, people
from routing.models import AE, Lead
from scoring import facts, rules, scores, tasks
from scoring.models import SHARDS, Account, Job, RuleVersion

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
TODAY = NOW.date()

HOMES = {"amy": "acme", "abe": "acme", "gil": "globex", "gus": "globex", "ida": "initech"}
RULES = """\
slug: new-business
name: New business
motion: new_business
goal: {outcome: won}
signals:
  invited: {event: invited}
groups:
  team: {score: usage}
rules:
  - {id: invites, name: Invited teammates, group: team, points: 40, when: {count: invited, within: 14, at_least: 2}}
  - {id: active, name: Active, group: team, points: 12.5, when: {days: any, within: 7, at_least: 1}}
tiers:
  - {name: hot, pql: true, enter: {usage: 50}, hold: {usage: 40}}
  - {name: warm, enter: {usage: 10}}
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls: a log-in, or the text of a key."""

    user: User | None = None
    key: str = ""

    def client(self, **options: Any) -> Client:
        """Return a client that calls as this one."""
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        client = Client(headers=headers, **options)
        if self.user:
            client.force_login(self.user)
        return client

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Call an address below /api/v1/ and return the answer; a body that is no text or bytes goes as JSON."""
        data = body if isinstance(body, str | bytes) else b"" if body is None else json.dumps(body)
        return self.client().generic(method, f"/api/v1/{path}", data, content_type="application/json")

    def get(self, path: str) -> Any:
        """Return what a GET answers."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def post(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Return what a POST answers, once it has that status."""
        answer = self.ask("POST", path, {} if body is None else body)
        assert answer.status_code == status, answer.content
        return answer.json()


@dataclass(frozen=True, slots=True)
class World:
    """Who calls, and what there is."""

    anonymous: Caller
    ann: Caller  # an AE without leads: full
    ben: Caller  # an AE: has acme's lead
    manager: Caller
    admin: Caller
    write_key: Caller
    server_key: Caller
    acme: Account
    lead: Lead
    version: RuleVersion

    @property
    def callers(self) -> dict[str, Caller]:
        """Everybody by name, ben as the AE."""
        return {
            "anonymous": self.anonymous,
            "AE": self.ben,
            "manager": self.manager,
            "admin": self.admin,
            "write key": self.write_key,
            "server key": self.server_key,
        }


def make() -> World:
    """Make it through the verbs that everybody uses. The clock stands still at NOW."""
    for name, capacity in (("ann", 0), ("ben", None)):
        people.create_ae(email=f"{name}@example.com", name=name.capitalize(), pool="West", capacity=capacity, at=NOW)
    send(*(join(who, account) for who, account in HOMES.items()))
    send(*(use("invited", who, into="acme", days_ago=d) for who, d in (("amy", 1), ("abe", 2), ("amy", 3))))
    send(use("opened", "gil", into="globex", days_ago=1), use("invited", "ida", into="initech", days_ago=120))
    initech = Account.objects.get(external_id="initech")
    facts.record_outcome(
        account=initech, kind="won", at=NOW - timedelta(days=90), received_at=NOW, message_id="initech-won"
    )
    version = publish(RULES)
    rescore()
    leads.open_all(at=NOW, limit=100)
    source = facts.create_source(slug="app", at=NOW)
    return World(
        anonymous=Caller(),
        ann=Caller(AE.objects.get(user__username="ann@example.com").user),
        ben=Caller(AE.objects.get(user__username="ben@example.com").user),
        manager=Caller(log_in("Manager")),
        admin=Caller(log_in("Admin")),
        write_key=Caller(key=facts.create_key(source=source, kind="write", by=None, at=NOW)[1]),
        server_key=Caller(key=facts.create_key(source=source, kind="server", by=None, at=NOW)[1]),
        acme=Account.objects.get(external_id="acme"),
        lead=Lead.objects.get(account__external_id="acme"),
        version=version,
    )


def use(name: str, user: str, *, into: str, days_ago: int = 0) -> facts.Fact:
    """An event of use."""
    at = NOW - timedelta(days=days_ago, hours=1)
    return facts.Fact(message_id=f"{name} {user} {days_ago}", at=at, name=name, user_id=user, group_id=into)


def join(user: str, account: str) -> facts.Fact:
    """The call that makes an account a user's home."""
    at = NOW - timedelta(days=150)
    return facts.Fact(message_id=f"join {user}", at=at, name="$group", user_id=user, group_id=account, joins=True)


def send(*calls: facts.Fact) -> None:
    """Record the calls."""
    facts.record(source=facts.create_source(slug="app", at=NOW), facts=calls, received_at=NOW)


def publish(text: str) -> RuleVersion:
    """Make the text the live version."""
    version = rules.draft(text=text, by=None, at=NOW)
    run(rules.publish(version=version, note="test", by=None, at=NOW))
    return RuleVersion.objects.get(pk=version.pk)


def run(job: Job) -> None:
    """Carry the job to its end, as a worker does."""
    assert tasks.carry_on(job=job).state == Job.State.DONE


def rescore() -> None:
    """Rescore all that was touched, as the workers do."""
    for shard in range(SHARDS):
        while scores.rescore_touched(shard=shard, as_of=TODAY, at=NOW).accounts:
            pass


def log_in(role: str) -> User:
    """Make a log-in with the role."""
    user, _ = people.create_log_in(email=f"{role.lower()}@example.com", name=role, role=role, password=None, at=NOW)
    return user
