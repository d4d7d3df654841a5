"""What the API shows of leads: what happened to each, who got it why; what marketing said, and what was overdue."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from pqlapp.api.serializers import AccountRef, AERef, Fields, LedgerField, Plain, Shown, ledger_in_points, points
from routing import leads
from routing.models import MQL, Assignment, Breach, CloseReason, Lead, LeadMove
from scoring import facts


class LeadRow(Shown):
    """A lead as a list shows it."""

    account = AccountRef()
    rule_set = serializers.SlugField(source="rule_set.slug")
    ae = AERef(allow_null=True)
    pool = serializers.SlugField(source="pool.slug", allow_null=True, default=None)
    closed_for = serializers.CharField(source="closed_for.name", allow_null=True, default=None)
    allowed = serializers.SerializerMethodField()

    class Meta:
        model = Lead
        fields: Fields = (
            *("id", "account", "motion", "rule_set", "stage", "state", "closed_as", "origin", "opening_tier", "tier"),
            *("ae", "pool", "unassigned_reason", "opened_at", "mql_at", "pql_at", "accepted_at", "assigned_at"),
            *(
                "due_at",
                "first_touched_at",
                "snoozed_until",
                "wakes_on_signal",
                "closed_at",
                "closed_for",
                "close_reason",
            ),
            *("cool_until", "allowed"),
        )

    def get_allowed(self, lead: Lead) -> list[str]:
        """Return what may be done with it now."""
        return list(leads.allowed(lead=lead))


class MoveShown(Shown):
    """One thing that happened to a lead."""

    by = serializers.CharField(source="by.username", allow_null=True, default=None)
    ae = AERef(allow_null=True)
    data = Plain()  # type: ignore[assignment]  # so is the field of a move called

    class Meta:
        model = LeadMove
        fields: Fields = (
            *(
                "id",
                "at",
                "by",
                "via",
                "verb",
                "from_state",
                "to_state",
                "from_stage",
                "to_stage",
                "ae",
                "note",
                "data",
            ),
            "undoes",
        )


class AssignmentShown(Shown):
    """One decision who gets the lead, and everything that it was based on."""

    ae = AERef(allow_null=True)
    pool = serializers.SlugField(source="pool.slug", allow_null=True, default=None)
    decision = Plain()

    class Meta:
        model = Assignment
        fields: Fields = ("at", "how", "ae", "pool", "decision", "released_at", "refunded", "refunded_for")


class LeadShown(LeadRow):
    """A lead with why it opened, what happened to it, and who got it why."""

    version = serializers.IntegerField(source="version.number")
    opening = LedgerField()
    reasons = serializers.SerializerMethodField()
    moves = MoveShown(many=True)
    assignments = AssignmentShown(many=True)

    class Meta(LeadRow.Meta):
        fields: Fields = (*LeadRow.Meta.fields, "version", "opening", "reasons", "moves", "assignments")

    @extend_schema_field({"type": "array", "items": {"type": "object"}})
    def get_reasons(self, lead: Lead) -> list[dict[str, Any]]:
        """Return an entry for each rule set that calls for the lead, in points; of users, one for each of them."""
        people = facts.known_as(users=(reason.get("user") for reason in lead.reasons))
        return [
            reason
            | {"user": people.get(reason.get("user"))}
            | {"usage": points(reason["usage"]), "fit": points(reason["fit"])}
            | {"ledger": ledger_in_points(reason["ledger"])}
            for reason in lead.reasons
        ]


class CloseReasonShown(Shown):
    """A reason for which leads are closed."""

    class Meta:
        model = CloseReason
        fields: Fields = ("id", "kind", "name", "needs_words", "refunds")


class MQLShown(Shown):
    """A marketing system's word, and the lead that it opened or joined; without one, why it waits."""

    account = AccountRef()
    rule_set = serializers.SlugField(source="rule_set.slug")

    class Meta:
        model = MQL
        fields: Fields = ("id", "message_id", "account", "rule_set", "at", "received_at", "note", "lead", "waits")


class BreachShown(Shown):
    """A lead that nobody touched in time."""

    ae = AERef(allow_null=True)
    pool = serializers.SlugField(source="pool.slug", allow_null=True, default=None)

    class Meta:
        model = Breach
        fields: Fields = ("id", "lead", "ae", "pool", "due_at", "at", "cause", "why", "did")
