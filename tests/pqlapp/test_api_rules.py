"""Rule sets, versions, signals and jobs over the API."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

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
        body = {"text": STRICTER.replace("12.5", "10"), "revision": 1}
        changed = world.admin.ask("PATCH", f"rule-versions/{draft['id']}", body)
        assert (changed.status_code, changed.json()["number"]) == (200, 2)
        refused = world.admin.ask("PATCH", f"rule-versions/{world.version.pk}", {"text": STRICTER, "revision": 1})
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:pql:problem:is-published")

    def test_two_who_change_one_draft_do_not_overwrite_each_other(self, world: World) -> None:
        path = f"rule-versions/{world.admin.post('rule-versions', {'text': STRICTER}, status=201)['id']}"
        read = world.admin.ask("GET", path)
        headers = {"if-match": read["ETag"]}
        client = world.admin.client()

        def patch(text: str, headers: dict[str, str] | None = None) -> Any:
            body = json.dumps({"text": text})
            return client.patch(f"/api/v1/{path}", body, content_type="application/json", headers=headers)

        first = patch(STRICTER + "# ann\n", headers)
        assert (first.status_code, first["ETag"]) == (200, '"2"')
        second = patch(STRICTER + "# ben\n", headers)
        assert (second.status_code, second.json()["type"]) == (412, "urn:pql:problem:edited-meanwhile")
        assert patch(STRICTER).json()["type"] == "urn:pql:problem:revision-missing"
        assert world.admin.get(path)["text"] == STRICTER + "# ann\n"

    def test_publish_answers_with_a_job_to_follow(self, world: World, rung: list[Job]) -> None:
        draft = world.admin.post("rule-versions", {"text": STRICTER}, status=201)
        seen = world.admin.get(f"rule-versions/{draft['id']}/diff")["seen"]
        answer = world.admin.ask("POST", f"rule-versions/{draft['id']}/publish", {"note": "fewer", "seen": seen})
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
        assert newest["expected"]["leaves"] == 0
        assert (shown["live_version"]["number"], world.admin.get(f"rule-versions/{draft['id']}")["owner"]) == (
            2,
            "admin@example.com",
        )

    def test_publishing_twice_is_refused(self, world: World, rung: list[Job]) -> None:
        path = f"rule-versions/{world.version.pk}/publish"
        assert world.admin.post(path, {"note": "again"}, status=409)["type"] == "urn:pql:problem:already-live"
        draft = world.admin.post("rule-versions", {"text": STRICTER}, status=201)
        seen = world.admin.get(f"rule-versions/{draft['id']}/diff")["seen"]
        world.admin.post(f"rule-versions/{draft['id']}/publish", {"note": "fewer", "seen": seen}, status=202)
        body = {"note": "fewer", "seen": seen}
        running = world.admin.post(f"rule-versions/{draft['id']}/publish", body, status=409)
        assert running["type"] == "urn:pql:problem:publish-running"
        assert len(rung) == 1

    def test_nothing_is_published_unseen_or_without_a_reason(self, world: World, rung: list[Job]) -> None:
        draft = world.admin.post("rule-versions", {"text": STRICTER}, status=201)
        path = f"rule-versions/{draft['id']}"
        seen = world.admin.get(f"{path}/diff")["seen"]
        unseen = world.admin.post(f"{path}/publish", {"note": "fewer"}, status=409)
        assert unseen["type"] == "urn:pql:problem:diff-not-seen"
        assert world.admin.post(f"{path}/publish", {"seen": seen}, status=422)["faults"][0]["path"] == "note"
        with time_machine.travel(NOW + timedelta(hours=2), tick=False):
            late = world.admin.post(f"{path}/publish", {"note": "fewer", "seen": seen}, status=409)
        assert "120 minutes old" in late["detail"]
        assert rung == []

    def test_publishing_can_be_set_to_a_time_and_be_cancelled(self, world: World, rung: list[Job]) -> None:
        draft = world.admin.post("rule-versions", {"text": STRICTER}, status=201)
        path = f"rule-versions/{draft['id']}"
        body = {"note": "fewer", "seen": world.admin.get(f"{path}/diff")["seen"], "on": "2026-03-10T08:00:00Z"}
        job = world.admin.post(f"{path}/publish", body, status=202)
        assert rung == [] and job["arguments"]["on"] == "2026-03-10T08:00:00+00:00"
        assert world.admin.post("rule-sets/new-business/cancel")["state"] == "stopped"
        again = world.admin.post("rule-sets/new-business/cancel", status=409)
        assert again["type"] == "urn:pql:problem:nothing-to-cancel"
        past = world.admin.post(f"{path}/publish", body | {"on": "2026-03-08T08:00:00Z"}, status=422)
        assert "coming year" in past["detail"]

    def test_a_new_signal_is_read_before_it_is_compared(self, world: World, rung: list[Job]) -> None:
        text = RULES.replace("{event: invited}", "{event: opened}")
        path = f"rule-versions/{world.admin.post('rule-versions', {'text': text}, status=201)['id']}"
        missing = world.admin.ask("GET", f"{path}/diff")
        assert (missing.status_code, missing.json()["type"]) == (409, "urn:pql:problem:signals-missing")
        assert world.admin.ask("POST", f"{path}/prepare", {}).status_code == 202
        api_world.run(rung[0])
        assert world.admin.ask("POST", f"{path}/prepare", {}).status_code == 204
        assert world.admin.get(f"{path}/diff")["counts"]["leaves"] == 1
        assert RuleSet.objects.get().live_version_id == world.version.pk

    def test_the_review_of_a_published_version_is_set(self, world: World) -> None:
        path = f"rule-versions/{world.version.pk}/review"
        shown = world.admin.post(path, {"owner": "admin@example.com", "review_on": "2026-12-01"})
        assert (shown["owner"], shown["review_on"]) == ("admin@example.com", "2026-12-01")
        assert (
            world.admin.post(path, {"owner": "nobody", "review_on": None}, status=422)["faults"][0]["path"] == "owner"
        )

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


LOOSER = RULES.replace("at_least: 2", "at_least: 1").replace("within: 14", "within: 200")


class TestTheDiff:
    def test_says_who_enters_and_whose_work_it_becomes(self, world: World) -> None:
        api_world.send(api_world.use("invited", "gil", into="globex"))
        api_world.rescore()
        draft = world.admin.post("rule-versions", {"text": LOOSER}, status=201)
        told = world.manager.get(f"rule-versions/{draft['id']}/diff")
        assert (told["version"], told["live"], told["as_of"]) == (2, 1, "2026-03-09")
        assert told["counts"] == {"enters": 1, "leaves": 0, "moves": 1, "rescored": 0, "accounts": 3}
        (change,) = told["enters"]
        assert change["account"]["external_id"] == "globex"
        assert change["before"] == {"status": "scored", "tier": "warm", "is_pql": False, "usage": 12.5, "fit": 0}
        assert change["after"] == {"status": "scored", "tier": "hot", "is_pql": True, "usage": 52.5, "fit": 0}
        assert told["sizes"] == [
            {"tier": "hot", "before": 1, "after": 2},
            {"tier": "warm", "before": 1, "after": 1},
            {"tier": "", "before": 1, "after": 0},
        ]
        (load,) = told["load"]
        assert (load["pool"], load["adds"], load["waiting"]) == ("west", 1, 0)
        assert [(seat["name"], seat["adds"], seat["open"], seat["capacity"]) for seat in load["aes"]] == [
            ("Ann", 0, 0, 0),
            ("Ben", 1, 1, None),
        ]

    def test_lists_as_many_as_are_asked_for(self, world: World) -> None:
        draft = world.admin.post("rule-versions", {"text": LOOSER}, status=201)
        told = world.admin.get(f"rule-versions/{draft['id']}/diff?limit=0")
        assert (told["counts"]["moves"], told["moves"]) == (1, [])
        assert world.admin.ask("GET", f"rule-versions/{draft['id']}/diff?limit=many").status_code == 422
        assert world.admin.ask("GET", f"rule-versions/{draft['id']}/diff?cursor=1").status_code == 422

    def test_of_a_roll_back_says_what_comes_back(self, world: World) -> None:
        api_world.publish(STRICTER.replace("at_least: 3", "at_least: 4"))
        api_world.rescore()
        told = world.manager.get("rule-sets/new-business/rollback")
        assert (told["version"], told["live"], told["counts"]["enters"]) == (1, 2, 1)
        assert told["load"] == []  # acme has its lead already


class TestSignals:
    def test_say_who_reads_them_by_which_name(self, world: World) -> None:
        found = {s["used_by"][0]["name"]: s for s in world.manager.get("signals")["results"]}
        assert sorted(found) == ["any", "invited"]
        assert found["invited"]["definition"] == {"event": "invited"}
        assert found["invited"]["is_ready"] is True
