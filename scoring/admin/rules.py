"""Rule sets, their versions, what was made live when, and long work."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from scoring import jobs, language, rules
from scoring.admin.words import moment, tier_or_why, who, whole
from scoring.backstage import AdminPages, Reason, act, link, table, take_over
from scoring.models import (
    Job,
    Publication,
    RuleSet,
    RuleVersion,
)

BEGINNING = """\
slug: new-business
name: New business
motion: new-business

signals:
  invitations: {event: Teammate Invited}

groups:
  activity: {score: usage, cap: 100}

rules:
  - id: invites
    name: They invite teammates
    group: activity
    points: 10
    per: {count: invitations, within: 14 days}
    max: 50

tiers:
  - {name: hot, pql: true, enter: {usage: 40}, hold: {usage: 30}}
"""
MONOSPACED = "font-family: ui-monospace, monospace; font-size: .8125rem; line-height: 1.5"
REFUSALS = (rules.AlreadyLive, rules.PublishRunning, rules.NothingToRollBackTo)


class RuleText(forms.ModelForm):  # type: ignore[type-arg]
    """A rule document as YAML, with every fault named by its line and field."""

    text = forms.CharField(
        label="Rule document (YAML)",
        max_length=200_000,
        strip=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 36, "spellcheck": "false", "style": f"max-width: 60rem; {MONOSPACED}"}
        ),
        help_text="Windows are UTC days, today included. Saving stores a draft, which scores nothing yet.",
    )

    class Meta:
        model = RuleVersion
        fields = ["text"]

    def clean(self) -> dict[str, Any]:
        """Refuse a text that is no valid document, or of another rule set; the faults stand above the long text."""
        given = dict(super().clean() or {})
        if "text" in given:
            given["text"] = given["text"].replace("\r\n", "\n")
            self.check(given["text"])
        return given

    def check(self, text: str) -> None:
        """Add every fault of the text to the form."""
        try:
            slug = language.parse(text).slug
        except language.Invalid as invalid:
            # One error with a line for each: the admin runs several together.
            told = format_html_join(mark_safe("<br>"), "{}", ([fault] for fault in invalid.faults))
            self.add_error(None, told)
            return
        if self.instance.pk and slug != self.instance.rule_set.slug:
            self.add_error(None, f"slug: must stay {self.instance.rule_set.slug!r}; another slug is another rule set")


@admin.register(RuleVersion)
class RuleVersionPages(AdminPages):
    """Drafts are edited as text; published versions are only read."""

    form = RuleText
    refusals = (rules.IsPublished, language.Invalid)
    can_add = can_change = True
    warn_unsaved_form = True
    list_display = ["label", "state", "created_by", "created_at", "published_at"]
    list_filter = ["rule_set"]
    ordering = ["rule_set", "-number"]
    list_select_related = ["rule_set", "created_by"]
    actions_detail = ["publish", "new_draft"]

    @display(description="Version", ordering="number")
    def label(self, version: RuleVersion) -> str:
        """Slug and number."""
        return f"{version}"

    @display(description="State", label={"live": "success", "draft": "info", "retired": "default"})
    def state(self, version: RuleVersion) -> str:
        """Follows from what was published."""
        if version.rule_set.live_version_id == version.pk:
            return "live"
        return "retired" if version.published_at else "draft"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A published version never changes."""
        draft = obj is None or not isinstance(obj, RuleVersion) or obj.published_at is None
        return draft and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """The text; of a stored version also where it stands."""
        if obj is None:
            return ["text"]
        written = ["state", "created_by", "created_at", "published_at"]
        return [*written, "text"] if self.has_change_permission(request, obj) else [*written, "document_text"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Everything but the text."""
        return ["state", "created_by", "created_at", "published_at", "document_text"]

    @display(description="Rule document (YAML)")
    def document_text(self, version: RuleVersion) -> SafeString:
        """The text as it was published."""
        return format_html('<pre style="white-space: pre-wrap; {}">{}</pre>', MONOSPACED, version.text)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin with the text of another version if one is named, else with a small example."""
        copied = RuleVersion.objects.filter(pk=whole(request.GET.get("copy"))).first()
        return {"text": copied.text if copied else BEGINNING}

    def save_model(self, request: HttpRequest, obj: RuleVersion, form: Any, change: bool) -> None:
        """Store the draft."""
        text = form.cleaned_data["text"]
        if change:
            take_over(obj, rules.change(version=obj, text=text))
        else:
            take_over(obj, rules.draft(text=text, by=who(request), at=timezone.now()))

    @action(description="Publish", permissions=["view"], icon="rocket_launch")
    def publish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make the version live."""
        version = RuleVersion.objects.select_related("rule_set").get(pk=object_id)
        return act(
            self,
            request,
            version,
            title=f"Publish {version}",
            explanation="It becomes the live version, and every account is scored by it. Leads that somebody has "
            "touched stay. A published version never changes; you can roll back to the one before.",
            button="Publish",
            form_class=Reason,
            refusals=REFUSALS,
            do=lambda said: rules.publish(version=version, note=said["note"], by=who(request), at=timezone.now()),
        )

    @action(description="New draft from this text", permissions=["view"], icon="content_copy")
    def new_draft(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Open the form for a new version with this one's text."""
        return HttpResponse(
            status=302, headers={"Location": reverse("admin:scoring_ruleversion_add") + f"?copy={object_id}"}
        )


@admin.register(RuleSet)
class RuleSetPages(AdminPages):
    """Rule sets are made by their first draft; here they are read and rolled back."""

    list_display = ["name", "slug", "motion", "live", "accounts"]
    search_fields = ["name", "slug"]
    ordering = ["name"]
    fields = ["name", "slug", "motion", "live", "tiers", "versions", "publications"]
    readonly_fields = ["live", "tiers", "versions", "publications"]
    actions_detail = ["roll_back"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[RuleSet]:
        """Count the scores along."""
        counted = RuleSet.objects.select_related("live_version__rule_set").annotate(scored=Count("scores"))
        return counted.order_by("name")

    @display(description="Live version")
    def live(self, rule_set: RuleSet) -> str | SafeString:
        """What scores now."""
        return link(self, rule_set.live_version)

    @display(description="Accounts scored")
    def accounts(self, rule_set: RuleSet) -> int:
        """How many accounts have a score."""
        return int(getattr(rule_set, "scored", 0))

    @display(description="Accounts by tier")
    def tiers(self, rule_set: RuleSet) -> str | SafeString:
        """How many accounts are where."""
        counted = rule_set.scores.values_list("status", "tier").annotate(n=Count("pk")).order_by("-n")
        return table(["Tier", "Accounts"], [(tier_or_why(status, tier), n) for status, tier, n in counted])

    @display(description="Versions")
    def versions(self, rule_set: RuleSet) -> str | SafeString:
        """All versions, the newest first."""
        rows = rule_set.versions.select_related("rule_set", "created_by").order_by("-number")
        return table(
            ["Version", "Written by", "Written", "First published"],
            [(link(self, v), v.created_by or "-", moment(v.created_at), moment(v.published_at)) for v in rows],
        )

    @display(description="Made live")
    def publications(self, rule_set: RuleSet) -> str | SafeString:
        """Each publish and roll back, the newest first."""
        rows = rule_set.publications.select_related("version__rule_set", "by").order_by("-id")
        return table(
            ["When", "Version", "By", "Why"],
            [(moment(p.at), f"{'back to ' if p.is_rollback else ''}{p.version}", p.by or "-", p.note) for p in rows],
        )

    @action(description="Roll back", permissions=["view"], icon="undo")
    def roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make the version live again that was live before."""
        rule_set = RuleSet.objects.get(pk=object_id)
        return act(
            self,
            request,
            rule_set,
            title=f"Roll back {rule_set}",
            explanation="The version that was live before the present one becomes live again, and every account is "
            "scored by it. Leads that somebody has touched stay.",
            button="Roll back",
            form_class=Reason,
            refusals=REFUSALS,
            do=lambda said: rules.rollback(rule_set=rule_set, note=said["note"], by=who(request), at=timezone.now()),
        )


@admin.register(Publication)
class PublicationPages(AdminPages):
    """What was live when."""

    list_display = ["at", "version", "replaced", "is_rollback", "by", "note"]
    list_filter = ["rule_set", "is_rollback"]
    list_select_related = ["version__rule_set", "replaced__rule_set", "by"]
    ordering = ["-id"]


@admin.register(Job)
class JobPages(AdminPages):
    """Long work, with its progress; the page of a job that is not over refreshes itself."""

    list_display = ["id", "kind", "label", "state_shown", "progress", "created_by", "created_at", "finished_at"]
    list_filter = ["state", "kind"]
    list_select_related = ["created_by"]
    ordering = ["-id"]
    fields = ["kind", "label", "state_shown", "created_by", "created_at", "finished_at", "result", "error"]
    readonly_fields = ["label", "state_shown"]
    change_form_before_template = "admin/job_progress.html"

    @display(description="Of")
    def label(self, job: Job) -> str:
        """What it works on."""
        return str(job.arguments.get("label", "-"))

    @display(
        description="State",
        ordering="state",
        label={"waiting": "info", "running": "warning", "done": "success", "failed": "danger"},
    )
    def state_shown(self, job: Job) -> str:
        """The state as a label."""
        return str(Job.State(job.state).label)

    @display(description="Progress")
    def progress(self, job: Job) -> str:
        """How far it is."""
        return f"{job.done:,} of {job.total:,}" if job.total else "-"

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show it, and look again in two seconds while it runs."""
        response: HttpResponse = super().change_view(request, object_id, *args, **kwargs)
        if Job.objects.filter(pk=whole(object_id), state__in=jobs.OPEN).exists():
            response["Refresh"] = "2"
        return response
