"""A real Chromium before a live server that holds the small known world."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from django.db import connection
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.pqlapp import desk_world
from tests.pqlapp.desk_world import NOW, PASSWORD, Team

Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    # Playwright runs a loop in this thread, in which Django would otherwise refuse to ask the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def team(transactional_db: None) -> Iterator[Team]:
    """The world, in the morning of its day; time runs on."""
    with time_machine.travel(NOW, tick=True):
        yield desk_world.build()
    with connection.cursor() as cursor:  # Django does not know these tables, so it does not empty them
        cursor.execute("TRUNCATE scoring_event, scoring_event_key")


@pytest.fixture
def visit(browser: Browser, live_server: LiveServer, team: Team) -> Iterator[Visit]:
    """Return a function that logs somebody in and returns their page; a fault on its console fails the test."""
    faults: list[str] = []
    contexts = []

    def log_in(name: str, *, width: int = 1440, **options: Any) -> Page:
        size = {"width": width, "height": 900}
        context = browser.new_context(base_url=live_server.url, viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
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
