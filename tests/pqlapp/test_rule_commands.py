"""import_rules, export_rules, replay and rescore, as an operator runs them."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import time_machine
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from pqlapp.management.commands.replay import _tallies
from scoring.models import Job, Publication, RuleSet, RuleVersion, Score, Touched
from scoring.scores import Replayed
from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, RULES, TODAY

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def standing_clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def run(*words: str) -> tuple[str, str]:
    """Return what the command printed, and what it said on the side."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def written(directory: Path, text: str = RULES) -> str:
    path = directory / "rules.yaml"
    path.write_text(text)
    return str(path)


class TestImportRules:
    def test_stores_a_draft(self, tmp_path: Path) -> None:
        out, _ = run("import_rules", written(tmp_path))
        assert out == "new-business v1 is stored as a draft\n"
        assert RuleSet.objects.get().live_version is None

    def test_lists_every_fault_with_its_line_and_stores_nothing(self, tmp_path: Path) -> None:
        path = written(tmp_path, RULES.replace("score: usage", "score: use").replace("at_least: 1", "at_least: one"))
        err = io.StringIO()
        with pytest.raises(CommandError, match="2 faults; nothing was stored"):
            call_command("import_rules", path, "--publish", stderr=err)
        faults = err.getvalue().splitlines()
        assert [fault.split(": ")[:2] for fault in faults] == [
            [f"{path}:8", "groups.team.score"],
            [f"{path}:11", "rules[1].when.at_least"],
        ]
        assert not RuleSet.objects.exists()

    def test_publishes_to_the_end(self, tmp_path: Path) -> None:
        api_world.send(api_world.use("invited", "amy", into="acme"))
        out, _ = run("import_rules", written(tmp_path), "--publish", "--note", "the first")
        assert out.splitlines()[-1] == "new-business v1 is live; 2 accounts are being rescored"
        assert Publication.objects.get().note == "the first"
        assert "new-business v1 as the first version, 1 account as of 9 March 2026 (UTC): 0 become PQLs" in out
        assert list(Job.objects.order_by("pk").values_list("kind", "state")) == [
            ("prepare", "done"),
            ("publish", "done"),
        ]
        api_world.rescore()
        assert Score.objects.get(account__external_id="acme").version.number == 1

    def test_says_when_nothing_changed(self, tmp_path: Path) -> None:
        path = written(tmp_path)
        run("import_rules", path, "--publish")
        with time_machine.travel(NOW + timedelta(hours=1), tick=False):
            out, _ = run("import_rules", path, "--publish")
        assert out == "nothing changed: new-business v1 says just this and is live\n"
        assert (RuleVersion.objects.count(), Job.objects.filter(kind="publish").count()) == (1, 1)

    def test_tells_why_a_publication_failed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(**named: object) -> None:
            raise ValueError("no history")

        monkeypatch.setattr("scoring.tiles.backfill", broken)
        with pytest.raises(CommandError, match="was not published: ValueError: no history"):
            run("import_rules", written(tmp_path), "--publish")

    def test_a_missing_file_is_told(self) -> None:
        with pytest.raises(CommandError, match="cannot read /no/such"):
            run("import_rules", "/no/such.yaml")


CASES = """\
cases:
  - name: Two of one team
    on: 2026-03-08
    history: [{event: invited, times: 2, days_ago: 3}]
    expect: {tier: hot}
  - {name: Nobody came, on: 2026-03-08, expect: {tier: none}}
"""


class TestRules:
    def test_lint_names_every_fault_by_file_and_line(self, tmp_path: Path) -> None:
        path = written(tmp_path, RULES + CASES)
        assert run("rules", "lint", path)[0] == f"{path}: new-business, 2 rules, 2 cases: no fault\n"
        wrong = written(
            tmp_path, (RULES + CASES).replace("score: usage", "score: use").replace("tier: none", "tear: none")
        )
        err = io.StringIO()
        with pytest.raises(CommandError, match="not well"):
            call_command("rules", "lint", wrong, stderr=err)
        assert [fault.split(": ")[:2] for fault in err.getvalue().splitlines()] == [
            [f"{wrong}:8", "groups.team.score"],
            [f"{wrong}:20", "cases[1].expect.tear"],
        ]
        assert not RuleSet.objects.exists()

    def test_diff_says_what_a_file_would_change_and_stores_nothing(self, tmp_path: Path) -> None:
        api_world.make()
        path = written(tmp_path, RULES.replace("at_least: 2", "at_least: 9"))
        out, _ = run("rules", "diff", "--list", path)
        assert out.splitlines()[0].startswith(f"{path}: new-business v2 against new-business v1, 3 accounts")
        assert "  hot: 1 -> 0" in out.splitlines()
        assert out.splitlines()[-1] == "  leaves: acme, hot -> warm"
        assert RuleVersion.objects.count() == 1

    def test_diff_of_a_new_signal_says_what_to_do(self, tmp_path: Path) -> None:
        api_world.make()
        err = io.StringIO()
        with pytest.raises(CommandError):
            call_command(
                "rules", "diff", written(tmp_path, RULES.replace("{event: invited}", "{event: x}")), stderr=err
            )
        assert "import_rules FILE stores it as a draft" in err.getvalue()

    def test_schema_is_that_of_the_docs_and_of_the_web(self) -> None:
        schema = json.loads(run("rules", "schema")[0])
        assert Client().get("/schemas/rules.json").json() == schema
        assert schema["$id"] == "urn:pql:schema:rules"


class TestCasesInAFile:
    """As a pipeline runs them: the exit code is what counts, and no data is needed."""

    def run(self, path: str) -> subprocess.CompletedProcess[str]:
        stands = connection.settings_dict
        address = (
            f"postgres://{stands['USER']}:{quote(stands['PASSWORD'])}@{quote(stands['HOST'], '')}:{stands['PORT']}"
        )
        environment = {**os.environ, "DATABASE_URL": f"{address}/{stands['NAME']}", "REDIS_URL": settings.REDIS_URL}
        command = [sys.executable, "manage.py", "rules", "test", path]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    def test_are_run_in_a_database_that_is_dropped_again(self, tmp_path: Path) -> None:
        path = written(tmp_path, RULES + CASES)
        good = self.run(path)
        assert (good.returncode, good.stderr) == (0, "")
        assert good.stdout.splitlines()[1:] == [f"{path}:16: Two of one team: ok", f"{path}:20: Nobody came: ok"]
        bad = self.run(written(tmp_path, RULES + CASES.replace("tier: hot", "tier: warm")))
        assert bad.returncode == 1
        assert "Two of one team: tier is hot, not warm" in bad.stderr
        with connection.cursor() as c:
            c.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'rule_cases%'")
            assert c.fetchone() == (0,)
        assert not RuleSet.objects.exists()


class TestExportRules:
    def test_prints_the_live_text_as_it_was_written(self, tmp_path: Path) -> None:
        run("import_rules", written(tmp_path, f"# ours\n{RULES}"), "--publish")
        run("import_rules", written(tmp_path, RULES.replace("40", "41")))
        assert run("export_rules", "new-business")[0] == f"# ours\n{RULES}"

    def test_of_an_unknown_rule_set_names_those_there_are(self, tmp_path: Path) -> None:
        run("import_rules", written(tmp_path))
        with pytest.raises(CommandError, match="there are: new-business"):
            run("export_rules", "churn")


class TestRescore:
    def test_touches_everybody_or_one(self) -> None:
        api_world.make()
        Touched.objects.all().delete()
        assert run("rescore", "--account", "acme")[0] == "1 account will be rescored\n"
        assert list(Touched.objects.values_list("account__external_id", "cause")) == [("acme", "request")]
        assert run("rescore")[0] == "3 accounts will be rescored\n"

    def test_of_an_unknown_account_is_refused(self) -> None:
        with pytest.raises(CommandError, match="no account is known as 'umbrella'"):
            run("rescore", "--account", "umbrella")


class TestReplay:
    def test_tells_when_accounts_would_have_qualified(self) -> None:
        api_world.make()
        said = json.loads(run("replay", "new-business", "--json")[0])
        rows = {row["account"]: row for row in said["accounts"]}
        # The third invitation was sent on the day before today, the second one on the day before that.
        assert rows["acme"]["qualified_on"] == f"{TODAY - timedelta(days=2)}"
        assert rows["acme"]["goal_on"] is None
        assert (rows["initech"]["qualified_on"], rows["initech"]["goal_on"]) == (None, f"{TODAY - timedelta(days=90)}")
        assert (said["scored"], said["qualified"]) == (3, 1)
        assert said["pqls"] == {"reached": 0, "of": 0, "too_young": 1, "before": 0, "unknown": 0}
        assert said["others"] == {"reached": 1, "of": 1, "too_young": 1, "before": 0, "unknown": 0}

    def test_prints_a_table_and_the_counts(self) -> None:
        api_world.make()
        out, _ = run("replay", "new-business", "--from", "2026-03-01")
        assert "acme     2026-03-06  2026-03-07" in out
        assert "new-business v1 on 8 days, 2026-03-01 to 2026-03-08 (UTC)" in out
        assert "the others, within 60 days of sign-up: 1 of 1 (100%); apart: 1 too young to know" in out

    def test_writes_nothing(self) -> None:
        api_world.make()
        before = list(Score.objects.order_by("pk").values())
        run("replay", "new-business", "--from", "2026-03-01")
        assert list(Score.objects.order_by("pk").values()) == before
        assert not Touched.objects.exists()

    def test_without_a_publication_says_what_to_do(self, tmp_path: Path) -> None:
        api_world.send(api_world.use("invited", "amy", into="acme"))
        run("import_rules", written(tmp_path))
        with pytest.raises(CommandError, match="publish the version first"):
            run("replay", "new-business")

    def test_from_after_to_is_refused(self, tmp_path: Path) -> None:
        run("import_rules", written(tmp_path))
        with pytest.raises(CommandError, match="is after"):
            run("replay", "new-business", "--from", "2026-03-02", "--to", "2026-03-01")


class TestCounting:
    LAST = date(2026, 6, 30)

    def counted(self, qualified: int | None, goal: int | None, sign_up: int | None = 0) -> tuple[str, str]:
        """Return in which count an account is, of PQLs and of others; days are from 1 March."""
        first = date(2026, 3, 1)
        day = [None if n is None else first + timedelta(days=n) for n in (qualified, goal, sign_up)]
        tallies = _tallies([Replayed(1, day[0], day[1], day[2])], last=self.LAST)
        names = ("reached", "too_young", "before", "unknown", "of")
        found = [next((name for name in names if getattr(tally, name)), "") for tally in tallies]
        return found[0], found[1]

    @pytest.mark.parametrize(
        ("qualified", "goal", "count"),
        [
            (10, 11, "reached"),
            (10, 70, "reached"),
            (10, 71, "of"),
            (10, None, "of"),
            (10, 10, "before"),
            (10, 9, "before"),
            (61, None, "of"),  # 30 June is 60 days after it
            (62, None, "too_young"),
            (62, 63, "too_young"),  # counted with the others of its age, or the young ones would look better
        ],
    )
    def test_of_pqls(self, qualified: int, goal: int | None, count: str) -> None:
        assert self.counted(qualified, goal) == (count, "")

    @pytest.mark.parametrize(
        ("sign_up", "goal", "count"),
        [
            (0, 0, "reached"),
            (0, 60, "reached"),
            (0, 61, "of"),
            (5, 4, "before"),
            (61, None, "of"),
            (62, None, "too_young"),
            (None, None, "unknown"),
        ],
    )
    def test_of_others(self, sign_up: int | None, goal: int | None, count: str) -> None:
        assert self.counted(None, goal, sign_up) == ("", count)
