"""The route log, as JSON and CSV, and simulations of another routing."""

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers as fields
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from pqlapp import bell
from pqlapp.api import auth, bodies, lead_serializers, serializers
from pqlapp.api import filters as lists
from pqlapp.api.permissions import OVERSEERS, OWNERS
from pqlapp.api.views.door import Door, accepted, now
from pqlapp.spreadsheet import cell
from routing import audit, decision, simulator
from routing.models import Assignment

COLUMNS = (
    *("id", "at", "lead", "account", "tier", "pool", "how", "ae", "why", "cost", "credit_before", "credit_after"),
    *("eligible", "candidates", "released_at", "refunded_for"),
)


class AssignmentRow(lead_serializers.AssignmentShown):
    """A decision of the route log."""

    account = fields.CharField(source="lead.account.external_id")

    class Meta(lead_serializers.AssignmentShown.Meta):
        fields: serializers.Fields = ("id", "lead", "account", *lead_serializers.AssignmentShown.Meta.fields)


class ReplayShown(fields.Serializer[Any]):
    """What comes out when a decision is made anew from its record."""

    by_rule = fields.BooleanField(help_text="false: it was made by hand, and there is nothing to make anew")
    chosen = fields.IntegerField(allow_null=True, help_text="the AE; null: nobody")
    agrees = fields.BooleanField(help_text="with what the record says and what was done")
    differences = fields.ListField(child=fields.CharField(), help_text="in words")


class AssignmentView(Door):
    """The route log: every decision who gets a lead, or why nobody."""

    rights = {"list": OVERSEERS, "retrieve": OVERSEERS, "replay": OVERSEERS, "log": OVERSEERS}
    filters = {"list": lists.AssignmentFilter, "log": lists.AssignmentFilter}
    queryset = Assignment.objects.select_related("lead__account", "ae__user", "pool")

    @extend_schema(responses=AssignmentRow(many=True))
    def list(self, request: Request) -> Response:
        """List decisions, the newest first."""
        return self.page(self.get_queryset(), AssignmentRow)

    @extend_schema(responses=AssignmentRow)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show a decision with everything that it was based on."""
        return Response(AssignmentRow(self._made(pk)).data)

    @extend_schema(responses=ReplayShown)
    @action(detail=True, methods=["get"])
    def replay(self, request: Request, pk: str) -> Response:
        """Make the decision anew, from nothing but its record."""
        made = self._made(pk)
        if not decision.can_replay(made.decision):
            return Response({"by_rule": False, "chosen": made.ae_id, "agrees": True, "differences": []})
        again = audit.replay(made=made)
        told = {"chosen": again.chosen, "agrees": again.agrees, "differences": list(again.differences)}
        return Response({"by_rule": True, **told})

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    @action(detail=False, methods=["get"], url_path="csv")
    def log(self, request: Request) -> StreamingHttpResponse:
        """Return all decisions that the parameters ask for as CSV, the oldest first."""
        rows = self.filter_queryset(self.get_queryset()).order_by("id")
        answer = StreamingHttpResponse(_lines(rows), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="route-log.csv"'
        return answer

    def _made(self, pk: str) -> Assignment:
        found: Assignment = get_object_or_404(self.get_queryset(), pk=pk)
        return found


class SimulationView(Door):
    """What another roster would have done with the same leads."""

    rights = {"create": OWNERS}

    @extend_schema(request=bodies.NewSimulation, responses={202: serializers.JobShown})
    def create(self, request: Request) -> Response:
        """Simulate another routing beside today's; a job does it: its result is at /api/v1/jobs/{id}."""
        said = self.read(bodies.NewSimulation)
        scenario = simulator.Scenario(**said | {"without": tuple(said["without"])})
        try:
            job = simulator.start(scenario=scenario, by=auth.person(request=request), at=now())
        except simulator.SimulationError as error:
            raise ValidationError(f"{error}") from error
        bell.ring_for_job(job=job)
        return accepted(job)


def _lines(rows: QuerySet[Assignment]) -> Iterator[str]:
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for made in rows.iterator(500):
        writer.writerow([cell(value) for value in _values(made)])
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()


def _values(made: Assignment) -> tuple[Any, ...]:
    candidates = made.decision.get("candidates", [])
    chosen: dict[str, Any] = next((one for one in candidates if one["ae"] == made.ae_id), {})
    return (
        *(made.pk, made.at.isoformat(), made.lead_id, made.lead.account.external_id, made.lead.tier),
        *(made.pool and made.pool.name, made.how, made.ae and made.ae.user.get_username(), made.decision["why"]),
        *(made.decision.get("cost"), chosen.get("credit_before"), chosen.get("credit_after")),
        *(sum(one["eligible"] for one in candidates), len(candidates)),
        *(made.released_at and made.released_at.isoformat(), made.refunded_for),
    )
