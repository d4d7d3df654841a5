"""import_rules, export_rules, replay and rescore, as an operator runs them."""

import io
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
import time_machine
from django.core.management import CommandError, call_command

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
        assert Job.objects.get().state == Job.State.DONE
        api_world.rescore()
        assert Score.objects.get(account__external_id="acme").version.number == 1

    def test_says_when_nothing_changed(self, tmp_path: Path) -> None:
        path = written(tmp_path)
        run("import_rules", path, "--publish")
        with time_machine.travel(NOW + timedelta(hours=1), tick=False):
            out, _ = run("import_rules", path, "--publish")
        assert out == "nothing changed: new-business v1 says just this and is live\n"
        assert (RuleVersion.objects.count(), Job.objects.count()) == (1, 1)

    def test_tells_why_a_publication_failed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(**named: object) -> None:
            raise ValueError("no history")

        monkeypatch.setattr("scoring.tiles.backfill", broken)
        with pytest.raises(CommandError, match="was not published: ValueError: no history"):
            run("import_rules", written(tmp_path), "--publish")

    def test_a_missing_file_is_told(self) -> None:
        with pytest.raises(CommandError, match="cannot read /no/such"):
            run("import_rules", "/no/such.yaml")


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
        tallies = _tallies([Replayed(1, *day)], last=self.LAST)
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
