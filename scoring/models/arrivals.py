"""What came to the doors, counted: how much, what was turned away and why, by which library, and the last calls."""

from django.db import models

from scoring.models.facts import Source


class Arrival(models.Model):
    """What one request brought: a line of a log, written with the events, folded and emptied every few seconds."""

    # No foreign key in the database: it would lock the source's row for each request. Null: no source could be told.
    source = models.ForeignKey(Source, null=True, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False)
    at = models.DateTimeField()  # by our clock
    wire = models.CharField(max_length=16)
    library = models.CharField(max_length=100)  # by which it was sent, with its version; empty: it did not say
    accepted = models.IntegerField()
    duplicate = models.IntegerField()
    rejected = models.IntegerField()
    without_company = models.IntegerField()  # accepted, but for an account that is a visitor or a lone user
    future = models.IntegerField()  # accepted, but dated ahead of our clock
    past = models.IntegerField()  # accepted, but dated long ago
    skew = models.BigIntegerField(null=True)  # milliseconds by which the client's clock was behind ours
    reasons = models.JSONField(null=True)  # of what was rejected: [{code, message, count, sample}]

    def __str__(self) -> str:
        return f"{self.accepted} by {self.wire}"


class Traffic(models.Model):
    """Arrivals of one source and wire, folded by minute; after some days by hour."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="traffic")
    wire = models.CharField(max_length=16)
    at = models.DateTimeField()  # when the minute or hour began
    is_hour = models.BooleanField(default=False)
    accepted = models.BigIntegerField()
    duplicate = models.BigIntegerField()
    rejected = models.BigIntegerField()
    without_company = models.BigIntegerField()
    future = models.BigIntegerField()
    past = models.BigIntegerField()
    skew = models.BigIntegerField(null=True)  # milliseconds, the last; see Arrival
    skew_low = models.BigIntegerField(null=True)
    skew_high = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "at", "wire", "is_hour"], name="traffic_is_folded_once"),
        ]
        indexes = [
            # Minutes that are old enough to be folded into hours.
            models.Index(fields=["at"], name="traffic_by_minute", condition=models.Q(is_hour=False)),
        ]

    def __str__(self) -> str:
        return f"{self.accepted} at {self.at}"


class Rejection(models.Model):
    """What was turned away for one reason, by the hour, with the newest sample of it."""

    # Null: the call named no key that we know, or broke before it named one.
    source = models.ForeignKey(Source, null=True, on_delete=models.CASCADE, related_name="rejections")
    at = models.DateTimeField()  # when the hour began
    code = models.CharField(max_length=64)
    count = models.BigIntegerField()
    last_at = models.DateTimeField()
    message = models.TextField()  # of the newest
    sample = models.TextField(blank=True)  # the item as it came, cut, without secrets; empty: dropped, or there is none

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "at", "code"], name="rejection_is_folded_once", nulls_distinct=False
            ),
        ]

    def __str__(self) -> str:
        return f"{self.count} × {self.code}"


class Library(models.Model):
    """A library that sends for a source, with its version; the newest few of each source are kept."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="libraries")
    wire = models.CharField(max_length=16)
    name = models.CharField(max_length=100, blank=True)  # empty: it does not say
    calls = models.BigIntegerField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "wire", "name"], name="library_is_listed_once")]

    def __str__(self) -> str:
        return self.name or self.wire


class Glimpse(models.Model):
    """One of the last calls of a source, good or bad, with what we made of it: kept only while somebody looks."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="glimpses")
    at = models.DateTimeField()  # by our clock
    wire = models.CharField(max_length=16)
    event = models.CharField(max_length=200, blank=True)
    user = models.CharField(max_length=200, blank=True)  # the id by which the call names them
    account = models.CharField(max_length=200, blank=True)  # the id of the account that the call names
    happened_at = models.DateTimeField(null=True)
    result = models.CharField(max_length=64)  # accepted, duplicate, or the code for which it was rejected
    reason = models.TextField(blank=True)  # of a rejected one, in words

    def __str__(self) -> str:
        return f"{self.event}: {self.result}"

    @property
    def is_rejected(self) -> bool:
        """Whether it was turned away."""
        return bool(self.reason)
