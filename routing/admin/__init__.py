"""The admin pages of the storey that acts, and the log-ins. They read the clock, and every change is one verb."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from routing import attendance, audit, leads, people, ruling
from routing.admin import rostering
from routing.admin.asking import VerbForm, redirect_to
from routing.models import (
    AE,
    MQL,
    SLA,
    Assignment,
    AtBreach,
    Breach,
    CloseReason,
    HandlingPolicy,
    Lead,
    Membership,
    Outage,
    Pool,
)
from routing.rotation import TURN
from scoring.backstage import AdminPages, act, link, table, take_over

__all__ = ["rostering"]

admin.site.unregister([User, Group])


# ---- log-ins ---------------------------------------------------------------------------------------------------


class NewLogIn(VerbForm):
    """What a log-in needs."""

    email = forms.EmailField(label="E-mail address", widget=UnfoldAdminEmailInputWidget())
    name = forms.CharField(label="Name", max_length=150, widget=UnfoldAdminTextInputWidget())
    role = forms.ChoiceField(
        label="Role", choices=[(role, role) for role in people.ROLES], widget=UnfoldAdminSelectWidget()
    )
    password = forms.CharField(
        label="Password",
        min_length=12,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="At least 12 characters. Of a log-in that is there already, it stays as it is.",
    )

    class Meta:
        model = User
        fields: list[str] = []


@admin.register(User)
class LogInPages(AdminPages, UserAdmin):  # type: ignore[type-arg]
    """Who may log in. Made by e-mail address and role; only the password is changed here."""

    refusals = (people.PeopleError,)
    can_add = can_change = True
    add_form = NewLogIn
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "full_name", "roles", "is_active", "last_login"]
    list_filter = ["is_active", "groups"]
    search_fields = ["username", "first_name", "last_name"]
    ordering = ["username"]
    fieldsets = [(None, {"fields": ["username", "full_name", "roles", "is_active", "last_login", "date_joined"]})]
    add_fieldsets = [(None, {"fields": ["email", "name", "role", "password"]})]
    readonly_fields = ["username", "full_name", "roles", "is_active", "last_login", "date_joined"]
    filter_horizontal = ()
    actions_detail = ["password"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Bring the roles along."""
        return User.objects.prefetch_related("groups")

    @display(description="Name")
    def full_name(self, user: User) -> str:
        """First and last name."""
        return user.get_full_name() or "-"

    @display(description="Roles")
    def roles(self, user: User) -> str:
        """What they may do."""
        return ", ".join(sorted(people.roles_of(user))) or "-"

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Make the log-in; of one that is there nothing is changed here."""
        if not change:
            user, _ = people.create_log_in(**form.cleaned_data, at=timezone.now())
            take_over(obj, user)

    @action(description="Set a password", permissions=["change"], icon="password")
    def password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Lead to the page that sets it."""
        return redirect_to(reverse("admin:auth_user_password_change", args=[object_id]))


# ---- people and pools ------------------------------------------------------------------------------------------


class NewAE(VerbForm):
    """What an AE needs."""

    email = forms.EmailField(label="E-mail address", widget=UnfoldAdminEmailInputWidget())
    name = forms.CharField(label="Name", max_length=150, widget=UnfoldAdminTextInputWidget())
    pool = forms.CharField(
        label="Pool",
        max_length=200,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Made if there is none of the name.",
    )
    weight = forms.IntegerField(
        label="Weight", initial=1, min_value=1, max_value=people.MAX_WEIGHT, widget=UnfoldAdminIntegerFieldWidget()
    )
    capacity = forms.IntegerField(
        label="Capacity",
        min_value=0,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="The most open leads of the pool; empty: no limit.",
    )
    time_zone = forms.CharField(label="Time zone", initial="UTC", max_length=64, widget=UnfoldAdminTextInputWidget())
    password = forms.CharField(
        label="Password",
        min_length=12,
        required=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="For a new log-in; at least 12 characters.",
    )

    class Meta:
        model = AE
        fields: list[str] = []


class WorkingTime(forms.Form):
    """When an AE works, and what the AE knows."""

    week = forms.CharField(
        label="Hours",
        required=False,
        max_length=400,
        widget=UnfoldAdminTextInputWidget(),
        help_text="For example Mon-Fri 9-12:30, 13-17; Sat 10-14. Empty: at any time.",
    )
    time_zone = forms.CharField(label="Time zone", max_length=64, widget=UnfoldAdminTextInputWidget())
    calendar = forms.CharField(
        label="Public holidays of",
        required=False,
        max_length=32,
        widget=UnfoldAdminTextInputWidget(),
        help_text="A country or a part of it: DE, DE-BY, US-CA. Empty: none.",
    )


class Knowledge(forms.Form):
    """What an AE speaks and knows."""

    tags = forms.CharField(
        label="Languages and skills",
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="With commas between: de, en, enterprise. Routing rules ask for them by these words.",
    )


@admin.register(AE)
class AEPages(AdminPages):
    """Who works leads."""

    refusals = (people.PeopleError, attendance.AttendanceError, ruling.RulingError)
    can_add = True
    list_display = ["name", "email", "pools", "open_leads", "is_active", "joined_at"]
    list_filter = ["is_active", "memberships__pool"]
    search_fields = ["user__username", "user__first_name", "user__last_name"]
    list_select_related = ["user"]
    ordering = ["user__first_name"]
    actions_detail = ["working_time", "knowledge", "deactivate"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Ask for what a new AE needs."""
        return super().get_form(request, obj, change, **kwargs) if obj else NewAE

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """What is asked for, or what is known."""
        if obj:
            known = ["hours_shown", "time_zone", "calendar", "tags_shown", "away"]
            return ["name", "email", *known, "is_active", "joined_at", "places"]
        return ["email", "name", "pool", "weight", "capacity", "time_zone", "password"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """What is known is not edited."""
        return ["name", "email", "hours_shown", "tags_shown", "away", "places"] if obj else []

    @display(description="Hours")
    def hours_shown(self, ae: AE) -> str:
        """When the AE works."""
        return ae.hours or "at any time"

    @display(description="Languages and skills")
    def tags_shown(self, ae: AE) -> str:
        """What rules may ask for."""
        return ", ".join(ae.tags) or "-"

    @display(description="Absences")
    def away(self, ae: AE) -> str | SafeString:
        """Those that are now or still to come."""
        rows = ae.absences.exclude(ends_at__lt=timezone.now()).select_related("stand_in__user").order_by("starts_at")
        shown = [(f"{a.starts_at:%-d %b %Y}", a.ends_at or "-", a.get_open_leads_display(), a.note) for a in rows]
        return table(["From", "Until", "Open leads", "Note"], shown)

    @display(description="E-mail", ordering="user__username")
    def email(self, ae: AE) -> str:
        """The log-in's name."""
        return ae.user.get_username()

    @display(description="Pools")
    def pools(self, ae: AE) -> str:
        """Where leads come from."""
        return ", ".join(ae.memberships.filter(is_active=True).values_list("pool__name", flat=True)) or "-"

    @display(description="Open leads")
    def open_leads(self, ae: AE) -> int:
        """How many are in the queue."""
        return ae.leads.exclude(state="closed").count()

    @display(description="Places in pools")
    def places(self, ae: AE) -> str | SafeString:
        """The memberships."""
        rows = ae.memberships.select_related("pool").order_by("pool__name")
        return _memberships(self, rows, lambda membership: membership.pool.name)

    def save_model(self, request: HttpRequest, obj: AE, form: Any, change: bool) -> None:
        """Make the AE, with what is missing of log-in, pool and membership."""
        given = form.cleaned_data | {"password": form.cleaned_data["password"] or None}
        ae, _ = people.create_ae(**given, at=timezone.now())
        take_over(obj, ae)

    @action(description="Set hours", permissions=["view"], icon="schedule")
    def working_time(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say when the AE works."""
        ae = AE.objects.select_related("user").get(pk=object_id)
        return act(
            self,
            request,
            ae,
            title=f"When {ae} works",
            explanation="New leads come in these hours only. Those that wait are given out by them at once.",
            button="Set the hours",
            form_class=WorkingTime,
            initial={"week": ae.hours, "time_zone": ae.time_zone, "calendar": ae.calendar},
            refusals=self.refusals,
            do=lambda said: attendance.set_hours(ae=ae, at=timezone.now(), **said),
        )

    @action(description="Set skills", permissions=["view"], icon="translate")
    def knowledge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say what the AE knows."""
        ae = AE.objects.select_related("user").get(pk=object_id)
        return act(
            self,
            request,
            ae,
            title=f"What {ae} speaks and knows",
            explanation="A routing rule that asks for some of it gives its leads to those who have all of that.",
            button="Set",
            form_class=Knowledge,
            initial={"tags": ", ".join(ae.tags)},
            refusals=self.refusals,
            do=lambda said: ruling.set_tags(ae=ae, given=said["tags"].split(","), at=timezone.now()),
        )

    @action(description="Deactivate", permissions=["view"], icon="person_off")
    def deactivate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take the AE off the leads."""
        ae = AE.objects.select_related("user").get(pk=object_id)
        return act(
            self,
            request,
            ae,
            title=f"Deactivate {ae}",
            explanation="The open leads go to others by turn. The log-in stays; adding the AE again undoes it.",
            button="Deactivate",
            do=lambda said: people.deactivate_ae(ae=ae, at=timezone.now()),
        )


class FairnessForm(forms.Form):
    """What the turns deal out, and for how long they are given back."""

    tier_values = forms.CharField(
        label="Value of a lead by tier",
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="For example hot: 12000, warm: 3000: the turns deal out value. Empty: leads, one like the other.",
    )
    credit_days = forms.IntegerField(
        label="Days in which a turn is given back",
        min_value=0,
        max_value=people.MAX_CREDIT_DAYS,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="For a duplicate, another territory, or what is not a lead; 0: never.",
    )

    def clean_tier_values(self) -> dict[str, int]:
        """Read tiers and values."""
        pairs = [part.rpartition(":") for part in self.cleaned_data["tier_values"].split(",") if part.strip()]
        if not all(tier.strip() and value.strip().isdecimal() for tier, _, value in pairs):
            raise forms.ValidationError("Write tiers and whole numbers, such as hot: 12000, warm: 3000.")
        return {tier.strip(): int(value) for tier, _, value in pairs}


class AtBreachForm(forms.Form):
    """What is done with a lead that nobody touched in time."""

    at_breach = forms.ChoiceField(label="Then", choices=AtBreach.choices, widget=UnfoldAdminSelectWidget())


@admin.register(Pool)
class PoolPages(AdminPages):
    """Teams with a rotation."""

    refusals = (people.PeopleError,)
    can_add = True
    list_display = ["name", "rule_set", "is_default", "members", "waiting", "at_breach"]
    search_fields = ["name"]
    list_select_related = ["rule_set"]
    ordering = ["name"]
    actions_detail = ["overdue", "fairness"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """What is asked for; of a pool also who is in it."""
        asked = ["name", "rule_set", "is_default", "stop_days", "long_absence_days"]
        return [*asked, "at_breach", "deals_out", "credit_days", "created_at", "rotation"] if obj else asked

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """The rotation is only shown."""
        return ["rotation", "deals_out"] if obj else []

    @display(description="Turns deal out")
    def deals_out(self, pool: Pool) -> str:
        """Leads or value."""
        return f"value: {_values(pool)}" if pool.tier_values else "leads"

    @display(description="AEs")
    def members(self, pool: Pool) -> int:
        """How many take turns."""
        return pool.memberships.filter(is_active=True).count()

    @display(description="Leads waiting for an AE")
    def waiting(self, pool: Pool) -> int:
        """How many nobody could take."""
        return pool.leads.filter(state="unassigned").count()

    @display(description="Rotation")
    def rotation(self, pool: Pool) -> str | SafeString:
        """Whose turn it is: the largest credit, as a rule."""
        rows = pool.memberships.select_related("ae__user").order_by("ae__user__first_name")
        had = audit.dealt(pool=pool) if pool.tier_values else None
        return _memberships(self, rows, lambda membership: membership.ae.name, had)

    def save_model(self, request: HttpRequest, obj: Pool, form: Any, change: bool) -> None:
        """Make the pool, and say when it spares those who leave."""
        given, at = dict(form.cleaned_data), timezone.now()
        spared = {name: given.pop(name) for name in ("stop_days", "long_absence_days")}
        take_over(obj, people.create_pool(**given, **spared, at=at))

    @action(description="Fairness", permissions=["view"], icon="balance")
    def fairness(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say what the turns deal out."""
        pool = Pool.objects.get(pk=object_id)
        return act(
            self,
            request,
            pool,
            title=f"Fairness in {pool}",
            explanation="What the turns deal out evenly, by weight. What was dealt out until now stays as it was.",
            button="Keep",
            form_class=FairnessForm,
            initial={"tier_values": _values(pool), "credit_days": pool.credit_days},
            refusals=self.refusals,
            do=lambda said: people.set_fairness(pool=pool, **said),
        )

    @action(description="Overdue leads", permissions=["view"], icon="alarm")
    def overdue(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say what is done with leads that nobody touched in time."""
        pool = Pool.objects.get(pk=object_id)
        return act(
            self,
            request,
            pool,
            title=f"Overdue leads of {pool}",
            explanation="What is done with a lead that nobody touched in time. How much time there is, the SLAs say.",
            button="Keep",
            form_class=AtBreachForm,
            initial={"at_breach": pool.at_breach},
            do=lambda said: leads.set_at_breach(pool=pool, at_breach=said["at_breach"]),
        )


@admin.register(Membership)
class MembershipPages(AdminPages):
    """Weights and capacities."""

    refusals = (people.PeopleError,)
    can_add = can_change = True
    form = VerbForm
    list_display = ["who", "pool", "weight", "capacity", "is_active", "served", "last_served_at"]
    list_filter = ["pool", "is_active"]
    list_select_related = ["ae__user", "pool"]
    ordering = ["pool__name", "ae__user__first_name"]
    fields = ["pool", "ae", "weight", "capacity", "daily_cap", "weekly_cap", "tier_caps", "is_active"]

    @display(description="AE", ordering="ae__user__first_name")
    def who(self, membership: Membership) -> str:
        """The AE's name."""
        return membership.ae.name

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Who and where stay."""
        return ["pool", "ae"] if obj else []

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        """Put the AE into the rotation, or change the place."""
        given = {field: getattr(obj, field) for field in self.fields}
        take_over(obj, people.set_membership(**given, at=timezone.now()))


@admin.register(HandlingPolicy)
class HandlingPolicyPages(AdminPages):
    """What is done with each tier; a change holds for leads that come from then on."""

    refusals = (people.PeopleError,)
    can_add = can_change = True
    form = VerbForm
    list_display = ["tier", "rule_set", "handling", "pool"]
    list_filter = ["rule_set", "handling"]
    list_select_related = ["rule_set", "pool"]
    ordering = ["rule_set__name", "tier"]
    fields = ["rule_set", "tier", "handling", "pool"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Which tier it is stays."""
        return ["rule_set", "tier"] if obj else []

    def save_model(self, request: HttpRequest, obj: HandlingPolicy, form: Any, change: bool) -> None:
        """Say what is done from now on."""
        given = {field: getattr(obj, field) for field in ("rule_set", "tier", "handling", "pool")}
        take_over(obj, people.set_handling(**given, at=timezone.now()))


# ---- leads -----------------------------------------------------------------------------------------------------


@admin.register(Lead)
class LeadPages(AdminPages):
    """All leads with their moves; they are worked on the desk."""

    list_display = ["account", "rule_set", "tier", "stage_shown", "state_shown", "with_ae", "pool", "opened_at"]
    list_filter = ["state", "closed_as", "stage", "rule_set", "pool", "ae"]
    search_fields = ["account__external_id"]
    list_select_related = ["account", "rule_set", "ae__user", "pool"]
    ordering = ["-opened_at", "-pk"]
    fields = [
        *("desk", "account", "rule_set", "version", "stage", "state_shown", "opening_tier", "tier", "ae", "pool"),
        *("origin", "unassigned_reason", "opened_at", "mql_at", "pql_at", "accepted_at", "due_at", "first_touched_at"),
        *("snoozed_until", "wakes_on_signal", "closed_at", "close_reason", "cool_until", "moves", "decisions"),
    ]
    readonly_fields = ["desk", "state_shown", "moves", "decisions"]

    @display(description="On the desk")
    def desk(self, lead: Lead) -> SafeString:
        """The page that AEs see."""
        page = reverse("lead", args=[lead.pk])
        return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">Open its page</a>', page)

    @display(description="Stage", ordering="stage")
    def stage_shown(self, lead: Lead) -> str:
        """MQL, PQL or SQL."""
        return lead.stage.upper()

    @display(description="AE", ordering="ae__user__first_name")
    def with_ae(self, lead: Lead) -> str:
        """Who has it."""
        return lead.ae.name if lead.ae else "-"

    @display(
        description="State",
        ordering="state",
        label={"unassigned": "danger", "assigned": "info", "snoozed": "warning", "won": "success"},
    )
    def state_shown(self, lead: Lead) -> str:
        """The state, or how it ended."""
        return lead.closed_as or lead.state

    @display(description="Moves")
    def moves(self, lead: Lead) -> str | SafeString:
        """What happened to it."""
        rows = lead.moves.select_related("by", "ae__user").order_by("id")
        return table(
            ["When", "What", "By", "From", "With", "Note"],
            [(f"{m.at:%-d %b %Y, %H:%M}", m.verb, m.by or "-", m.get_via_display(), m.ae or "-", m.note) for m in rows],
        )

    @display(description="Who got it, and why")
    def decisions(self, lead: Lead) -> str | SafeString:
        """The decision records."""
        rows = lead.assignments.select_related("ae__user").order_by("id")
        return table(
            ["When", "AE", "How", "Why", "Turn given back"],
            [
                (
                    f"{a.at:%-d %b %Y, %H:%M}",
                    a.ae or "nobody",
                    a.get_how_display(),
                    a.decision["why"],
                    _refund(a),
                )
                for a in rows
            ],
        )


@admin.register(SLA)
class SLAPages(AdminPages):
    """In how many working hours of its AE a lead is to be touched first; it holds for leads given from then on."""

    refusals = (leads.DeadlineError,)
    can_add = can_change = True
    form = VerbForm
    list_display = ["rule_set", "tier_shown", "hours", "warn_hours"]
    list_filter = ["rule_set"]
    list_select_related = ["rule_set"]
    ordering = ["rule_set__name", "tier"]
    fields = ["rule_set", "tier", "hours", "warn_hours"]

    @display(description="Tier", ordering="tier")
    def tier_shown(self, sla: SLA) -> str:
        """The tier's name."""
        return sla.tier or "any other"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Which tier it is stays."""
        return ["rule_set", "tier"] if obj else []

    def save_model(self, request: HttpRequest, obj: SLA, form: Any, change: bool) -> None:
        """Say the deadline from now on."""
        given = {field: getattr(obj, field) for field in ("rule_set", "tier", "hours", "warn_hours")}
        take_over(obj, leads.set_sla(**given))


@admin.register(Breach)
class BreachPages(AdminPages):
    """Leads that nobody touched in time: whose they were, why, and what was done."""

    list_display = ["lead", "ae", "pool", "due_at", "cause", "did", "why"]
    list_filter = ["cause", "did", "pool", "ae"]
    list_select_related = ["lead", "ae__user", "pool"]
    ordering = ["-at", "-pk"]


@admin.register(Outage)
class OutagePages(AdminPages):
    """When the system was down: breaches that came of it are excused."""

    list_display = ["started_at", "ended_at"]
    ordering = ["-started_at"]


@admin.register(CloseReason)
class CloseReasonPages(AdminPages):
    """For what people close leads; one that is no longer offered stays with the leads that were closed for it."""

    refusals = (leads.LeadError,)
    can_add = can_change = True
    form = VerbForm
    list_display = ["name", "kind", "needs_words", "is_active", "place", "closed"]
    list_filter = ["kind", "is_active"]
    ordering = ["kind", "place", "pk"]
    fields = ["kind", "name", "needs_words", "refunds", "is_active", "place"]

    @display(description="Leads closed for it")
    def closed(self, reason: CloseReason) -> int:
        """How many."""
        return reason.leads.count()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """What it says stays."""
        return ["kind", "name"] if obj else []

    def save_model(self, request: HttpRequest, obj: CloseReason, form: Any, change: bool) -> None:
        """Put it into the list, or say how it is offered."""
        given = {field: getattr(obj, field) for field in self.fields}
        take_over(obj, leads.set_reason(**given))


@admin.register(MQL)
class MQLPages(AdminPages):
    """What marketing systems said, and what became of it."""

    list_display = ["account", "rule_set", "note", "lead", "waits", "at", "received_at"]
    list_filter = ["rule_set", "source"]
    search_fields = ["account__external_id", "message_id"]
    list_select_related = ["account", "rule_set", "lead"]
    ordering = ["-pk"]


def _refund(made: Assignment) -> str:
    return made.get_refunded_for_display() or "-"


def _values(pool: Pool) -> str:
    by_value = sorted(pool.tier_values.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{tier}: {value}" for tier, value in by_value)


def _memberships(
    pages: AdminPages, rows: QuerySet[Membership], of: Any, had: Mapping[int, int] | None = None
) -> str | SafeString:
    """Show what each was due, was served, and the difference: in turns, or with `had` in leads of the largest value."""
    unit, got = ("leads of the largest value", "Served (the same)") if had is not None else ("turns", "Served")
    shown = []
    for place in rows:
        served = place.served if had is None else had.get(place.ae_id, 0) / TURN
        shown.append(
            (
                link(pages, place, of(place)),
                place.weight,
                "no limit" if place.capacity is None else place.capacity,
                f"{served + place.credit / TURN:.2f}",  # its shares of all turns that stand
                served if had is None else f"{served:.2f}",
                f"{-place.credit / TURN:+.2f}",
                "yes" if place.is_active else "no",
            )
        )
    return table(["Place", "Weight", "Capacity", f"Due ({unit})", got, "Deviation", "Active"], shown)
