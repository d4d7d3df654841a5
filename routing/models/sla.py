"""By when a lead is to be touched first, and what came of it where it was not."""

from django.db import models
from django.db.models import F, Q

from routing.models.leads import Assignment, Lead
from routing.models.people import AE, Pool
from scoring.models import RuleSet


class SLA(models.Model):
    """In how many working hours of its AE a lead is to be touched first; it holds for leads given from then on."""

    rule_set = models.ForeignKey(RuleSet, on_delete=models.CASCADE, related_name="slas")
    tier = models.CharField(max_length=64, blank=True)  # empty: every tier that has none of its own
    hours = models.DecimalField(max_digits=6, decimal_places=2)
    warn_hours = models.DecimalField(max_digits=6, decimal_places=2, default=0)  # before it is due; 0: no warning

    class Meta:
        verbose_name = "SLA"
        verbose_name_plural = "SLAs"
        constraints = [
            models.UniqueConstraint(fields=["rule_set", "tier"], name="tier_has_one_deadline"),
            models.CheckConstraint(
                condition=Q(hours__gt=0),
                name="deadline_is_later",
                violation_error_message="Give a number of working hours above 0.",
            ),
            models.CheckConstraint(
                condition=Q(warn_hours__gte=0, warn_hours__lt=F("hours")),
                name="warning_is_before",
                violation_error_message="The warning comes before the deadline: give fewer hours, or 0 for none.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tier or 'any tier'}: {self.hours} h"


class Breach(models.Model):
    """A lead that nobody touched in time: whose it was, why, and what was done. Append-only."""

    class Cause(models.TextChoices):
        PERSON = "person", "the AE did not come to it"
        CAPACITY = "capacity", "too much work"
        RULE = "rule", "the rules left it where nobody works it"
        OUTAGE = "outage", "the system was down"

    class Did(models.TextChoices):
        ESCALATED = "escalated", "shown to the manager"
        REASSIGNED = "reassigned", "given to another"
        EXCUSED = "excused", "given the time that was lost"

    lead = models.ForeignKey(Lead, on_delete=models.CASCADE, related_name="breaches")
    # Null: it waited for an AE.
    assignment = models.ForeignKey(Assignment, null=True, on_delete=models.CASCADE, related_name="+", db_index=False)
    ae = models.ForeignKey(AE, null=True, on_delete=models.PROTECT, related_name="breaches")
    pool = models.ForeignKey(Pool, null=True, on_delete=models.PROTECT, related_name="+")
    due_at = models.DateTimeField()
    at = models.DateTimeField()  # when it was found
    cause = models.CharField(max_length=8, choices=Cause.choices)
    why = models.TextField()
    did = models.CharField(max_length=10, choices=Did.choices)

    class Meta:
        verbose_name_plural = "breaches"
        constraints = [
            models.UniqueConstraint(fields=["lead", "due_at"], name="deadline_is_missed_once"),
            models.CheckConstraint(
                condition=Q(cause__in=["person", "capacity", "rule", "outage"]), name="breach_has_a_cause"
            ),
            models.CheckConstraint(condition=Q(at__gte=F("due_at")), name="breach_is_found_later"),
            # That it is of the assignment's lead and AE, the migration says to the database.
            models.CheckConstraint(
                condition=Q(ae__isnull=True, assignment__isnull=True) | Q(ae__isnull=False, assignment__isnull=False),
                name="breach_of_an_ae_names_the_assignment",
            ),
        ]
        indexes = [models.Index(fields=["at"], name="breach_by_time")]

    def __str__(self) -> str:
        return f"lead {self.lead_id}, due {self.due_at}: {self.cause}"


class Heartbeat(models.Model):
    """When the beat was last seen; one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_heart")]

    def __str__(self) -> str:
        return f"seen {self.seen_at}"


class Outage(models.Model):
    """A stretch in which the beat was not seen: nobody could be told of a lead, or late."""

    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(ended_at__gt=F("started_at")), name="outage_ends_later"),
            models.UniqueConstraint(fields=["started_at"], name="outage_is_noted_once"),
        ]
        indexes = [models.Index(fields=["ended_at"], name="outage_by_end")]

    def __str__(self) -> str:
        return f"{self.started_at} to {self.ended_at}"
