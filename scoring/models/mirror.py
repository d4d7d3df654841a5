"""What the database knows of the columnar mirror that is kept beside it."""

from django.db import models


class Mirror(models.Model):
    """The one mirror that belongs to this database. No row: none is kept, and no change is noted for it."""

    # A mirror counts only if it carries one of these: a database that was restored has other ones.
    token = models.CharField(max_length=32, blank=True)
    pending = models.CharField(max_length=32, blank=True)  # of a refresh that has begun
    tried_at = models.DateTimeField()  # when the newest refresh began

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="mirror_is_one_row")]

    def __str__(self) -> str:
        return f"the mirror, refreshed at {self.tried_at}"


class MirrorChange(models.Model):
    """Tiles of a signal and month were changed or deleted; a trigger writes it. (New ones are found by their ids.)"""

    signal_id = models.BigIntegerField()
    month = models.DateField()  # its first day

    def __str__(self) -> str:
        return f"{self.signal_id} in {self.month}"
