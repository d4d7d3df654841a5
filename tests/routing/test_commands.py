"""The commands that make the first people."""

import io

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from routing.models import AE, Membership

pytestmark = pytest.mark.django_db

GOOD = "correct horse battery"


def run(*arguments: str) -> list[str]:
    """Return the lines that a command prints."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().rstrip("\n").split("\n")


class TestCreateAe:
    def test_prints_a_password_that_works_on_its_last_line(self) -> None:
        password = run("create_ae", "ann.dyk@example.com", "--pool", "West", "--capacity", "9")[-1]
        user = authenticate(username="ann.dyk@example.com", password=password)
        assert user is not None
        member = Membership.objects.get(ae__user=user)
        assert (member.ae.name, member.pool.name, member.capacity) == ("Ann Dyk", "West", 9)

    def test_prints_none_the_second_time(self) -> None:
        password = run("create_ae", "ann@example.com", "--pool", "West")[-1]
        assert run("create_ae", "ann@example.com", "--pool", "East")[-1] == (
            "The log-in was there before and keeps its password."
        )
        assert authenticate(username="ann@example.com", password=password)
        assert AE.objects.get().memberships.count() == 2

    def test_says_what_is_wrong(self) -> None:
        with pytest.raises(CommandError, match="'ann' is not an e-mail address"):
            run("create_ae", "ann", "--pool", "West")
        with pytest.raises(CommandError, match="from 1 to 1000"):
            run("create_ae", "ann@example.com", "--pool", "West", "--weight", "0")


class TestSetup:
    def test_makes_the_first_admin_and_says_what_comes_next(self) -> None:
        lines = run("setup", "--email", "Boss@Example.com", "--password", GOOD)
        assert lines[0] == "boss@example.com is the admin: log in at /admin/."
        assert any("create_ae" in line for line in lines)
        admin = authenticate(username="boss@example.com", password=GOOD)
        assert isinstance(admin, User)
        assert (admin.is_superuser, admin.is_staff) == (True, True)

    def test_takes_them_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ADMIN_EMAIL", "boss@example.com")
        monkeypatch.setenv("ADMIN_PASSWORD", GOOD)
        run("setup")
        assert authenticate(username="boss@example.com", password=GOOD)

    def test_changes_nothing_where_there_is_an_admin(self) -> None:
        run("setup", "--email", "boss@example.com", "--password", GOOD)
        lines = run("setup", "--email", "other@example.com", "--password", "another " + GOOD)
        assert lines[0] == "There is an admin already: boss@example.com. Nothing was changed."
        assert User.objects.count() == 1

    def test_does_not_wait_for_an_answer_where_nobody_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("boss@example.com\n"))
        with pytest.raises(CommandError, match="give --email and --password"):
            run("setup")

    def test_refuses_an_address_that_is_none(self) -> None:
        with pytest.raises(CommandError, match="not an e-mail address"):
            run("setup", "--email", "boss", "--password", GOOD)
