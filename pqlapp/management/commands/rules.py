"""Rules that are kept in files: check them, say what they would change, try them on their cases."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.utils import timezone

from pqlapp.management.arguments import document_text, write_faults
from scoring import engine, facts, language, rules, trials
from scoring.models import Account


class Command(BaseCommand):
    """Does one thing with each file, and exits with 1 if anything is wrong."""

    help = (
        "Check rule documents that are kept in files. lint: name every fault by file and line; reads no data. diff: "
        "say which accounts a file would bring in, take out or move, if it were published; stores nothing. test: run "
        "the cases that stand in the file, in a database of their own that is dropped again; needs no data. schema: "
        "print what editors check such files with."
    )
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Add lint, diff and test, each with FILE …, and schema."""
        acts = parser.add_subparsers(dest="act", required=True, metavar="lint|diff|test|schema")
        for name, says in ACTS.items():
            act = acts.add_parser(name, help=says)
            if name != "schema":
                act.add_argument("files", nargs="+", metavar="FILE", help="a YAML document, or - for standard input")
        acts.choices["diff"].add_argument("--list", action="store_true", help="name every account whose tier changes")

    def handle(self, *, act: str, files: Sequence[str] = (), **options: Any) -> None:
        """Do it with each file; raises CommandError at the end if one was not well."""
        if act == "schema":
            self.stdout.write(json.dumps(language.json_schema(), indent=2))
            return
        texts = {file: document_text(file) for file in files}
        if act == "lint":
            bad = [file for file, text in texts.items() if not self._lint(file, text)]
        elif act == "diff":
            bad = [file for file, text in texts.items() if not self._diff(file, text, listed=options["list"])]
        else:
            bad = self._test(texts)
        if bad:
            raise CommandError(f"not well: {', '.join(bad)}")

    def _lint(self, file: str, text: str) -> bool:
        try:
            document, cases = language.parse_cases(text)
        except language.Invalid as invalid:
            write_faults(self.stderr, file, invalid)
            return False
        self.stdout.write(f"{file}: {document.slug}, {len(document.rules)} rules, {len(cases)} cases: no fault")
        return True

    def _diff(self, file: str, text: str, *, listed: bool) -> bool:
        try:
            diff = rules.diff_of_text(text=text, at=timezone.now())
        except language.Invalid as invalid:
            write_faults(self.stderr, file, invalid)
            return False
        except engine.SignalsMissing as missing:
            self.stderr.write(f"{file}: {missing} (import_rules FILE stores it as a draft, whose history can be read)")
            return False
        lines = [*diff.lines, *(_changes(diff) if listed else ())]
        self.stdout.write(f"{file}: {chr(10).join(lines)}")
        return True

    def _test(self, texts: dict[str, str]) -> list[str]:
        read = {file: text for file, text in texts.items() if self._lint(file, text)}
        bad = [file for file in texts if file not in read]
        for file, text in read.items():
            document, cases = language.parse_cases(text)
            if cases and not self._try(file, document, cases):
                bad.append(file)
        return bad

    def _try(self, file: str, document: language.Document, cases: tuple[language.Case, ...]) -> bool:
        """Run the cases of one file in a database of its own."""
        with _empty_database():
            tried = trials.run(document=document, cases=cases, at=timezone.now())
        for trial in tried:
            verdict = "; ".join(trial.differences) or "ok"
            write = self.stderr.write if trial.differences else self.stdout.write
            write(f"{file}:{trial.case.line or 1}: {trial.case.name}: {verdict}")
        return not any(trial.differences for trial in tried)


def _changes(diff: rules.Diff) -> Iterator[str]:
    """Yield a line for each account or user whose tier changes."""
    names = Account.objects.in_bulk([change.account_id for change in diff.changes])
    people = facts.known_as(users=(change.user_id for change in diff.changes))
    for change in diff.changes:
        who = f"{people[change.user_id]} in " if change.user_id else ""
        before, after = change.before.tier or "no tier", change.after.tier or "no tier"
        yield f"  {change.kind}: {who}{names[change.account_id]}, {before} -> {after}"


ACTS = {
    "lint": "name every fault by file and line",
    "diff": "say what a file would change, if it were published",
    "test": "run the cases that stand in a file",
    "schema": "print the JSON Schema of rule documents",
}


@contextmanager
def _empty_database() -> Iterator[None]:
    """Work in a database of one's own on the same server, with the tables and no data; dropped again."""
    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"rule_cases_{os.getpid()}"
    try:
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    except (DatabaseError, SystemExit) as error:
        raise CommandError(f"cases need the right to make a database on the server: {error}") from error
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
