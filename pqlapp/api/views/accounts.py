"""Accounts, their scores, what they bought, and who does not count."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import date
from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from pqlapp import bell
from pqlapp.api import auth, bodies, serializers, standing
from pqlapp.api import filters as lists
from pqlapp.api.permissions import OVERSEERS, OWNERS, WORKERS
from pqlapp.api.views.door import Door, now
from routing import leads, queue
from scoring import engine, facts, reaching, rules, scores
from scoring.language import Document
from scoring.models import (
    SHARDS,
    WHOSE_WORD_COUNTS,
    Account,
    Exclusion,
    Outcome,
    Parked,
    RuleSet,
    Score,
    ScoreChange,
    TraitChange,
    shard_of,
)

BY_EXTERNAL_ID = "external:"
OF_USER = OpenApiParameter("user", str, description="any id of a user: only the scores that are about them")


class AccountView(Door):
    """`{id}` is our number or the sender's own id; `external:` before it says the latter where both are numbers."""

    rights = {
        "list": OVERSEERS,
        "retrieve": WORKERS,
        "score": WORKERS,
        "history": WORKERS,
        "routing": OVERSEERS,
        "merge": OWNERS,
        "separate": OWNERS,
    }
    filters = {"list": lists.AccountFilter, "history": lists.HistoryFilter}
    parameters = {"score": ("user",), "routing": ("rule_set", "tier")}
    lookup_value_regex = "[^/]{1,600}"
    queryset = Account.objects.all()

    def get_object(self) -> Account:
        """Return the account that the address names, if the caller may see it. Raises Http404."""
        named = self.kwargs["pk"]
        if named.isascii() and named.isdigit() and len(named) < 19:
            account = Account.objects.filter(pk=int(named)).first()
        elif "\0" in named:
            account = None
        else:
            account = facts.account_named(external_id=named.removeprefix(BY_EXTERNAL_ID))
        if account is None or not self._is_visible(account):
            raise Http404(f"no account is known as {named[:200]!r}")
        return account

    def _is_visible(self, account: Account) -> bool:
        """An AE sees the accounts of own leads; everybody else who may come here sees all."""
        user = auth.person(request=self.request)
        if user is None or auth.roles_of(request=self.request) & OVERSEERS:
            return True
        return queue.is_visible_to(user=user, account=account)

    @extend_schema(responses=serializers.AccountRow(many=True))
    def list(self, request: Request) -> Response:
        """List accounts with their scores."""
        return self.page(Account.objects.prefetch_related(_scores()), serializers.AccountRow)

    @extend_schema(responses=serializers.AccountShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show an account with its scores and traits."""
        account = self.get_object()
        known = TraitChange.objects.filter(account=account, at__lte=now())
        newest = known.order_by("key", *WHOSE_WORD_COUNTS).distinct("key")
        traits = {trait.key: trait.value for trait in newest if trait.value is not None}
        return Response(serializers.AccountShown(account, context={"traits": traits}).data)

    @extend_schema(responses=standing.ScoresOfAccount, parameters=[OF_USER])
    @action(detail=True)
    def score(self, request: Request, pk: str) -> Response:
        """Show an account's scores: every point with its rule, and what will change when nothing more happens.

        Of users, the foremost by each rule set; `?user=` asks for the one with this id.
        """
        account, at = self.get_object(), now()
        user = request.query_params.get("user")
        parked = Parked.objects.filter(account=account).first()
        shown = {
            "account": account,
            "complete_as_of": scores.fresh_as_of(at=at),
            "parked": parked.reason if parked else None,
            "scores": list(_with_next_change(account, user, at.date())),
        }
        return Response(standing.ScoresOfAccount(shown).data)

    @extend_schema(
        responses=OpenApiTypes.OBJECT,
        parameters=[OpenApiParameter("rule_set", str, required=True), OpenApiParameter("tier", str)],
    )
    @action(detail=True)
    def routing(self, request: Request, pk: str) -> Response:
        """Say who would get the account if it qualified now, and why: the decision as it would be recorded.

        Without a tier it is the best one of the rule set's live version. Nothing is changed.
        """
        slug = request.query_params.get("rule_set", "")
        rule_set = RuleSet.objects.select_related("live_version").filter(slug=slug).first()
        if rule_set is None or rule_set.live_version is None:
            raise ValidationError({"rule_set": f"no rule set {slug!r} is live: /api/v1/rule-sets lists them"})
        tiers = [tier["name"] for tier in rule_set.live_version.document["tiers"]]
        tier = request.query_params.get("tier") or tiers[0]
        if tier not in tiers:
            raise ValidationError({"tier": f"{tier!r} is not a tier of {slug}: choose one of {', '.join(tiers)}"})
        told = leads.preview(account_id=self.get_object().pk, rule_set=rule_set, tier=tier, at=now())
        return Response({"tier": tier} | told)

    @extend_schema(responses=serializers.ScoreChangeShown(many=True))
    @action(detail=True)
    def history(self, request: Request, pk: str) -> Response:
        """List the changes of an account's scores, the newest first."""
        changes = ScoreChange.objects.filter(account=self.get_object()).select_related("rule_set", "version")
        changes = facts.with_users(changes)
        return self.page(changes.defer("version__text", "version__document"), serializers.ScoreChangeShown)

    @extend_schema(request=bodies.Merge, responses=serializers.MergeShown)
    @action(detail=True, methods=["post"])
    def merge(self, request: Request, pk: str) -> Response:
        """Let an account count for another from now on, for ever back; `dry_run` only shows what that would be."""
        account, said = self.get_object(), self.read(bodies.Merge)
        into = facts.account_named(external_id=said["into"])
        if into is None:
            raise ValidationError({"into": f"no account is known as {said['into'][:200]!r}"})
        shown = serializers.MergeShown(_preview(account, into, merged=not said["dry_run"])).data
        if not said["dry_run"]:
            facts.merge_accounts(other=account, into=into, by=auth.person(request=request), at=now())
            bell.ring(shards=[shard_of(account.pk), shard_of(into.pk)])
        return Response(shown)

    @extend_schema(request=bodies.Nothing, responses=serializers.AccountRow)
    @action(detail=True, methods=["post"])
    def separate(self, request: Request, pk: str) -> Response:
        """Let a merged account stand for itself again; what it counts follows by a job. Leads stay where they are."""
        self.read(bodies.Nothing)
        account = facts.separate_account(account=self.get_object(), at=now())
        bell.ring(shards=[shard_of(account.pk)])
        return Response(serializers.AccountRow(account).data)


def _preview(account: Account, into: Account, *, merged: bool) -> dict[str, Any]:
    """Return what both sides have; read before anything is merged."""
    seen = facts.preview_merge(other=account, into=into, as_of=now().date())
    together = {name: getattr(seen, name) for name in ("users", "events", "outcomes")}
    return {"merged": merged, "other": _side(seen.other), "into": _side(seen.into), **together}


def _side(side: facts.Side) -> dict[str, Any]:
    known = {field.name: getattr(side, field.name) for field in fields(side)}
    return known | {"open_leads": list(queue.open_leads(account=side.account))}


def _scores() -> "Prefetch[str, QuerySet[Score], str]":
    """Of users, only those with a tier: there may be thousands."""
    light = Score.objects.select_related("rule_set", "version").defer("ledger", "version__text", "version__document")
    told = facts.with_users(light.filter(Q(user=None) | ~Q(tier="")))
    return Prefetch("scores", told.order_by("rule_set", "pk"))


def _with_next_change(account: Account, user: str | None, today: date) -> Iterator[Score]:
    """Yield the account's scores, or those of a user by some id, each with what silence will make, and what is missing.

    Of users that are not named, the foremost by each rule set.
    """
    mine = facts.with_users(Score.objects.filter(account=account).select_related("rule_set", "version"))
    if user is not None:
        found = mine.none() if "\0" in user else mine.filter(user__identities__value=user).order_by("rule_set")
    else:
        found = mine.order_by("rule_set", *queue.FOREMOST).distinct("rule_set")
    for score in found:
        document = rules.document_of(score.version)
        score.next_change = _next_change(score, document, today)  # type: ignore[attr-defined]
        score.missing = reaching.reach(  # type: ignore[attr-defined]
            score.ledger, document=document, tier=score.tier, status=score.status, as_of=max(score.as_of, today)
        )
        yield score


def _next_change(score: Score, document: Document, today: date) -> dict[str, Any] | None:
    change = engine.next_change(document, account=score.account_id, user=score.user_id, as_of=today)
    if change is None:
        return None
    day, then = change
    return {
        "on": day,
        "usage": then.usage,
        "fit": then.fit,
        "tier": then.tier,
        "is_pql": then.is_pql,
        "status": then.status,
        "rules": list(_changed_rules(score.ledger, then.ledger)),
    }


def _changed_rules(ledger: dict[str, Any], then: dict[str, Any]) -> Iterator[dict[str, Any]]:
    later = {line["rule"]: line for line in then["lines"] if line["rule"]}
    for line in ledger["lines"]:
        other = later.get(line["rule"], line)
        if (line["met"], line["points"]) != (other["met"], other["points"]):
            yield {
                "rule": line["rule"],
                "name": line["name"],
                "met": line["met"],
                "met_then": other["met"],
                "points": line["points"],
                "points_then": other["points"],
            }


class OutcomeView(Door):
    """Conversions, wherever they come from."""

    rights = {"list": OVERSEERS, "create": OWNERS}
    filters = {"list": lists.OutcomeFilter}
    queryset = Outcome.objects.select_related("account", "source")

    @extend_schema(responses=serializers.OutcomeShown(many=True))
    def list(self, request: Request) -> Response:
        """List outcomes, the newest first."""
        return self.page(self.get_queryset(), serializers.OutcomeShown)

    @extend_schema(request=bodies.NewOutcome, responses={201: serializers.OutcomeShown, 200: serializers.OutcomeShown})
    def create(self, request: Request) -> Response:
        """Record an outcome once: 201 if it is new, 200 with the stored one if its message_id is known.

        `won` and `lost`, as CRMs say it, close the account's accepted leads.
        """
        said, received_at = self.read(bodies.NewOutcome), now()
        account = facts.account_named(external_id=said["account"])
        if account is None:
            raise ValidationError({"account": f"no account is known as {said['account'][:200]!r}"})
        outcome, is_new = leads.record_outcome(
            account=account,
            kind=said["kind"],
            at=said.get("at", received_at),
            received_at=received_at,
            message_id=said["message_id"],
            source=auth.source(request=request),
            amount=said["amount"],
            by=auth.person(request=request),
        )
        bell.ring(shards=[shard_of(outcome.account_id)])
        return Response(serializers.OutcomeShown(outcome).data, status=201 if is_new else 200)


class ExclusionView(Door):
    """Who must not count: internal users, tests, competitors, bots."""

    rights = {"list": OVERSEERS, "retrieve": OVERSEERS, "create": OWNERS, "destroy": OWNERS}
    filters = {"list": lists.ExclusionFilter}
    queryset = Exclusion.objects.all()

    @extend_schema(responses=serializers.ExclusionShown(many=True))
    def list(self, request: Request) -> Response:
        """List exclusions, the newest first."""
        return self.page(self.get_queryset(), serializers.ExclusionShown)

    @extend_schema(responses=serializers.ExclusionShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show an exclusion."""
        return Response(serializers.ExclusionShown(get_object_or_404(self.get_queryset(), pk=pk)).data)

    @extend_schema(request=bodies.NewExclusion, responses={201: serializers.ExclusionShown})
    def create(self, request: Request) -> Response:
        """Exclude somebody; the accounts that this changes are rescored."""
        said = self.read(bodies.NewExclusion)
        exclusion = facts.exclude(**said, by=auth.person(request=request), at=now())
        bell.ring(shards=range(SHARDS))
        return Response(serializers.ExclusionShown(exclusion).data, status=201)

    @extend_schema(responses={200: serializers.ExclusionShown})  # of a DELETE it would be taken for a 204
    def destroy(self, request: Request, pk: str) -> Response:
        """Let them count again from today on. The exclusion stays on record, with its end."""
        exclusion = get_object_or_404(self.get_queryset(), pk=pk)
        facts.lift_exclusion(exclusion=exclusion, at=now())
        bell.ring(shards=range(SHARDS))
        return Response(serializers.ExclusionShown(exclusion).data)
