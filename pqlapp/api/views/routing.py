"""Leads, the people who work them, and their pools."""

from collections.abc import Callable
from typing import Any, cast

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from pqlapp import bell
from pqlapp.api import auth, bodies, lead_serializers, serializers
from pqlapp.api import filters as lists
from pqlapp.api.permissions import OVERSEERS, OWNERS, WORKERS
from pqlapp.api.views.door import Door, now
from routing import leads, queue
from routing.models import AE, MQL, Assignment, Breach, CloseReason, Lead, LeadMove, Membership, Pool, Via
from scoring import facts
from scoring.models import Account, RuleSet, shard_of


class LeadView(Door):
    """Leads. An AE has the own ones here; managers, admins and integrations have all."""

    rights = {
        "list": WORKERS,
        "retrieve": WORKERS,
        "create": WORKERS,
        "accept": WORKERS,
        "snooze": WORKERS,
        "disqualify": WORKERS,
        "win": WORKERS,
        "lose": WORKERS,
        "recycle": WORKERS,
        "wake": WORKERS,
        "undo": WORKERS,
        "reassign": OVERSEERS,
    }
    filters = {"list": lists.LeadFilter}
    queryset = Lead.objects.all()

    def get_queryset(self) -> QuerySet[Lead]:
        """Return the leads that the caller may see."""
        user = auth.person(request=self.request)
        visible = Lead.objects.all() if user is None else queue.visible_to(user=user)
        related = visible.select_related("account", "rule_set", "version", "pool", "ae__user", "closed_for")
        return related.defer("version__text", "version__document")

    @extend_schema(responses=lead_serializers.LeadRow(many=True))
    def list(self, request: Request) -> Response:
        """List leads, the newest first."""
        return self.page(self.get_queryset().defer("opening", "reasons", "why", "kept"), lead_serializers.LeadRow)

    @extend_schema(responses=lead_serializers.LeadShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show a lead with why it opened, what happened to it, and who got it why."""
        return self._show(pk)

    @extend_schema(request=bodies.NewLead, responses={201: lead_serializers.LeadShown})
    def create(self, request: Request) -> Response:
        """Enter a lead by hand, with the AE who works it already: sales-qualified from the start."""
        said, user = self.read(bodies.NewLead), auth.person(request=request)
        lead = leads.enter(
            account=_account(said["account"]),
            rule_set=_rule_set(said["rule_set"]),
            ae=self._working_ae(said["ae"]),
            by=user,
            at=now(),
            note=said["note"],
            via=Via.API,
        )
        return Response(lead_serializers.LeadShown(_whole().get(pk=lead.pk)).data, status=201)

    def _working_ae(self, asked: int | None) -> AE:
        """Return the AE who is named, or the caller; an AE who is no overseer can only name itself."""
        active = AE.objects.filter(is_active=True).select_related("user")
        caller = auth.person(request=self.request)
        own = active.filter(user=caller).first() if caller else None
        ae = own if asked is None else active.filter(pk=asked).first()
        if ae is None:
            raise ValidationError({"ae": "name an AE who works leads: /api/v1/aes lists them"})
        if ae != own and not auth.roles_of(request=self.request) & OVERSEERS:
            raise PermissionDenied("an AE enters leads for itself only")
        return ae

    @extend_schema(request=bodies.Nothing, responses=lead_serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, pk: str) -> Response:
        """Take a lead on: it becomes sales-qualified."""
        return self._do(pk, bodies.Nothing, leads.accept)

    @extend_schema(request=bodies.Snooze, responses=lead_serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def snooze(self, request: Request, pk: str) -> Response:
        """Put a lead aside until a time, or until there is new evidence."""
        return self._do(pk, bodies.Snooze, leads.snooze)

    @extend_schema(request=bodies.Nothing, responses=lead_serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def wake(self, request: Request, pk: str) -> Response:
        """End a lead's snooze."""
        return self._do(pk, bodies.Nothing, leads.wake)

    @extend_schema(request=bodies.Recycle, responses=lead_serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def recycle(self, request: Request, pk: str) -> Response:
        """Close a lead whose time has not come: the account cools down."""
        return self._do(pk, bodies.Recycle, leads.recycle)

    @extend_schema(request=bodies.Undo, responses=lead_serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Take the last move back, within ten minutes; a win's outcome is retracted."""
        answer = self._do(pk, bodies.Undo, leads.undo)
        bell.ring(shards=[shard_of(answer.data["account"]["id"])])
        return answer

    @extend_schema(request=bodies.Reason, responses=lead_serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def disqualify(self, request: Request, pk: str) -> Response:
        """Close a lead that is not one."""
        return self._do(pk, bodies.Reason, leads.disqualify)

    @extend_schema(request=bodies.Win, responses=lead_serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def win(self, request: Request, pk: str) -> Response:
        """Close a lead that bought; the account's outcome `won` is recorded."""
        answer = self._do(pk, bodies.Win, leads.win)
        bell.ring(shards=[shard_of(answer.data["account"]["id"])])
        return answer

    @extend_schema(request=bodies.Reason, responses=lead_serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def lose(self, request: Request, pk: str) -> Response:
        """Close an accepted lead that did not buy."""
        return self._do(pk, bodies.Reason, leads.lose)

    @extend_schema(request=bodies.Reassign, responses=lead_serializers.LeadShown)
    @action(detail=True, methods=["post"])
    def reassign(self, request: Request, pk: str) -> Response:
        """Give a lead to another AE by hand, or back to its pool."""
        return self._do(pk, bodies.Reassign, _reassign)

    def _do(self, pk: str, kind: type[bodies.Body], verb: Callable[..., Lead]) -> Response:
        """Call the verb with the body's fields, and show the lead as it is then."""
        lead = get_object_or_404(self.get_queryset(), pk=pk)
        done = verb(lead=lead, by=auth.person(request=self.request), at=now(), via=Via.API, **self.read(kind))
        return Response(lead_serializers.LeadShown(_whole().get(pk=done.pk)).data)

    def _show(self, pk: str) -> Response:
        lead = get_object_or_404(self.get_queryset(), pk=pk)
        return Response(lead_serializers.LeadShown(_whole().get(pk=lead.pk)).data)


def _whole() -> QuerySet[Lead]:
    """The leads with all that is shown of one."""
    related = Lead.objects.select_related("account", "rule_set", "version", "pool", "ae__user", "closed_for")
    moves = LeadMove.objects.select_related("by", "ae__user").order_by("id")
    made = Assignment.objects.select_related("ae__user", "pool").order_by("id")
    return related.prefetch_related(Prefetch("moves", moves), Prefetch("assignments", made))


def _reassign(*, ae: int | None, **said: Any) -> Lead:
    to = None if ae is None else AE.objects.filter(pk=ae).first()
    if ae is not None and to is None:
        raise ValidationError({"ae": f"there is no AE {ae}: /api/v1/aes lists them"})
    return leads.reassign(to=to, **said)


def _account(external_id: str) -> Account:
    account = facts.account_named(external_id=external_id)
    if account is None:
        raise ValidationError({"account": f"no account is known as {external_id[:200]!r}"})
    return account


def _rule_set(slug: str) -> RuleSet:
    found = RuleSet.objects.filter(slug=slug).select_related("live_version").first()
    if found is None:
        raise ValidationError({"rule_set": f"there is no rule set {slug!r}: /api/v1/rule-sets lists them"})
    return found


class MQLView(Door):
    """What marketing systems say: accounts that have qualified by their marketing."""

    rights = {"list": OVERSEERS, "retrieve": OVERSEERS, "create": OWNERS}
    filters = {"list": lists.MQLFilter}
    queryset = MQL.objects.select_related("account", "rule_set")

    @extend_schema(responses=lead_serializers.MQLShown(many=True))
    def list(self, request: Request) -> Response:
        """List marketing's words, the newest first."""
        return self.page(self.get_queryset(), lead_serializers.MQLShown)

    @extend_schema(responses=lead_serializers.MQLShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show one, with what became of it."""
        return Response(lead_serializers.MQLShown(get_object_or_404(self.get_queryset(), pk=pk)).data)

    @extend_schema(request=bodies.NewMQL, responses={201: lead_serializers.MQLShown, 200: lead_serializers.MQLShown})
    def create(self, request: Request) -> Response:
        """Open a lead, or join the account's open one; once: 200 with what is stored if the message_id is known."""
        said, received_at = self.read(bodies.NewMQL), now()
        word, is_new = leads.market(
            account=_account(said["account"]),
            rule_set=_rule_set(said["rule_set"]),
            at=said.get("at", received_at),
            received_at=received_at,
            message_id=said["message_id"],
            source=auth.source(request=request),
            note=said["note"],
        )
        return Response(lead_serializers.MQLShown(word).data, status=201 if is_new else 200)


class BreachView(Door):
    """Leads that nobody touched in time."""

    rights = {"list": OVERSEERS}
    filters = {"list": lists.BreachFilter}
    queryset = Breach.objects.select_related("ae__user", "pool")

    @extend_schema(responses=lead_serializers.BreachShown(many=True))
    def list(self, request: Request) -> Response:
        """List them, the newest first: whose, why, and what was done."""
        return self.page(self.get_queryset(), lead_serializers.BreachShown)


class CloseReasonView(Door):
    """The reasons for which leads may be closed."""

    rights = {"list": WORKERS}
    filters = {"list": lists.CloseReasonFilter}
    newest_first = False
    queryset = CloseReason.objects.filter(is_active=True)

    @extend_schema(responses=lead_serializers.CloseReasonShown(many=True))
    def list(self, request: Request) -> Response:
        """List them."""
        return self.page(self.get_queryset(), lead_serializers.CloseReasonShown)


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
