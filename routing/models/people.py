"""Who works leads: account executives, their pools, and what is done with each tier."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from scoring.models import RuleSet


class AE(models.Model):
    """An account executive: a log-in that may be given leads."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="ae")
    time_zone = models.CharField(max_length=64, default="UTC")  # an IANA name
    hours = models.CharField(max_length=400, blank=True)  # as `hours.say` says it; empty: at any time
    calendar = models.CharField(max_length=32, blank=True)  # whose public holidays: see routing.calendars
    tags = models.JSONField(default=list, blank=True)  # languages and skills, in lower case and in order
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

    @property
    def works(self) -> bool:
        """Whether this AE works leads and can log in to do so; read it with the log-in selected."""
        return self.is_active and self.user.is_active


class AfterAbsence(models.TextChoices):
    """What becomes of open leads while their AE is away."""

    STAY = "stay", "they stay and wait"
    STAND_IN = "stand_in", "a stand-in takes them"
    POOL = "pool", "they go back to the pool"


class Absence(models.Model):
    """A stretch of time in which an AE is given no leads."""

    ae = models.ForeignKey(AE, on_delete=models.CASCADE, related_name="absences")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)  # null: until further notice
    note = models.CharField(max_length=200, blank=True)
    open_leads = models.CharField(max_length=8, choices=AfterAbsence.choices, default=AfterAbsence.STAY)
    stand_in = models.ForeignKey(AE, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    # Those that were handed over come back at the end, where nobody has accepted them meanwhile.
    come_back = models.BooleanField(default=False)
    handed_over_at = models.DateTimeField(null=True, blank=True)
    came_back_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        # The migration says to the database that those of one AE do not overlap.
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=models.F("starts_at")), name="absence_ends_later"
            ),
            models.CheckConstraint(
                condition=Q(open_leads="stand_in", stand_in__isnull=False)
                | (~Q(open_leads="stand_in") & Q(stand_in__isnull=True)),
                name="stand_in_is_named",
            ),
            models.CheckConstraint(
                condition=Q(stand_in__isnull=True) | ~Q(stand_in=models.F("ae")), name="nobody_stands_in_for_oneself"
            ),
        ]
        indexes = [
            models.Index(fields=["ae", "starts_at"], name="absences_of_ae"),
            # What is still to be handed over, or to come back.
            models.Index(
                fields=["starts_at"],
                name="absence_to_hand_over",
                condition=Q(handed_over_at__isnull=True) & ~Q(open_leads="stay"),
            ),
            models.Index(
                fields=["ends_at"],
                name="absence_to_come_back",
                condition=Q(handed_over_at__isnull=False, came_back_at__isnull=True, come_back=True),
            ),
        ]

    def __str__(self) -> str:
        return f"absence {self.pk} of AE {self.ae_id}"


class HandedOver(models.Model):
    """A lead that left its AE for an absence."""

    absence = models.ForeignKey(Absence, on_delete=models.CASCADE, related_name="handed_over")
    lead = models.ForeignKey("routing.Lead", on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["absence", "lead"], name="lead_is_handed_over_once")]

    def __str__(self) -> str:
        return f"lead {self.lead_id} for absence {self.absence_id}"


class Holiday(models.Model):
    """A day off that no public calendar knows: of everybody, or of those with one calendar."""

    on = models.DateField()
    name = models.CharField(max_length=200)
    calendar = models.CharField(max_length=32, blank=True)  # empty: everybody's

    class Meta:
        constraints = [models.UniqueConstraint(fields=["on", "calendar"], name="day_off_is_said_once")]

    def __str__(self) -> str:
        return f"{self.name}, {self.on}"


class AtBreach(models.TextChoices):
    """What is done with a lead that nobody touched in time."""

    ESCALATE = "escalate", "the manager is shown it, and it stays"
    REASSIGN = "reassign", "it goes to another, by turn; the turn is refunded"
    FORFEIT = "forfeit", "it goes to another, by turn; who missed it has had the turn"


class Pool(models.Model):
    """A team with a rotation. Its row is the lock under which its leads are given out."""

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200, unique=True)
    # Takes the leads that no other pool takes.
    is_default = models.BooleanField(default=False)
    # The rule set whose leads come here; null: none of its own.
    rule_set = models.OneToOneField(RuleSet, null=True, blank=True, on_delete=models.SET_NULL, related_name="pool")
    # Who leaves for at least `long_absence_days` gets no leads in the `stop_days` before; 0: until the last moment.
    stop_days = models.PositiveSmallIntegerField(default=0)
    long_absence_days = models.PositiveSmallIntegerField(default=5)
    # What a lead of a tier is expected to be worth, by the tier's name, in any unit: the turns deal out value then.
    # Empty: they deal out leads, one like the other.
    tier_values = models.JSONField(default=dict, blank=True)
    # Within so many days of its assignment the turn of a lead is given back for what people claim; 0: never.
    credit_days = models.PositiveSmallIntegerField(default=7)
    at_breach = models.CharField(max_length=8, choices=AtBreach.choices, default=AtBreach.ESCALATE)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(at_breach__in=AtBreach.values), name="breach_is_answered"),
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
    # The most leads of this pool given in a day, and in a week from Monday, in the AE's time zone; null: no limit.
    daily_cap = models.PositiveIntegerField(null=True, blank=True)
    weekly_cap = models.PositiveIntegerField(null=True, blank=True)
    tier_caps = models.JSONField(default=dict, blank=True)  # the most open leads of a tier, by its name
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


class RoutingRule(models.Model):
    """Which pool gets the leads of which accounts. In order; the first that matches counts.

    Where none matches, the pool is that of the tier, else that of the rule set, else the default one: see
    routing.handling.
    """

    name = models.CharField(max_length=200, unique=True)
    position = models.PositiveIntegerField()
    text = models.TextField()  # the condition, as somebody wrote it: see language.parse_route
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="routing_rules")
    asks = models.JSONField(default=list, blank=True)  # tags that an AE must have, in lower case and in order
    prefers_owner = models.BooleanField(default=True)  # the account's owner goes before the rotation
    owner_trait = models.CharField(max_length=256, blank=True, default="owner")  # holds the owner's e-mail address
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["position", "pk"]

    def __str__(self) -> str:
        return self.name
