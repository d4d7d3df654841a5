"""Files of history that admins upload: the page, and the job that reads them."""

import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from pqlapp import bell
from pqlapp.desk import imports as page
from pqlapp.ingest import door
from pqlapp.ingest.history import formats, running, uploads
from scoring import facts, imports, jobs, tasks
from scoring.imports import ImportRunning
from scoring.models import Event, Job, Source

ADDRESS = "/sources/hedgebox/import/"


def calls(*numbers: int) -> bytes:
    stated = {"type": "track", "event": "File Uploaded", "timestamp": "2026-05-01T12:00:00Z"}
    return b"\n".join(orjson.dumps(stated | {"userId": f"u{n}", "messageId": f"m{n}"}) for n in numbers)


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.UPLOADS = tmp_path / "uploads"
    monkeypatch.setattr(bell, "ring_for_job", lambda *, job: None)
    return Path(settings.UPLOADS)


@pytest.fixture
def source(transactional_db: None) -> Source:
    return facts.create_source(slug="hedgebox", at=datetime.now(UTC))


def user(name: str, *roles: str) -> User:
    made = User.objects.create_user(name, password="x")
    made.groups.set(Group.objects.get_or_create(name=role)[0] for role in roles)
    return made


@pytest.fixture
def admin(transactional_db: None) -> User:
    return user("ada", "Admin")


@pytest.fixture
def client(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client


def upload(client: Client, data: bytes = calls(1, 2), name: str = "calls.jsonl", **more: str) -> Any:
    return client.post(ADDRESS, {"file": SimpleUploadedFile(name, data)} | more)


def run_all() -> Job:
    (job,) = Job.objects.filter(state__in=jobs.OPEN)
    return tasks.carry_on(job=job)


@pytest.mark.usefixtures("source")
class TestPage:
    def test_takes_a_file_which_a_job_reads(self, client: Client, folder: Path) -> None:
        assert upload(client, gzip.compress(calls(1, 2, 3) + b"\n{"), "calls.jsonl.gz").status_code == 302
        (stored,) = folder.iterdir()
        assert stored.read_bytes()[:2] == b"\x1f\x8b"
        shown = client.get(ADDRESS).content.decode()
        assert "calls.jsonl.gz" in shown and 'hx-trigger="every 2s"' in shown
        job = run_all()
        assert (job.state, job.error) == (Job.State.DONE, "")
        assert job.result == {"accepted": 3, "duplicate": 0, "rejected": 1}
        assert Event.objects.count() == 3
        assert not list(folder.iterdir())
        shown = client.get(ADDRESS).content.decode()
        assert "bad_json" in shown and "every 2s" not in shown

    def test_counts_each_upload_of_the_same_file_by_itself(self, client: Client) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.jsonl", calls(1, 2) + b"\n{")
        results = []
        for _ in range(2):
            upload(client, packed.getvalue(), "a.zip")
            results.append(run_all().result)
        assert results == [
            {"accepted": 2, "duplicate": 0, "rejected": 1},
            {"accepted": 0, "duplicate": 2, "rejected": 1},
        ]
        assert client.get(ADDRESS).content.decode().count("bad_json") == 2

    def test_gives_the_rejected_lines(self, client: Client) -> None:
        upload(client, calls(1) + b"\n{")
        job = run_all()
        response = client.get(f"{ADDRESS}{job.pk}/rejects/")
        (line,) = b"".join(response.streaming_content).splitlines()  # type: ignore[attr-defined]
        told = orjson.loads(line)
        assert (told["file"], told["line"], told["code"], told["text"]) == ("calls.jsonl", 2, "bad_json", "{")

    def test_takes_a_table_with_its_mapping(self, client: Client) -> None:
        mapping = "event: e\nuser: u\nat: t\n"
        upload(client, b"e,u,t\nPaid,ann,2026-05-01\n", "a.csv", mapping=mapping)
        assert run_all().result["accepted"] == 1

    @pytest.mark.parametrize(
        ("data", "name", "said"),
        [
            (b"dear diary", "a.txt", "cannot tell what a.txt is"),
            (b"a,b\n", "a.csv", "say which column is what"),
            (b"PAR1PAR1", "a.parquet", "say which column is what"),
            (gzip.compress(calls(*range(100)))[:-20], "a.gz", "end"),
        ],
    )
    def test_says_why_a_file_cannot_be_read(
        self, client: Client, data: bytes, name: str, said: str, folder: Path
    ) -> None:
        upload(client, data, name)
        job = run_all()
        assert job.state == Job.State.FAILED and said in job.error
        assert said in client.get(ADDRESS).content.decode()
        assert not list(folder.iterdir())

    def test_refuses_what_is_too_large_before_reading_it(self, client: Client, settings: Any, folder: Path) -> None:
        settings.UPLOAD_LIMIT = 100
        response = upload(client)
        assert response.status_code == 413
        assert "at most 100 bytes" in response.content.decode()
        assert not folder.exists() and not Job.objects.exists()

    def test_reads_one_file_at_a_time_for_a_source(self, client: Client, folder: Path) -> None:
        upload(client)
        response = upload(client, name="more.jsonl")
        assert response.status_code == 422
        assert "calls.jsonl is being imported; wait for its end" in response.content.decode()
        assert len(list(folder.iterdir())) == Job.objects.count() == 1

    def test_asks_for_a_file(self, client: Client) -> None:
        assert client.post(ADDRESS, {"format": "csv"}).status_code == 422
        assert not Job.objects.exists()

    def test_stops_an_import_for_good(self, client: Client, folder: Path) -> None:
        upload(client)
        job = Job.objects.get()
        assert client.post(f"{ADDRESS}{job.pk}/stop/").status_code == 302
        assert tasks.carry_on(job=job).state == Job.State.STOPPED
        assert "stopped by ada" in client.get(ADDRESS).content.decode()
        assert upload(client).status_code == 302
        run_all()
        assert not list(folder.iterdir())

    def test_is_for_admins_and_checks_where_a_form_comes_from(self, admin: User) -> None:
        manager = Client()
        manager.force_login(user("max", "Manager"))
        assert manager.get(ADDRESS).status_code == upload(manager).status_code == 403
        assert upload(Client()).status_code == 302
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(admin)
        assert upload(strict).status_code == 403
        assert not Job.objects.exists()
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', strict.get(ADDRESS).content.decode())
        assert token and upload(strict, csrfmiddlewaretoken=token[1]).status_code == 302

    def test_knows_only_imports_of_the_source(self, client: Client) -> None:
        job = jobs.create(kind="publish", arguments={}, by=None, at=datetime.now(UTC))
        assert client.post(f"{ADDRESS}{job.pk}/stop/").status_code == 404
        assert client.get("/sources/nobody/import/").status_code == 404

    def test_offers_every_format(self) -> None:
        assert set(page.FORMATS) - {""} == set(formats.NAMES)


class Killed(BaseException):
    """Stands for a kill."""


class TestRun:
    @pytest.fixture
    def small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(running, "BATCH", 10)

    def test_is_carried_on_after_a_kill(
        self, client: Client, source: Source, monkeypatch: pytest.MonkeyPatch, small_batches: None
    ) -> None:
        upload(client, calls(*range(100)) + b"\n{")
        real, count = facts.record, [0]

        def record(**arguments: Any) -> Any:
            count[0] += 1
            if count[0] == 6:
                raise Killed
            return real(**arguments)

        monkeypatch.setattr(door.facts, "record", record)
        job = Job.objects.get()
        with pytest.raises(Killed):
            tasks.carry_on(job=job)
        job.refresh_from_db()
        assert job.state == Job.State.RUNNING and 0 < job.done <= (job.total or 0)
        Job.objects.update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
        done = tasks.carry_on(job=job)
        assert (done.state, done.attempt) == (Job.State.DONE, 2)
        assert Event.objects.count() == 100
        assert done.result["accepted"] + done.result["duplicate"] == 100 and done.result["rejected"] == 1
        assert count[0] <= 13  # what was noted is not recorded again

    def test_ends_soon_when_it_is_stopped(
        self, client: Client, source: Source, admin: User, monkeypatch: pytest.MonkeyPatch, small_batches: None
    ) -> None:
        upload(client, calls(*range(200)))
        job = Job.objects.get()
        real = facts.record

        def record(**arguments: Any) -> Any:
            if Event.objects.count() >= 50:
                jobs.stop(job=job, by=admin, at=datetime.now(UTC))
            return real(**arguments)

        monkeypatch.setattr(door.facts, "record", record)
        assert tasks.carry_on(job=job).state == Job.State.STOPPED
        assert Event.objects.count() < 100

    def test_waits_for_a_database_that_went_away(
        self, client: Client, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload(client)

        def record(**arguments: Any) -> Any:
            raise door.DATABASE_AWAY[2]("the server closed the connection")

        monkeypatch.setattr(door.facts, "record", record)
        assert run_all().state == Job.State.QUEUED

    def test_two_at_once_for_a_source_cannot_be_started(self, source: Source, admin: User) -> None:
        how = {"source": source, "name": "a", "format": "", "mapping": "", "by": admin, "at": datetime.now(UTC)}
        imports.start(stored_as="1", **how)  # type: ignore[arg-type]
        with pytest.raises(ImportRunning):
            imports.start(stored_as="2", **how)  # type: ignore[arg-type]
        other = facts.create_source(slug="other", at=datetime.now(UTC))
        imports.start(stored_as="3", **how | {"source": other})  # type: ignore[arg-type]


class TestRemoveRead:
    @pytest.fixture
    def kept(self, folder: Path, source: Source, admin: User) -> Iterator[dict[str, Path]]:
        folder.mkdir()
        made = {name: folder / name for name in ("done", "open", "orphan")}
        for path in made.values():
            path.write_bytes(b"x")
        now = datetime.now(UTC)
        for name in ("done", "open"):
            job = imports.start(source=source, name=name, stored_as=name, format="", mapping="", by=admin, at=now)
            if name == "done":
                jobs.stop(job=job, by=admin, at=now)
        yield made

    def test_keeps_what_an_open_job_needs_and_what_is_just_coming(self, kept: dict[str, Path]) -> None:
        uploads.remove_read(at=datetime.now(UTC))
        assert [name for name, path in kept.items() if path.exists()] == ["open", "orphan"]

    def test_removes_what_never_got_a_job(self, kept: dict[str, Path]) -> None:
        uploads.remove_read(at=datetime.now(UTC) + timedelta(days=2))
        assert [name for name, path in kept.items() if path.exists()] == ["open"]
