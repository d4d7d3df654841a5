"""The API keeps to its own OpenAPI document, whatever is sent."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import time_machine
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS
from schemathesis.schemas import BaseSchema

from tests.pqlapp import api_world
from tests.pqlapp.api_world import NOW, World

pytestmark = pytest.mark.django_db

# More of them: API_EXAMPLES=200 make test ARGS="-k api_schema"
EXAMPLES = int(os.environ.get("API_EXAMPLES", "4"))


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return SchemaGenerator().get_schema(request=None, public=True)


# A body that is too large is refused too, and so Schemathesis has to be told.
REFUSALS = ["400", "401", "403", "404", "405", "409", "413", "415", "422"]
CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}})


@pytest.fixture
def api(request: pytest.FixtureRequest) -> BaseSchema:
    """The document as Schemathesis reads it.

    All operations are one test: a test each would have the same name, and of namesakes xdist runs only one.
    """
    request.node._nodeid = request.node.nodeid  # which Schemathesis wants, and pytest 9 calls so no more
    made = schemathesis.openapi.from_dict(document(), config=CONFIG)
    made.app = get_wsgi_application()
    return made


@pytest.fixture
def world() -> Iterator[World]:
    with time_machine.travel(NOW, tick=False):
        yield api_world.make()


@pytest.fixture
def one_connection() -> Iterator[None]:
    """Keep requests from closing the connection, which holds the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


class TestDocument:
    def test_is_made_without_a_warning(self) -> None:
        GENERATOR_STATS.reset()
        document()
        assert not GENERATOR_STATS._warn_cache
        assert not GENERATOR_STATS._error_cache

    def test_knows_every_address(self, world: World) -> None:
        places = {path.removeprefix("/api/v1/").partition("/")[0] for path in document()["paths"]}
        assert {*world.server_key.get("")} - {"schema"} <= places


@schemathesis.pytest.from_fixture("api").parametrize()
@settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_keeps_to_the_document(case: Any, world: World, one_connection: None) -> None:
    events = case.operation.path == "/api/v1/events"
    case.call_and_validate(
        headers={"Authorization": f"Bearer {world.server_key.key}"},
        excluded_checks=[
            # No schema can say that an account has to be known, or a text to be a valid rule document.
            CHECKS.get_one("positive_data_acceptance"),
            # Bad events are answered one by one, so that the good ones beside them are stored.
            *([CHECKS.get_one("negative_data_rejection")] if events else []),
        ],
    )
