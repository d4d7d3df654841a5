"""What is known of files that were read: how far, what became of their records, what was rejected and why."""

from datetime import UTC, datetime, timedelta

import pytest

from scoring import imports
from scoring.imports import Reason, Rejection, Settled, Tally
from scoring.models import ImportedFile, RejectedLine, Source

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


@pytest.fixture
def source() -> Source:
    return Source.objects.create(slug="hedgebox", created_at=NOW)


def begin(source: Source, print_: bytes = b"a", name: str = "a.jsonl", again: bool = False) -> ImportedFile:
    return imports.begin(source=source, fingerprint=print_, name=name, at=NOW, again=again)


def settle(file: ImportedFile, *rejections: Rejection, accepted: int = 1) -> None:
    tally = Tally(accepted=accepted, rejected=len(rejections))
    settled = Settled(accepted + len(rejections), tally, list(rejections))
    imports.note(file=file, settled=settled, at=NOW)


class TestFiles:
    def test_are_known_again_by_their_fingerprint_under_any_name(self, source: Source) -> None:
        settle(begin(source), accepted=3)
        known = begin(source, name="moved.jsonl")
        assert (known.records, known.accepted, known.name) == (3, 3, "moved.jsonl")
        assert begin(source, b"b").records == 0
        assert begin(Source.objects.create(slug="other", created_at=NOW)).records == 0

    def test_are_as_new_when_read_again(self, source: Source) -> None:
        settle(begin(source), Rejection(1, "bad_json", "no JSON", b"{"))
        assert begin(source, again=True).records == 0
        assert not RejectedLine.objects.exists()

    def test_add_up(self, source: Source) -> None:
        first, second = begin(source), begin(source, b"b")
        settle(first, accepted=3)
        settle(first, Rejection(9, "bad_json", "no JSON", b"{"), accepted=2)
        settle(second, accepted=1)
        assert imports.tally_of(files=[first, second]) == Tally(accepted=6, rejected=1)

    def test_are_forgotten_with_their_lines_after_a_month(self, source: Source) -> None:
        settle(begin(source), Rejection(1, "bad_json", "no JSON", b"{"))
        assert imports.forget(at=NOW + imports.KEPT) == 0
        assert imports.forget(at=NOW + imports.KEPT + timedelta(seconds=1)) == 1
        assert not RejectedLine.objects.exists()


class TestRejections:
    def test_tell_how_many_of_each_reason_and_the_first(self, source: Source) -> None:
        first, second = begin(source), begin(source, b"b", "b.jsonl")
        settle(first, Rejection(7, "bad_json", "seventh", b"{"), Rejection(3, "bad_json", "third", b"["))
        settle(second, Rejection(1, "bad_json", "first", b"\xff"), Rejection(2, "bad_time", "second", b"{}"))
        assert imports.reasons(files=[first, second]) == [
            Reason("bad_json", 3, "a.jsonl", 3, "third"),
            Reason("bad_time", 1, "b.jsonl", 2, "second"),
        ]
        listed = [(r.file.name, r.line, bytes(r.text)) for r in imports.rejections(files=[first, second])]
        assert listed == [("a.jsonl", 3, b"["), ("a.jsonl", 7, b"{"), ("b.jsonl", 1, b"\xff"), ("b.jsonl", 2, b"{}")]

    def test_come_once_however_often_they_are_noted(self, source: Source) -> None:
        file = begin(source)
        for _ in range(2):
            settle(file, Rejection(1, "bad_json", "no JSON", b"{"))
        assert RejectedLine.objects.count() == 1
