"""What comes in: sources, their keys, outcomes, and who does not count."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from scoring import facts
from scoring.admin.words import moment, who
from scoring.backstage import AdminPages, act, link, table, take_over
from scoring.models import (
    Exclusion,
    Key,
    Outcome,
    Source,
)


@admin.register(Source)
class SourcePages(AdminPages):
    """Who sends events."""

    can_add = can_change = True
    refusals = (facts.InvalidConversions, facts.KeptTooShort)
    list_display = ["slug", "live_keys", "keep_events_days", "created_at"]
    search_fields = ["slug"]
    ordering = ["slug"]
    fields = ["slug"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Only a name is asked for; how long events are kept, and which are conversions, comes later."""
        told = ["created_at", "rebase_days", "events_from", "keys"]
        return ["slug", "keep_events_days", "conversion_events", *told] if obj else ["slug"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A source is made once."""
        return ["slug", "created_at", "rebase_days", "events_from", "keys"] if obj else []

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Say what a conversion looks like."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "conversion_events":
            field.help_text = (
                'Events that are conversions, as JSON: [{"event": "Plan Bought", "kind": "paid", "amount": "price"}]. '
                "Each such event also records an outcome of its account, whether it comes or has come: a job looks "
                "through history. The amount is the property that holds it, and may be left out."
            )
        return field

    @display(description="Live keys")
    def live_keys(self, source: Source) -> int:
        """How many keys open the door."""
        return source.keys.filter(revoked_at=None).count()

    @display(description="Keys")
    def keys(self, source: Source) -> str | SafeString:
        """All keys of the source."""
        rows = source.keys.order_by("-created_at")
        shown = [(link(self, key), key.kind, moment(key.created_at), moment(key.revoked_at)) for key in rows]
        return table(["Key", "Kind", "Made", "Revoked"], shown)

    def save_model(self, request: HttpRequest, obj: Source, form: Any, change: bool) -> None:
        """Make the source, or change what was changed."""
        said = form.cleaned_data
        if "conversion_events" in form.changed_data:
            said_to_be = said["conversion_events"] or []
            facts.set_conversions(source=obj, events=said_to_be, by=who(request), at=timezone.now())
        if "keep_events_days" in form.changed_data:
            facts.keep_events(source=obj, days=said["keep_events_days"])
        if change:
            return
        take_over(obj, facts.create_source(slug=said["slug"], at=timezone.now()))


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
        key, secret = facts.create_key(source=made["source"], kind=made["kind"], by=who(request), at=timezone.now())
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
        return act(
            self,
            request,
            key,
            title=f"Revoke {key}",
            explanation="Whoever still sends with it is refused within five seconds, and loses what is not sent again.",
            button="Revoke",
            do=lambda said: facts.revoke_key(key=key, at=timezone.now()),
        )


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
        take_over(obj, facts.exclude(**form.cleaned_data, by=who(request), at=timezone.now()))

    @action(description="Lift", permissions=["view"], icon="undo")
    def lift(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let them count again."""
        exclusion = Exclusion.objects.get(pk=object_id)
        return act(
            self,
            request,
            exclusion,
            title=f"Lift: {exclusion}",
            explanation="They count again from today (UTC) on; the past stays as it was.",
            button="Lift",
            do=lambda said: facts.lift_exclusion(exclusion=exclusion, at=timezone.now()),
        )
