"""What a version would change, and making it live: first the diff, then the button. For admins."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from pqlapp import bell
from pqlapp.desk import reads
from pqlapp.desk.access import ADMINS, Viewer, only, show
from routing import forecast
from scoring import engine, rules
from scoring.models import Account, Job, RuleSet, RuleVersion
from scoring.rules import Diff

LISTED = 50  # accounts of each kind
KINDS = {"enters": "Become PQLs", "leaves": "Are no PQLs any more", "moves": "Change their tier otherwise"}
REFUSALS = (
    rules.AlreadyLive,
    rules.PublishRunning,
    rules.NothingToRollBackTo,
    rules.NothingToCancel,
    rules.LiveAlready,
    rules.NoteMissing,
    rules.NotSeen,
    rules.WrongTime,
)


class Decided(forms.Form):
    """Why, after which diff, and when."""

    note = forms.CharField(max_length=2000, error_messages={"required": "Say why: people read it beside the version."})
    seen = forms.CharField(max_length=1000)
    on = forms.DateTimeField(required=False)


class GoneBack(forms.Form):
    """Why."""

    note = forms.CharField(required=False, max_length=2000)


@require_safe
@only(ADMINS)
def compare_page(request: HttpRequest, viewer: Viewer, slug: str, number: int) -> HttpResponse:
    """Show what a version would change for every account and AE, with the form that publishes it."""
    version = _version(slug, number)
    now = timezone.now()
    context: dict[str, Any] = {"version": version, "now": now}
    try:
        diff = rules.diff(version=version, at=now)
    except engine.SignalsMissing as missing:
        return show(request, viewer, "compare", context | {"missing": f"{missing}"})
    return show(request, viewer, "compare", context | _told(diff) | {"load": forecast.load_of(diff=diff, at=now)})


def _told(diff: Diff) -> dict[str, Any]:
    kinds = [(kind, words, diff.of(kind)) for kind, words in KINDS.items()]
    shown = [change.account_id for _, _, changes in kinds for change in changes[:LISTED]]
    names = dict(Account.objects.filter(pk__in=shown).values_list("pk", "external_id")) | reads.names_of(shown)
    people = reads.names_of_people(change.user_id for _, _, changes in kinds for change in changes[:LISTED])
    listed = [
        (
            words,
            len(changes),
            [(change, names[change.account_id], people.get(change.user_id or 0, "")) for change in changes[:LISTED]],
        )
        for _, words, changes in kinds
    ]
    sizes = [(tier, before, after, after - before) for tier, (before, after) in diff.sizes.items()]
    return {"diff": diff, "kinds": listed, "sizes": sizes}


@require_POST
@only(ADMINS)
def publish(request: HttpRequest, viewer: Viewer, slug: str, number: int) -> HttpResponse:
    """Make a version live, now or at a set time (UTC)."""
    version = _version(slug, number)
    back = reverse("compare", args=[slug, number])
    form = Decided(request.POST)
    if not form.is_valid():
        return _refused(request, " ".join(str(e) for errors in form.errors.values() for e in errors), back)
    said = form.cleaned_data
    verb = lambda: rules.publish(version=version, by=viewer.user, at=timezone.now(), **said)  # noqa: E731
    return _done(request, verb, back=back, to=reverse("rule-set", args=[slug]), ring=said["on"] is None)


@require_POST
@only(ADMINS)
def roll_back(request: HttpRequest, viewer: Viewer, slug: str) -> HttpResponse:
    """Make the version live again that the live one replaced."""
    rule_set = get_object_or_404(RuleSet, slug=slug)
    form = GoneBack(request.POST)
    note = form.cleaned_data["note"] if form.is_valid() else ""
    page = reverse("rule-set", args=[slug])
    return _done(
        request,
        lambda: rules.roll_back(rule_set=rule_set, note=note, by=viewer.user, at=timezone.now()),
        back=page,
        to=page,
    )


@require_POST
@only(ADMINS)
def cancel(request: HttpRequest, viewer: Viewer, slug: str) -> HttpResponse:
    """End the publication that waits, or still reads history."""
    rule_set = get_object_or_404(RuleSet, slug=slug)
    page = reverse("rule-set", args=[slug])
    return _done(
        request,
        lambda: rules.cancel(rule_set=rule_set, by=viewer.user, at=timezone.now()),
        back=page,
        to=page,
        ring=False,
    )


@require_POST
@only(ADMINS)
def prepare(request: HttpRequest, viewer: Viewer, slug: str, number: int) -> HttpResponse:
    """Read the history of a version's new signals, so that it can be counted and compared."""
    version = _version(slug, number)
    page = reverse("rule-version", args=[slug, number])
    return _done(
        request,
        lambda: rules.prepare(version=version, by=viewer.user, at=timezone.now()),
        back=page,
        to=page,
    )


def _version(slug: str, number: int) -> RuleVersion:
    found = RuleVersion.objects.select_related("rule_set__live_version", "rule_set")
    return get_object_or_404(found, rule_set__slug=slug, number=number)


def _done(
    request: HttpRequest, verb: Callable[[], Job | None], *, back: str, to: str, ring: bool = True
) -> HttpResponseRedirect:
    try:
        job = verb()
    except REFUSALS as refusal:
        return _refused(request, f"{refusal}", back)
    if job is not None and ring:
        bell.ring_for_job(job=job)
    return HttpResponseRedirect(to)


def _refused(request: HttpRequest, words: str, back: str) -> HttpResponseRedirect:
    messages.error(request, words)
    return HttpResponseRedirect(back)
