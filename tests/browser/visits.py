"""The small known world in a real browser."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect
from pytest_django.live_server_helper import LiveServer

from tests.pqlapp import desk_world
from tests.pqlapp.desk_world import NOW, PASSWORD, Team

Visit = Callable[..., Page]
expect.set_options(timeout=30_000)  # a deadline, not a wait: the machine may be busy


@pytest.fixture
def team(transactional_db: None) -> Iterator[Team]:
    """The world, in the morning of its day; time runs on."""
    with time_machine.travel(NOW, tick=True):
        yield desk_world.build()


def _is_fault(message: ConsoleMessage) -> bool:
    """Whether the browser complains; about an answer of 404, which a test may be after, it need not."""
    return message.type == "error" and "404" not in message.text


def _log_in(page: Page, name: str) -> None:
    page.goto("/login/")
    page.fill("#id_username", f"{name}@example.com")
    page.fill("#id_password", PASSWORD)
    page.click("main button")
    page.wait_for_url("**/")


def _session_of(name: str) -> str:
    client = Client()
    client.force_login(User.objects.get(username=f"{name}@example.com"))
    return client.cookies["sessionid"].value


@pytest.fixture
def visit(browser: Browser, live_server: LiveServer, team: Team) -> Iterator[Visit]:
    """Return a function that opens the first page for somebody; a fault on its console fails the test.

    They are logged in already, unless they do it themselves `by_form`.
    """
    faults: list[str] = []
    contexts = []

    def opened(name: str, *, width: int = 1440, by_form: bool = False, **options: Any) -> Page:
        size: ViewportSize = {"width": width, "height": 900}
        context = browser.new_context(base_url=live_server.url, viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        if by_form:
            _log_in(page, name)
        else:
            context.add_cookies([{"name": "sessionid", "value": _session_of(name), "url": live_server.url}])
            page.goto("/")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults
