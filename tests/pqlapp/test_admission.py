"""A crowd is refused at once, politely, and nothing of what it sent is kept."""

import threading
from contextlib import ExitStack

import pytest
from django.test import Client, RequestFactory
from django.urls import resolve

from pqlapp.ingest import admission
from pqlapp.ingest.admission import Gate
from pqlapp.parser import Refused
from tests.serving import PATIENCE


class TestGate:
    def test_lets_so_many_in_and_the_next_one_when_somebody_leaves(self) -> None:
        gate = Gate(inside=2, waiting=1)
        with gate.passed():
            with gate.passed():
                pass
            with gate.passed():
                pass

    def test_a_call_that_waits_gets_the_place_that_becomes_free(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(admission, "PATIENCE", PATIENCE)
        gate, entered = Gate(inside=1, waiting=1), threading.Event()

        def enter() -> None:
            with gate.passed():
                entered.set()

        with gate.passed():
            other = threading.Thread(target=enter)
            other.start()
            assert not entered.is_set()
        other.join()
        assert entered.is_set()

    def test_refuses_who_waited_too_long_and_keeps_no_place_for_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(admission, "PATIENCE", 0.001)
        gate = Gate(inside=1, waiting=1)
        with gate.passed():
            for _ in range(3):
                with pytest.raises(Refused) as refused, gate.passed():
                    pass
                assert refused.value.status == 429
        with gate.passed():
            pass

    def test_refuses_at_once_when_enough_are_waiting(self) -> None:
        gate = Gate(inside=2, waiting=0)
        with ExitStack() as inside:
            inside.enter_context(gate.passed())
            inside.enter_context(gate.passed())
            with pytest.raises(Refused), gate.passed():
                pass

    def test_a_fault_inside_gives_the_place_back(self) -> None:
        gate = Gate(inside=1, waiting=0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), gate.passed():
                raise ZeroDivisionError


@pytest.mark.django_db
class TestDoor:
    @pytest.mark.parametrize("path", ["/e/", "/i/v1/analytics/events", "/track/", "/engage", "/import"])
    def test_answers_503_to_libraries_that_come_again_only_then(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admission, "gate", Gate(inside=1, waiting=0))
        with admission.gate.passed():
            answer = Client().post(path, b"{", content_type="application/json")
        assert (answer.status_code, answer["Retry-After"]) == (503, "2")

    @pytest.mark.parametrize("path", ["/v1/batch", "/api/v1/events"])
    def test_answers_429_and_says_when_to_come_again(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(admission, "gate", Gate(inside=1, waiting=0))
        with admission.gate.passed():
            answer = Client().post(path, b"{", content_type="application/json")
        assert (answer.status_code, answer["Retry-After"]) == (429, "2")
        assert answer["Access-Control-Expose-Headers"] == "Retry-After"
        assert answer.json()["code"] == "too_much_at_once"
        assert Client().post(path, b"{", content_type="application/json").status_code in (400, 401)

    def test_reads_what_it_refuses_to_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else a sender of much that is still at it would see a broken connection, and no Retry-After."""
        monkeypatch.setattr(admission, "gate", Gate(inside=1, waiting=0))
        request = RequestFactory().post("/v1/batch", b"x" * 300_000, content_type="application/json")
        with admission.gate.passed():
            assert resolve("/v1/batch").func(request).status_code == 429
        assert request.read() == b""
