"""Leads, the people who work them, and their pools."""

from collections.abc import Callable
from typing import Any, cast

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from pqlapp import bell
from pqlapp.api import auth, bodies, serializers
from pqlapp.api import filters as lists
from pqlapp.api.permissions import OVERSEERS, WORKERS
from pqlapp.api.views.door import Door, now
from routing import leads, queue
from routing.models import AE, Lead, Membership, Pool
from scoring.models import shard_of


class LeadView(Door):
    """Leads. An AE has the own ones here; managers, admins and integrations have all."""

    rights = {
        "list": WORKERS,
        "retrieve": WORKERS,
        "accept": WORKERS,
        "snooze": WORKERS,
        "disqualify": WORKERS,
        "win": WORKERS,
        "lose": WORKERS,
        "reassign": OVERSEERS,
    }
    filters = {"list": lists.LeadFilter}
    queryset = Lead.objects.all()

    def get_queryset(self) -> QuerySet[Lead]:
        """Return the leads that the caller may see."""
        user = auth.person(request=self.request)
        visible = Lead.objects.all() if user is None else queue.visible_to(user=user)
        related = visible.select_related("account", "rule_set", "version", "pool", "ae__user")
        return related.defer("version__text", "version__document")

    @extend_schema(responses=serializers.LeadRow(many=True))
    def list(self, request: Request) -> Response:
        """List leads, the newest first."""
        return self.page(self.get_queryset().defer("opening", "reasons", "why"), serializers.LeadRow)

    @extend_schema(responses=serializers.LeadShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show a lead with why it opened, what happened to it, and who got it why."""
        return self._show(pk)

    @extend_schema(request=bodies.Nothing, responses=serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, pk: str) -> Response:
        """Take a lead on: it becomes sales-qualified."""
        return self._do(pk, bodies.Nothing, leads.accept)

    @extend_schema(request=bodies.Snooze, responses=serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def snooze(self, request: Request, pk: str) -> Response:
        """Put a lead aside until a time."""
        return self._do(pk, bodies.Snooze, leads.snooze)

    @extend_schema(request=bodies.Reason, responses=serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def disqualify(self, request: Request, pk: str) -> Response:
        """Close a lead that is not one."""
        return self._do(pk, bodies.Reason, leads.disqualify)

    @extend_schema(request=bodies.Win, responses=serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def win(self, request: Request, pk: str) -> Response:
        """Close a lead that bought; the account's outcome `won` is recorded."""
        answer = self._do(pk, bodies.Win, leads.win)
        bell.ring(shards=[shard_of(answer.data["account"]["id"])])
        return answer

    @extend_schema(request=bodies.Reason, responses=serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def lose(self, request: Request, pk: str) -> Response:
        """Close an accepted lead that did not buy."""
        return self._do(pk, bodies.Reason, leads.lose)

    @extend_schema(request=bodies.Reassign, responses=serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def reassign(self, request: Request, pk: str) -> Response:
        """Give a lead to another AE by hand, or back to its pool."""
        return self._do(pk, bodies.Reassign, _reassign)

    def _do(self, pk: str, kind: type[bodies.Body], verb: Callable[..., Lead]) -> Response:
        """Call the verb with the body's fields, and show the lead as it is then."""
        lead = get_object_or_404(self.get_queryset(), pk=pk)
        done = verb(lead=lead, by=auth.person(request=self.request), at=now(), **self.read(kind))
        return Response(serializers.LeadShown(_whole().get(pk=done.pk)).data)

    def _show(self, pk: str) -> Response:
        lead = get_object_or_404(self.get_queryset(), pk=pk)
        return Response(serializers.LeadShown(_whole().get(pk=lead.pk)).data)


def _whole() -> QuerySet[Lead]:
    """The leads with all that is shown of one."""
    related = Lead.objects.select_related("account", "rule_set", "version", "pool", "ae__user")
    return related.prefetch_related("moves__by", "moves__ae__user", "assignments__ae__user", "assignments__pool")


def _reassign(*, ae: int | None, **said: Any) -> Lead:
    to = None if ae is None else AE.objects.filter(pk=ae).first()
    if ae is not None and to is None:
        raise ValidationError({"ae": f"there is no AE {ae}: /api/v1/aes lists them"})
    return leads.reassign(to=to, **said)


class PoolView(Door):
    """Teams with a rotation."""

    rights = {"list": OVERSEERS, "retrieve": OVERSEERS}
    filters = {"list": None}
    newest_first = False
    queryset = Pool.objects.select_related("rule_set").prefetch_related(
        Prefetch("memberships", Membership.objects.select_related("ae__user").order_by("pk"))
    )

    @extend_schema(responses=serializers.PoolShown(many=True))
    def list(self, request: Request) -> Response:
        """List pools with their members."""
        return self.page(self.get_queryset(), serializers.PoolShown)

    @extend_schema(responses=serializers.PoolShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show a pool with its members."""
        return Response(serializers.PoolShown(get_object_or_404(self.get_queryset(), pk=pk)).data)


class AEView(Door):
    """Account executives."""

    rights = {"list": OVERSEERS, "retrieve": OVERSEERS}
    filters = {"list": None}
    newest_first = False
    queryset = AE.objects.select_related("user").prefetch_related("memberships__pool")

    @extend_schema(responses=serializers.AEShown(many=True))
    def list(self, request: Request) -> Response:
        """List AEs."""
        return self.page(self.get_queryset(), serializers.AEShown)

    @extend_schema(responses=serializers.AEShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show an AE."""
        ae = get_object_or_404(cast(QuerySet[AE], self.get_queryset()), pk=pk)
        return Response(serializers.AEShown(ae).data)
