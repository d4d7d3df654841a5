"""The pages that publish a version and roll it back: first what that would change, then the button."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from scoring import engine, facts, rules
from scoring.admin.words import moment, points, who
from scoring.backstage import AdminPages, act, link, table
from scoring.engine import Standing
from scoring.models import Account, RuleSet, RuleVersion
from scoring.rules import Change, Diff

REFUSALS = (
    rules.AlreadyLive,
    rules.PublishRunning,
    rules.NothingToRollBackTo,
    rules.NoteMissing,
    rules.WrongTime,
)
LISTED = 50  # accounts of each kind on the page
HEADS = {"enters": "Become PQLs", "leaves": "Are no PQLs any more", "moves": "Change their tier otherwise"}
TOUCHED = "Leads that somebody has touched stay."
TITLE = '<h2 class="font-semibold text-important mt-6 mb-2">{} ({})</h2>'


class Decided(forms.Form):
    """Why, after which diff."""

    note = forms.CharField(label="Why", max_length=2000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
    seen = forms.CharField(max_length=1000, widget=forms.HiddenInput)


class DecidedWhen(Decided):
    """Also when, if not now."""

    on = forms.DateTimeField(
        label="Go live at",
        required=False,
        help_text="UTC; now, if it is left empty",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
    )
    field_order = ("note", "on", "seen")


class DecidedBack(Decided):
    """One may go back without saying why."""

    note = forms.CharField(
        label="Why", required=False, max_length=2000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )


def publish(pages: AdminPages, request: HttpRequest, version: RuleVersion) -> HttpResponse:
    """Show what the version would change, then publish it."""
    if version.rule_set.live_version_id == version.pk:
        messages.error(request, f"{version} is live already")
        return HttpResponseRedirect(pages.page_of(version))
    at = timezone.now()
    return _look_then_act(
        pages,
        request,
        version,
        of=version,
        title=f"Publish {version}",
        button="Publish",
        form_class=DecidedWhen,
        at=at,
        do=lambda said: rules.publish(version=version, by=who(request), at=at, **said),
    )


def roll_back(pages: AdminPages, request: HttpRequest, rule_set: RuleSet) -> HttpResponse:
    """Show what rolling back would change, then do it."""
    at = timezone.now()
    try:
        target = rules.version_before(rule_set)
    except rules.NothingToRollBackTo as refusal:
        messages.error(request, f"{refusal}")
        return HttpResponseRedirect(pages.page_of(rule_set))

    return _look_then_act(
        pages,
        request,
        target,
        of=rule_set,
        title=f"Roll back to {target}",
        button="Roll back",
        form_class=DecidedBack,
        at=at,
        do=lambda said: rules.roll_back(rule_set=rule_set, by=who(request), at=at, **said),
    )


def read_history(pages: AdminPages, request: HttpRequest, version: RuleVersion) -> HttpResponse:
    """Have history read for the version's new signals."""
    return act(
        pages,
        request,
        version,
        title=f"Read history for {version}",
        explanation="Some of its signals are new: their past events have to be read before anybody can say what the "
        "version would change. Nothing goes live by it.",
        button="Read history",
        do=lambda said: rules.prepare(version=version, by=who(request), at=timezone.now()) or version,
    )


def _look_then_act(
    pages: AdminPages,
    request: HttpRequest,
    version: RuleVersion,
    *,
    of: RuleVersion | RuleSet,
    title: str,
    button: str,
    form_class: type[Decided],
    at: datetime,
    do: Callable[[Any], Any],
) -> HttpResponse:
    """Look at what the version would change unless a whole form comes back, then ask or act on the page of `of`.

    What was not seen is shown anew.
    """
    try:
        is_whole = request.method == "POST" and form_class(request.POST).is_valid()
        diff = None if is_whole else rules.diff(version=version, at=at)
        return act(
            pages,
            request,
            of,
            title=title,
            explanation=format_html("{}{}", told(pages, diff), _load(version)) if diff else "",
            button=button,
            form_class=form_class,
            initial={"seen": diff.seen} if diff else None,
            refusals=REFUSALS,
            do=do,
        )
    except engine.SignalsMissing as missing:
        messages.info(request, f"It cannot be compared yet: {missing}.")
        return HttpResponseRedirect(_address(version, "read_history"))
    except rules.NotSeen as unseen:
        messages.warning(request, f"Not done: {unseen}. This is what it would change now.")
        return HttpResponseRedirect(request.get_full_path())


def _address(version: RuleVersion, act_name: str) -> str:
    return f"{reverse('admin:scoring_ruleversion_changelist')}{version.pk}/{act_name}/"


def _load(version: RuleVersion) -> SafeString:
    """Return the way to the page that knows pools and AEs, which scoring does not."""
    address = reverse("compare", args=[version.rule_set.slug, version.number])
    return format_html('<p class="mt-4"><a href="{}">What it adds to each pool and AE: on the desk</a></p>', address)


def told(pages: AdminPages, diff: Diff) -> SafeString:
    """Return in words and tables what a version would change."""
    sizes = [
        (tier or "no tier", f"{a:,}", f"{b:,}", f"{b - a:+,}" if b != a else "") for tier, (a, b) in diff.sizes.items()
    ]
    parts = [
        format_html('<p class="mb-4">{} {}</p>', diff.words, TOUCHED),
        table(["Tier", "Now", "Then", "Difference"], sizes),
    ]
    for kind, head in HEADS.items():
        if changes := diff.of(kind):
            parts.append(format_html(TITLE, head, f"{len(changes):,}"))
            parts.append(_changes(pages, changes))
    return format_html_join("\n", "{}", ([part] for part in parts))


def _changes(pages: AdminPages, changes: list[Change]) -> str | SafeString:
    accounts = Account.objects.in_bulk([change.account_id for change in changes[:LISTED]])
    people = facts.known_as(users=(change.user_id for change in changes[:LISTED]))
    rows = [
        (
            link(pages, accounts[change.account_id]),
            *([people[change.user_id]] if change.user_id else []),
            _standing(change.before),
            _standing(change.after),
        )
        for change in changes[:LISTED]
    ]
    shown = table(["Account", *(["User"] if people else []), "Now", "Then"], rows)
    if len(changes) <= LISTED:
        return shown
    return format_html("{}<p>… and {} more; the API lists all of them.</p>", shown, f"{len(changes) - LISTED:,}")


def _standing(standing: Standing) -> str:
    if not standing.status:
        return "not scored"
    name = standing.tier or ("no tier" if standing.status == "scored" else standing.status)
    return f"{name} (usage {points(standing.usage)}, fit {points(standing.fit)})"


def expected(counts: dict[str, int]) -> str:
    """Return in words what a diff said; a dash if none was looked at."""
    if not counts:
        return "-"
    return f"{counts['enters']:,} in, {counts['leaves']:,} out, {counts['moves']:,} moved"


def scheduled(rule_set: RuleSet) -> str:
    """Return in words what waits to go live; a dash if nothing does."""
    job = rules.scheduled(rule_set=rule_set)
    if job is None:
        return "-"
    when = job.arguments.get("on")
    return (
        f"{job.arguments['label']} at {when} (UTC)"
        if when
        else f"{job.arguments['label']} now: {moment(job.created_at)}"
    )
