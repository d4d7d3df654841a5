"""PQL definitions and their versions."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class RuleSet(models.Model):
    """A PQL definition with a motion, such as new business or expansion. Its live version scores."""

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    motion = models.CharField(max_length=64)
    live_version = models.ForeignKey("RuleVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class RuleVersion(models.Model):
    """One text of a rule set. A draft may change; once published it never does (a trigger refuses)."""

    rule_set = models.ForeignKey(RuleSet, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    text = models.TextField()  # the YAML as its author wrote it
    document = models.JSONField()  # language.dump of the parsed text
    digest = models.CharField(max_length=64)
    revision = models.PositiveIntegerField(default=1)  # of a draft: one higher with each change of its text
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)  # when it was first published
    # Who answers for a published version, and when it is to be looked at again: these two may change.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    review_on = models.DateField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rule_set", "number"], name="version_number_is_unique"),
            models.CheckConstraint(condition=Q(number__gte=1), name="version_number_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.rule_set.slug} v{self.number}"


class Publication(models.Model):
    """One act of making a version live, by a publish or a roll back. Append-only: the newest is the live one."""

    rule_set = models.ForeignKey(RuleSet, on_delete=models.PROTECT, related_name="publications")
    version = models.ForeignKey(RuleVersion, on_delete=models.PROTECT, related_name="publications")
    replaced = models.ForeignKey(RuleVersion, null=True, on_delete=models.PROTECT, related_name="+")
    is_rollback = models.BooleanField(default=False)
    note = models.TextField(blank=True)  # why
    expected = models.JSONField(default=dict)  # what the diff said that was looked at before: see rules.comparing
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["rule_set", "id"], name="publications_in_turn")]

    def __str__(self) -> str:
        return f"{self.version} live since {self.at}"
