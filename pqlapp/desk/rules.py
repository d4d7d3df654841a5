"""The pages of PQL definitions, for admins: what is live, every version, the editor, publishing and going back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.cache import cache
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from pqlapp.desk import reads
from pqlapp.desk.access import ADMINS, Viewer, only, show
from pqlapp.desk.editor import acts, counting, document, rows, writing
from pqlapp.desk.editor.document import Edited
from scoring import explain, facts, jobs, language, previews, rules
from scoring.engine import Subject
from scoring.language import Document, Fault
from scoring.models import Account, Job, Publication, RuleSet, RuleVersion, Score

KEPT = 60  # seconds for which the names that arrived are kept: they are in every form
NAMES_SHOWN = 60
BEGINNING = """\
slug: new-definition
name: New definition
motion: new-business
signals: {}
groups:
  activity: {score: usage, cap: 100}
rules:
  - {id: active, name: Somebody was there, group: activity, points: 10, when: {count: any, within: 14, at_least: 1}}
tiers:
  - {name: hot, pql: true, enter: {usage: 10}, hold: {usage: 10}}
"""


# ---- what there is


@dataclass(frozen=True, slots=True)
class Listed:
    """A rule set as a line of the list."""

    rule_set: RuleSet
    published: Publication | None  # how the live version came to be live
    draft: RuleVersion | None  # the newest version, if it was never published
    sizes: Sequence[tuple[str, int, int]]  # (tier, rank, accounts), best first; no tier last


@require_safe
@only(ADMINS)
def rules_page(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Show every rule set with what is live of it."""
    found = RuleSet.objects.select_related("live_version__rule_set").order_by("name", "pk")
    listed = [_listed(rule_set) for rule_set in found]
    return show(request, viewer, "rules", {"listed": listed, "today": timezone.now().date()})


def _listed(rule_set: RuleSet) -> Listed:
    newest = rule_set.versions.order_by("number").last()
    return Listed(
        rule_set=rule_set,
        published=rule_set.publications.select_related("by").order_by("id").last(),
        draft=newest if newest and newest.published_at is None else None,
        sizes=_sizes(rule_set),
    )


def _sizes(rule_set: RuleSet) -> list[tuple[str, int, int]]:
    if rule_set.live_version is None:
        return []
    counted = _live_sizes(rule_set)
    tiers = [tier.name for tier in rules.document_of(rule_set.live_version).tiers]
    return [(tier, rank, counted.get(tier, 0)) for rank, tier in enumerate(tiers, 1)]


def _live_sizes(rule_set: RuleSet) -> dict[str, int]:
    """Accounts by tier, as they are scored now."""
    scored = Score.objects.filter(rule_set=rule_set, status="scored").order_by()
    return dict(scored.values_list("tier").annotate(n=Count("pk")))


@require_safe
@only(ADMINS)
def rule_set_page(request: HttpRequest, viewer: Viewer, slug: str) -> HttpResponse:
    """Show a rule set: its versions, what was made live when and why, and what is on its way."""
    rule_set = _rule_set(slug)
    return show(
        request,
        viewer,
        "ruleset",
        {
            "listed": _listed(rule_set),
            "rule_set": rule_set,
            "versions": rule_set.versions.select_related("created_by").order_by("-number"),
            "publications": rule_set.publications.select_related("version", "by").order_by("-id"),
            "job": _job_of(rule_set),
            "now": timezone.now(),
        },
    )


def _rule_set(slug: str) -> RuleSet:
    return get_object_or_404(RuleSet.objects.select_related("live_version__rule_set"), slug=slug)


def _version(slug: str, number: int) -> RuleVersion:
    found = RuleVersion.objects.select_related("rule_set__live_version", "created_by")
    return get_object_or_404(found, rule_set__slug=slug, number=number)


def _job_of(rule_set: RuleSet) -> Job | None:
    """What is on its way for the rule set."""
    open_jobs = Job.objects.filter(state__in=jobs.OPEN, arguments__rule_set=rule_set.pk)
    return open_jobs.order_by("id").first()


# ---- the editor


@require_http_methods(["GET", "HEAD", "POST"])
@only(ADMINS)
def new_page(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Write a new definition."""
    return _editor(request, viewer, None, BEGINNING)


@require_http_methods(["GET", "HEAD", "POST"])
@only(ADMINS)
def editor_page(request: HttpRequest, viewer: Viewer, slug: str, number: int) -> HttpResponse:
    """Show a version in the editor; a POST is what one of its buttons does."""
    version = _version(slug, number)
    return _editor(request, viewer, version, version.text)


def _editor(request: HttpRequest, viewer: Viewer, version: RuleVersion | None, text: str) -> HttpResponse:
    if request.method != "POST":
        edited = document.opened(text, view=request.GET.get("view", document.SENTENCES))
        return _shown(request, viewer, version, edited)
    act = request.POST.get("_do", "refresh")
    try:
        edited = document.from_form(_fields(request))
        if act == "save":
            return _save(request, viewer, version, edited)
        return _shown(request, viewer, version, document.done(edited, act))
    except acts.NoSuchAct as error:
        messages.error(request, f"{error}")
        return _shown(request, viewer, version, document.opened(text))


def _fields(request: HttpRequest) -> dict[str, str]:
    return {name: str(value) for name, value in request.POST.items()}


def _shown(
    request: HttpRequest, viewer: Viewer, version: RuleVersion | None, edited: Edited, faults: Sequence[Fault] = ()
) -> HttpResponse:
    """The editor with what stands in it. Whether the document has faults is told where somebody changed it."""
    now = timezone.now()
    told = [*edited.faults, *faults]
    page = rows.page_of(edited.sheet, faults=told, events=_events(now)) if edited.view != document.YAML else None
    context = {
        "version": version,
        "edited": edited,
        "page": page,
        "focus": _focus(page, edited.focus) if page else "",
        "faults": told,
        "is_live": version is not None and version.rule_set.live_version_id == version.pk,
        "is_changed": version is None or edited.written != version.text,
        "revision": request.POST.get("_revision", getattr(version, "revision", "")),
        "here": request.path,
    }
    response = show(request, viewer, "editor", context)
    return trigger_client_event(response, "edited", after="settle")


def _focus(page: rows.Page, name: str) -> str:
    """Return the id of the element to go on at."""
    row = next((row for row in page.all() if name and row.name == name), None)
    return row.first() if row else ""


def _events(now: datetime) -> list[tuple[str, str]]:
    """Names of events that arrived, each with how often and when last."""
    seen: list[facts.Seen] = cache.get_or_set("events-seen", lambda: facts.events_seen(at=now), KEPT) or []
    return [(each.name, _seen_words(each, now)) for each in seen[:NAMES_SHOWN]]


def _seen_words(seen: facts.Seen, now: datetime) -> str:
    last = f", last on {explain.day(seen.last_at.date(), now.date())}" if seen.last_at else ""
    return f"{'≈ ' if seen.is_estimate else ''}{seen.count:,}{last}"


def _save(request: HttpRequest, viewer: Viewer, version: RuleVersion | None, edited: Edited) -> HttpResponse:
    """Store the draft, if nothing is wrong with it, and lead to it."""
    if edited.document is None:
        messages.error(request, "Nothing is saved yet: what is wrong stands beside the rows.")
        return _shown(request, viewer, version, edited)
    try:
        saved = _stored(viewer, version, edited, edited.document, request.POST.get("_revision", ""))
    except language.Invalid as invalid:
        return _shown(request, viewer, version, edited, invalid.faults)
    except (rules.IsPublished, rules.IsScheduled, rules.EditedMeanwhile) as refusal:
        messages.error(request, f"{refusal}")
        return _shown(request, viewer, version, edited)
    messages.success(request, f"Saved as {saved}.")
    address = reverse("rule-version", args=[saved.rule_set.slug, saved.number])
    if edited.view == document.YAML:
        address += f"?view={document.YAML}"
    return _led_to(request, address)


def _stored(
    viewer: Viewer, version: RuleVersion | None, edited: Edited, written: Document, revision: str
) -> RuleVersion:
    """A draft is changed; of a published version, and of nothing, a new draft is made."""
    if version is not None and version.published_at is None:
        return rules.change(version=version, text=edited.written, revision=int(revision) if revision.isdecimal() else 0)
    taken = RuleSet.objects.filter(slug=written.slug).exists()
    if version is None and taken:
        raise language.Invalid([Fault("slug", f"{written.slug!r} is taken: open that rule set, or take another id")])
    if version is not None and written.slug != version.rule_set.slug:
        told = f"must stay {version.rule_set.slug!r}; another id is another rule set"
        raise language.Invalid([Fault("slug", told)])
    return rules.draft(text=edited.written, by=viewer.user, at=timezone.now())


def _led_to(request: HttpRequest, address: str) -> HttpResponse:
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(address)
    return HttpResponseRedirect(address)


# ---- what the editor looks up while one writes


@require_POST
@only(ADMINS)
def preview(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Say beside each row, and beside the document, what it would find today. Changes nothing."""
    now = timezone.now()
    rule_set = RuleSet.objects.filter(slug=request.POST.get("_of", "")).first()
    try:
        edited = document.from_form(_fields(request))
    except acts.NoSuchAct as error:
        return render(request, "desk/_counts.html", {"error": f"{error}"})
    page = rows.page_of(edited.sheet, faults=edited.faults) if edited.view != document.YAML else None
    told = list(page.all()) if page else []
    context: dict[str, Any] = {"page": page, "rows": told, "faults": edited.faults}
    context["met"] = [(row, "") for row in told if row.is_counted]
    if edited.document is not None:
        context |= _counted(edited.document, page, rule_set, now)
    return render(request, "desk/_counts.html", context)


def _counted(written: Document, page: rows.Page | None, rule_set: RuleSet | None, now: datetime) -> dict[str, Any]:
    try:
        found = previews.preview(document=written, as_of=now.date())
    except previews.TookTooLong as error:
        return {"error": f"{error}"}
    live = _live_sizes(rule_set) if rule_set and rule_set.live_version_id else None
    near = [(each.account, each.user) for each in (*found.below, *found.above)]
    words = {path: counting.met_words(met, found) for path, met in found.met.items()}
    counted = (row for row in page.all() if row.is_counted) if page else ()
    tiers = [tier.name for tier in written.tiers]
    return {
        "beside": counting.beside(found, tiers=tiers, live=live, names=_names(near)),
        "has_live": live is not None,
        "met": [(row, words.get(row.path, "")) for row in counted],
    }


def _names(subjects: Sequence[Subject]) -> dict[Subject, str]:
    """What accounts are called, by their ids where they do not say; where users are judged, who of them."""
    accounts = [account for account, _ in subjects]
    names = dict(Account.objects.filter(pk__in=accounts).values_list("pk", "external_id")) | reads.names_of(accounts)
    people = reads.names_of_people(user for _, user in subjects)
    return {(a, user): f"{names[a]}: {people[user]}" if user else names[a] for a, user in subjects}


@require_safe
@only(ADMINS)
def hints(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """List what really arrived, to fill in a blank: names, properties, traits or values, with their counts."""
    now, asked = timezone.now(), request.GET
    events = writing.read_list(asked.get("event", ""), texts=True)
    trait, key = writing.read_text(asked.get("trait", "")), writing.read_text(asked.get("property", ""))
    if trait:
        found = [(_value(seen.name), seen) for seen in facts.trait_values_seen(key=trait)]
    elif events and key:
        found = [(_value(seen.name), seen) for seen in facts.values_seen(event=events[0], key=key, at=now)]
    elif events:
        found = [(seen.name, seen) for seen in facts.properties_seen(event=events[0], at=now)]
    else:
        found = [(seen.name, seen) for seen in HINTS.get(asked.get("of", ""), list)()]
    options = [(value, _seen_words(seen, now)) for value, seen in found]
    return render(request, "desk/_hints.html", {"options": options})


HINTS: dict[str, Callable[[], list[facts.Seen]]] = {
    "events": lambda: facts.events_seen(at=timezone.now()),
    "traits": facts.traits_seen,
    "outcomes": facts.outcomes_seen,
}


def _value(as_json: str) -> str:
    """A value as one writes it in a blank."""
    try:
        return writing.written(writing.read_data(as_json))
    except language.Invalid:
        return as_json
