"""Leads, what was done with them, and who got them why."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast, Lower

from routing.models.people import AE, Pool, RoutingRule
from scoring.models import Account, RuleSet, RuleVersion, Source


class Lane(models.Model):
    """One row per account: its lock puts everything that happens to the account's leads in one order."""

    account = models.OneToOneField(Account, primary_key=True, on_delete=models.PROTECT, related_name="+")

    def __str__(self) -> str:
        return f"lane of account {self.account_id}"


class Stage(models.TextChoices):
    """How far a lead has qualified."""

    MQL = "mql", "marketing-qualified"
    PQL = "pql", "product-qualified"
    SQL = "sql", "sales-qualified"


class State(models.TextChoices):
    """Where a lead is in its work."""

    UNASSIGNED = "unassigned", "unassigned"
    ASSIGNED = "assigned", "assigned"
    SNOOZED = "snoozed", "snoozed"
    CLOSED = "closed", "closed"


HELD = frozenset({State.ASSIGNED, State.SNOOZED})  # the states of a lead that is in somebody's hands


class ClosedAs(models.TextChoices):
    """How a lead ended."""

    WON = "won", "won"
    LOST = "lost", "lost"
    DISQUALIFIED = "disqualified", "disqualified"
    WITHDRAWN = "withdrawn", "withdrawn"
    RECYCLED = "recycled", "recycled"


class Origin(models.TextChoices):
    """What made the lead."""

    MQL = "mql", "marketing"
    PQL = "pql", "use of the product"
    DIRECT = "direct", "entered by hand"


class Via(models.TextChoices):
    """From where a move was made."""

    DESK = "desk", "desk"
    API = "api", "API"
    ADMIN = "admin", "admin"
    SYSTEM = "system", "system"
    CRM = "crm", "CRM"


class Refund(models.TextChoices):
    """For what a turn is given back: the first three are claimed by people, the others seen by the system."""

    DUPLICATE = "duplicate", "the lead is a duplicate"
    TERRITORY = "territory", "the lead belongs to another territory"
    NOT_A_LEAD = "not_a_lead", "it is not a lead"
    OVERDUE = "overdue", "it was not touched in time and went to another"
    LEFT = "left", "its AE no longer works leads"
    CAME_BACK = "came_back", "it went back to the AE who had been away"
    PASSED = "passed", "the turn went with the lead to another, by hand"
    EARLIER = "earlier", "before causes were asked for"


CLAIMED = Refund.choices[:3]


class CloseReason(models.Model):
    """A reason for which leads are closed by people; the list is the admin's."""

    class Kind(models.TextChoices):
        DISQUALIFY = "disqualify", "it is not a lead"
        LOSE = "lose", "they did not buy"
        RECYCLE = "recycle", "not now"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    name = models.CharField(max_length=100)
    needs_words = models.BooleanField(default=False)  # says nothing without them: "Other"
    is_active = models.BooleanField(default=True)  # offered; one that leads were closed for is kept for ever
    place = models.PositiveSmallIntegerField(default=0)  # in the list
    # The cause for which it gives back the turn; empty: it does not.
    refunds = models.CharField(max_length=10, choices=CLAIMED, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint("kind", Lower("name"), name="reason_is_listed_once"),
            models.CheckConstraint(condition=~Q(name=""), name="reason_has_a_name"),
            models.CheckConstraint(
                condition=Q(refunds="") | Q(kind="disqualify", refunds__in=[cause for cause, _ in CLAIMED]),
                name="reason_refunds_what_was_no_lead",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Lead(models.Model):
    """An account that somebody should talk to, for one motion. Open until it is closed."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="leads")
    motion = models.CharField(max_length=64)
    rule_set = models.ForeignKey(RuleSet, on_delete=models.PROTECT, related_name="+")  # that opened it
    version = models.ForeignKey(RuleVersion, on_delete=models.PROTECT, related_name="+")  # that opened it
    stage = models.CharField(max_length=3, choices=Stage.choices)
    state = models.CharField(max_length=10, choices=State.choices)
    closed_as = models.CharField(max_length=12, choices=ClosedAs.choices, blank=True)
    origin = models.CharField(max_length=6, choices=Origin.choices)
    opening_tier = models.CharField(max_length=64)
    tier = models.CharField(max_length=64)  # the best since it opened
    tier_rank = models.PositiveSmallIntegerField()  # of `tier` in its version; 1 is the best
    opening = models.JSONField()  # the score's ledger on the day it opened
    # One entry per rule set of the motion that calls for this lead, and per user where users are judged, the opener
    # first: see leads.opening.
    reasons = models.JSONField(default=list)
    why = models.JSONField(default=list)  # the account's most active people on the day it opened
    ae = models.ForeignKey(AE, null=True, blank=True, on_delete=models.PROTECT, related_name="leads")
    pool = models.ForeignKey(Pool, null=True, blank=True, on_delete=models.PROTECT, related_name="leads")
    unassigned_reason = models.TextField(blank=True)
    # The rule that sent it to its pool; null: none matched, and the pool is the tier's, the rule set's or the default.
    route = models.ForeignKey(RoutingRule, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    # When the clock alone may make somebody free for it; null: never, it takes capacity, people or another rule.
    next_try_at = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField()
    # When it became what: a lead may be an MQL and a PQL before somebody accepts it as an SQL.
    mql_at = models.DateTimeField(null=True, blank=True)
    pql_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    assigned_at = models.DateTimeField(null=True, blank=True)  # to the present AE
    first_touched_at = models.DateTimeField(null=True, blank=True)  # by a person
    # By when it is to be touched, and the next time at which that is looked at: the warning, then the deadline. Null:
    # it has none, it was touched, or it was found to be late.
    due_at = models.DateTimeField(null=True, blank=True)
    alarm_at = models.DateTimeField(null=True, blank=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    wakes_on_signal = models.BooleanField(default=False)  # snoozed until there is new evidence, or until then
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_for = models.ForeignKey(CloseReason, null=True, blank=True, on_delete=models.PROTECT, related_name="leads")
    close_reason = models.TextField(blank=True)  # in words
    cool_until = models.DateTimeField(null=True, blank=True)  # recycled: no new lead before
    # What each rule gave when the lead was put aside; what comes on top is new evidence: see leads.evidence.
    kept = models.JSONField(null=True, blank=True)
    # Put aside: when it is looked whether there is new evidence. Snoozed: since when scores were not looked at.
    look_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "motion"],
                condition=~Q(state="closed"),
                name="one_open_lead_per_account_and_motion",
            ),
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="lead_stage_is_known"),
            models.CheckConstraint(condition=Q(state__in=State.values), name="lead_state_is_known"),
            models.CheckConstraint(condition=Q(origin__in=Origin.values), name="lead_origin_is_known"),
            models.CheckConstraint(
                condition=(
                    Q(state="closed", closed_as__in=ClosedAs.values, closed_at__isnull=False)
                    | (~Q(state="closed") & Q(closed_as="", closed_at__isnull=True))
                ),
                name="closed_lead_says_how_and_when",
            ),
            # Every open lead has exactly one AE, or a reason why none.
            models.CheckConstraint(
                condition=(
                    (Q(state="unassigned", ae__isnull=True, assigned_at__isnull=True) & ~Q(unassigned_reason=""))
                    | Q(
                        state__in=["assigned", "snoozed"],
                        ae__isnull=False,
                        assigned_at__isnull=False,
                        unassigned_reason="",
                    )
                    | Q(state="closed")
                ),
                name="open_lead_has_an_ae_or_a_reason",
            ),
            models.CheckConstraint(
                condition=(Q(state="snoozed") & (Q(snoozed_until__isnull=False) | Q(wakes_on_signal=True)))
                | (~Q(state="snoozed") & Q(snoozed_until__isnull=True, wakes_on_signal=False)),
                name="snoozed_lead_says_until_when",
            ),
            models.CheckConstraint(
                condition=~Q(wakes_on_signal=True) | Q(kept__isnull=False, look_at__isnull=False),
                name="waiting_for_a_signal_needs_what_was_before",
            ),
            models.CheckConstraint(
                condition=Q(alarm_at__isnull=True)
                | Q(
                    due_at__isnull=False,
                    due_at__gte=F("alarm_at"),
                    first_touched_at__isnull=True,
                    state__in=["unassigned", "assigned"],
                ),
                name="alarm_is_for_what_is_due",
            ),
            # A stage that was reached is dated, and nothing is dated that was not.
            models.CheckConstraint(condition=~Q(stage="mql") | Q(mql_at__isnull=False), name="mql_is_dated"),
            models.CheckConstraint(
                condition=Q(stage="pql", pql_at__isnull=False) | Q(stage="mql", pql_at__isnull=True) | Q(stage="sql"),
                name="pql_is_dated",
            ),
            models.CheckConstraint(
                condition=Q(stage="sql", accepted_at__isnull=False) | (~Q(stage="sql") & Q(accepted_at__isnull=True)),
                name="sql_was_accepted",
            ),
            models.CheckConstraint(
                condition=~Q(origin="mql") | Q(mql_at__isnull=False), name="marketing_lead_was_an_mql"
            ),
            models.CheckConstraint(condition=~Q(origin="pql") | Q(pql_at__isnull=False), name="lead_by_use_was_a_pql"),
            models.CheckConstraint(
                condition=(Q(closed_as="recycled", cool_until__isnull=False, kept__isnull=False))
                | (~Q(closed_as="recycled") & Q(cool_until__isnull=True)),
                name="recycled_lead_cools_down",
            ),
        ]
        indexes = [
            # An AE's queue, and its counts.
            models.Index(fields=["ae", "state", "tier_rank"], name="lead_in_queue"),
            # How many open leads a member of a pool holds.
            models.Index(fields=["pool", "ae"], name="lead_held", condition=Q(state__in=["assigned", "snoozed"])),
            # Who waits for an AE, in the order in which they get one.
            models.Index(fields=["tier_rank", "opened_at"], name="lead_waiting", condition=Q(state="unassigned")),
            models.Index(
                fields=["pool", "tier_rank", "opened_at", "id"],
                name="lead_waiting_for_pool",
                condition=Q(state="unassigned"),
            ),
            # Whose snooze is over.
            models.Index(fields=["snoozed_until"], name="lead_snoozed", condition=Q(state="snoozed")),
            # Where it is time to look for new evidence.
            models.Index(fields=["state", "look_at"], name="lead_put_aside", condition=Q(look_at__isnull=False)),
            # Whose alarm rings next.
            models.Index(fields=["alarm_at"], name="lead_alarm", condition=Q(alarm_at__isnull=False)),
            # What became of the account's last lead.
            models.Index(fields=["account", "motion", "closed_at"], name="lead_closed", condition=Q(state="closed")),
        ]

    def __str__(self) -> str:
        return f"lead {self.pk}: {self.tier}, {self.closed_as or self.state}"

    @property
    def is_open(self) -> bool:
        """Whether somebody may still have to work it."""
        return self.state != State.CLOSED


class MQL(models.Model):
    """A marketing system's word that an account has qualified by its marketing. Kept, whatever became of it."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="mqls")
    rule_set = models.ForeignKey(RuleSet, on_delete=models.PROTECT, related_name="+")  # whose motion it is for
    source = models.ForeignKey(Source, null=True, on_delete=models.PROTECT, related_name="+")
    message_id = models.CharField(max_length=512, unique=True)  # the same word counts once
    at = models.DateTimeField()
    received_at = models.DateTimeField()
    note = models.TextField(blank=True)  # which campaign, which form
    # Which it opened or joined; null: none, and why.
    lead = models.ForeignKey(Lead, null=True, on_delete=models.PROTECT, related_name="mqls")
    waits = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(lead__isnull=False, waits="") | (Q(lead__isnull=True) & ~Q(waits="")),
                name="mql_has_a_lead_or_a_reason",
            ),
        ]
        indexes = [
            # What is taken up when the account has cooled down.
            models.Index(fields=["account", "id"], name="mql_waiting", condition=Q(lead__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"MQL {self.message_id}"


class LeadMove(models.Model):
    """One thing that happened to a lead. Append-only; the lead's history."""

    lead = models.ForeignKey(Lead, on_delete=models.CASCADE, related_name="moves", db_index=False)
    at = models.DateTimeField()
    # Null: the system did it.
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    via = models.CharField(max_length=6, choices=Via.choices)
    verb = models.CharField(max_length=16)
    from_state = models.CharField(max_length=10, blank=True)  # empty: the lead was not there before
    to_state = models.CharField(max_length=10)
    from_stage = models.CharField(max_length=3, blank=True)
    to_stage = models.CharField(max_length=3)
    ae = models.ForeignKey(AE, null=True, blank=True, on_delete=models.PROTECT, related_name="+")  # after it
    note = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    # Of what can be undone, the fields that it changed, as they were; of what undid it, the other way round.
    was = models.JSONField(null=True, blank=True)
    # A move of the same lead (the migration says so to the database); it is undone once.
    undoes = models.OneToOneField("self", null=True, blank=True, on_delete=models.CASCADE, related_name="undone_by")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(via__in=Via.values), name="move_is_from_somewhere"),
            models.CheckConstraint(condition=Q(by__isnull=True) | ~Q(via="system"), name="system_is_no_person"),
            models.CheckConstraint(
                condition=Q(verb="undo", undoes__isnull=False) | (~Q(verb="undo") & Q(undoes__isnull=True)),
                name="undo_says_what_it_undoes",
            ),
        ]
        indexes = [models.Index(fields=["lead", "id"], name="moves_of_lead")]

    def __str__(self) -> str:
        return f"{self.verb} at {self.at}"


class Assignment(models.Model):
    """One decision who gets a lead, with everything that it was based on: anyone can replay it."""

    class How(models.TextChoices):
        ROTATION = "rotation", "by turn"
        SAME_AE = "same_ae", "to the AE who already works the account"
        OWNER = "owner", "to the owner of the account"
        BY_HAND = "by_hand", "by hand"
        STAND_IN = "stand_in", "to who stands in for an AE, or back from there"
        PASSED = "passed", "by hand within the pool, the turn passed on with it"

    lead = models.ForeignKey(Lead, on_delete=models.CASCADE, related_name="assignments", db_index=False)
    # Null: no pool takes such leads.
    pool = models.ForeignKey(Pool, null=True, blank=True, on_delete=models.PROTECT, related_name="assignments")
    # Null: nobody could take it.
    ae = models.ForeignKey(AE, null=True, blank=True, on_delete=models.PROTECT, related_name="assignments")
    how = models.CharField(max_length=8, choices=How.choices)
    at = models.DateTimeField()
    # Every candidate with each gate's verdict, weights, credits before and after, and the reason: see leads.assigning.
    decision = models.JSONField()
    # What it cost the AE, in billionths of a turn: the database reads it in the record. Null: no turn was charged.
    cost = models.GeneratedField(
        expression=Cast(KeyTextTransform("cost", KeyTransform("turn", "decision")), models.BigIntegerField()),
        output_field=models.BigIntegerField(null=True),
        db_persist=True,
    )
    released_at = models.DateTimeField(null=True, blank=True)  # the lead left this AE, or was closed
    # For what the turn was given back; empty: it was not.
    refunded_for = models.CharField(max_length=10, choices=Refund.choices, blank=True, default="")

    class Meta:
        # The migration says more to the database, by composite keys: a standing assignment is to the AE who holds the
        # lead, in the lead's pool, and a held lead has one; a turn is of an AE with a place in the pool.
        constraints = [
            models.CheckConstraint(
                condition=Q(refunded_for="")
                | Q(how__in=["rotation", "passed"], ae__isnull=False, released_at__isnull=False),
                name="only_a_turn_taken_is_refunded",
            ),
            models.CheckConstraint(
                condition=Q(refunded_for="") | Q(refunded_for__in=Refund.values), name="refund_has_a_cause"
            ),
            # A lead is with one AE at a time.
            models.UniqueConstraint(
                fields=["lead"],
                condition=Q(ae__isnull=False, released_at__isnull=True),
                name="one_standing_assignment_per_lead",
            ),
        ]
        indexes = [
            models.Index(fields=["lead", "id"], name="assignments_of_lead"),
            # How many an AE was given today and this week.
            models.Index(fields=["pool", "ae", "at"], name="assignments_of_ae", condition=Q(ae__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"lead {self.lead_id} to AE {self.ae_id} ({self.how})"

    @property
    def refunded(self) -> bool:
        """Whether the turn was given back."""
        return self.refunded_for != ""
