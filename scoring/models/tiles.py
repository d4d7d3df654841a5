"""The daily folds of events: what a rule reads instead of the events themselves."""

from django.db import models

from scoring.models.facts import Account, Identity, ProductUser
from scoring.models.jobs import Job
from scoring.models.numeric import NumericField


class Signal(models.Model):
    """A named behaviour, known by its content: two rule versions with the same signal share its tiles."""

    digest = models.CharField(max_length=64, unique=True)
    definition = models.JSONField()  # language.Signal, dumped
    # From its activation on, ingest folds new events live; the backfill folds those up to `barrier`.
    activated_at = models.DateTimeField()
    barrier = models.BigIntegerField()  # the newest event id at activation
    backfilled_to = models.BigIntegerField(default=0)  # the backfill's cursor: events up to here are folded
    # The first day (UTC) of which all is known: before it, events had been dropped already. Null: all of history is.
    known_from = models.DateField(null=True, blank=True)

    def __str__(self) -> str:
        return self.digest[:12]

    @property
    def is_ready(self) -> bool:
        """Whether the tiles hold all of history."""
        return self.backfilled_to >= self.barrier


class Fold(models.Model):
    """What one signal's events of one day add up to."""

    # No foreign keys in the database, here and below: checking three for each row was a third of the cost of an
    # ingest, and `tiles.verify` checks more than they can.
    signal = models.ForeignKey(
        Signal, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    day = models.DateField()  # UTC
    count = models.BigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    # Of the events that carry a numeric value; null where none does.
    value_sum = NumericField(null=True)
    value_max = NumericField(null=True)
    # The newest value, with the limit that its event stated, by (time, message id).
    value_last = NumericField(null=True)
    limit_last = NumericField(null=True)
    value_last_at = models.DateTimeField(null=True)
    value_last_id = models.CharField(null=True, max_length=512)  # noqa: DJ001 (null like its value)

    class Meta:
        abstract = True


class Tile(Fold):
    """A partial fold of one signal for one account, user and day. Several rows of one key add up."""

    account = models.ForeignKey(
        Account, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    user = models.ForeignKey(ProductUser, on_delete=models.DO_NOTHING, related_name="+", null=True, db_constraint=False)
    # True where the account is the home of the user, not named by the event: it moves when the home does.
    inherited = models.BooleanField()

    class Meta:
        indexes = [
            # The engine reads signal by signal: for all accounts, or for a few.
            models.Index(fields=["signal", "account", "day"], name="tile_of_signal"),
            # Lead and account pages read all signals of one account.
            models.Index(fields=["account", "day"], name="tile_of_account"),
        ]

    def __str__(self) -> str:
        return f"{self.signal_id} of {self.account_id} on {self.day}"


class Refolded(Fold):
    """A partial fold on its way: of one identity's events, until the job that folds them anew puts tiles in place."""

    # By identity and by the account that the calls name, not by user and home: those may change before the end.
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="+")
    identity = models.ForeignKey(
        Identity, on_delete=models.DO_NOTHING, related_name="+", null=True, db_index=False, db_constraint=False
    )
    account = models.ForeignKey(
        Account, on_delete=models.DO_NOTHING, related_name="+", null=True, db_index=False, db_constraint=False
    )

    def __str__(self) -> str:
        return f"{self.signal_id} of {self.identity_id} on {self.day}"


class Compaction(models.Model):
    """How far partial tiles are put together. One row, made when it is first needed."""

    compacted_to = models.BigIntegerField(default=0)  # the cursor: tile ids up to here are done
    # Up to here no tile id can still come: whoever might have written one has ended.
    settled_to = models.BigIntegerField(default=0)
    # The next such id, and the transaction id that had not begun when it was read.
    seen_to = models.BigIntegerField(default=0)
    seen_before = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="compaction_is_one_row")]

    def __str__(self) -> str:
        return f"compacted to {self.compacted_to}"
