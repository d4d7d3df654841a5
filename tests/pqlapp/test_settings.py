"""What the settings promise to everybody who visits or operates the system."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client, RequestFactory
from rest_framework.views import APIView

REPOSITORY = Path(__file__).resolve().parents[2]


def policy_of(path: str) -> dict[str, str]:
    header = Client().get(path).headers["Content-Security-Policy"]
    return dict(part.strip().split(" ", 1) for part in header.split(";"))


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"DJANGO_SETTINGS_MODULE": "pqlapp.settings", "SECRET_KEY": "x" * 60, **environment}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **settings}, text=True, capture_output=True)


@pytest.mark.django_db
class TestContentSecurityPolicy:
    def test_is_strict_for_every_page(self) -> None:
        assert policy_of("/healthz") == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data:",
            "connect-src": "'self'",
            "font-src": "'self'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
            "object-src": "'none'",
        }

    def test_is_looser_for_the_admin_and_only_where_it_must_be(self) -> None:
        strict, admin = policy_of("/healthz"), policy_of("/admin/login/")
        assert {key for key in strict if strict[key] != admin[key]} == {"script-src", "style-src"}
        assert admin["script-src"] == "'self' 'unsafe-eval'"
        assert admin["style-src"] == "'self' 'unsafe-inline'"

    def test_a_path_that_only_looks_like_the_admin_stays_strict(self) -> None:
        assert policy_of("/administrator") == policy_of("/healthz")


class TestApi:
    def test_a_view_that_names_no_policy_lets_nobody_in(self, rf: RequestFactory, admin_user: object) -> None:
        request = rf.get("/")
        request.user = admin_user  # type: ignore[assignment]
        assert APIView.as_view()(request).status_code in (401, 403)


class TestEnvironment:
    def test_a_value_that_cannot_be_read_stops_the_start(self) -> None:
        done = python("-c", "import django; django.setup()", WORKERS="a few")
        assert done.returncode != 0
        assert "a few" in done.stderr

    def test_every_key_is_explained_in_the_example(self) -> None:
        readers = ("settings.py", "local.py", "management/commands/serve.py", "management/commands/setup.py")
        text = "".join((REPOSITORY / "pqlapp" / name).read_text() for name in readers)
        text += (REPOSITORY / "deploy" / "gunicorn.conf.py").read_text()
        asked = set(re.findall(r'(?:env\.\w+|environ\.get)\("(\w+)"', text))
        example = (REPOSITORY / "deploy" / "env.example").read_text().splitlines()
        explained = {line.partition("=")[0] for line in example if "=" in line and not line.startswith("#")}
        assert len(asked) > 15
        assert asked <= explained

    def test_cookies_are_bound_to_this_host_over_https(self) -> None:
        show = "from django.conf import settings as s; print(s.SESSION_COOKIE_NAME, s.SESSION_COOKIE_SECURE)"
        assert python("-c", show, HTTPS="1").stdout.split() == ["__Host-sessionid", "True"]

    def test_hashed_static_files_can_be_collected(self, tmp_path: Path) -> None:
        done = python("manage.py", "collectstatic", "--noinput", "-v0", STATIC_ROOT=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "staticfiles.json").exists()


class TestLogs:
    def test_a_line_is_an_object_and_a_newline_in_it_forges_nothing(self) -> None:
        script = "import django, logging; django.setup(); logging.getLogger('door').warning('name\\n%s', 'forged')"
        lines = python("-c", script).stderr.splitlines()
        assert len(lines) == 1
        entry = json.loads(lines[0])
        assert (entry["event"], entry["level"], entry["logger"]) == ("name\nforged", "warning", "door")
