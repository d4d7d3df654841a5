"""PQL definitions: rule sets, their versions, the signals that they read, and the jobs that publish them."""

from collections import defaultdict
from dataclasses import fields
from typing import Any

from django.contrib.auth.models import User
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from pqlapp import bell
from pqlapp.api import auth, bodies, problems, serializers
from pqlapp.api import filters as lists
from pqlapp.api.permissions import OVERSEERS, OWNERS
from pqlapp.api.views.door import Door, accepted, now
from routing import forecast
from scoring import facts, language, rules
from scoring.models import Account, Job, RuleSet, RuleVersion, Signal

USUAL, MOST_CHANGES = 100, 100_000  # accounts of each kind that a diff lists
LIMIT = [OpenApiParameter("limit", int, description=f"accounts of each kind: {USUAL}, up to {MOST_CHANGES}")]
RULE_SETS = RuleSet.objects.select_related("live_version").defer("live_version__text", "live_version__document")


class RuleSetView(Door):
    """PQL definitions and what is live of them."""

    rights = {
        "list": OVERSEERS,
        "retrieve": OVERSEERS,
        "rollback": OWNERS,
        "rollback_diff": OVERSEERS,
        "cancel": OWNERS,
    }
    filters = {"list": None}
    parameters = {"rollback_diff": ("limit",)}
    lookup_field = "slug"
    lookup_value_regex = "[a-z0-9_-]{1,64}"
    queryset = RULE_SETS
    newest_first = False

    @extend_schema(responses=serializers.RuleSetRow(many=True))
    def list(self, request: Request) -> Response:
        """List rule sets."""
        return self.page(self.get_queryset(), serializers.RuleSetRow)

    @extend_schema(responses=serializers.RuleSetShown)
    def retrieve(self, request: Request, slug: str) -> Response:
        """Show a rule set with its newest publications."""
        return Response(serializers.RuleSetShown(_rule_set(slug)).data)

    @extend_schema(request=bodies.RollBack, responses={202: serializers.JobShown})
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, slug: str) -> Response:
        """Make the version live again that the live one replaced; a job does it."""
        return _roll_back(request, _rule_set(slug), self.read(bodies.RollBack))

    @extend_schema(parameters=LIMIT, responses=serializers.DiffShown)
    @rollback.mapping.get
    def rollback_diff(self, request: Request, slug: str) -> Response:
        """Say what rolling back would change, for every account. Changes nothing."""
        return _diff_shown(request, rules.diff_of_roll_back(rule_set=_rule_set(slug), at=now()))

    @extend_schema(request=bodies.Nothing, responses=serializers.JobShown)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, slug: str) -> Response:
        """End the publication that waits for its time, or still reads history."""
        self.read(bodies.Nothing)
        job = rules.cancel(rule_set=_rule_set(slug), by=auth.person(request=request), at=now())
        return Response(serializers.JobShown(job).data)


class RuleVersionView(Door):
    """Versions. A draft may change; a published version never does."""

    rights = {
        "list": OVERSEERS,
        "retrieve": OVERSEERS,
        "create": OWNERS,
        "partial_update": OWNERS,
        "validate": OWNERS,
        "diff": OVERSEERS,
        "prepare": OWNERS,
        "publish": OWNERS,
        "rollback": OWNERS,
        "review": OWNERS,
    }
    filters = {"list": lists.RuleVersionFilter}
    parameters = {"diff": ("limit",)}
    queryset = RuleVersion.objects.select_related("rule_set", "owner")

    @extend_schema(responses=serializers.RuleVersionRow(many=True))
    def list(self, request: Request) -> Response:
        """List versions, the newest first."""
        return self.page(self.get_queryset().defer("text", "document"), serializers.RuleVersionRow)

    @extend_schema(responses=serializers.RuleVersionShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show a version with its text."""
        return _shown(self._version(pk))

    @extend_schema(
        request=bodies.RuleText, responses={201: serializers.RuleVersionShown, 200: serializers.RuleVersionShown}
    )
    def create(self, request: Request) -> Response:
        """Store a text as the newest draft of its rule set: 201, or 200 if the newest version says just this."""
        text, at = self.read(bodies.RuleText)["text"], now()
        version = rules.draft(text=text, by=auth.person(request=request), at=at)
        return _shown(version, status=201 if version.created_at == at else 200)

    @extend_schema(request=bodies.ChangedText, responses=serializers.RuleVersionShown)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Give a draft a new text. If-Match or `revision` says which text it replaces: no other is overwritten."""
        version, said = self._version(pk), self.read(bodies.ChangedText)
        revision = said.get("revision") or _revision_of(request.headers.get("If-Match", ""))
        return _shown(rules.change(version=version, text=said["text"], revision=revision))

    @extend_schema(request=bodies.RuleText, responses=serializers.Validated)
    @action(detail=False, methods=["post"])
    def validate(self, request: Request) -> Response:
        """Say everything that is wrong with a text, and store nothing."""
        text = self.read(bodies.RuleText)["text"]
        try:
            language.parse(text)
        except language.Invalid as invalid:
            return Response({"valid": False, "faults": problems.faults_of(invalid=invalid)})
        return Response({"valid": True, "faults": []})

    @extend_schema(parameters=LIMIT, responses=serializers.DiffShown)
    @action(detail=True)
    def diff(self, request: Request, pk: str) -> Response:
        """Say what the version would change, for every account and AE. Changes nothing; `seen` lets it be published."""
        return _diff_shown(request, rules.diff(version=self._version(pk), at=now()))

    @extend_schema(request=bodies.Nothing, responses={202: serializers.JobShown, 204: None})
    @action(detail=True, methods=["post"])
    def prepare(self, request: Request, pk: str) -> Response:
        """Read history for the version's new signals, so that it can be compared; 204: there is nothing to read."""
        self.read(bodies.Nothing)
        job = rules.prepare(version=self._version(pk), by=auth.person(request=request), at=now())
        if job is None:
            return Response(status=204)
        bell.ring_for_job(job=job)
        return accepted(job)

    @extend_schema(request=bodies.Publish, responses={202: serializers.JobShown})
    @action(detail=True, methods=["post"])
    def publish(self, request: Request, pk: str) -> Response:
        """Make a version the live one, now or at a set time; a job does it: follow it at /api/v1/jobs/{id}."""
        version, said = self._version(pk), self.read(bodies.Publish)
        job = rules.publish(version=version, by=auth.person(request=request), at=now(), **said)
        if said["on"] is None:
            bell.ring_for_job(job=job)
        return accepted(job)

    @extend_schema(request=bodies.RollBack, responses={202: serializers.JobShown})
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, pk: str) -> Response:
        """Take the live version back: the one that it replaced becomes live again; a job does it."""
        version, said = self._version(pk), self.read(bodies.RollBack)
        if version.rule_set.live_version_id != version.pk:
            raise problems.NotLive(f"{version} is not live, so there is nothing to take back")
        return _roll_back(request, version.rule_set, said)

    @extend_schema(request=bodies.Review, responses=serializers.RuleVersionShown)
    @action(detail=True, methods=["post"])
    def review(self, request: Request, pk: str) -> Response:
        """Say who answers for a published version, and when it is looked at again."""
        version, said = self._version(pk), self.read(bodies.Review)
        owner = User.objects.filter(username=said["owner"]).first()
        if owner is None and said["owner"] is not None:
            raise ValidationError({"owner": f"nobody logs in as {said['owner']!r}"})
        return _shown(rules.review(version=version, owner=owner, on=said["review_on"]))

    def _version(self, pk: str) -> RuleVersion:
        version: RuleVersion = get_object_or_404(self.get_queryset(), pk=pk)
        return version


class SignalView(Door):
    """The behaviours that are counted."""

    rights = {"list": OVERSEERS}
    filters = {"list": None}
    queryset = Signal.objects.all()
    newest_first = False

    @extend_schema(responses=serializers.SignalShown(many=True))
    def list(self, request: Request) -> Response:
        """List the signals that tiles are kept for, and which live versions read them under which names."""
        return self.page(self.get_queryset(), serializers.SignalShown, uses=_uses())


class JobView(Door):
    """Long work, such as a publication."""

    rights = {"list": OVERSEERS, "retrieve": OVERSEERS}
    filters = {"list": lists.JobFilter}
    queryset = Job.objects.all()

    @extend_schema(responses=serializers.JobShown(many=True))
    def list(self, request: Request) -> Response:
        """List jobs, the newest first."""
        return self.page(self.get_queryset(), serializers.JobShown)

    @extend_schema(responses=serializers.JobShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show a job and how far it is."""
        return Response(serializers.JobShown(get_object_or_404(self.get_queryset(), pk=pk)).data)


def _rule_set(slug: str) -> RuleSet:
    rule_set = RULE_SETS.filter(slug=slug).first()
    if rule_set is None:
        raise Http404(f"no rule set is called {slug!r}")
    return rule_set


def _roll_back(request: Request, rule_set: RuleSet, said: dict[str, Any]) -> Response:
    job = rules.roll_back(rule_set=rule_set, by=auth.person(request=request), at=now(), **said)
    bell.ring_for_job(job=job)
    return accepted(job)


def _diff_shown(request: Request, diff: rules.Diff) -> Response:
    most = _limit(request)
    listed = {kind: diff.of(kind)[:most] for kind in ("enters", "leaves", "moves")}
    accounts = Account.objects.in_bulk([change.account_id for changes in listed.values() for change in changes])
    people = facts.known_as(users=(c.user_id for changes in listed.values() for c in changes))
    changes = {
        kind: [
            {
                "account": accounts[c.account_id],
                "user": people.get(c.user_id or 0),
                "before": c.before,
                "after": c.after,
            }
            for c in of_kind
        ]
        for kind, of_kind in listed.items()
    }
    told = {field.name: getattr(diff, field.name) for field in fields(diff)} | {"counts": diff.counts}
    sizes = [{"tier": tier, "before": before, "after": after} for tier, (before, after) in diff.sizes.items()]
    load = forecast.load_of(diff=diff, at=now())
    return Response(serializers.DiffShown({**told, "sizes": sizes, **changes, "load": load}).data)


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(USUAL))
    if not (text.isascii() and text.isdigit() and 0 <= len(text) < 7 and int(text) <= MOST_CHANGES):
        raise ValidationError({"limit": f"must be a whole number up to {MOST_CHANGES:,}"})
    return int(text)


def _revision_of(header: str) -> int:
    """Return the revision that an If-Match names, as the ETag of a version does. Raises NoRevision."""
    text = header.strip().strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise problems.NoRevision("send If-Match with the ETag of the draft as you read it, or `revision` in the body")
    return int(text)


def _shown(version: RuleVersion, *, status: int = 200) -> Response:
    shown = serializers.RuleVersionShown(version).data
    return Response(shown, status=status, headers={"ETag": f'"{version.revision}"'})


def _uses() -> dict[str, list[dict[str, Any]]]:
    """Return by digest which live versions read the signal, under which name."""
    uses: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for rule_set in RuleSet.objects.filter(live_version__isnull=False).select_related("live_version").order_by("slug"):
        if rule_set.live_version:
            for name, signal in language.signals_of(rules.document_of(rule_set.live_version)).items():
                uses[language.signal_digest(signal)].append({"rule_set": rule_set.slug, "name": name})
    return uses
