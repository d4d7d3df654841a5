"""Bringing history into a source: upload a file, watch it being read, stop it, get what was rejected."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import orjson
from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pqlapp import bell
from pqlapp.desk import uploads
from pqlapp.desk.access import Viewer, only, show
from pqlapp.desk.uploads import Kept, TooLarge
from scoring import imports, jobs
from scoring.imports import ImportRunning, Reason, Tally
from scoring.models import ImportedFile, Job, Source

ADMINS = frozenset({"Admin"})
SHOWN = 20  # imports
SURE_AFTER = timedelta(seconds=5)  # before that a rate says nothing
FORMATS = {
    "": "Find out",
    "segment": "Segment or RudderStack calls, JSON lines",
    "posthog": "PostHog export, JSON lines",
    "mixpanel": "Mixpanel export, JSON lines",
    "amplitude": "Amplitude export, a zip",
    "native": "This system's own items, JSON lines",
    "csv": "CSV",
    "parquet": "Parquet",
}


class Upload(forms.Form):
    """A file, and how to read it."""

    file = forms.FileField(allow_empty_file=True)
    format = forms.ChoiceField(required=False, choices=list(FORMATS.items()))
    mapping = forms.CharField(required=False, max_length=10_000)


@dataclass(frozen=True, slots=True)
class Row:
    """One import on the page."""

    job: Job
    tally: Tally
    reasons: list[Reason]
    left: timedelta | None  # until its end, as far as its speed so far tells

    @property
    def is_open(self) -> bool:
        """Whether it still waits or runs."""
        return self.job.state in jobs.OPEN


@csrf_exempt  # checked below, when it is known that the body may be read
@require_http_methods(["GET", "HEAD", "POST"])
@only(ADMINS)
def page(request: HttpRequest, viewer: Viewer, slug: str) -> HttpResponse:
    """Show the imports of a source, and take another file."""
    source = get_object_or_404(Source, slug=slug)
    if request.method != "POST":
        return _shown(request, viewer, source)
    try:
        uploads.keep_files_of(request=request)
    except TooLarge as error:
        response = _shown(request, viewer, source, error=f"{error}")
        response.status_code = 413
        response["Connection"] = "close"  # the rest of the body is not worth reading
        return response
    return _take(request, viewer, source)


@csrf_protect
def _take(request: HttpRequest, viewer: Viewer, source: Source) -> HttpResponse:
    form = Upload(request.POST, request.FILES)
    kept = request.FILES.get("file")
    if not isinstance(kept, Kept) or not form.is_valid():
        if isinstance(kept, Kept):
            kept.discard()
        return _refused(request, viewer, source, "Choose a file.")
    try:
        job = imports.start(
            source=source,
            name=kept.name or "a file",
            stored_as=kept.stored_as,
            format=form.cleaned_data["format"],
            mapping=form.cleaned_data["mapping"],
            by=viewer.user,
            at=timezone.now(),
        )
    except ImportRunning as error:
        kept.discard()
        return _refused(request, viewer, source, f"{error}.")
    bell.ring_for_job(job=job)
    messages.success(request, f"{kept.name} is being read.")
    return _to_page(source)


@require_POST
@only(ADMINS)
def stop(request: HttpRequest, viewer: Viewer, slug: str, pk: int) -> HttpResponse:
    """Stop an import; what is stored stays."""
    source = get_object_or_404(Source, slug=slug)
    if jobs.stop(job=_job(source, pk), by=viewer.user, at=timezone.now()):
        messages.success(request, "The import is stopped. What it has stored stays.")
    return _to_page(source)


@require_safe
@only(ADMINS)
def rejects(request: HttpRequest, viewer: Viewer, slug: str, pk: int) -> HttpResponse:
    """Give the rejected lines of an import as JSON lines, each with its reason."""
    files = list(ImportedFile.objects.filter(job=_job(get_object_or_404(Source, slug=slug), pk)))
    response = StreamingHttpResponse(_lines(files), content_type="application/x-ndjson")
    response["Content-Disposition"] = f'attachment; filename="rejects-{pk}.jsonl"'
    return cast("HttpResponse", response)  # guards and middleware treat both alike


def _lines(files: list[ImportedFile]) -> Iterator[bytes]:
    for rejected in imports.rejections(files=files):
        yield orjson.dumps(rejected.told(), option=orjson.OPT_APPEND_NEWLINE)


def _job(source: Source, pk: int) -> Job:
    job = imports.jobs_of(source=source).filter(pk=pk).first()
    if job is None:
        raise Http404
    return job


def _to_page(source: Source) -> HttpResponse:
    return HttpResponseRedirect(reverse("import", args=[source.slug]))


def _refused(request: HttpRequest, viewer: Viewer, source: Source, error: str) -> HttpResponse:
    response = _shown(request, viewer, source, error=error)
    response.status_code = 422
    return response


def _shown(request: HttpRequest, viewer: Viewer, source: Source, error: str = "") -> HttpResponse:
    now = timezone.now()
    rows = [_row(job, now) for job in imports.jobs_of(source=source)[:SHOWN]]
    context = {
        "source": source,
        "rows": rows,
        "is_busy": any(row.is_open for row in rows),
        "formats": FORMATS.items(),
        "error": error,
    }
    return show(request, viewer, "import", context)


def _row(job: Job, now: datetime) -> Row:
    files = list(ImportedFile.objects.filter(job=job))
    reasons = imports.reasons(files=files) if files else []
    return Row(job, imports.tally_of(files=files), reasons, _left(job, now))


def _left(job: Job, now: datetime) -> timedelta | None:
    took = now - job.created_at
    if job.state != Job.State.RUNNING or not job.done or not job.total or took < SURE_AFTER:
        return None
    return max(took * (job.total - job.done) / job.done, timedelta(minutes=1))
