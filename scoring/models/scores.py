"""What an account is worth, how that came to be, and the two logs that hand work on."""

from django.db import models

from scoring.models.facts import Account, ProductUser
from scoring.models.rules import RuleSet, RuleVersion

SHARDS = 8


def shard_of(account_id: int) -> int:
    """Return the shard (0 to SHARDS - 1) whose worker rescores the account."""
    return account_id % SHARDS


def _judged_user() -> "models.ForeignKey[ProductUser | None, ProductUser | None]":
    """Whom a score is about, where users are judged; null: the account. Not checked: users are never deleted."""
    return models.ForeignKey(
        ProductUser,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )


class Status(models.TextChoices):
    """Why a score has its tier, or may have none."""

    SCORED = "scored", "scored"
    DISQUALIFIED = "disqualified", "disqualified by a rule"
    OUTSIDE = "outside", "outside the population"
    EXCLUDED = "excluded", "excluded"


class Score(models.Model):
    """The present judgement of one rule set on one account or user: a pure function of facts, version and day."""

    rule_set = models.ForeignKey(RuleSet, on_delete=models.PROTECT, related_name="scores")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="scores")
    user = _judged_user()
    version = models.ForeignKey(RuleVersion, on_delete=models.PROTECT, related_name="scores")
    as_of = models.DateField()
    usage = models.BigIntegerField()  # hundredths of a point
    fit = models.BigIntegerField()  # hundredths of a point
    status = models.CharField(max_length=12, choices=Status.choices)
    tier = models.CharField(max_length=64, blank=True)  # empty: none
    is_pql = models.BooleanField()
    held = models.JSONField()  # names of the tiers whose hold condition is met, best first
    goal_on = models.DateField(null=True)  # the day on which the goal was reached
    ledger = models.JSONField()  # see ledger.Form.fill
    # Digests of the result (what counts as a change) and of all that the ledger shows: so that the next judgement is
    # compared without reading the ledger, and a ledger that would be the same is not written again.
    result = models.BinaryField(max_length=16)
    evidence = models.BinaryField(max_length=16)
    recheck_on = models.DateField(null=True)  # the first day on which silence may change the result
    scored_at = models.DateTimeField()
    changed_at = models.DateTimeField()  # when the result last differed from the one before
    qualified_at = models.DateTimeField(null=True)  # since when the tier is a PQL tier, without a break

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rule_set", "account", "user"], name="one_score_per_rule_set_and_subject", nulls_distinct=False
            ),
        ]
        indexes = [
            # The sweep: whose score may change by silence today.
            models.Index(fields=["recheck_on"], name="score_due", condition=models.Q(recheck_on__isnull=False)),
            # The board and the tiers' sizes.
            models.Index(fields=["rule_set", "tier"], name="score_by_tier"),
            # Publishing: who is not yet of the live version.
            models.Index(fields=["rule_set", "version", "account"], name="score_by_version"),
        ]

    def __str__(self) -> str:
        return f"{self.rule_set_id}/{self.account_id}: {self.tier or self.status}"


class ScoreChange(models.Model):
    """A dated change of a score's result, with what caused it. Append-only."""

    rule_set = models.ForeignKey(RuleSet, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="score_changes")
    user = _judged_user()
    version = models.ForeignKey(RuleVersion, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    as_of = models.DateField()
    cause = models.CharField(max_length=12)
    usage = models.BigIntegerField()
    fit = models.BigIntegerField()
    status = models.CharField(max_length=12, choices=Status.choices)
    tier = models.CharField(max_length=64, blank=True)
    held = models.JSONField()
    ledger = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["account", "rule_set", "id"], name="history_of_account")]

    def __str__(self) -> str:
        return f"{self.account_id} {self.tier or self.status} at {self.at}"


class Lane(models.TextChoices):
    """Which work goes first: what just happened, or what a publish or a file set in motion."""

    LIVE = "live", "live"
    BULK = "bulk", "bulk"


class Touched(models.Model):
    """An account whose scores may be stale. Append-only; claimed by deleting."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    shard = models.SmallIntegerField()
    lane = models.CharField(max_length=4, choices=Lane.choices)
    cause = models.CharField(max_length=12)
    at = models.DateTimeField()

    class Meta:
        indexes = [
            # The claim's choice of accounts: oldest of a lane first.
            models.Index(fields=["shard", "lane", "id"], name="touched_in_turn"),
            # The claim takes all touches of the chosen accounts; that index is Django's own on the key.
        ]

    def __str__(self) -> str:
        return f"{self.account_id} touched by {self.cause}"


class Parked(models.Model):
    """An account whose rescore failed on its own account; it is tried again and listed meanwhile."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="+")
    reason = models.TextField()
    attempts = models.PositiveIntegerField()
    first_failed_at = models.DateTimeField()
    retry_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.account_id}: {self.reason}"


class Crossed(models.Model):
    """A hint that an account's lead may have to open, change or close. Append-only; claimed by deleting."""

    rule_set = models.ForeignKey(RuleSet, on_delete=models.CASCADE, related_name="+")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    user = _judged_user()
    from_tier = models.CharField(max_length=64, blank=True)
    to_tier = models.CharField(max_length=64, blank=True)
    from_version = models.ForeignKey(RuleVersion, null=True, on_delete=models.PROTECT, related_name="+")
    to_version = models.ForeignKey(RuleVersion, on_delete=models.PROTECT, related_name="+")
    cause = models.CharField(max_length=12)
    at = models.DateTimeField()
    not_before = models.DateTimeField(null=True)  # set when a failing hint is put off
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.account_id}: {self.from_tier or 'none'} to {self.to_tier or 'none'}"
