"""What every test stands on: one PostgreSQL and one Redis for the session, shared by all of xdist's workers."""

import os
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import django
import pytest
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import Browser, sync_playwright
from pytest_django import DjangoDbBlocker
from pytest_django.live_server_helper import LiveServer

from pqlapp import local
from pqlapp.processes import wait_until
from tests.examples import few

SERVERS = pytest.StashKey[ExitStack]()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What `make test` installs there, where node and npm exist: the libraries that customers use.
NODE_MODULES = Path(__file__).parent / "sdk" / "node_modules"
NODE = shutil.which("node") and (NODE_MODULES / ".package-lock.json").exists()  # npm writes it when it is done

hypothesis_settings.register_profile("dev", deadline=None, max_examples=few(40))
hypothesis_settings.register_profile("ci", hypothesis_settings.get_profile("dev"), derandomize=True, print_blob=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a seed say the order of tests: none may need what another one left."""
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the files, and the tests of each, in any order")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the servers in the controller, hand their addresses to the workers, then set Django up."""
    config.addinivalue_line("markers", "browser: drives a real Chromium")
    config.addinivalue_line("markers", "node: runs a library from npm")
    config.addinivalue_line("markers", "database: asks PostgreSQL; none of these needs to be marked by hand")
    if os.environ.get("REQUIRE_BROWSER") and not CHROMIUM:
        raise pytest.UsageError("REQUIRE_BROWSER is set and there is no Chromium on PATH.")
    if os.environ.get("REQUIRE_NODE") and not NODE:
        raise pytest.UsageError("REQUIRE_NODE is set; install node and npm, then run `npm ci` in tests/sdk.")
    if not hasattr(config, "workerinput") and not config.option.help:
        _start_servers(config)
    _give_each_worker_its_redis()
    os.environ.setdefault("SECRET_KEY", "only-for-the-tests")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pqlapp.settings")
    django.setup()
    from django.conf import settings
    from django.test import TransactionTestCase

    from pqlapp.ingest import strangers
    from tests import cleaning

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # only fast, nothing is kept
    strangers.PAUSE = 0.0  # no timer may write into the database of a later test
    TransactionTestCase._fixture_teardown = lambda _: cleaning.as_migrated()  # type: ignore[attr-defined]
    config.pluginmanager.import_plugin("tests.sdks")  # their fixtures need Django set up
    config.pluginmanager.import_plugin("tests.towns")
    config.pluginmanager.import_plugin("tests.pqlapp.doors")


def _start_servers(config: pytest.Config) -> None:
    if len(local.given()) == 2:
        return
    stack = config.stash[SERVERS] = ExitStack()
    directory = Path(tempfile.mkdtemp(prefix="pql-tests-"))
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    servers = stack.enter_context(local.use(directory, durable=False, mortal=True))
    os.environ.update(servers.urls())


def _give_each_worker_its_redis() -> None:
    """Let each worker ring in a database of its own: gw0 in 1, gw1 in 2, and so on."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and "REDIS_URL" in os.environ:
        address = os.environ["REDIS_URL"].rpartition("/")[0]
        os.environ["REDIS_URL"] = f"{address}/{int(worker.removeprefix('gw')) + 1}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers with the session that started them."""
    if SERVERS in config.stash:
        config.stash[SERVERS].close()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark what needs PostgreSQL, Chromium or the libraries of npm; skip by its name what lacks the latter two.

    Marked before others choose by marks; sorted after others have: what one worker must do alone comes first, or the
    others would be idle at the end.
    """
    _mark_needs(items)
    yield
    if (seed := config.option.shuffle) is not None:
        _shuffle(items, random.Random(seed))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def _shuffle(items: list[pytest.Item], chance: random.Random) -> None:
    """Mix the files, and the tests within each: what a file shares is made once even so."""
    chance.shuffle(items)
    turn = {path: chance.random() for path in dict.fromkeys(item.path for item in items)}
    items.sort(key=lambda item: turn[item.path])


def _mark_needs(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.get_closest_marker("django_db") or "django_db_setup" in fixtures or _is_of_django(item):
            item.add_marker(pytest.mark.database)
        if "browser" in fixtures:
            item.add_marker(pytest.mark.browser)
            if not CHROMIUM:
                item.add_marker(pytest.mark.skip(reason="no Chromium on PATH (Debian: apt-get install chromium)"))
        if {"node", "shop"} & set(fixtures):
            item.add_marker(pytest.mark.node)
            if not NODE:
                item.add_marker(pytest.mark.skip(reason="no node, or no libraries: run `npm ci` in tests/sdk"))


def _is_of_django(item: pytest.Item) -> bool:
    from django.test import TransactionTestCase

    return issubclass(getattr(item, "cls", None) or object, TransactionTestCase)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Return pytest-django's database, when it is known what the migrations left in it; it goes when it is idle."""
    from tests import cleaning  # needs Django set up

    with django_db_blocker.unblock():
        cleaning.remember()
    yield
    with django_db_blocker.unblock():
        if not wait_until(lambda: not cleaning.others(), within=60):
            warnings.warn(f"still connected after all tests: {cleaning.others()}", stacklevel=1)


@pytest.fixture(scope="session")
def live_server(django_db_setup: None, live_server: LiveServer) -> LiveServer:
    """Return pytest-django's, to end before the database does: a caller that keeps its connection holds a session."""
    return live_server


@pytest.fixture(scope="session")
def browser(django_db_setup: None) -> Iterator[Browser]:
    """Return a Chromium that reaches nothing but this machine; one for all tests, as Playwright has one loop.

    It ends before the database does, and with it the connections that it keeps to the live server.
    """
    # Playwright runs that loop in this thread, in which Django would otherwise refuse to ask the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    only_here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", only_here])
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def until() -> Callable[..., None]:
    """Return a waiter for something that another process does: polls a condition up to a deadline."""

    def wait(condition: Callable[[], object], *, within: float = 60.0, what: str = "the condition") -> None:
        assert wait_until(lambda: bool(condition()), within=within), f"{what} did not come true in {within} s"

    return wait
