"""Pages of a list: by the id of the last row, so that a page costs the same at any depth."""

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

USUAL, MOST = 50, 200  # rows of a page
LARGEST_ID = 2**63 - 1


class ById(BasePagination):
    """`?limit=` rows after `?cursor=`; the answer's `next` is the address of the page that follows."""

    parameters = ("limit", "cursor")

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        """Return the rows of the page. Raises ValidationError for a limit or cursor that is none."""
        limit = min(_whole(request, "limit") or USUAL, MOST)
        cursor = _whole(request, "cursor")
        newest_first = getattr(view, "newest_first", True)
        if cursor is not None:
            queryset = queryset.filter(**{"pk__lt" if newest_first else "pk__gt": cursor})
        rows = list(queryset.order_by("-pk" if newest_first else "pk")[: limit + 1])
        page = rows[:limit]
        address = request.build_absolute_uri()
        self.next = replace_query_param(address, "cursor", page[-1].pk) if len(rows) > limit else None
        return page

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page as it is answered."""
        return Response({"next": self.next, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the shape of a page for the OpenAPI document."""
        following = {"type": "string", "format": "uri", "nullable": True, "description": "null on the last page"}
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {"next": following, "results": schema},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """Return the parameters for the OpenAPI document."""
        limit = {"type": "integer", "minimum": 1, "default": USUAL}
        cursor = {"type": "integer", "format": "int64", "minimum": 1, "maximum": LARGEST_ID}
        return [
            {"name": "limit", "in": "query", "schema": limit, "description": f"rows of a page, {MOST} at most"},
            {"name": "cursor", "in": "query", "schema": cursor, "description": "follow `next` rather than making one"},
        ]


def _whole(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    # The length first: int() of a long text takes long, or fails.
    if len(text) > 19 or not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= LARGEST_ID:
        raise ValidationError({name: f"is a whole number from 1, not {text[:40]!r}"})
    return int(text)
