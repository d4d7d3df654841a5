"""Files of all kinds, where they lie, and going on after a kill."""

import gzip
import io
import itertools
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Signal
from typing import Any
from urllib.parse import quote

import duckdb
import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from pqlapp.ingest import door, together
from pqlapp.ingest.history import files, formats, running, tables
from pqlapp.ingest.history.files import NoFiles
from pqlapp.ingest.history.formats import UnknownFormat
from pqlapp.ingest.history.lines import Record
from pqlapp.ingest.history.reading import Ordinals, Reader
from pqlapp.ingest.history.tables import BadMapping
from pqlapp.parser import Rejected
from pqlapp.processes import wait_until
from scoring import facts
from scoring.models import Account, Event, ImportedFile, RejectedLine, TraitChange

REPOSITORY = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
MAP = "event=action,user=person,account=company,at=happened"


def call(n: int = 1, **more: Any) -> bytes:
    stated = {"type": "track", "event": "File Uploaded", "userId": f"u{n}", "messageId": f"m{n}"}
    return orjson.dumps(stated | {"timestamp": "2026-05-01T12:00:00Z"} | more)


def calls(*numbers: int) -> bytes:
    return b"\n".join(call(n) for n in numbers)


class TestParts:
    def names(self, *places: Path | str) -> list[str]:
        return [Path(part.name).name for part in files.parts(places=[str(place) for place in places])]

    def test_of_a_folder_are_its_files_in_order_without_marks_and_empty_ones(self, tmp_path: Path) -> None:
        for name in ("b.jsonl", "a.jsonl", "2026/05/c.jsonl", ".hidden", "_SUCCESS", "_delta_log/0.json"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"{}")
        (tmp_path / "empty.jsonl").touch()
        assert self.names(tmp_path) == ["c.jsonl", "a.jsonl", "b.jsonl"]

    def test_of_a_glob_are_what_it_matches(self, tmp_path: Path) -> None:
        for name in ("part-2.jsonl", "part-1.jsonl", "other.csv"):
            (tmp_path / name).write_bytes(b"{}")
        assert self.names(tmp_path / "part-*.jsonl", tmp_path / "other.csv") == [
            "part-1.jsonl",
            "part-2.jsonl",
            "other.csv",
        ]

    def test_of_a_zip_are_its_members(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
            archive.writestr("1/b.json", b"{}")
            archive.writestr("1/a.json", b"{}")
            archive.writestr("__MACOSX/1/._a.json", b"x")
        assert self.names(tmp_path / "export.zip") == ["a.json", "b.json"]

    def test_of_nothing_are_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(NoFiles, match="nothing to read"):
            self.names(tmp_path)
        with pytest.raises(NoFiles):
            self.names(tmp_path / "*.jsonl")
        with pytest.raises(FileNotFoundError):
            self.names(tmp_path / "nowhere.jsonl")

    def test_are_known_by_what_they_hold(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_bytes(b"one")
        (part,) = files.parts(places=[str(path)])
        before = part.fingerprint()
        moved = path.rename(tmp_path / "b.jsonl")
        (part,) = files.parts(places=[str(moved)])
        assert part.fingerprint() == before
        moved.write_bytes(b"two")
        assert part.fingerprint() != before


class TestGuess:
    def guess(self, data: bytes, name: str = "export", *, has_mapping: bool = False) -> str:
        return formats.guess(name=name, stream=io.BufferedReader(io.BytesIO(data)), has_mapping=has_mapping)

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            (call(), "segment"),
            (b"{\n" + call(), "segment"),
            (b"", "segment"),
            (b'{"event":"x","at":"2026-05-01","user":"ann"}', "native"),
            (b'{"uuid":"1","event":"x","distinct_id":"ann","properties":{},"timestamp":"2026-05-01"}', "posthog"),
            (b'{"event":"x","properties":{"time":1777627800,"distinct_id":"ann"}}', "mixpanel"),
            (b'{"event_type":"x","event_time":"2026-05-01 09:30:00.000000","user_id":"ann"}', "amplitude"),
            (b"PAR1\x15\x04", "parquet"),
        ],
    )
    def test_tells_by_the_beginning(self, data: bytes, name: str) -> None:
        assert self.guess(data) == name

    @pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.csv.gz", "a.tsv"])
    def test_tells_a_table_by_its_name(self, name: str) -> None:
        assert self.guess(b"a,b\n", name) == "csv"

    def test_takes_what_is_mapped_for_a_table(self) -> None:
        assert self.guess(b"a;b\n", has_mapping=True) == "csv"

    @pytest.mark.parametrize(
        ("data", "said"), [(b"a,b\n1,2", "--format"), (b"[{}]", "jq"), (b"PK\x03\x04", "zip"), (b"{}", "cannot tell")]
    )
    def test_says_what_to_do_where_it_cannot_tell(self, data: bytes, said: str) -> None:
        with pytest.raises(UnknownFormat, match=said):
            self.guess(data)


class TestMapping:
    def test_is_pairs_over_a_document(self) -> None:
        document = "event: action\nat: happened\nuser: nobody\ntraits: {plan: tarif}\n"
        mapped = tables.mapping(pairs=["user=person, account=company", "account_traits.seats=n"], document=document)
        assert mapped.columns == {
            "event": "action",
            "at": "happened",
            "user": "person",
            "account": "company",
            "traits.plan": "tarif",
            "account_traits.seats": "n",
        }

    @pytest.mark.parametrize(
        ("pairs", "said"),
        [
            ("event=a,at=b", "user="),
            ("event=a,user=b", "at="),
            ("event", "FIELD=COLUMN"),
            ("colour=a,event=a,at=b,user=c", "'colour' is none of"),
            ("traits=a,event=a,at=b,user=c", "'traits' is none of"),
            ("id==x,event=a,at=b,user=c", "same for all"),
        ],
    )
    def test_says_what_is_wrong_with_it(self, pairs: str, said: str) -> None:
        with pytest.raises(BadMapping, match=said):
            tables.mapping(pairs=[pairs])

    @pytest.mark.parametrize("document", ["- a\n- b", "event: [", "event: a: b"])
    def test_refuses_a_document_that_is_none(self, document: str) -> None:
        with pytest.raises(BadMapping):
            tables.mapping(document=document)

    def row(self, pairs: str = "event=e,at=t,user=u", **cells: Any) -> Any:
        read = tables.mapping(pairs=[pairs]).read({"e": "x", "t": "2026-05-01", "u": "ann"} | cells, NOW)
        return read if isinstance(read, Rejected) else read[0]

    def test_makes_properties_of_all_other_columns_as_what_they_surely_are(self) -> None:
        fact = self.row(n="12", price="-0.50", zip="007", big="1e5", on="true", off="False", empty="", text="1,5")
        assert fact.properties == {
            "n": 12,
            "price": -0.5,
            "zip": "007",
            "big": "1e5",
            "on": True,
            "off": False,
            "text": "1,5",
        }

    def test_keeps_ids_as_they_stand(self) -> None:
        assert self.row(u="007").user_id == "007"

    def test_takes_constants_traits_and_a_column_of_properties(self) -> None:
        pairs = "event==Paid,at=t,user=u,account=a,traits.plan=p,account_traits.seats=s,properties=j"
        fact = self.row(pairs, a="acme", p="pro", s="5", j='{"a":{"b":[1]},"c":1}', c="2")
        assert (fact.name, fact.group_id) == ("Paid", "acme")
        assert (fact.user_traits, fact.account_traits) == ({"plan": "pro"}, {"seats": 5})
        assert fact.properties == {"e": "x", "a": {"b": [1]}, "c": 2}

    @pytest.mark.parametrize(
        "at",
        [
            "2026-05-01T09:30:00Z",
            "2026-05-01 09:30:00",
            "2026-05-01 09:30:00 UTC",
            "2026-05-01 09:30:00.000000 UTC",
            "2026-05-01 11:30:00+02:00",
            "1777627800",
            "1777627800000",
            "1777627800000000",
            1777627800,
            1777627800.0,
        ],
    )
    def test_reads_a_time_as_warehouses_write_it(self, at: object) -> None:
        assert self.row(t=at).at == datetime(2026, 5, 1, 9, 30, tzinfo=UTC)

    @pytest.mark.parametrize(("at", "code"), [("", "no_time"), ("5/1/2026", "bad_time"), (True, "no_time")])
    def test_rejects_a_row_without_a_time_that_can_be_read(self, at: object, code: str) -> None:
        assert self.row(t=at).code == code


class TestOrdinals:
    def test_count_each_text_by_itself(self) -> None:
        ordinals = Ordinals()
        assert [ordinals.next(digest=digest) for digest in (b"a", b"b", b"a", b"a")] == [1, 1, 2, 3]
        ordinals.close()


class Run:
    """Runs the command over files of a folder; returns what it printed, and keeps it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.err = ""

    def write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def __call__(self, *names: str, **options: Any) -> list[str]:
        places = [name if name == "-" else str(self.folder / name) for name in names]
        try:
            call_command("import_events", *places, source="hedgebox", **options)
        finally:
            out, self.err = self._capsys.readouterr()
            self.out = out.splitlines()
        return self.out


@pytest.fixture
def run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> Run:
    folder = tmp_path / "files"
    folder.mkdir()
    return Run(folder, capsys)


def last(accepted: int = 0, duplicate: int = 0, rejected: int = 0) -> str:
    return f"accepted={accepted} duplicate={duplicate} rejected={rejected}"


CSV = b"""action;person;company;happened;price
Signed Up;ann;acme;2026-05-01T09:30:00Z;
Paid;ann;acme;2026-05-02 10:00:00 UTC;12.50
"Said ""hi""
twice";ben;acme;1777627800;
"""


class TestTables:
    def test_a_csv_comes_in_with_its_mapping(self, run: Run) -> None:
        run.write("export.csv", CSV)
        assert run("export.csv", map=[MAP])[-1] == last(accepted=3)
        paid = Event.objects.get(name="Paid")
        assert (paid.at, paid.properties) == (datetime(2026, 5, 2, 10, tzinfo=UTC), {"price": 12.5})
        assert Account.objects.get(external_id="acme").kind == Account.Kind.GROUP
        assert Event.objects.filter(name='Said "hi"\ntwice').exists()
        assert run("export.csv", map=[MAP], again=True)[-1] == last(duplicate=3)

    def test_equal_rows_without_an_id_are_as_many_events(self, run: Run) -> None:
        row = b"Paid,ann,acme,2026-05-01,1\n"
        run.write("export.csv", b"action,person,company,happened,n\n" + 3 * row)
        assert run("export.csv", map=[MAP])[-1] == last(accepted=3)
        run.write("export.csv", b"action,person,company,happened,n\n" + 4 * row)
        assert run("export.csv", map=[MAP])[-1] == last(accepted=1, duplicate=3)

    def test_an_id_column_tells_what_came_before(self, run: Run) -> None:
        run.write("a.csv", b"action,person,happened,key\nPaid,ann,2026-05-01,7\nPaid,ann,2026-05-01,7\n")
        assert run("a.csv", map=["event=action,user=person,at=happened,id=key"])[-1] == last(accepted=1, duplicate=1)

    def test_bad_rows_have_their_line_and_reason(self, run: Run, tmp_path: Path) -> None:
        rows = b"Paid,ann,acme,2026-05-01\nPaid,ann\n\nPaid,\xff,acme,2026-05-01\nPaid,ann,acme,soon\n"
        run.write("a.csv", b"\xef\xbb\xbfaction,person,company,happened\n" + rows)
        run("a.csv", map=[MAP], rejects=tmp_path / "rejects.jsonl")
        assert run.out[-1] == last(accepted=1, rejected=3)
        rejects = [orjson.loads(line) for line in (tmp_path / "rejects.jsonl").read_bytes().splitlines()]
        assert [(line["line"], line["code"]) for line in rejects] == [(3, "bad_row"), (5, "not_utf8"), (6, "bad_time")]
        assert rejects[0]["message"] == "2 cells under 4 columns"
        assert rejects[2]["text"] == '{"action":"Paid","person":"ann","company":"acme","happened":"soon"}'

    def test_a_missing_column_is_told_with_those_that_there_are(self, run: Run) -> None:
        run.write("a.csv", b"action,who,happened\n")
        with pytest.raises(CommandError, match=r"no column 'person'; there are action, who, happened"):
            run("a.csv", map=["event=action,user=person,at=happened"])
        with pytest.raises(CommandError, match="say which column is what"):
            run("a.csv")

    def test_a_column_that_comes_twice_is_told(self, run: Run) -> None:
        run.write("a.csv", b"action,who,happened,who\n")
        with pytest.raises(CommandError, match="several columns 'who'"):
            run("a.csv", map=["event=action,user=who,at=happened"])

    def test_a_mapping_may_lie_in_a_file(self, run: Run) -> None:
        run.write("export.csv", CSV)
        run.write("map.yaml", b"event: action\nuser: person\naccount: company\nat: happened\n")
        assert run("export.csv", map_file=run.folder / "map.yaml")[-1] == last(accepted=3)


def parquet(path: Path, select: str) -> None:
    with duckdb.connect() as engine:
        engine.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")


class TestParquet:
    SELECT = """SELECT 'Paid' AS action, 'u' || i AS person, 'acme' AS company, i AS key,
                TIMESTAMP_NS '2026-05-01 09:30:00.123456789' AS happened, i / 4::DECIMAL(9, 2) AS price,
                {'plan': 'pro', 'on': DATE '2026-05-01'} AS more, [1, 2] AS list, MAP {'a': 1} AS map,
                NULL AS nothing, '\\xFF'::BLOB AS blob, 9007199254740993 AS large FROM range(5) AS t(i)"""

    def test_comes_in_with_its_types(self, run: Run) -> None:
        select = self.SELECT.replace(", 9007199254740993 AS large", "")
        parquet(run.folder / "events.parquet", select)
        assert run("events.parquet", map=[MAP + ",id=key"])[-1] == last(accepted=5)
        event = Event.objects.order_by("id")[1]
        assert event.at == datetime(2026, 5, 1, 9, 30, 0, 123456, tzinfo=UTC)
        assert event.properties == {
            "price": 0.25,
            "more": {"plan": "pro", "on": "2026-05-01"},
            "list": [1, 2],
            "map": {"a": 1},
            "blob": "\\xff",
        }
        assert run("events.parquet", map=[MAP + ",id=key"], again=True)[-1] == last(duplicate=5)

    def test_a_row_that_json_cannot_hold_is_rejected_by_its_number(self, run: Run) -> None:
        parquet(run.folder / "events.parquet", self.SELECT)
        run("events.parquet", map=[MAP])
        assert run.out[-1] == last(rejected=5)
        assert "number_too_large, first in line 1" in run.out[-2]

    def test_comes_in_from_a_zip_and_standard_input(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        parquet(run.folder / "events.parquet", "SELECT 'Paid' AS action, 'ann' AS person, '2026-05-01' AS happened")
        data = (run.folder / "events.parquet").read_bytes()
        with zipfile.ZipFile(run.folder / "export.zip", "w") as archive:
            archive.writestr("events.parquet", data)
        mapped = ["event=action,user=person,at=happened"]
        assert run("export.zip", map=mapped)[-1] == last(accepted=1)
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BufferedReader(io.BytesIO(data))}))
        assert run("-", map=mapped)[-1] == last(duplicate=1)

    def test_what_is_none_is_an_error(self, run: Run) -> None:
        run.write("a.parquet", b"PAR1 and then nothing of the kind PAR1")
        with pytest.raises(CommandError, match="no readable Parquet"):
            run("a.parquet", map=[MAP])


POSTHOG: list[dict[str, Any]] = [
    {
        "uuid": "0190a6c4-0000-7000-8000-000000000001",
        "event": "file uploaded",
        "distinct_id": "ann",
        "timestamp": "2026-05-01 09:30:00.123000+00:00",
        "created_at": "2026-05-01 09:30:02+00:00",
        "_inserted_at": "2026-05-01 09:31:00+00:00",
        "person_id": "0190a6c4-0000-7000-8000-00000000000a",
        "person_properties": {"plan": "not taken"},
        "elements_chain": "",
        "team_id": 2,
        "properties": {"$groups": {"company": "acme"}, "size": 3},
    },
    {
        "uuid": "0190a6c4-0000-7000-8000-000000000002",
        "event": "$identify",
        "distinct_id": "ann",
        "timestamp": "2026-05-01T09:29:00Z",
        "properties": '{"$anon_distinct_id": "anon-1", "$set": {"plan": "pro"}}',
        "person": {"distinct_ids": ["ann", "anon-1"]},
        "elements": [],
    },
]


def as_lines(*items: dict[str, Any]) -> bytes:
    return b"\n".join(orjson.dumps(item) for item in items)


class TestPostHog:
    def test_export_comes_in_as_its_libraries_would_have_sent_it(self, run: Run) -> None:
        run.write("events.jsonl.gz", gzip.compress(as_lines(*POSTHOG)))
        assert run("events.jsonl.gz")[-1] == last(accepted=2)
        event = Event.objects.get(name="file uploaded")
        assert event.at == datetime(2026, 5, 1, 9, 30, 0, 123000, tzinfo=UTC)
        assert event.properties["size"] == 3 and event.account and event.account.external_id == "acme"
        assert {change.value for change in TraitChange.objects.filter(key="plan")} == {"pro"}
        assert run("events.jsonl.gz", again=True)[-1] == last(duplicate=2)

    def test_event_without_a_time_or_with_broken_properties_is_rejected(self, run: Run) -> None:
        first, second = POSTHOG
        timeless = {key: value for key, value in first.items() if key not in ("timestamp", "created_at")}
        broken = [second | {"properties": text} for text in ("{", "[]", '{"a":"\\u0000"}')]
        run.write("events.jsonl", as_lines(first, timeless, *broken))
        run("events.jsonl")
        codes = [line.split(": ")[1].split(",")[0] for line in run.out[:-1]]
        assert codes == ["bad_json", "no_time", "not_an_object", "nul_character"]
        assert run.out[-1] == last(accepted=1, rejected=4)


class TestMixpanel:
    def test_export_comes_in_with_its_ids_and_times(self, run: Run) -> None:
        properties = {"time": 1777627800, "distinct_id": "ann", "$user_id": "ann", "company": ["acme"], "size": 3}
        stated = {"event": "Paid", "properties": properties | {"$insert_id": "abc", "mp_lib": "web"}}
        without_id = {"event": "Paid", "properties": properties}
        timeless = {"event": "Paid", "properties": {"distinct_id": "ann"}}
        run.write("raw.jsonl", as_lines(stated, stated, without_id, without_id, timeless))
        assert run("raw.jsonl")[-1] == last(accepted=3, duplicate=1, rejected=1)
        assert run("raw.jsonl", again=True)[-1] == last(duplicate=4, rejected=1)
        assert set(Event.objects.values_list("at", flat=True)) == {datetime(2026, 5, 1, 9, 30, tzinfo=UTC)}
        assert Account.objects.filter(external_id="acme").exists()


AMPLITUDE: dict[str, Any] = {
    "event_type": "Paid",
    "event_time": "2026-05-01 09:30:00.123000",
    "server_upload_time": "2026-05-01 09:31:00.000000",
    "$insert_id": "abc",
    "uuid": "0190a6c4-0000-7000-8000-000000000001",
    "amplitude_id": 123456,
    "user_id": "ann",
    "device_id": "device-1",
    "event_properties": {"size": 3},
    "user_properties": {"plan": "pro"},
    "groups": {"company": ["acme"]},
    "group_properties": {},
}


class TestAmplitude:
    def test_export_comes_in_from_its_zip(self, run: Run) -> None:
        second = AMPLITUDE | {"$insert_id": None, "uuid": "0190a6c4-0000-7000-8000-000000000002"}
        with zipfile.ZipFile(run.folder / "export.zip", "w") as archive:
            archive.writestr("123456/123456_2026-05-01_9#0.json.gz", gzip.compress(as_lines(AMPLITUDE, second)))
            archive.writestr("123456/123456_2026-05-01_10#0.json.gz", gzip.compress(as_lines(AMPLITUDE)))
        assert run("export.zip")[-1] == last(accepted=2, duplicate=1)
        event = Event.objects.order_by("id")[0]
        assert event.at == datetime(2026, 5, 1, 9, 30, 0, 123000, tzinfo=UTC)
        assert event.properties["size"] == 3 and event.account and event.account.external_id == "acme"
        assert {change.value for change in TraitChange.objects.filter(key="plan")} == {"pro"}

    def test_event_without_a_time_is_rejected(self, run: Run) -> None:
        run.write("a.json", as_lines(AMPLITUDE, {**AMPLITUDE, "event_time": None}, {**AMPLITUDE, "event_time": "soon"}))
        run("a.json")
        assert [line.split(": ")[1].split(",")[0] for line in run.out[:-1]] == ["bad_time", "no_time"]


class TestPlaces:
    def test_a_folder_of_several_formats_comes_in_at_once(self, run: Run) -> None:
        run.write("year/a.jsonl", calls(1, 2))
        run.write("year/b.jsonl.gz", gzip.compress(calls(2, 3)))
        run.write("year/c.csv", CSV)
        assert run("year", map=[MAP])[-1] == last(accepted=6, duplicate=1)

    def test_reasons_name_the_file(self, run: Run) -> None:
        run.write("year/a.jsonl", calls(1))
        run.write("year/b.jsonl", calls(2) + b"\n{")
        run("year")
        assert "rejected 1: bad_json, first in line 2 of " in run.out[0] and "b.jsonl" in run.out[0]

    def test_a_zip_of_gzip_comes_in(self, run: Run) -> None:
        with zipfile.ZipFile(run.folder / "export.zip", "w") as archive:
            archive.writestr("1/a.json.gz", gzip.compress(calls(1, 2)))
            archive.writestr("1/b.json.gz", gzip.compress(calls(3)))
        assert run("export.zip")[-1] == last(accepted=3)
        assert run("export.zip")[-1] == last(duplicate=3)

    def test_what_is_unknown_is_refused_before_anything_is_stored(self, run: Run) -> None:
        run.write("a.txt", b"dear diary,\n")
        with pytest.raises(CommandError, match=r"cannot tell what .*a\.txt is; say --format"):
            run("a.txt")

    def test_a_file_of_which_nothing_fits_is_given_up(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(running, "PROBED", 20)
        monkeypatch.setattr(running, "BATCH", 10)
        run.write("a.jsonl", b"\n".join([b'{"a":1}'] * 100))
        with pytest.raises(CommandError, match=r"not one of the first 20 records can be taken .*unknown_type"):
            run("a.jsonl", format="segment")
        assert RejectedLine.objects.count() < 100


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture
def killed_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what lets the next run store so many batches and then die."""
    monkeypatch.setattr(running, "BATCH", 10)
    monkeypatch.setattr(together, "ENOUGH", 1)  # or two threads' batches might be stored by one call
    real, left = facts.record, [itertools.repeat(True)]

    def record(**arguments: Any) -> Any:
        if not next(left[0], False):  # in one step: two threads ask
            raise Killed
        return real(**arguments)

    monkeypatch.setattr(door.facts, "record", record)

    def after(batches: int) -> None:
        left[0] = itertools.repeat(True, batches)

    return after


class TestGoingOn:
    def test_passes_over_what_is_stored_and_still_counts_right(
        self, run: Run, killed_after: Callable[[int], None]
    ) -> None:
        texts = [call(n) if n % 25 else b"{" for n in range(100)]
        run.write("a.jsonl", b"\n".join(texts))
        killed_after(6)
        with pytest.raises(Killed):
            run("a.jsonl")
        noted, stored = ImportedFile.objects.get(), Event.objects.count()
        assert 40 <= noted.records <= 60
        killed_after(10 - noted.records // 10)  # what is noted may not be recorded again
        run("a.jsonl", rejects=run.folder / "rejects")
        assert run.out[-1] == last(accepted=96 - stored, duplicate=stored, rejected=4)
        assert "passed over" in run.err
        assert Event.objects.count() == 96
        rejects = [orjson.loads(line)["line"] for line in (run.folder / "rejects").read_bytes().splitlines()]
        assert rejects == [1, 26, 51, 76]

    def test_leaves_a_finished_file_alone_and_says_so(self, run: Run, killed_after: Callable[[int], None]) -> None:
        run.write("a.jsonl", calls(*range(20)) + b"\n{")
        run("a.jsonl")
        killed_after(0)
        assert run("a.jsonl")[-1] == last(duplicate=20, rejected=1)
        assert "21 of them were read by an earlier run" in run.err
        killed_after(99)
        assert run("a.jsonl", again=True)[-1] == last(duplicate=20, rejected=1)
        assert "earlier run" not in run.err

    @pytest.mark.parametrize("batches", [1, 2, 3, 4])
    def test_gives_equal_lines_their_own_ids(self, run: Run, killed_after: Callable[[int], None], batches: int) -> None:
        texts = [call(n % 7, messageId=None) for n in range(60)]
        run.write("a.jsonl", b"\n".join(texts))
        killed_after(batches)
        with pytest.raises(Killed):
            run("a.jsonl")
        killed_after(99)
        run("a.jsonl")
        assert Event.objects.count() == 60
        assert run("a.jsonl", again=True)[-1] == last(duplicate=60)

    def test_reads_records_in_their_order_though_two_threads_store_them(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else equal lines had other ids in the next run, which would take some of them for those stored before."""
        monkeypatch.setattr(running, "BATCH", 1)
        real, numbers, overtaken = Reader.read, [], Signal()

        def read(self: Reader, *, record: Record, **more: Any) -> Any:
            if record.number == 1:
                overtaken.wait(0.2)  # the other thread goes first, if it may
            overtaken.set()
            numbers.append(record.number)
            return real(self, record=record, **more)

        monkeypatch.setattr(Reader, "read", read)
        run.write("a.jsonl", calls(*range(20)))
        run("a.jsonl")
        assert numbers == list(range(1, 21))

    def test_goes_on_in_the_file_of_a_folder_where_it_stopped(
        self, run: Run, killed_after: Callable[[int], None]
    ) -> None:
        for number in range(4):
            run.write(f"year/{number}.jsonl", calls(*range(number * 20, number * 20 + 20)))
        killed_after(5)
        with pytest.raises(Killed):
            run("year")
        killed_after(5)
        assert run("year")[-1].endswith("rejected=0")
        assert Event.objects.count() == 80

    def test_reads_it_anew_where_it_is_read_in_another_way(self, run: Run) -> None:
        run.write("a.csv", CSV)
        run("a.csv", map=[MAP])
        assert run("a.csv", map=["event=action,user=company,at=happened"])[-1] == last(duplicate=3)
        assert "earlier run" not in run.err


class TestKilled:
    def test_really_in_the_middle_nothing_is_lost_doubled_or_rejected_twice(self, run: Run) -> None:
        total, bad = 12_000, range(7, 12_000, 1_000)
        texts = [b"{" if n in bad else call(n % 900, messageId=None if n % 3 else f"m{n}") for n in range(total)]
        run.write("a.jsonl.gz", gzip.compress(b"\n".join(texts)))
        kills = 0
        while ImportedFile.objects.filter(finished_at__isnull=False).count() == 0 and kills < 2:
            kills += self.killed(run.folder / "a.jsonl.gz")
        assert kills, "it was done before it could be killed"
        run("a.jsonl.gz", rejects=run.folder / "rejects")
        assert Event.objects.count() == total - len(bad)
        assert run.out[-1].endswith(f"rejected={len(bad)}")
        lines = [orjson.loads(line)["line"] for line in (run.folder / "rejects").read_bytes().splitlines()]
        assert lines == [n + 1 for n in bad]
        assert run("a.jsonl.gz", again=True)[-1] == last(duplicate=total - len(bad), rejected=len(bad))

    def killed(self, path: Path) -> bool:
        """Kill an import once it has got further; say whether it was still at it."""
        before = self.records()
        command = [sys.executable, "manage.py", "import_events", str(path), "--source", "hedgebox"]
        process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"DATABASE_URL": database_url()})
        assert wait_until(lambda: self.records() > before or process.poll() is not None, within=120)
        process.kill()
        return process.wait() == -signal.SIGKILL

    def records(self) -> int:
        return sum(ImportedFile.objects.values_list("records", flat=True))


def database_url() -> str:
    """Return the address of the test's own database."""
    at = connection.settings_dict
    return f"postgres://{at['USER']}:{quote(at['PASSWORD'])}@{at['HOST']}:{at['PORT']}/{at['NAME']}"
