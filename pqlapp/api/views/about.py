"""What the API has to offer: the list of its addresses, and its OpenAPI document."""

from typing import Any

from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from pqlapp.api.parsing import StrictJSONParser
from pqlapp.api.permissions import WORKERS, ByRole, Rights
from pqlapp.api.views.door import AUTHENTICATION

PLACES = (
    "events",
    "accounts",
    "outcomes",
    "exclusions",
    "rule-sets",
    "rule-versions",
    "backtests",
    "signals",
    "leads",
    "assignments",
    "pools",
    "aes",
    "jobs",
    "schema",
)


class RootView(APIView):
    """The addresses."""

    authentication_classes = AUTHENTICATION
    permission_classes = (ByRole,)
    parser_classes = (StrictJSONParser,)
    rights: Rights = {"get": WORKERS, "head": WORKERS}

    @extend_schema(responses={200: {"type": "object", "additionalProperties": {"type": "string", "format": "uri"}}})
    def get(self, request: Request) -> Response:
        """List the addresses of the API."""
        return Response({place: request.build_absolute_uri(f"/api/v1/{place}") for place in PLACES})


class SchemaView(SpectacularAPIView):
    """The OpenAPI document."""

    authentication_classes = AUTHENTICATION
    permission_classes = (ByRole,)
    rights: Rights = {"get": WORKERS, "head": WORKERS}

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return the OpenAPI document of this API, as YAML or, with ?format=json, as JSON."""
        answer: Response = super().get(request, *args, **kwargs)
        return answer
