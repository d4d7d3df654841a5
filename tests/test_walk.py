"""One event walks through the whole house: posted, stored, folded, scored, opened, routed, shown, worked and won."""

import base64
import json
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client

from pqlapp import bell
from routing import people
from routing.models import Assignment, Lead
from scoring import facts, rules, tasks
from scoring.models import Account, Key, Outcome, Score, shard_of

RULES = """
slug: new-business
name: New business
motion: new_business
goal: {outcome: won}
signals:
  invited: {event: Invited Teammate}
population: {not: {outcome: won}}
groups:
  team: {score: usage}
  company: {score: fit}
rules:
  - {id: invites, name: Invited teammates, group: team, points: 40, when: {count: invited, within: 14, at_least: 2}}
  - {id: fintech, name: Works in fintech, group: company, points: 10, when: {trait: industry, equals: fintech}}
tiers:
  - {name: hot, pql: true, enter: {usage: 40, fit: 10}}
"""


@pytest.fixture
def key(db: None) -> str:
    now = datetime.now(UTC)
    tasks.carry_on(job=rules.publish(version=rules.draft(text=RULES, by=None, at=now), note="test", by=None, at=now))
    people.create_ae(email="ann@example.com", name="Ann", pool="Europe", weight=1, capacity=10, at=now)
    user = User.objects.get(email="ann@example.com")
    user.set_password("a-long-password")
    user.save()
    source = facts.create_source(slug="web", at=now)
    return facts.create_key(source=source, kind=Key.Kind.WRITE, by=None, at=now)[1]


def post(client: Client, key: str, path: str, **call: object) -> None:
    header = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
    answer = client.post(path, json.dumps(call), content_type="application/json", headers={"authorization": header})
    assert (answer.status_code, answer.json()) == (200, {"success": True})


def act(client: Client, lead: Lead, verb: str, **fields: str) -> None:
    answer = client.post(f"/leads/{lead.pk}/{verb}/", fields, follow=True)
    assert answer.status_code == 200
    lead.refresh_from_db()


@pytest.mark.django_db
def test_one_event_from_an_sdk_to_a_won_lead(client: Client, key: str) -> None:
    post(client, key, "/v1/group", userId="u1", groupId="acme", traits={"name": "Acme", "industry": "fintech"})
    post(client, key, "/v1/track", userId="u1", event="Invited Teammate", messageId="m1")
    # Sent again, as SDKs do, and by the same person before they were known.
    post(client, key, "/v1/track", userId="u1", event="Invited Teammate", messageId="m1")
    acme = Account.objects.get(external_id="acme")
    bell.answer(shard_of(acme.pk))
    assert Score.objects.get(account=acme).tier == ""
    post(client, key, "/v1/track", anonymousId="a1", event="Invited Teammate", messageId="m2")
    post(client, key, "/v1/identify", userId="u1", anonymousId="a1", traits={"email": "ann@acme.example"})

    bell.answer(shard_of(acme.pk))
    bell.open_leads()
    score = Score.objects.get(account=acme)
    assert (score.tier, score.usage, score.fit) == ("hot", 4000, 1000)
    lead = Lead.objects.get(account=acme)
    assert lead.ae is not None and lead.ae.user.email == "ann@example.com"
    assert Assignment.objects.get(lead=lead).ae == lead.ae

    client.force_login(lead.ae.user)
    queue = client.get("/").content.decode()
    assert "acme" in queue.lower() and "hot" in queue.lower()
    page = client.get(f"/leads/{lead.pk}/").content.decode()
    assert "Invited teammates" in page and "Works in fintech" in page

    act(client, lead, "accept")
    assert (lead.stage, lead.state) == ("sql", "assigned")
    act(client, lead, "win", amount="1200")
    assert (lead.state, lead.closed_as) == ("closed", "won")
    assert Outcome.objects.get(account=acme).kind == "won"
    bell.answer(shard_of(acme.pk))
    bell.open_leads()
    score.refresh_from_db()
    assert (score.status, score.tier) == ("outside", "")
    assert Lead.objects.count() == 1
