"""What the API shows, field by field. All points are points: 12.5 is twelve and a half."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from routing.models import AE, Lead, Membership, Pool
from scoring.backtest import HAND_RAISED
from scoring.models import (
    Account,
    Backtest,
    Backtested,
    Exclusion,
    Job,
    Outcome,
    Publication,
    RuleSet,
    RuleVersion,
    Score,
    ScoreChange,
    Signal,
)

OF_A_LINE = ("points", "raw", "worth")


def points(hundredths: int) -> int | float:
    """Return hundredths as points; two decimals survive any JSON reader."""
    return hundredths // 100 if hundredths % 100 == 0 else hundredths / 100


def ledger_in_points(ledger: dict[str, Any]) -> dict[str, Any]:
    """Return a stored ledger with points in place of hundredths; {} stays {}."""
    if not ledger:
        return ledger
    lines = [
        line | {key: points(line[key]) for key in OF_A_LINE if line.get(key) is not None} for line in ledger["lines"]
    ]
    return {"lines": lines, "usage": points(ledger["usage"]), "fit": points(ledger["fit"])}


@extend_schema_field({"type": "number"})
class Points(serializers.Field[int, Any, float, Any]):
    """Hundredths in the database, points outside."""

    def to_representation(self, value: int) -> float:
        """Return points."""
        return points(value)


@extend_schema_field({"type": "object", "description": "the lines of usage sum to usage, those of fit to fit"})
class LedgerField(serializers.Field[dict[str, Any], Any, dict[str, Any], Any]):
    """Every point with its rule."""

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return the ledger in points."""
        return ledger_in_points(value)


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class Names(serializers.JSONField):
    """A list of names."""


@extend_schema_field({"type": "object", "additionalProperties": {}})
class Plain(serializers.JSONField):
    """An object of any fields."""


Fields = tuple[str, ...]


class Shown(serializers.ModelSerializer[Any]):
    """Something that is only read."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Return the fields, all read-only: nothing is written through here."""
        fields = super().get_fields()
        for field in fields.values():
            field.read_only = True
        return fields


# ---- accounts and their scores


class AccountRef(Shown):
    """An account, in short."""

    class Meta:
        model = Account
        fields: Fields = ("id", "external_id", "kind")


class ScoreRow(Shown):
    """A score without its ledger."""

    user = serializers.CharField(
        source="user_known_as", allow_null=True, default=None, help_text="an id of the user; null: the account's"
    )
    rule_set = serializers.SlugField(source="rule_set.slug")
    version = serializers.IntegerField(source="version.number")
    usage = Points()
    fit = Points()
    held = Names()

    class Meta:
        model = Score
        fields: Fields = (
            *("rule_set", "version", "user", "usage", "fit", "tier", "is_pql", "status", "held", "goal_on"),
            *("qualified_at", "changed_at", "as_of", "scored_at"),
        )


class AccountRow(Shown):
    """An account with its scores. One that was merged into another has none: that one counts for it."""

    scores = ScoreRow(many=True)

    class Meta:
        model = Account
        fields: Fields = ("id", "external_id", "kind", "created_at", "merged_into", "scores")


class AccountShown(AccountRow):
    """An account with its traits too."""

    traits = serializers.SerializerMethodField()

    class Meta(AccountRow.Meta):
        fields: Fields = (*AccountRow.Meta.fields, "traits")

    def get_traits(self, account: Account) -> dict[str, Any]:
        """Return the traits, as the view has read them."""
        return dict(self.context["traits"])


class AERef(Shown):
    """An AE, in short."""

    name = serializers.CharField()

    class Meta:
        model = AE
        fields: Fields = ("id", "name")


class OpenLead(Shown):
    """An open lead, in short."""

    rule_set = serializers.SlugField(source="rule_set.slug")
    ae = AERef(allow_null=True)

    class Meta:
        model = Lead
        fields: Fields = ("id", "motion", "rule_set", "tier", "stage", "state", "ae")


class SideOfMerge(serializers.Serializer[Any]):
    """What there is of an account."""

    id = serializers.IntegerField(source="account.pk")
    external_id = serializers.CharField(source="account.external_id")
    kind = serializers.CharField(source="account.kind")
    users = serializers.IntegerField(help_text="whose home it is")
    events = serializers.IntegerField(help_text="of the last 28 days, today (UTC) included")
    outcomes = serializers.IntegerField()
    scores = ScoreRow(many=True)
    open_leads = OpenLead(many=True)


class MergeShown(serializers.Serializer[Any]):
    """What two accounts were, and what the one that stays is then. Open leads follow: one for each motion stays."""

    merged = serializers.BooleanField(help_text="false: this only shows what would be")
    other = SideOfMerge()
    into = SideOfMerge()
    users = serializers.IntegerField()
    events = serializers.IntegerField()
    outcomes = serializers.IntegerField()


class ScoreChangeShown(Shown):
    """One change of a score, with what caused it."""

    user = serializers.CharField(
        source="user_known_as", allow_null=True, default=None, help_text="an id of the user; null: the account's"
    )
    rule_set = serializers.SlugField(source="rule_set.slug")
    version = serializers.IntegerField(source="version.number")
    usage = Points()
    fit = Points()
    held = Names()
    ledger = LedgerField()

    class Meta:
        model = ScoreChange
        fields: Fields = (
            "id",
            "rule_set",
            "version",
            "user",
            "at",
            "as_of",
            "cause",
            "usage",
            "fit",
            "tier",
            "status",
            "held",
            "ledger",
        )


class OutcomeShown(Shown):
    """A conversion."""

    account = AccountRef()
    source = serializers.SlugField(  # type: ignore[assignment]  # the name that a Field gives to its own source
        source="source.slug", allow_null=True, default=None
    )

    class Meta:
        model = Outcome
        fields: Fields = ("id", "message_id", "account", "kind", "at", "amount", "source", "received_at")


class ExclusionShown(Shown):
    """Somebody who does not count."""

    class Meta:
        model = Exclusion
        fields: Fields = ("id", "kind", "value", "why", "note", "starts_on", "ends_on", "created_at")


# ---- rules


class VersionRef(Shown):
    """A version, in short."""

    class Meta:
        model = RuleVersion
        fields: Fields = ("id", "number")


class RuleSetRow(Shown):
    """A rule set and what is live of it."""

    live_version = VersionRef(allow_null=True)

    class Meta:
        model = RuleSet
        fields: Fields = ("id", "slug", "name", "motion", "live_version", "created_at")


class PublicationShown(Shown):
    """One publish or roll back."""

    version = serializers.IntegerField(source="version.number")
    replaced = serializers.IntegerField(source="replaced.number", allow_null=True, default=None)
    by = serializers.CharField(source="by.username", allow_null=True, default=None)
    expected = Plain(help_text="what the diff said that was looked at before; empty if none was")

    class Meta:
        model = Publication
        fields: Fields = ("version", "replaced", "is_rollback", "note", "expected", "by", "at")


class RuleSetShown(RuleSetRow):
    """A rule set with its newest publications."""

    publications = serializers.SerializerMethodField()

    class Meta(RuleSetRow.Meta):
        fields: Fields = (*RuleSetRow.Meta.fields, "publications")

    @extend_schema_field(PublicationShown(many=True))
    def get_publications(self, rule_set: RuleSet) -> Any:
        """Return the newest twenty, newest first."""
        newest = rule_set.publications.select_related("version", "replaced", "by").order_by("-id")
        return PublicationShown(newest[:20], many=True).data


class RuleVersionRow(Shown):
    """A version without its text."""

    rule_set = serializers.SlugField(source="rule_set.slug")
    is_live = serializers.SerializerMethodField()
    owner = serializers.CharField(source="owner.username", allow_null=True, default=None)

    class Meta:
        model = RuleVersion
        fields: Fields = (
            "id",
            "rule_set",
            "number",
            "revision",
            "is_live",
            "digest",
            "created_at",
            "published_at",
            "owner",
            "review_on",
        )

    def get_is_live(self, version: RuleVersion) -> bool:
        """Return whether it scores now."""
        return version.rule_set.live_version_id == version.pk


class RuleVersionShown(RuleVersionRow):
    """A version with its text, and the document that the text says."""

    document = Plain()

    class Meta(RuleVersionRow.Meta):
        fields: Fields = (*RuleVersionRow.Meta.fields, "text", "document")


class StandingShown(serializers.Serializer[Any]):
    """Where an account stands."""

    status = serializers.CharField(allow_blank=True, help_text="empty: it was not judged")
    tier = serializers.CharField(allow_blank=True, help_text="empty: none")
    is_pql = serializers.BooleanField()
    usage = Points()
    fit = Points()


class ChangeShown(serializers.Serializer[Any]):
    """An account whose tier changes; where users are judged, a user of it."""

    account = AccountRef()
    user = serializers.CharField(allow_null=True, help_text="an id of the user; null where accounts are judged")
    before = StandingShown()
    after = StandingShown()


class SizeShown(serializers.Serializer[Any]):
    """How many accounts are of a tier before and after."""

    tier = serializers.CharField(allow_blank=True, help_text="empty: none")
    before = serializers.IntegerField()
    after = serializers.IntegerField()


class SeatShown(serializers.Serializer[Any]):
    """The leads that an AE would be given, beside those that are open now."""

    ae = serializers.IntegerField(source="ae.pk")
    name = serializers.CharField(source="ae.name")
    adds = serializers.IntegerField()
    open = serializers.IntegerField()
    capacity = serializers.IntegerField(allow_null=True)


class LoadShown(serializers.Serializer[Any]):
    """The leads that would come to a pool."""

    pool = serializers.CharField(source="pool.slug", allow_null=True, default=None)
    reason = serializers.CharField(allow_blank=True, help_text="why no pool takes them; empty if one does")
    adds = serializers.IntegerField()
    waiting = serializers.IntegerField(help_text="that nobody could take")
    not_dealt = serializers.IntegerField(help_text="too many to say whose they would be")
    aes = SeatShown(source="seats", many=True)


class DiffShown(serializers.Serializer[Any]):
    """What a version would change against the live one. Lists are cut to `limit`; `counts` are of all."""

    version = serializers.IntegerField(source="version.number")
    live = serializers.IntegerField(source="live.number", allow_null=True, default=None)
    as_of = serializers.DateField()
    seen = serializers.CharField(help_text="for an hour, the token to publish with")
    counts = serializers.DictField(child=serializers.IntegerField())
    sizes = SizeShown(many=True)
    enters = ChangeShown(many=True)
    leaves = ChangeShown(many=True)
    moves = ChangeShown(many=True)
    load = LoadShown(many=True)


class FaultShown(serializers.Serializer[Any]):
    """One thing that is wrong, and where."""

    path = serializers.CharField(allow_blank=True)
    line = serializers.IntegerField(allow_null=True)
    message = serializers.CharField()


class Validated(serializers.Serializer[Any]):
    """Whether a rule document is valid, and what is wrong with it."""

    valid = serializers.BooleanField()
    faults = FaultShown(many=True)


class BacktestRow(Shown):
    """A backtest without what it found."""

    rule_set = serializers.SlugField(source="version.rule_set.slug")
    version = VersionRef()
    job = serializers.IntegerField(source="job_id")
    state = serializers.CharField(source="job.state")
    error = serializers.CharField(source="job.error")
    by = serializers.CharField(source="created_by.username", allow_null=True, default=None)

    class Meta:
        model = Backtest
        fields: Fields = (
            "id",
            "rule_set",
            "version",
            "job",
            "state",
            "error",
            "months",
            "every_days",
            "horizon_days",
            "weekly_capacity",
            "half",
            "first_day",
            "last_day",
            "document_digest",
            "facts_digest",
            "digest",
            "by",
            "created_at",
            "finished_at",
        )


class BacktestShown(BacktestRow):
    """A backtest with all its figures. Shares, ratios and paces have `value`, `low` and `high` (95 %)."""

    result = Plain()

    class Meta(BacktestRow.Meta):
        fields: Fields = (*BacktestRow.Meta.fields, "result")


class BacktestedShown(Shown):
    """An account in a backtest."""

    account = AccountRef()
    peak = serializers.SerializerMethodField(
        help_text="points above the line of a PQL on its best day; below: negative"
    )
    tiers = Names()
    fired = Names()
    alone = Names()

    class Meta:
        model = Backtested
        fields: Fields = (
            "account",
            "sign_up",
            "qualified_on",
            "goal_on",
            "compared_on",
            "as_pql",
            "as_other",
            "won",
            "peak",
            "tiers",
            "fired",
            "alone",
            "late_events",
        )

    @extend_schema_field({"type": "number", "nullable": True})
    def get_peak(self, row: Backtested) -> int | float | None:
        """Return points; null where no line was in reach, or a rule lifted the account over all lines."""
        return None if row.peak is None or row.peak >= HAND_RAISED else points(row.peak)


class SignalUse(serializers.Serializer[Any]):
    """A live version that reads a signal, and its name there."""

    rule_set = serializers.CharField()
    name = serializers.CharField()


class SignalShown(Shown):
    """A named behaviour that tiles are kept for."""

    definition = Plain()
    is_ready = serializers.BooleanField()
    used_by = serializers.SerializerMethodField()

    class Meta:
        model = Signal
        fields: Fields = ("id", "digest", "definition", "is_ready", "activated_at", "used_by")

    @extend_schema_field(SignalUse(many=True))
    def get_used_by(self, signal: Signal) -> list[dict[str, str]]:
        """Return the live versions that read it, as the view has found them."""
        return list(self.context["uses"].get(signal.digest, ()))


class JobShown(Shown):
    """Long work, and how far it is."""

    arguments = Plain()
    result = Plain()

    class Meta:
        model = Job
        fields: Fields = (
            "id",
            "kind",
            "arguments",
            "state",
            "step",
            "done",
            "total",
            "result",
            "error",
            "created_at",
            "finished_at",
        )


# ---- people and leads


class MemberShown(Shown):
    """An AE's place in a pool."""

    ae = AERef()

    class Meta:
        model = Membership
        fields: Fields = ("ae", "weight", "capacity", "is_active", "served", "last_served_at")


class PoolShown(Shown):
    """A team with a rotation."""

    rule_set = serializers.SlugField(source="rule_set.slug", allow_null=True, default=None)
    members = MemberShown(source="memberships", many=True)

    class Meta:
        model = Pool
        fields: Fields = (
            "id",
            "slug",
            "name",
            "is_default",
            "rule_set",
            "tier_values",
            "credit_days",
            "at_breach",
            "members",
        )


class AEShown(AERef):
    """An AE."""

    email = serializers.CharField(source="user.email")
    pools = serializers.SerializerMethodField()

    class Meta(AERef.Meta):
        fields: Fields = (*AERef.Meta.fields, "email", "time_zone", "is_active", "joined_at", "pools")

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_pools(self, ae: AE) -> list[str]:
        """Return the slugs of the AE's pools."""
        return [membership.pool.slug for membership in ae.memberships.all()]
