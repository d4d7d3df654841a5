"""Who works leads: account executives, their pools, and what is done with each tier."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from scoring.models import RuleSet


class AE(models.Model):
    """An account executive: a log-in that may be given leads."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="ae")
    time_zone = models.CharField(max_length=64, default="UTC")  # an IANA name
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField()

    class Meta:
        verbose_name = "AE"
        verbose_name_plural = "AEs"

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """What people call this AE; read it with the log-in selected."""
        return self.user.get_full_name() or self.user.get_username()


class Pool(models.Model):
    """A team with a rotation. Its row is the lock under which its leads are given out."""

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200, unique=True)
    # Takes the leads that no other pool takes.
    is_default = models.BooleanField(default=False)
    # The rule set whose leads come here; null: none of its own.
    rule_set = models.OneToOneField(RuleSet, null=True, blank=True, on_delete=models.SET_NULL, related_name="pool")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="at_most_one_default_pool"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """An AE's place in a pool's rotation. The credit says whose turn it is: see routing.rotation."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="memberships")
    ae = models.ForeignKey(AE, on_delete=models.PROTECT, related_name="memberships")
    weight = models.PositiveSmallIntegerField(default=1)
    # The most open leads of this pool that the AE may hold; null: no limit.
    capacity = models.PositiveIntegerField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField()
    credit = models.BigIntegerField(default=0)  # billionths of a turn
    served = models.PositiveBigIntegerField(default=0)  # turns taken, refunded ones not counted
    last_served_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pool", "ae"], name="ae_is_in_a_pool_once"),
            models.CheckConstraint(condition=Q(weight__gte=1, weight__lte=1000), name="weight_is_from_1_to_1000"),
        ]

    def __str__(self) -> str:
        return f"membership {self.pk}: AE {self.ae_id} in pool {self.pool_id}"


class Handling(models.TextChoices):
    """What is done with an account of a tier."""

    SALES = "sales", "an AE works it"
    NURTURE = "nurture", "prompts and e-mails"
    EXPANSION = "expansion", "the customer team works it"
    NONE = "none", "nothing"


class HandlingPolicy(models.Model):
    """What is done with a tier of a rule set; editable at any time, so no part of a version.

    A PQL tier without a policy is handled as sales, any other as none: a fresh installation shows its PQLs.
    """

    rule_set = models.ForeignKey(RuleSet, on_delete=models.CASCADE, related_name="handling_policies")
    tier = models.CharField(max_length=64)
    handling = models.CharField(max_length=9, choices=Handling.choices)
    # Who gets the leads of this tier; null: the rule set's pool, or the default pool.
    pool = models.ForeignKey(Pool, null=True, blank=True, on_delete=models.SET_NULL, related_name="policies")

    class Meta:
        verbose_name_plural = "handling policies"
        constraints = [
            models.UniqueConstraint(fields=["rule_set", "tier"], name="tier_is_handled_one_way"),
            models.CheckConstraint(condition=Q(handling__in=Handling.values), name="handling_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.tier}: {self.handling}"
