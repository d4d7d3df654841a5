"""The admin pages of the upper storey. They read the clock, and every change is one verb."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from scoring import facts, jobs, language, rules
from scoring.backstage import AdminPages, Reason, act, link, table, take_over
from scoring.models import (
    Account,
    Exclusion,
    Job,
    Key,
    Outcome,
    Parked,
    ProductUser,
    Publication,
    RefusedIdentity,
    RuleSet,
    RuleVersion,
    Score,
    Source,
    Status,
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


def points(hundredths: int) -> str:
    """Return points as people write them."""
    return f"{hundredths / 100:g}"


# ---- rules -----------------------------------------------------------------------------------------------------


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
        copied = RuleVersion.objects.filter(pk=_whole(request.GET.get("copy"))).first()
        return {"text": copied.text if copied else BEGINNING}

    def save_model(self, request: HttpRequest, obj: RuleVersion, form: Any, change: bool) -> None:
        """Store the draft."""
        text = form.cleaned_data["text"]
        if change:
            take_over(obj, rules.change(version=obj, text=text))
        else:
            take_over(obj, rules.draft(text=text, by=_who(request), at=timezone.now()))

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
            do=lambda said: rules.publish(version=version, note=said["note"], by=_who(request), at=timezone.now()),
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
        return table(["Tier", "Accounts"], [(_tier(status, tier), n) for status, tier, n in counted])

    @display(description="Versions")
    def versions(self, rule_set: RuleSet) -> str | SafeString:
        """All versions, the newest first."""
        rows = rule_set.versions.select_related("rule_set", "created_by").order_by("-number")
        return table(
            ["Version", "Written by", "Written", "First published"],
            [(link(self, v), v.created_by or "-", _time(v.created_at), _time(v.published_at)) for v in rows],
        )

    @display(description="Made live")
    def publications(self, rule_set: RuleSet) -> str | SafeString:
        """Each publish and roll back, the newest first."""
        rows = rule_set.publications.select_related("version__rule_set", "by").order_by("-id")
        return table(
            ["When", "Version", "By", "Why"],
            [(_time(p.at), f"{'back to ' if p.is_rollback else ''}{p.version}", p.by or "-", p.note) for p in rows],
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
            do=lambda said: rules.rollback(rule_set=rule_set, note=said["note"], by=_who(request), at=timezone.now()),
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
        if Job.objects.filter(pk=_whole(object_id), state__in=jobs.OPEN).exists():
            response["Refresh"] = "2"
        return response


# ---- facts -----------------------------------------------------------------------------------------------------


@admin.register(Source)
class SourcePages(AdminPages):
    """Who sends events."""

    can_add = can_change = True
    refusals = (facts.KeptTooShort,)
    list_display = ["slug", "live_keys", "keep_events_days", "created_at"]
    search_fields = ["slug"]
    ordering = ["slug"]
    fields = ["slug"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Only a name is asked for; how long events are kept comes later."""
        told = ["created_at", "rebase_days", "events_from", "keys"]
        return ["slug", "keep_events_days", *told] if obj else ["slug"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A source is made once."""
        return ["slug", "created_at", "rebase_days", "events_from", "keys"] if obj else []

    @display(description="Live keys")
    def live_keys(self, source: Source) -> int:
        """How many keys open the door."""
        return source.keys.filter(revoked_at=None).count()

    @display(description="Keys")
    def keys(self, source: Source) -> str | SafeString:
        """All keys of the source."""
        rows = source.keys.order_by("-created_at")
        shown = [(link(self, key), key.kind, _time(key.created_at), _time(key.revoked_at)) for key in rows]
        return table(["Key", "Kind", "Made", "Revoked"], shown)

    def save_model(self, request: HttpRequest, obj: Source, form: Any, change: bool) -> None:
        """Make the source, or say how long it keeps its events."""
        if change:
            facts.keep_events(source=obj, days=form.cleaned_data["keep_events_days"])
            return
        take_over(obj, facts.create_source(slug=form.cleaned_data["slug"], at=timezone.now()))


@admin.register(Key)
class KeyPages(AdminPages):
    """Keys of the ingest doors and the API: made, shown once, revoked."""

    can_add = True
    list_display = ["public_id", "source", "kind", "state", "created_by", "created_at"]
    list_filter = ["kind", "source"]
    list_select_related = ["source", "created_by"]
    ordering = ["-created_at"]
    actions_detail = ["revoke"]

    @display(description="State", label={"live": "success", "revoked": "default"})
    def state(self, key: Key) -> str:
        """Whether it opens the door."""
        return "revoked" if key.revoked_at else "live"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Source and kind; the rest is told of a key that is there."""
        return ["source", "kind", "public_id", "created_by", "created_at", "revoked_at"] if obj else ["source", "kind"]

    def save_model(self, request: HttpRequest, obj: Key, form: Any, change: bool) -> None:
        """Make the key, and keep its text for the one page that shows it."""
        made = form.cleaned_data
        key, secret = facts.create_key(source=made["source"], kind=made["kind"], by=_who(request), at=timezone.now())
        take_over(obj, key)
        form.instance.secret = secret

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Show the key, this once; it goes through no cookie and no log."""
        context = {"title": f"The new {obj}", "secret": obj.secret, "back": self.page_of(obj)}
        response = TemplateResponse(
            request, "admin/key_made.html", {**self.admin_site.each_context(request), **context}
        )
        response["Cache-Control"] = "no-store"
        return response

    @action(description="Revoke", permissions=["view"], icon="key_off")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End the key."""
        key = Key.objects.select_related("source").get(pk=object_id)

        def do(said: dict[str, Any]) -> Key:
            facts.revoke_key(key=key, at=timezone.now())
            return key

        explanation = "Whoever still sends with it is refused within five seconds, and loses what is not sent again."
        return act(self, request, key, title=f"Revoke {key}", explanation=explanation, button="Revoke", do=do)


@admin.register(Account)
class AccountPages(AdminPages):
    """All accounts, to be found by their id."""

    list_display = ["external_id", "kind", "created_at"]
    list_filter = ["kind"]
    search_fields = ["external_id"]
    ordering = ["-id"]
    fields = ["external_id", "kind", "created_at", "desk", "scores", "people", "traits"]
    readonly_fields = ["desk", "scores", "people", "traits"]

    @display(description="On the desk")
    def desk(self, account: Account) -> SafeString:
        """The page that AEs see."""
        page = reverse("account", args=[account.pk])
        return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">Open its page</a>', page)

    @display(description="Scores")
    def scores(self, account: Account) -> str | SafeString:
        """What each rule set says."""
        rows = account.scores.select_related("rule_set").order_by("rule_set__name")
        return table(
            ["Rule set", "Tier", "Usage", "Fit", "Day"],
            [(s.rule_set, _tier(s.status, s.tier), points(s.usage), points(s.fit), s.as_of) for s in rows],
        )

    @display(description="People who live here")
    def people(self, account: Account) -> str | SafeString:
        """The users whose home it is."""
        users = account.residents.filter(merged_into=None).prefetch_related("identities").order_by("pk")[:50]
        return table(["User", "Ids"], [(link(self, user), ", ".join(_ids(user))) for user in users])

    @display(description="What was said of it")
    def traits(self, account: Account) -> str | SafeString:
        """The newest statements about it."""
        rows = account.trait_changes.select_related("source").order_by("-at", "-id")[:30]
        return table(
            ["Trait", "Value", "When", "By"],
            [(t.key, f"{t.value}"[:80], _time(t.at), t.source or t.get_precedence_display()) for t in rows],
        )


@admin.register(ProductUser)
class ProductUserPages(AdminPages):
    """Users of the product, to be found by any of their ids."""

    list_display = ["id", "ids", "home", "known", "created_at"]
    list_filter = ["known"]
    search_fields = ["identities__value"]
    list_select_related = ["home"]
    ordering = ["-id"]
    fields = ["ids", "home", "known", "merged_into", "created_at"]
    readonly_fields = ["ids"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProductUser]:
        """Bring the ids along."""
        return ProductUser.objects.prefetch_related("identities")

    @display(description="Ids")
    def ids(self, user: ProductUser) -> str:
        """By which senders call them."""
        return ", ".join(_ids(user)) or "-"


@admin.register(RefusedIdentity)
class RefusedIdentityPages(AdminPages):
    """Ids that too many people share. Each is a user of its own; nobody is taken for one because of it."""

    list_display = ["value", "refused_why", "refused_at"]
    search_fields = ["value"]
    list_select_related = ["user"]
    ordering = ["-refused_at"]
    fields = ["value", "refused_why", "refused_at", "user"]


@admin.register(Score)
class ScorePages(AdminPages):
    """The present judgement on each account."""

    list_display = ["account", "rule_set", "shown_tier", "usage_points", "fit_points", "as_of", "changed_at"]
    list_filter = ["rule_set", "status", "is_pql", "tier"]
    search_fields = ["account__external_id"]
    list_select_related = ["account", "rule_set"]
    ordering = ["-usage"]
    exclude = ["ledger", "usage", "fit"]
    readonly_fields = ["usage_points", "fit_points"]

    @display(description="Tier", ordering="tier")
    def shown_tier(self, score: Score) -> str:
        """The tier, or why none."""
        return _tier(score.status, score.tier)

    @display(description="Usage", ordering="usage")
    def usage_points(self, score: Score) -> str:
        """In points."""
        return points(score.usage)

    @display(description="Fit", ordering="fit")
    def fit_points(self, score: Score) -> str:
        """In points."""
        return points(score.fit)


@admin.register(Parked)
class ParkedPages(AdminPages):
    """Accounts whose rescore failed; each is tried again by itself."""

    list_display = ["account", "reason", "attempts", "first_failed_at", "retry_at"]
    list_select_related = ["account"]
    ordering = ["-first_failed_at"]


@admin.register(Outcome)
class OutcomePages(AdminPages):
    """Conversions, wherever they came from."""

    list_display = ["account", "kind", "at", "amount", "source"]
    list_filter = ["kind"]
    search_fields = ["account__external_id"]
    list_select_related = ["account", "source"]
    ordering = ["-at"]


@admin.register(Exclusion)
class ExclusionPages(AdminPages):
    """Who does not count. An exclusion is lifted, not deleted: the past stays true."""

    can_add = True
    list_display = ["value", "kind", "why", "starts_on", "ends_on", "note", "created_by"]
    list_filter = ["why", "kind"]
    search_fields = ["value", "note"]
    list_select_related = ["created_by"]
    ordering = ["-id"]
    actions_detail = ["lift"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """What is asked for, and of a stored one who made it."""
        asked = ["kind", "value", "why", "note", "starts_on", "ends_on"]
        return [*asked, "created_by", "created_at"] if obj else asked

    def save_model(self, request: HttpRequest, obj: Exclusion, form: Any, change: bool) -> None:
        """Exclude from now on, or between the dates."""
        take_over(obj, facts.exclude(**form.cleaned_data, by=_who(request), at=timezone.now()))

    @action(description="Lift", permissions=["view"], icon="undo")
    def lift(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let them count again."""
        exclusion = Exclusion.objects.get(pk=object_id)

        def do(said: dict[str, Any]) -> Exclusion:
            facts.lift_exclusion(exclusion=exclusion, at=timezone.now())
            return exclusion

        explanation = "They count again from today (UTC) on; the past stays as it was."
        return act(self, request, exclusion, title=f"Lift: {exclusion}", explanation=explanation, button="Lift", do=do)


# ---- small things ----------------------------------------------------------------------------------------------


def _who(request: HttpRequest) -> Any:
    return request.user


def _whole(text: object) -> int:
    """The number that an address names; 0, which no row has, if it is none."""
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 19 else 0


def _tier(status: str, tier: str) -> str:
    """The tier, or why there is none."""
    return tier or ("no tier" if status == Status.SCORED else str(Status(status).label))


def _time(at: Any) -> str:
    return f"{at:%-d %b %Y, %H:%M}" if at else "-"


def _ids(user: ProductUser) -> list[str]:
    return [identity.value for identity in user.identities.all()]
