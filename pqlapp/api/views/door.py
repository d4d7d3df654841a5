"""What all views of the API do alike."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django_filters import FilterSet
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from pqlapp.api import auth, filters
from pqlapp.api.bodies import Body
from pqlapp.api.filters import ByParameters
from pqlapp.api.pagination import ById
from pqlapp.api.parsing import StrictJSONParser
from pqlapp.api.permissions import ByRole, Rights
from pqlapp.api.serializers import JobShown
from scoring.models import Job

AUTHENTICATION = (auth.BearerAuthentication, SessionAuthentication)
IDS = r"[0-9]{1,18}"


class Door(GenericViewSet[Any]):
    """A view whose rights, parameters and bodies are all spelled out."""

    authentication_classes = AUTHENTICATION
    permission_classes = (ByRole,)
    parser_classes = (StrictJSONParser,)
    pagination_class = ById
    filter_backends = (ByParameters,)
    lookup_value_regex = IDS
    rights: Rights = {}
    filters: Mapping[str, type[FilterSet] | None] = {}  # by action; an action with an entry is a list
    parameters: Mapping[str, tuple[str, ...]] = {}  # by action; what an action that is no list is asked with
    newest_first = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Let the caller in, then refuse parameters that mean nothing."""
        super().initial(request, *args, **kwargs)
        filters.refuse_unknown(request=request, view=self)

    def read(self, kind: type[Body]) -> dict[str, Any]:
        """Return the body's fields. Raises ValidationError."""
        body = kind(data=self.request.data)
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)

    def page(self, rows: Any, kind: Any, **context: Any) -> Response:
        """Answer a page of the rows that the parameters ask for."""
        page = self.paginate_queryset(self.filter_queryset(rows))
        shown = kind(page, many=True, context={**self.get_serializer_context(), **context})
        return self.get_paginated_response(shown.data)


def now() -> datetime:
    """Return the present time: doors are the ones that read the clock."""
    return timezone.now()


def accepted(job: Job) -> Response:
    """Answer that the job was taken on, and where it can be followed."""
    return Response(JobShown(job).data, status=202, headers={"Location": f"/api/v1/jobs/{job.pk}"})
