"""The small known world in a real browser."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
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


@pytest.fixture
def visit(browser: Browser, live_server: LiveServer, team: Team) -> Iterator[Visit]:
    """Return a function that logs somebody in and returns their page; a fault on its console fails the test."""
    faults: list[str] = []
    contexts = []

    def log_in(name: str, *, width: int = 1440, **options: Any) -> Page:
        size: ViewportSize = {"width": width, "height": 900}
        context = browser.new_context(base_url=live_server.url, viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto("/login/")
        page.fill("#id_username", f"{name}@example.com")
        page.fill("#id_password", PASSWORD)
        page.click("main button")
        page.wait_for_url("**/")
        return page

    yield log_in
    for context in contexts:
        context.close()
    assert not faults
