"""The sources: who sends, how it goes, and how to set a sender up. For admins; each act is a POST and one verb call."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from pqlapp.desk import forms, traffic
from pqlapp.desk.access import ADMINS, Viewer, only, show
from pqlapp.desk.snippets import PLACEHOLDER, snippets
from scoring import facts
from scoring.models import Key, Source

KINDS = {Key.Kind.WRITE: "Write key: public, sends only", Key.Kind.SERVER: "Server key: secret, and for the API"}
LOOKED_AT_FOR = timedelta(minutes=1)  # a page that is open asks again long before


@require_safe
@only(ADMINS)
def sources_page(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Show every source with its traffic, and what came from unknown senders."""
    now = timezone.now()
    found = {"sources": traffic.of_all(at=now), "strangers": traffic.turned_away(None, at=now), "now": now}
    return show(request, viewer, "sources", found)


@require_POST
@only(ADMINS)
def new_source(request: HttpRequest, viewer: Viewer) -> HttpResponseRedirect:
    """Make a source, or find the one that has the name, and lead to its page."""
    form = forms.NewSource(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(str(fault) for faults in form.errors.values() for fault in faults))
        return HttpResponseRedirect(reverse("sources"))
    source = facts.create_source(slug=form.cleaned_data["slug"], at=timezone.now())
    return HttpResponseRedirect(reverse("source", args=[source.slug]))


@require_safe
@only(ADMINS)
def source_page(request: HttpRequest, viewer: Viewer, slug: str) -> HttpResponse:
    """Show one source; to htmx only what changes by itself. Whoever looks has the last calls kept for them."""
    return _source_page(request, viewer, slug, {})


@require_POST
@only(ADMINS)
def new_key(request: HttpRequest, viewer: Viewer, slug: str) -> HttpResponse:
    """Make a key, and show it this once, in the page and in the lines to copy; it goes through no cookie."""
    source = get_object_or_404(Source, slug=slug)
    form = forms.NewKey(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose what the key is to open.")
        return HttpResponseRedirect(reverse("source", args=[slug]))
    kind = form.cleaned_data["kind"]
    key, secret = facts.create_key(source=source, kind=kind, by=viewer.user, at=timezone.now())
    return _source_page(request, viewer, slug, {"made": key, "secret": secret})


@require_POST
@only(ADMINS)
def revoke_key(request: HttpRequest, viewer: Viewer, slug: str, pk: int) -> HttpResponseRedirect:
    """End a key of the source."""
    key = get_object_or_404(Key.objects.select_related("source"), source__slug=slug, pk=pk)
    facts.revoke_key(key=key, at=timezone.now())
    messages.success(request, f"The key {key.public_id}… is revoked: within five seconds it opens nothing.")
    return HttpResponseRedirect(reverse("source", args=[slug]))


@require_POST
@only(ADMINS)
def forget_samples(request: HttpRequest, viewer: Viewer, slug: str) -> HttpResponseRedirect:
    """Drop what is kept of calls for people to look at."""
    facts.forget_samples(source=get_object_or_404(Source, slug=slug))
    messages.success(request, "The samples and the last calls are deleted; the counts stay.")
    return HttpResponseRedirect(reverse("source", args=[slug]))


def _source_page(request: HttpRequest, viewer: Viewer, slug: str, made: dict[str, Any]) -> HttpResponse:
    now = timezone.now()
    source = get_object_or_404(Source, slug=slug)
    _keep_calls(source, now)
    secret = made.get("secret", PLACEHOLDER)
    return show(
        request,
        viewer,
        "source",
        {
            "source": source,
            "traffic": traffic.of_one(source, at=now),
            "rejected": traffic.turned_away(source, at=now),
            "strangers": traffic.turned_away(None, at=now),
            "libraries": source.libraries.order_by("-last_at"),
            "glimpses": source.glimpses.order_by("-id")[: facts.LOOKS],
            "keys": source.keys.select_related("created_by").order_by("revoked_at", "-created_at"),
            "kinds": KINDS.items(),
            "snippets": snippets(address=request.build_absolute_uri("/")[:-1], key=secret),
            "now": now,
            **made,
        },
    )


def _keep_calls(source: Source, now: datetime) -> None:
    """Let the doors know that somebody looks: written now and then, not at each look."""
    if source.watched_until is None or source.watched_until < now + LOOKED_AT_FOR / 2:
        facts.watch(source=source, until=now + LOOKED_AT_FOR)
