"""The admin pages of routing rules, absences and days off. They read the clock, and every change is one verb."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from routing import attendance, ruling
from routing.admin.asking import VerbForm, redirect_to
from routing.models import Absence, AfterAbsence, Holiday, RoutingRule
from scoring.backstage import AdminPages, act, take_over


class RuleForm(VerbForm):
    """A routing rule with its skills as words."""

    asked = forms.CharField(
        label="Asks for",
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Languages and skills that an AE must have, with commas between.",
    )

    class Meta:
        model = RoutingRule
        fields = ["name", "position", "text", "pool", "prefers_owner", "owner_trait", "is_active"]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.fields["asked"].initial = ", ".join(self.instance.asks)


@admin.register(RoutingRule)
class RoutingRulePages(AdminPages):
    """Which pool gets which leads: the first that matches; then the pool of the tier, the rule set, or the default."""

    refusals = (ruling.RulingError,)
    can_add = can_change = True
    form = RuleForm
    list_display = ["position", "name", "text", "pool", "asks_shown", "is_active", "linter"]
    list_display_links = ["name"]
    list_select_related = ["pool"]
    ordering = ["position", "pk"]
    fields = ["name", "position", "text", "pool", "asked", "prefers_owner", "owner_trait", "is_active"]

    @display(description="Asks for")
    def asks_shown(self, rule: RoutingRule) -> str:
        """The skills."""
        return ", ".join(rule.asks) or "-"

    @display(description="Linter")
    def linter(self, rule: RoutingRule) -> str:
        """What is wrong with the rule where it stands."""
        return " ".join(finding.message for finding in ruling.findings() if finding.route == rule.pk) or "-"

    def save_model(self, request: HttpRequest, obj: RoutingRule, form: Any, change: bool) -> None:
        """Make the rule, or change it."""
        given = {field: getattr(obj, field) for field in RuleForm.Meta.fields}
        asks = form.cleaned_data["asked"].split(",")
        rule = RoutingRule.objects.get(pk=obj.pk) if change else None
        take_over(obj, ruling.set_rule(**given, asks=asks, rule=rule, at=timezone.now()))


class NewAbsence(VerbForm):
    """Whole days of an AE."""

    first = forms.DateField(label="First day", widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}))
    last = forms.DateField(
        label="Last day",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
        help_text="Empty: until further notice.",
    )

    class Meta:
        model = Absence
        fields = ["ae", "note", "open_leads", "stand_in", "come_back"]


@admin.register(Absence)
class AbsencePages(AdminPages):
    """Who is away when, and what becomes of the open leads meanwhile."""

    refusals = (attendance.AttendanceError,)
    can_add = True
    list_display = ["ae", "starts_at", "ends_at", "open_leads_shown", "stand_in", "come_back", "note"]
    list_filter = ["ae"]
    list_select_related = ["ae__user", "stand_in__user"]
    ordering = ["-starts_at", "-pk"]
    actions_detail = ["end"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Ask for whole days."""
        return super().get_form(request, obj, change, **kwargs) if obj else NewAbsence

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """What is asked for, or what is known."""
        when = ["starts_at", "ends_at", "handed_over_at", "came_back_at"] if obj else ["first", "last"]
        return ["ae", *when, "note", "open_leads", "stand_in", "come_back"]

    @display(description="Open leads")
    def open_leads_shown(self, absence: Absence) -> str:
        """What becomes of them."""
        return AfterAbsence(absence.open_leads).label

    def save_model(self, request: HttpRequest, obj: Absence, form: Any, change: bool) -> None:
        """Note the absence."""
        take_over(obj, attendance.add_absence(**form.cleaned_data, at=timezone.now()))

    @action(description="End it now", permissions=["view"], icon="event_available")
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End the absence, or strike it out."""
        absence = Absence.objects.select_related("ae__user").get(pk=object_id)
        if request.method == "POST":
            attendance.end_absence(absence=absence, at=timezone.now())
            return redirect_to(reverse("admin:routing_absence_changelist"))
        return act(
            self,
            request,
            absence,
            title=f"End the absence of {absence.ae}",
            explanation="Leads that were handed over come back if they were to. One that has not begun is struck out.",
            button="End it now",
            do=lambda said: None,
        )


@admin.register(Holiday)
class HolidayPages(AdminPages):
    """Days off that no public calendar knows."""

    refusals = (attendance.AttendanceError,)
    can_add = True
    form = VerbForm
    list_display = ["on", "name", "calendar"]
    ordering = ["-on"]
    fields = ["on", "name", "calendar"]
    actions_detail = ["drop"]

    def save_model(self, request: HttpRequest, obj: Holiday, form: Any, change: bool) -> None:
        """Give the day off."""
        take_over(obj, attendance.set_holiday(**form.cleaned_data, at=timezone.now()))

    @action(description="Take it back", permissions=["view"], icon="event_busy")
    def drop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let it be a day like others."""
        holiday = Holiday.objects.get(pk=object_id)
        if request.method == "POST":
            attendance.drop_holiday(holiday=holiday, at=timezone.now())
            return redirect_to(reverse("admin:routing_holiday_changelist"))
        return act(
            self,
            request,
            holiday,
            title=f"Take back {holiday}",
            explanation="It becomes a working day like others.",
            button="Take it back",
            do=lambda said: None,
        )
