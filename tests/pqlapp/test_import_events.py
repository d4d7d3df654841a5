import gzip
import io
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import time_machine
from django.core.management import CommandError, call_command

from pqlapp import bell, parser
from pqlapp.ingest import door
from pqlapp.ingest.history import formats, lines, running
from pqlapp.ingest.history.lines import Record
from pqlapp.ingest.history.reading import Reader, newest_day
from pqlapp.parser import Rejected
from scoring import facts
from scoring.facts import Fact
from scoring.models import Event, Lane, Source, Touched, TraitChange

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def line(n: int = 1, **more: Any) -> bytes:
    call = {"type": "track", "event": "File Uploaded", "userId": "ann", "messageId": f"m{n}"}
    return orjson.dumps(call | {"timestamp": "2026-05-01T12:00:00Z"} | more)


SEGMENT = formats.named(name="segment", mapped=None)


def tried(text: bytes, reader: Reader | None = None, days: int = 0) -> Fact | Rejected:
    read = (reader or Reader(SEGMENT, days)).read(record=Record(1, text), received_at=NOW)
    return read if isinstance(read, Rejected) else read[0]


def read(text: bytes, days: int = 0) -> Fact:
    fact = tried(text, days=days)
    assert isinstance(fact, Fact), fact
    return fact


def records(*texts: bytes) -> list[Record]:
    return [Record(number, text) for number, text in enumerate(texts, 1)]


class TestReader:
    def test_keeps_the_time_of_a_line_whenever_it_was_sent(self):
        assert read(line(sentAt="2020-01-01T00:00:00Z")).at == datetime(2026, 5, 1, 12, tzinfo=UTC)

    def test_gives_equal_lines_without_an_id_different_ids_that_stay(self):
        texts = [line(messageId=None), line(messageId=None), line(messageId="", event="x"), line(messageId=None)]

        def ids() -> list[str]:
            reader = Reader(SEGMENT)
            return [getattr(tried(text, reader), "message_id", "") for text in texts]

        assert len(set(ids())) == 4
        assert ids() == ids()

    def test_rejects_a_line_with_the_parsers_reason(self):
        assert isinstance(tried(b'{"x":NaN}'), Rejected)

    def test_moves_times_and_dated_values_by_whole_days(self):
        text = orjson.dumps(
            {
                "type": "identify",
                "userId": "ann",
                "timestamp": "2026-05-01T12:00:00.250Z",
                "traits": {
                    "created_at": "2026-04-30T23:59:59Z",
                    "trial_ends_on": "2026-05-14",
                    "signupDate": "2026-04-30 10:00",
                    "expires_at": "9999-12-31",
                    "seen_at": 1777000000,
                    "invited_at": "never",
                    "version": "2026-01-01",
                    "plan": "free",
                },
            }
        )
        fact = read(text, days=31)
        assert fact.at == datetime(2026, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)
        assert (
            fact.user_traits
            == fact.properties
            == {
                "created_at": "2026-05-31T23:59:59Z",
                "trial_ends_on": "2026-06-14",
                "signupDate": "2026-05-31 10:00",
                "expires_at": "9999-12-31",
                "seen_at": 1777000000,
                "invited_at": "never",
                "version": "2026-01-01",
                "plan": "free",
            }
        )

    def test_moves_the_dates_of_an_account_too(self):
        group: dict[str, Any] = {"type": "group", "groupId": "acme", "traits": {"created_at": "2026-05-01"}}
        assert read(line(**group), days=1).account_traits == {"created_at": "2026-05-02"}

    def test_does_not_move_a_line_without_a_time_into_the_future(self):
        assert read(line(timestamp=None), days=100).at == NOW

    def test_rejects_a_line_that_would_leave_the_calendar(self):
        result = tried(line(timestamp="9999-12-31T12:00:00Z"), days=1)
        assert isinstance(result, Rejected)
        assert result.code == "bad_time"


class TestNumbered:
    def test_counts_blank_lines_and_takes_a_last_line_without_an_end(self):
        found = list(lines.numbered(stream=io.BytesIO(b"a\n\n  \r\nb\r\nc")))
        assert found == [Record(1, b"a"), Record(4, b"b"), Record(5, b"c")]

    def test_yields_only_the_beginning_of_a_line_that_is_too_long(self):
        stream = io.BytesIO(b"x" * 5_000_000 + b"\nb\n")
        (first, long, _), (second, short, _) = lines.numbered(stream=stream)
        assert (first, second, short) == (1, 2, b"b")
        assert len(long) == parser.ITEM_LIMIT + 2
        rejected = parser.parse_item(text=long)
        assert isinstance(rejected, Rejected) and rejected.code == "item_too_large"

    def test_a_line_at_the_limit_with_its_line_break_is_taken(self):
        fill = parser.ITEM_LIMIT - len(line(properties={"x": ""}))
        (found,) = lines.numbered(stream=io.BytesIO(line(properties={"x": "a" * fill}) + b"\n"))
        assert isinstance(tried(found.text), Fact)


class TestNewestDay:
    def test_is_the_utc_day_of_the_newest_call_in_any_order(self):
        texts = [line(timestamp="2026-05-01T23:30:00-02:00"), line(timestamp="2026-04-01"), b"nonsense", b"[]"]
        assert newest_day(format=SEGMENT, records=records(*texts)) == date(2026, 5, 2)

    def test_is_none_without_any_time(self):
        texts = records(line(timestamp=None), line(timestamp="soon"), b"")
        assert newest_day(format=SEGMENT, records=texts) is None


@pytest.mark.usefixtures("transactional_db")
class TestImportEvents:
    @pytest.fixture(autouse=True)
    def rung(self, monkeypatch: pytest.MonkeyPatch) -> set[int]:
        rung: set[int] = set()

        def ring(*, shards: Iterable[int]) -> None:
            rung.update(shards)

        monkeypatch.setattr(bell, "ring", ring)
        return rung

    @pytest.fixture
    def run(self, capsys: pytest.CaptureFixture[str], tmp_path: Path):
        """Return a runner over the given lines, at NOW; it returns what was printed, line by line."""

        def run(*texts: bytes, pack=lambda data: data, **options: Any) -> list[str]:
            path = tmp_path / "calls.jsonl"
            path.write_bytes(pack(b"\n".join(texts)))
            with time_machine.travel(NOW, tick=False):
                call_command("import_events", str(path), source="hedgebox", **options)
            return capsys.readouterr().out.splitlines()

        return run

    @pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
    def test_twice_changes_nothing(self, run, rung, pack):
        texts = [line(n, context={"groupId": f"a{n % 7}"}) for n in range(50)] + [line(messageId=None)] * 3
        assert run(*texts, pack=pack)[-1] == "accepted=53 duplicate=0 rejected=0"
        assert rung == set(Touched.objects.values_list("shard", flat=True)) != set()
        assert set(Touched.objects.values_list("lane", flat=True)) == {Lane.BULK}
        assert run(*texts, pack=pack)[-1] == "accepted=0 duplicate=53 rejected=0"
        assert Event.objects.count() == 53

    def test_tells_how_many_lines_are_bad_and_the_first_of_each_kind(self, run):
        texts = [line(1), b"{", b"", line(2, timestamp="soon"), line(3), b"nonsense", rb'{"a":"\ud800"}']
        printed = run(*texts)
        assert printed[-1] == "accepted=2 duplicate=0 rejected=4"
        reasons = {text.split(":")[0]: text for text in printed[:-1]}
        assert reasons.keys() == {"rejected 1", "rejected 2"} or len(printed) == 4
        assert any("rejected 2: bad_json, first in line 2" in text for text in printed)
        assert any("rejected 1: bad_time, first in line 4" in text for text in printed)
        assert any("rejected 1: lone_surrogate, first in line 7" in text for text in printed)

    def test_goes_on_where_an_interrupted_run_stopped(self, run, monkeypatch):
        monkeypatch.setattr(running, "BATCH", 10)
        texts = [line(n, userId=f"user-{n}") for n in range(100)]
        real = facts.record
        calls = []

        def record(**arguments: Any) -> Any:
            calls.append(1)
            if len(calls) > 4:
                raise psycopg.OperationalError("the server closed the connection")
            return real(**arguments)

        monkeypatch.setattr(door.facts, "record", record)
        with pytest.raises(CommandError, match="run the same command again"):
            run(*texts)
        assert Event.objects.count() == 40
        monkeypatch.setattr(door.facts, "record", real)
        assert run(*texts)[-1] == "accepted=60 duplicate=40 rejected=0"

    def test_rebase_makes_the_newest_call_yesterday_and_keeps_that_offset(self, run):
        texts = [line(1), line(2, timestamp="2026-04-01T08:30:00Z")]
        run(*texts, rebase=True)
        yesterday = NOW.date() - timedelta(days=1)
        first, second = Event.objects.order_by("at").values_list("at", flat=True)
        assert (second.date(), second.hour) == (yesterday, 12)
        assert second - first == timedelta(days=30, hours=3, minutes=30)
        source = Source.objects.get(slug="hedgebox")
        assert source.rebase_days == (yesterday - date(2026, 5, 1)).days
        run(line(3, timestamp="2026-05-03T12:00:00Z"), rebase=True)
        newest = Event.objects.order_by("at").last()
        assert newest is not None and newest.at == second + timedelta(days=2)

    def test_warns_when_a_rebased_source_gets_calls_that_are_not(self, run, tmp_path, capsys):
        run(line(1), rebase=True)
        call_command("import_events", str(tmp_path / "calls.jsonl"), source="hedgebox")
        assert "these are not moved" in capsys.readouterr().err

    def test_rebase_moves_sign_up_dates_along(self, run):
        identify = {"type": "identify", "traits": {"created_at": "2026-04-30T12:00:00Z"}}
        run(line(1), line(2, **identify), rebase=True)
        change = TraitChange.objects.get(key="created_at")
        assert change.day == NOW.date() - timedelta(days=2)

    @pytest.mark.parametrize("rebase", [True, False])
    def test_reads_standard_input(self, monkeypatch, capsys, rebase):
        class Stdin:
            buffer = io.BytesIO(gzip.compress(line(1) + b"\n" + line(2)))

        monkeypatch.setattr(sys, "stdin", Stdin)
        call_command("import_events", "-", source="hedgebox", rebase=rebase)
        assert capsys.readouterr().out.splitlines()[-1] == "accepted=2 duplicate=0 rejected=0"

    def test_shows_a_bar_on_a_terminal_and_plain_lines_elsewhere(self, run, monkeypatch, capsys):
        monkeypatch.setattr("pqlapp.management.commands.import_events.SECONDS_BETWEEN_REPORTS", 0)
        assert run(line(1))[0].startswith("1 lines, ")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        assert run(line(1)) == ["accepted=0 duplicate=1 rejected=0"]

    def test_an_empty_file_is_no_error(self, run):
        assert run(rebase=True) == ["accepted=0 duplicate=0 rejected=0"]

    def test_a_file_that_is_not_there_is_an_error(self):
        with pytest.raises(CommandError, match=r"cannot read .*nowhere"):
            call_command("import_events", "/nowhere/calls.jsonl", source="hedgebox")
        assert not Source.objects.exists()

    def test_a_file_that_breaks_off_is_an_error_and_what_was_read_is_kept(self, run, monkeypatch):
        monkeypatch.setattr(running, "BATCH", 10)
        texts = [line(n, properties={"noise": f"{n * 7919 % 1009}" * 9}) for n in range(20_000)]
        with pytest.raises(CommandError, match="cannot read"):
            run(*texts[:3000], pack=lambda data: gzip.compress(data)[:-1000])
        assert Event.objects.count() > 0
