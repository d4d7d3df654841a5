"""The small known world with real scores: facts through the verbs, a published version, leads that opened."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from django.contrib.auth.models import User
from django.db import transaction
from django.test import TestCase

from routing import leads, people
from routing.models import AE, Lead
from scoring import facts, jobs, rules, scores
from scoring.facts import Fact
from scoring.models import SHARDS, Account

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
PASSWORD = "correct horse battery"
RULES = """
slug: new-business
name: New business
motion: new-business
goal: {outcome: [won]}
population: {not: {outcome: [won]}}
signals:
  invitations: {event: Teammate Invited}
  exports: {event: Report Exported}
  storage: {event: File Saved, value: used, limit: {property: quota}}
groups: {activity: {score: usage, cap: 45}, company: {score: fit}}
rules:
  - {id: invites, name: They invite teammates, group: activity, points: 10,
     per: {count: invitations, within: 14 days}, max: 30}
  - {id: storage, name: Their storage is nearly full, group: activity, points: 20,
     when: {ratio: storage, within: 14 days, at_least: 80%}}
  - {id: exports, name: They export reports, group: activity, points: 15,
     when: {count: exports, within: 14 days, at_least: 3}}
  - {id: size, name: 50 people and more, group: company, points: 25, when: {trait: employees, at_least: 50}}
tiers:
  - {name: hot, pql: true, enter: {usage: 40, fit: 20}, hold: {usage: 30, fit: 20}}
  - {name: warm, pql: true, enter: {usage: 20}}
"""


def ago(**some: float) -> datetime:
    return NOW - timedelta(**some)


@dataclass(frozen=True)
class Team:
    ann: AE  # has acme
    ben: AE  # has hooli
    manager: User
    admin: User
    stranger: User  # a log-in without a role


class Desk(TestCase):
    """A morning at the desk: the world is made once for a class, and each test leaves it as it was."""

    team: Team

    @classmethod
    def setUpTestData(cls) -> None:
        with time_machine.travel(NOW, tick=False):
            cls.team = build()

    def setUp(self) -> None:
        clock = time_machine.travel(NOW, tick=False)
        clock.start()
        self.addCleanup(clock.stop)


def build() -> Team:
    """Make acme (hot, Ann's), hooli (warm, Ben's), globex (cold) and initech (won last quarter)."""
    team = _team()
    source = facts.create_source(slug="web", at=ago(days=100))
    facts.record(source=source, facts=[*_acme(), *_hooli(), *_globex(), *_initech()], received_at=ago(hours=1))
    won = facts.account_named(external_id="initech")
    assert won
    facts.record_outcome(account=won, kind="won", at=ago(days=90), received_at=ago(days=90), message_id="won")
    version = rules.draft(text=RULES, by=None, at=ago(hours=1))
    job = jobs.claim(job=rules.publish(version=version, note="test", by=None, at=NOW), at=NOW)
    assert job
    rules.run_publish(job=job, clock=lambda: NOW)
    _score()
    for name in ("acme", "hooli"):  # in this order, whatever their shards: Ann's turn is the first
        with transaction.atomic():
            leads.consider(account_id=account(name).pk, rule_set_id=version.rule_set_id, cause="event", at=NOW)
    rescore()
    return team


def rescore() -> None:
    """Score all that was touched, and open the leads that follow."""
    _score()
    leads.open_all(at=NOW, limit=1000)


def _score() -> None:
    for shard in range(SHARDS):
        while scores.rescore_touched(shard=shard, as_of=NOW.date(), at=NOW).accounts:
            pass


def lead_of(name: str) -> Lead:
    return Lead.objects.select_related("account", "ae__user").get(account__external_id=name)


def account(name: str) -> Account:
    return Account.objects.get(external_id=name)


def event(group: str, name: str, days: float, number: int = 0, **properties: object) -> Fact:
    return Fact(
        message_id=f"{group} {name} {days} {number}",
        at=ago(days=days),
        name=name,
        user_id=f"eve@{group}",
        anonymous_id=None,
        group_id=group,
        properties=properties,
        user_traits={},
        account_traits={},
    )


def company(group: str, **traits: object) -> list[Fact]:
    """A company's traits, and its Eve, who does everything."""
    common: dict[str, Any] = {
        "at": ago(days=30),
        "user_id": f"eve@{group}",
        "anonymous_id": None,
        "group_id": group,
        "properties": {},
    }
    person = {"name": "Eve Adams", "email": f"eve@{group}.example", "title": "Head of Ops"}
    return [
        Fact(message_id=f"{group} g", name="$group", joins=True, user_traits={}, account_traits=traits, **common),
        Fact(message_id=f"{group} i", name="$identify", user_traits=person, account_traits={}, **common),
    ]


def _acme() -> list[Fact]:
    invited = [event("acme", "Teammate Invited", 0.1 + i) for i in range(4)]
    saved = [event("acme", "File Saved", 1, used=92, quota=100)]
    return [*company("acme", name="Acme & Sons", employees=140), *invited, *saved]


def _hooli() -> list[Fact]:
    return [*company("hooli", employees=12), *(event("hooli", "Teammate Invited", 2, i) for i in range(2))]


def _globex() -> list[Fact]:
    return [*company("globex", employees=500), event("globex", "Report Exported", 20)]


def _initech() -> list[Fact]:
    return [*company("initech", employees=90), *(event("initech", "Teammate Invited", 1, i) for i in range(5))]


def _team() -> Team:
    def log_in(name: str, role: str) -> User:
        return people.create_log_in(
            email=f"{name}@example.com", name=name.capitalize(), role=role, password=PASSWORD, at=ago(days=50)
        )[0]

    def ae(name: str) -> AE:
        return people.create_ae(
            email=f"{name}@example.com",
            name=name.capitalize(),
            pool="West",
            at=ago(days=50),
            password=PASSWORD,
            time_zone="Europe/Berlin",
        )[0]

    stranger = User.objects.create_user("stranger@example.com", password=PASSWORD)
    return Team(ae("ann"), ae("ben"), log_in("mia", "Manager"), log_in("ada", "Admin"), stranger)
