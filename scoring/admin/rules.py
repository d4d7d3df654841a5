"""Rule sets, their versions, what was made live when, and long work."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from scoring import jobs, language, rules
from scoring.admin import publishing
from scoring.admin.words import moment, tier_or_why, who, whole
from scoring.backstage import AdminPages, act, link, table, take_over
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
KEEP_BOTH = "Nothing was stored. Your text stands below: copy it, open this page anew, and put both changes together."
MONOSPACED = "font-family: ui-monospace, monospace; font-size: .8125rem; line-height: 1.5"


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

    revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Send along which revision is being changed, so that nobody else's change is overwritten."""
        super().__init__(*args, **kwargs)
        if "revision" in self.fields:
            self.fields["revision"].initial = self.instance.revision

    def clean(self) -> dict[str, Any]:
        """Refuse a text that is no valid document, or of another rule set; the faults stand above the long text."""
        given = dict(super().clean() or {})
        if "text" in given:
            given["text"] = given["text"].replace("\r\n", "\n")
            self.check(given["text"])
        if self.instance.pk and given.get("revision") != self.instance.revision:
            self.add_error(None, f"{self.instance} was changed by somebody else since you opened it. {KEEP_BOTH}")
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


class Reviewed(forms.Form):
    """Who answers for a version, and until when."""

    owner = forms.ModelChoiceField(
        User.objects.filter(is_active=True).order_by("username"), required=False, widget=UnfoldAdminSelectWidget
    )
    on = forms.DateField(
        label="Look again on", required=False, widget=UnfoldAdminTextInputWidget(attrs={"type": "date"})
    )


@admin.register(RuleVersion)
class RuleVersionPages(AdminPages):
    """Drafts are edited as text; published versions are only read."""

    form = RuleText
    refusals = (rules.IsPublished, rules.IsScheduled, rules.EditedMeanwhile, language.Invalid)
    can_add = can_change = True
    warn_unsaved_form = True
    list_display = ["label", "state", "created_by", "created_at", "published_at"]
    list_filter = ["rule_set"]
    ordering = ["rule_set", "-number"]
    list_select_related = ["rule_set", "created_by"]
    actions_detail = ["publish", "new_draft", "read_history", "review"]

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
        written = ["state", "created_by", "created_at", "published_at", "owner", "review_on"]
        return (
            [*written, "text", "revision"] if self.has_change_permission(request, obj) else [*written, "document_text"]
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Everything but the text."""
        return ["state", "created_by", "created_at", "published_at", "owner", "review_on", "document_text"]

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
            revision = form.cleaned_data["revision"] or 0  # none was sent: it is of no revision that there is
            take_over(obj, rules.change(version=obj, text=text, revision=revision))
        else:
            take_over(obj, rules.draft(text=text, by=who(request), at=timezone.now()))

    @action(description="Publish", permissions=["view"], icon="rocket_launch")
    def publish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make the version live."""
        return publishing.publish(self, request, self._version(object_id))

    @action(description="Read history", permissions=["view"], icon="manage_search")
    def read_history(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Read the history of the version's new signals, so that it can be compared."""
        return publishing.read_history(self, request, self._version(object_id))

    @action(description="Review", permissions=["view"], icon="fact_check")
    def review(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say who answers for it, and when it is looked at again."""
        version = self._version(object_id)
        return act(
            self,
            request,
            version,
            title=f"Review {version}",
            explanation="Who answers for the version, and when it is to be looked at again. When the day comes, the "
            "home page of the admin says so, with what has come of the version.",
            button="Save",
            form_class=Reviewed,
            initial={"owner": version.owner_id, "on": version.review_on},
            refusals=(rules.NotPublished,),
            do=lambda said: rules.review(version=version, **said),
        )

    def _version(self, object_id: str) -> RuleVersion:
        return RuleVersion.objects.select_related("rule_set", "owner").get(pk=object_id)

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
    fields = ["name", "slug", "motion", "live", "waits", "tiers", "versions", "publications"]
    readonly_fields = ["live", "waits", "tiers", "versions", "publications"]
    actions_detail = ["roll_back", "cancel"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[RuleSet]:
        """Count the scores along."""
        counted = RuleSet.objects.select_related("live_version__rule_set").annotate(scored=Count("scores"))
        return counted.order_by("name")

    @display(description="Live version")
    def live(self, rule_set: RuleSet) -> str | SafeString:
        """What scores now."""
        return link(self, rule_set.live_version)

    @display(description="Is to go live")
    def waits(self, rule_set: RuleSet) -> str:
        """What is being published, or is set to be."""
        return publishing.scheduled(rule_set)

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
            ["When", "Version", "By", "Why", "What was expected"],
            [
                (
                    moment(p.at),
                    f"{'back to ' if p.is_rollback else ''}{p.version}",
                    p.by or "-",
                    p.note,
                    publishing.expected(p.expected),
                )
                for p in rows
            ],
        )

    @action(description="Roll back", permissions=["view"], icon="undo")
    def roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make the version live again that was live before."""
        return publishing.roll_back(self, request, RuleSet.objects.get(pk=object_id))

    @action(description="Cancel what is to go live", permissions=["view"], icon="event_busy")
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End the publication that waits."""
        rule_set = RuleSet.objects.get(pk=object_id)
        return act(
            self,
            request,
            rule_set,
            title=f"Cancel what is to go live of {rule_set}",
            explanation=f"Waits: {publishing.scheduled(rule_set)}. It stays a draft.",
            button="Do not publish it",
            refusals=(rules.NothingToCancel, rules.LiveAlready),
            do=lambda said: rules.cancel(rule_set=rule_set, by=who(request), at=timezone.now()) and rule_set,
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
