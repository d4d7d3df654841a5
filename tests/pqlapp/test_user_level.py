"""What people and programs see where users are judged."""

import io
from typing import Any

from django.core.management import call_command
from django.test import Client

from routing.models import Lead
from scoring import jobs, language, rules, trials
from scoring.models import RuleVersion, Score
from tests.pqlapp import desk_world as world
from tests.pqlapp.desk_world import NOW, Desk, account
from tests.pqlapp.test_desk import as_, page, text

CHAMPIONS = """
slug: champions
name: Champions
motion: champions
level: user
signals: {invited: {event: Teammate Invited}}
groups: {team: {score: usage}, person: {score: fit}}
rules:
  - {id: invites, name: Invites, group: team, points: 40, when: {count: invited, within: 14, at_least: 2}}
  - {id: heads, name: Decides, group: person, points: 20, when: {trait: title, contains: Head}}
tiers: [{name: champion, pql: true, enter: {usage: 40, fit: 20}}]
"""


def publish(said: str) -> RuleVersion:
    version = rules.draft(text=said, by=None, at=NOW)
    job = jobs.claim(job=rules.publish(version=version, note="test", by=None, at=NOW), at=NOW)
    assert job
    rules.run_publish(job=job, clock=lambda: NOW)
    world.rescore()
    return RuleVersion.objects.get(pk=version.pk)


class UserLevel(Desk):
    """The world of the desk, with a rule set that judges users."""

    version: RuleVersion

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.version = publish(CHAMPIONS)


class TestThePages(UserLevel):
    def test_of_a_lead_name_who_qualified(self) -> None:
        lead = Lead.objects.get(account=account("acme"), motion="champions")
        said = page(self.team.manager, f"/leads/{lead.pk}/")
        assert "Eve Adams: Invited 4 teammates" in said
        assert "How usage and fit of Eve Adams add up" in said

    def test_of_an_account_have_a_score_of_each_person(self) -> None:
        where = f"/accounts/{account('acme').pk}/"
        assert "Champions: Eve Adams" in page(self.team.manager, where)
        eve = Score.objects.get(rule_set=self.version.rule_set, account=account("acme")).user_id
        said = page(self.team.manager, f"{where}?by=champions&user={eve}")
        assert "Champions: Eve Adams , as of" in said.replace("Adams, as", "Adams , as")
        assert "First score" in said

    def test_of_the_queue_show_the_lead_once(self) -> None:
        said = as_(self.team.manager).get("/?whose=all&tab=new").content.decode()
        assert text(said).count("champion") >= 2  # of acme and hooli

    def test_that_compare_count_users(self) -> None:
        draft = rules.draft(text=CHAMPIONS.replace("at_least: 2", "at_least: 3"), by=None, at=NOW)
        said = page(self.team.admin, f"/rules/champions/{draft.number}/compare/")
        assert "users as of" in said
        assert "hooli: Eve Adams" in said

    def test_of_a_backtest_say_why_there_is_none(self) -> None:
        form = {"version": self.version.pk, "months": 3, "horizon_days": 30}
        answer = as_(self.team.admin).post("/backtests/", form)
        assert "judges users, and a backtest counts accounts" in text(answer.content.decode())


class TestTheApi(UserLevel):
    def ask(self, path: str) -> Any:
        client = Client()
        client.force_login(self.team.manager)
        answer = client.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.content
        return answer.json()

    def test_a_score_says_whom_it_is_about(self) -> None:
        scores = {score["rule_set"]: score for score in self.ask("/accounts/acme/score")["scores"]}
        assert [scores[name]["user"] for name in ("new-business", "champions")] == [None, "eve@acme"]
        assert scores["champions"]["next_change"]["tier"] == ""
        (mine,) = self.ask("/accounts/acme/score?user=eve@acme")["scores"]
        assert (mine["rule_set"], mine["tier"]) == ("champions", "champion")
        assert "eve@acme" in {change["user"] for change in self.ask("/accounts/acme/history")["results"]}

    def test_lists_of_accounts_have_users_with_a_tier(self) -> None:
        rows = {row["external_id"]: row["scores"] for row in self.ask("/accounts")["results"]}
        assert [score["user"] for score in rows["acme"]] == [None, "eve@acme"]
        assert [score["user"] for score in rows["globex"]] == [None]

    def test_a_lead_names_its_users(self) -> None:
        lead = Lead.objects.get(account=account("acme"), motion="champions")
        assert [reason["user"] for reason in self.ask(f"/leads/{lead.pk}")["reasons"]] == ["eve@acme"]


class TestCommands(UserLevel):
    def test_a_replay_names_users(self) -> None:
        out = io.StringIO()
        call_command("replay", "champions", f"--from={NOW.date()}", f"--to={NOW.date()}", stdout=out)
        assert "eve@acme in acme" in out.getvalue()
        assert "users scored: 4" in out.getvalue()

    def test_cases_are_about_a_person(self) -> None:
        cases = """
cases:
  - name: A head who invites
    on: 2026-03-01
    user: ann
    history:
      - {event: Teammate Invited, user: ann, times: 2}
      - {event: Teammate Invited, user: ben, times: 2}
      - {traits: {title: Head of sales}, user: ann}
    expect: {tier: champion, met: [heads]}
  - {name: Nobody in particular, on: 2026-03-01, expect: {tier: none}}
"""
        document, read = language.parse_cases(CHAMPIONS + cases)
        tried = trials.run(document=document, cases=read, at=NOW)
        assert [list(trial.differences) for trial in tried] == [[], []]
