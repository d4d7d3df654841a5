"""Rule sets, versions, signals and jobs over the API."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine

from pqlapp import bell
from scoring.models import Job, RuleSet, RuleVersion
from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, RULES, World

pytestmark = pytest.mark.django_db

STRICTER = RULES.replace("at_least: 2", "at_least: 3")
WRONG = RULES.replace("group: team, points: 40", "group: teem, points: forty").replace("signals:", "signels:")


@pytest.fixture
def world() -> Iterator[World]:
    with time_machine.travel(NOW, tick=False):
        yield api_world.make()


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that were rung for."""
    jobs: list[Job] = []
    monkeypatch.setattr(bell, "ring_for_job", lambda *, job: jobs.append(job))
    return jobs


class TestRuleVersions:
    def test_a_text_becomes_a_draft_once(self, world: World) -> None:
        first = world.server_key.post("rule-versions", {"text": STRICTER}, status=201)
        with time_machine.travel(NOW + timedelta(seconds=1), tick=False):
            again = world.server_key.post("rule-versions", {"text": STRICTER}, status=200)
        assert first == again
        assert (first["rule_set"], first["number"], first["is_live"], first["published_at"]) == (
            "new-business",
            2,
            False,
            None,
        )
        assert first["text"] == STRICTER

    def test_a_wrong_text_is_told_every_fault_and_not_stored(self, world: World) -> None:
        problem = world.admin.post("rule-versions", {"text": WRONG}, status=422)
        assert problem["type"] == "urn:pql:problem:invalid-rules"
        assert {"path": "signels", "line": 6} in [{k: f[k] for k in ("path", "line")} for f in problem["faults"]]
        assert "rules[0].group" in [fault["path"] for fault in problem["faults"]]
        assert RuleVersion.objects.count() == 1

    def test_validate_stores_nothing(self, world: World) -> None:
        assert world.admin.post("rule-versions/validate", {"text": STRICTER}) == {"valid": True, "faults": []}
        told = world.admin.post("rule-versions/validate", {"text": WRONG})
        assert told["valid"] is False
        assert told["faults"][0].keys() == {"path", "line", "message"}
        assert RuleVersion.objects.count() == 1

    @pytest.mark.parametrize("text", ["", "\t", "a: [", "[" * 5000, "&a [*a]", "1e999999", "slug: \ufeff", "? ? ?"])
    def test_no_text_breaks_it(self, world: World, text: str) -> None:
        assert world.admin.post("rule-versions/validate", {"text": text})["valid"] is False

    def test_a_draft_changes_and_a_published_version_does_not(self, world: World) -> None:
        draft = world.admin.post("rule-versions", {"text": STRICTER}, status=201)
        changed = world.admin.ask("PATCH", f"rule-versions/{draft['id']}", {"text": STRICTER.replace("12.5", "10")})
        assert (changed.status_code, changed.json()["number"]) == (200, 2)
        refused = world.admin.ask("PATCH", f"rule-versions/{world.version.pk}", {"text": STRICTER})
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:pql:problem:is-published")

    def test_publish_answers_with_a_job_to_follow(self, world: World, rung: list[Job]) -> None:
        draft = world.admin.post("rule-versions", {"text": STRICTER}, status=201)
        answer = world.admin.ask("POST", f"rule-versions/{draft['id']}/publish", {"note": "fewer"})
        assert answer.status_code == 202
        (job,) = rung
        assert answer["Location"] == f"/api/v1/jobs/{job.pk}"
        assert world.admin.get(f"jobs/{job.pk}")["state"] == "queued"
        api_world.run(job)
        done = world.admin.get(f"jobs/{job.pk}")
        assert (done["state"], done["result"]["version"]) == ("done", "new-business v2")
        shown = world.admin.get("rule-sets/new-business")
        assert shown["live_version"]["number"] == 2
        newest = shown["publications"][0]
        assert (newest["version"], newest["replaced"], newest["note"]) == (2, 1, "fewer")
        assert newest["by"] == "admin@example.com"

    def test_publishing_twice_is_refused(self, world: World, rung: list[Job]) -> None:
        path = f"rule-versions/{world.version.pk}/publish"
        assert world.admin.post(path, status=409)["type"] == "urn:pql:problem:already-live"
        draft = world.admin.post("rule-versions", {"text": STRICTER}, status=201)
        world.admin.post(f"rule-versions/{draft['id']}/publish", status=202)
        running = world.admin.post(f"rule-versions/{draft['id']}/publish", status=409)
        assert running["type"] == "urn:pql:problem:publish-running"
        assert len(rung) == 1

    @pytest.mark.parametrize("by", ["rule set", "version"])
    def test_roll_back_brings_the_former_version_back(self, world: World, rung: list[Job], by: str) -> None:
        second = api_world.publish(STRICTER)
        path = "rule-sets/new-business" if by == "rule set" else f"rule-versions/{second.pk}"
        world.admin.post(f"{path}/rollback", {"note": "too strict"}, status=202)
        api_world.run(rung[0])
        assert RuleSet.objects.get().live_version_id == world.version.pk

    def test_only_the_live_version_is_taken_back(self, world: World, rung: list[Job]) -> None:
        api_world.publish(STRICTER)
        refused = world.admin.post(f"rule-versions/{world.version.pk}/rollback", status=409)
        assert refused["type"] == "urn:pql:problem:not-live"
        assert rung == []

    def test_the_first_version_has_nothing_before_it(self, world: World) -> None:
        refused = world.admin.post("rule-sets/new-business/rollback", status=409)
        assert refused["type"] == "urn:pql:problem:nothing-to-roll-back-to"

    def test_are_listed_without_their_texts(self, world: World) -> None:
        world.admin.post("rule-versions", {"text": STRICTER}, status=201)
        rows = world.manager.get("rule-versions?rule_set=new-business")["results"]
        assert [(row["number"], row["is_live"]) for row in rows] == [(2, False), (1, True)]
        assert "text" not in rows[0]


class TestSignals:
    def test_say_who_reads_them_by_which_name(self, world: World) -> None:
        found = {s["used_by"][0]["name"]: s for s in world.manager.get("signals")["results"]}
        assert sorted(found) == ["any", "invited"]
        assert found["invited"]["definition"] == {"event": "invited"}
        assert found["invited"]["is_ready"] is True
