"""PQL definitions: rule sets, their versions, the signals that they read, and the jobs that publish them."""

from collections import defaultdict
from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from pqlapp import bell
from pqlapp.api import auth, bodies, problems, serializers
from pqlapp.api import filters as lists
from pqlapp.api.permissions import OVERSEERS, OWNERS
from pqlapp.api.views.door import Door, accepted, now
from scoring import language, rules
from scoring.models import Job, RuleSet, RuleVersion, Signal

RULE_SETS = RuleSet.objects.select_related("live_version").defer("live_version__text", "live_version__document")


class RuleSetView(Door):
    """PQL definitions and what is live of them."""

    rights = {"list": OVERSEERS, "retrieve": OVERSEERS, "rollback": OWNERS}
    filters = {"list": None}
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

    @extend_schema(request=bodies.Publish, responses={202: serializers.JobShown})
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, slug: str) -> Response:
        """Make the version live again that was live before the present one; a job does it."""
        rule_set, note = _rule_set(slug), self.read(bodies.Publish)["note"]
        return _roll_back(request, rule_set, note)


class RuleVersionView(Door):
    """Versions. A draft may change; a published version never does."""

    rights = {
        "list": OVERSEERS,
        "retrieve": OVERSEERS,
        "create": OWNERS,
        "partial_update": OWNERS,
        "validate": OWNERS,
        "publish": OWNERS,
        "rollback": OWNERS,
    }
    filters = {"list": lists.RuleVersionFilter}
    queryset = RuleVersion.objects.select_related("rule_set")

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

    @extend_schema(request=bodies.RuleText, responses=serializers.RuleVersionShown)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Give a draft a new text."""
        version = self._version(pk)
        return _shown(rules.change(version=version, text=self.read(bodies.RuleText)["text"]))

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

    @extend_schema(request=bodies.Publish, responses={202: serializers.JobShown})
    @action(detail=True, methods=["post"])
    def publish(self, request: Request, pk: str) -> Response:
        """Make a version the live one; a job does it: follow it at /api/v1/jobs/{id}."""
        version, note = self._version(pk), self.read(bodies.Publish)["note"]
        job = rules.publish(version=version, note=note, by=auth.person(request=request), at=now())
        bell.ring_for_job(job=job)
        return accepted(job)

    @extend_schema(request=bodies.Publish, responses={202: serializers.JobShown})
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, pk: str) -> Response:
        """Take the live version back: the one before it becomes live again; a job does it."""
        version, note = self._version(pk), self.read(bodies.Publish)["note"]
        if version.rule_set.live_version_id != version.pk:
            raise problems.NotLive(f"{version} is not live, so there is nothing to take back")
        return _roll_back(request, version.rule_set, note)

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


def _roll_back(request: Request, rule_set: RuleSet, note: str) -> Response:
    job = rules.rollback(rule_set=rule_set, note=note, by=auth.person(request=request), at=now())
    bell.ring_for_job(job=job)
    return accepted(job)


def _shown(version: RuleVersion, *, status: int = 200) -> Response:
    return Response(serializers.RuleVersionShown(version).data, status=status)


def _uses() -> dict[str, list[dict[str, Any]]]:
    """Return by digest which live versions read the signal, under which name."""
    uses: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for rule_set in RuleSet.objects.filter(live_version__isnull=False).select_related("live_version").order_by("slug"):
        if rule_set.live_version:
            for name, signal in language.signals_of(rules.document_of(rule_set.live_version)).items():
                uses[language.signal_digest(signal)].append({"rule_set": rule_set.slug, "name": name})
    return uses
