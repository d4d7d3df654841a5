"""Long work as rows: progress that pages show, and a lease so that a killed worker loses nothing."""

from django.conf import settings
from django.db import models


class Job(models.Model):
    """A piece of long work, such as a publish. Whoever holds the lease carries it on from its cursor."""

    class State(models.TextChoices):
        QUEUED = "queued", "waiting"
        RUNNING = "running", "running"
        DONE = "done", "done"
        FAILED = "failed", "failed"
        STOPPED = "stopped", "stopped"

    kind = models.CharField(max_length=32)
    arguments = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    step = models.CharField(max_length=100, blank=True)  # what it is doing now, in words
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True, blank=True)
    cursor = models.JSONField(default=dict)
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    attempt = models.PositiveIntegerField(default=0)  # the lease's token: a zombie's writes do not match it
    tries = models.PositiveIntegerField(default=0)  # claims since it last got further
    lease_until = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # The sweeper: work that nobody carries on.
            models.Index(fields=["lease_until"], name="job_open", condition=models.Q(state__in=["queued", "running"])),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}: {self.state}"
