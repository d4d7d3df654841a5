"""Backtests: what a version would have said of every account on past days, and what became of them."""

from django.conf import settings
from django.db import models

from scoring.models.facts import Account
from scoring.models.jobs import Job
from scoring.models.rules import RuleVersion


class Half(models.TextChoices):
    """Which accounts are looked at: a definition that was found on one half can be checked on the other."""

    ALL = "", "all accounts"
    FIRST = "first", "the first half of the accounts"
    SECOND = "second", "the second half of the accounts"


class Backtest(models.Model):
    """One run of a version over the past. Written once, when its job is done; a stopped one stays empty."""

    version = models.ForeignKey(RuleVersion, on_delete=models.PROTECT, related_name="backtests")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="backtest")
    # What was judged: the version as it stood then, since a draft may change.
    document = models.JSONField()
    document_digest = models.CharField(max_length=64)
    months = models.PositiveSmallIntegerField()
    every_days = models.PositiveSmallIntegerField(null=True)  # from one moment to the next; null: found out by size
    horizon_days = models.PositiveSmallIntegerField()  # within which a conversion counts
    weekly_capacity = models.PositiveIntegerField(null=True)  # leads that the AEs can take; null: not known
    half = models.CharField(max_length=6, choices=Half.choices, blank=True, default=Half.ALL)
    # Of the run: the days (UTC) it looked at, and what it found.
    first_day = models.DateField(null=True)
    last_day = models.DateField(null=True)
    result = models.JSONField(default=dict)  # see backtest.measuring
    facts_digest = models.CharField(max_length=64, blank=True)  # of what was known: the same facts, the same digest
    digest = models.CharField(max_length=64, blank=True)  # of what was said of each account
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(months__gte=1, months__lte=60), name="backtest_has_some_months"),
            models.CheckConstraint(condition=models.Q(horizon_days__gte=1), name="backtest_has_a_horizon"),
            models.CheckConstraint(condition=models.Q(half__in=Half.values), name="backtest_half_is_known"),
        ]

    def __str__(self) -> str:
        return f"backtest {self.pk} of {self.version}"


class AsPql(models.TextChoices):
    """What became of a PQL."""

    CONVERTED = "converted", "converted in time"
    NOT = "not", "did not convert in time"
    YOUNG = "young", "too young to know"
    BEFORE = "before", "was one before the first day"


class AsOther(models.TextChoices):
    """What became of an account that was no PQL at the age at which others became one."""

    CONVERTED = "converted", "converted in time"
    NOT = "not", "did not convert in time"


class Won(models.TextChoices):
    """Whether a conversion was foretold."""

    FORETOLD = "foretold", "was a PQL in time before"
    LATE = "late", "was a PQL too long before"
    MISSED = "missed", "was never a PQL before"
    UNSEEN = "unseen", "was never seen in the population before"


class Backtested(models.Model):
    """One account in a backtest: what stands behind each figure."""

    backtest = models.ForeignKey(Backtest, on_delete=models.CASCADE, related_name="accounts")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    sign_up = models.DateField(null=True)
    qualified_on = models.DateField(null=True)  # the first day on which it was a PQL
    goal_on = models.DateField(null=True)
    compared_on = models.DateField(null=True)  # the day on which it was looked at as no PQL
    as_pql = models.CharField(max_length=9, choices=AsPql.choices, blank=True)
    as_other = models.CharField(max_length=9, choices=AsOther.choices, blank=True)
    won = models.CharField(max_length=8, choices=Won.choices, blank=True)
    # Hundredths of usage by which it was above the line of a PQL at its best; below it, negative; null: never in reach.
    peak = models.BigIntegerField(null=True)
    tiers = models.JSONField(default=list)  # names of those it was ever in
    fired = models.JSONField(default=list)  # ids of the rules that were ever met
    alone = models.JSONField(default=list)  # ids of the rules each of which would have made it a PQL by itself
    late_events = models.PositiveIntegerField(default=0)  # that came after a day on which they were dated

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["backtest", "account"], name="account_is_backtested_once"),
        ]
        indexes = [
            # The accounts behind a figure.
            models.Index(fields=["backtest", "as_pql"], name="backtested_as_pql"),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} in backtest {self.backtest_id}"
