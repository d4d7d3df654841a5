"""What lists can be narrowed by. A parameter that nobody knows is refused, not ignored."""

from typing import Any

import django_filters as filters
from django import forms
from django.db.models import Exists, OuterRef, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.views import APIView

from pqlapp.api.pagination import LARGEST_ID
from routing.models import MQL, Assignment, Breach, ClosedAs, CloseReason, Lead, Origin, Stage, State
from scoring.models import Account, Backtest, Backtested, Exclusion, Job, Outcome, RuleVersion, Score, ScoreChange

YES_OR_NO = [("true", "true"), ("false", "false")]


class WholeFilter(filters.Filter):
    """By an id."""

    field_class = forms.IntegerField

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=LARGEST_ID, **options)


def text(field: str, lookup: str = "exact", **options: Any) -> filters.CharFilter:
    """Return a filter by a text of at most 512 characters."""
    return filters.CharFilter(field_name=field, lookup_expr=lookup, max_length=512, **options)


class AccountFilter(filters.FilterSet):
    """`rule_set`, `tier` and `pql` speak of one and the same score. Visitors are listed only when asked for."""

    search = text("external_id", "icontains")
    external_id = text("external_id")
    kind = filters.ChoiceFilter(choices=Account.Kind.choices)
    rule_set = text("rule_set__slug", method="together")
    tier = text("tier", method="together")
    pql = filters.ChoiceFilter(field_name="is_pql", choices=YES_OR_NO, method="together")

    class Meta:
        model = Account
        fields: list[str] = []

    def filter_queryset(self, queryset: QuerySet[Account]) -> QuerySet[Account]:
        """Return the accounts that were asked for."""
        asked = self.form.cleaned_data
        of_score = {self.filters[name].field_name: asked[name] for name in ("rule_set", "tier", "pql") if asked[name]}
        if "is_pql" in of_score:
            of_score["is_pql"] = of_score["is_pql"] == "true"
        if of_score:
            queryset = queryset.filter(Exists(Score.objects.filter(account=OuterRef("pk"), **of_score)))
        if not asked["kind"]:
            queryset = queryset.exclude(kind=Account.Kind.VISITOR)
        filtered: QuerySet[Account] = super().filter_queryset(queryset)
        return filtered

    def together(self, queryset: QuerySet[Account], name: str, value: str) -> QuerySet[Account]:
        """Leave the rows as they are: filter_queryset asks for all that concerns the score at once."""
        return queryset


class HistoryFilter(filters.FilterSet):
    """Changes of one rule set's score, or of a user's."""

    rule_set = text("rule_set__slug")
    user = text("user__identities__value")

    class Meta:
        model = ScoreChange
        fields: list[str] = []


class OutcomeFilter(filters.FilterSet):
    """Outcomes of an account, or of a kind."""

    account = text("account__external_id")
    kind = text("kind")

    class Meta:
        model = Outcome
        fields: list[str] = []


class ExclusionFilter(filters.FilterSet):
    """Who is excluded, and why."""

    kind = filters.ChoiceFilter(choices=Exclusion.Kind.choices)
    why = filters.ChoiceFilter(choices=Exclusion.Why.choices)
    value = text("value")

    class Meta:
        model = Exclusion
        fields: list[str] = []


class RuleVersionFilter(filters.FilterSet):
    """Versions of one rule set."""

    rule_set = text("rule_set__slug")

    class Meta:
        model = RuleVersion
        fields: list[str] = []


class BacktestFilter(filters.FilterSet):
    """Backtests of one rule set, or of one version."""

    rule_set = text("version__rule_set__slug")
    version = WholeFilter(field_name="version")

    class Meta:
        model = Backtest
        fields: list[str] = []


class BacktestedFilter(filters.FilterSet):
    """The accounts behind a figure. backtest.behind narrows the list itself; here it is only said by what."""

    as_pql = text("as_pql", method="narrowed")
    as_other = text("as_other", method="narrowed")
    won = text("won", method="narrowed")
    fired = text("fired", method="narrowed")
    unfired = text("fired", method="narrowed")
    alone = text("alone", method="narrowed")
    tier = text("tiers", method="narrowed")
    peak = text("peak", method="narrowed")
    since = text("qualified_on", method="narrowed")
    until = text("qualified_on", method="narrowed")
    late = text("late_events", method="narrowed")

    class Meta:
        model = Backtested
        fields: list[str] = []

    def narrowed(self, queryset: QuerySet[Backtested], name: str, value: str) -> QuerySet[Backtested]:
        """Leave the rows as they are."""
        return queryset


class LeadFilter(filters.FilterSet):
    """Leads by where they are and whose."""

    state = filters.ChoiceFilter(choices=State.choices)
    stage = filters.ChoiceFilter(choices=Stage.choices)
    closed_as = filters.ChoiceFilter(choices=ClosedAs.choices)
    origin = filters.ChoiceFilter(choices=Origin.choices)
    tier = text("tier")
    motion = text("motion")
    rule_set = text("rule_set__slug")
    account = text("account__external_id")
    pool = text("pool__slug")
    ae = WholeFilter(field_name="ae")

    class Meta:
        model = Lead
        fields: list[str] = []


class MQLFilter(filters.FilterSet):
    """Marketing's words on an account."""

    account = text("account__external_id")
    rule_set = text("rule_set__slug")
    message_id = text("message_id")

    class Meta:
        model = MQL
        fields: list[str] = []


class BreachFilter(filters.FilterSet):
    """Breaches by cause and whose."""

    cause = filters.ChoiceFilter(choices=Breach.Cause.choices)
    did = filters.ChoiceFilter(choices=Breach.Did.choices)
    pool = text("pool__slug")
    ae = WholeFilter(field_name="ae")
    lead = WholeFilter(field_name="lead")

    class Meta:
        model = Breach
        fields: list[str] = []


class CloseReasonFilter(filters.FilterSet):
    """Reasons of a kind."""

    kind = filters.ChoiceFilter(choices=CloseReason.Kind.choices)

    class Meta:
        model = CloseReason
        fields: list[str] = []


class AssignmentFilter(filters.FilterSet):
    """Decisions by pool, AE, lead, and how they were made."""

    pool = text("pool__slug")
    ae = WholeFilter(field_name="ae")
    lead = WholeFilter(field_name="lead")
    how = filters.ChoiceFilter(choices=Assignment.How.choices)

    class Meta:
        model = Assignment
        fields: list[str] = []


class JobFilter(filters.FilterSet):
    """Jobs by kind and state."""

    kind = text("kind")
    state = filters.ChoiceFilter(choices=Job.State.choices)

    class Meta:
        model = Job
        fields: list[str] = []


class ByParameters(BaseFilterBackend):
    """Applies the filter set that the view names for its action."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        """Return the rows that the parameters ask for. Raises ValidationError."""
        chosen = _chosen(view)
        if chosen is None:
            return queryset
        filter_set = chosen(request.query_params, queryset=queryset, request=request)
        if not filter_set.is_valid():
            raise ValidationError({name: list(messages) for name, messages in filter_set.errors.items()})
        filtered: QuerySet[Any] = filter_set.qs
        return filtered

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """Return the parameters for the OpenAPI document."""
        chosen = _chosen(view)
        return [_parameter(name, a_filter) for name, a_filter in chosen.base_filters.items()] if chosen else []


def refuse_unknown(*, request: Request, view: APIView) -> None:
    """Raise ValidationError for a query parameter that means nothing here: a typing error must not widen a list."""
    chosen = _chosen(view)
    known: list[str] = []
    if view.action in view.filters:  # type: ignore[attr-defined]
        known = [*(chosen.base_filters if chosen else ()), *view.pagination_class.parameters]  # type: ignore[attr-defined]
    known += view.parameters.get(view.action, ())  # type: ignore[attr-defined]
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        there = f"there are: {', '.join(known)}" if known else "there is none here"
        raise ValidationError({name[:64]: f"is no parameter; {there}" for name in unknown[:20]})


def _chosen(view: Any) -> type[filters.FilterSet] | None:
    chosen: type[filters.FilterSet] | None = view.filters.get(view.action)
    return chosen


def _parameter(name: str, a_filter: filters.Filter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "maxLength": 512}
    if isinstance(a_filter, WholeFilter):
        schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": LARGEST_ID}
    elif isinstance(a_filter, filters.ChoiceFilter):
        schema = {"type": "string", "enum": [value for value, _ in a_filter.extra["choices"]]}
    return {"name": name, "in": "query", "required": False, "schema": schema}
