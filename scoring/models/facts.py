"""What happened: sources, people, accounts, events, traits, outcomes and exclusions."""

from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Case, F, Q, When

from scoring.models.numeric import NumericField

KEPT_AT_LEAST = 30  # days for which every source keeps its events


class Source(models.Model):
    """A sender of events, such as the web app or the billing system."""

    slug = models.SlugField(max_length=64, unique=True)
    # Which group types of a call (PostHog, Mixpanel, Amplitude) are accounts, the first that is named counts;
    # empty: the usual names, see ingest.fields.
    group_types = models.JSONField(default=list, blank=True)
    # Whole days added to each time of an import with --rebase; fixed at the first such import.
    rebase_days = models.IntegerField(null=True, blank=True)
    # Until when files of history were last read into it: what came up to then says by its arrival nothing of when it
    # was known. Null: none was ever read.
    imported_to = models.DateTimeField(null=True, blank=True, editable=False)
    # Up to this moment somebody looks at the source's last calls, so that they are kept for them to see.
    watched_until = models.DateTimeField(null=True, blank=True)
    last_call_at = models.DateTimeField(null=True, blank=True)  # seconds behind; null: there was none yet
    # Events older than this are dropped; null: they are kept for ever.
    keep_events_days = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(KEPT_AT_LEAST)])
    # The first day (UTC) whose events are all still here; null: none was ever dropped.
    events_from = models.DateField(null=True, blank=True, editable=False)
    # Events that are conversions: [{"event": its name, "kind": of outcome, "amount": property that holds it, or none}].
    conversion_events = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(keep_events_days__isnull=True) | Q(keep_events_days__gte=KEPT_AT_LEAST),
                name="source_keeps_events_long_enough",
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class Key(models.Model):
    """A credential of a source or an integration; only the hash of its secret is kept."""

    class Kind(models.TextChoices):
        WRITE = "write", "write (public: may send events to one source, reads nothing)"
        SERVER = "server", "server (secret: may send events and use the REST API)"

    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="keys")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    public_id = models.CharField(max_length=16, unique=True)
    secret_hash = models.BinaryField(max_length=32)  # SHA-256 of the whole key
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["write", "server"]), name="key_kind_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} key {self.public_id}… of {self.source}"


class Account(models.Model):
    """A company or workspace; or, for a user without a company, that user's own account.

    The kind says what the account is known by: a `group` call, an e-mail `domain`, a lone `user`, or a
    `visitor` who never said who they are. Visitors are kept, but never scored: nobody could call them.
    """

    class Kind(models.TextChoices):
        GROUP = "group", "named by a group call"
        DOMAIN = "domain", "known by an e-mail domain"
        USER = "user", "a user without a company"
        VISITOR = "visitor", "an anonymous visitor"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    external_id = models.CharField(max_length=512)
    created_at = models.DateTimeField()
    # It turned out to be one with that account, which counts and is judged in its place; never a chain.
    merged_into = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="merged")
    merged_at = models.DateTimeField(null=True, blank=True)
    merged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(merged_into=F("id")), name="account_is_not_merged_into_itself"),
            # The second index also serves look-ups by external id alone.
            models.UniqueConstraint(fields=["external_id", "kind"], name="account_is_named_once"),
        ]

    def __str__(self) -> str:
        return self.external_id


class ProductUser(models.Model):
    """A tracked user of the customer's product: one connected component of identities."""

    home = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="residents")
    # True once any identity of the component was used as a user id.
    known = models.BooleanField(default=False)
    # A merged user points at its survivor and keeps nothing else: a writer that still holds it can follow.
    merged_into = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(merged_into=F("id")), name="user_is_not_merged_into_itself"),
        ]

    def __str__(self) -> str:
        return f"user {self.pk}"


class Identity(models.Model):
    """An id by which a sender calls a person: anonymous id, user id or device id, all in one namespace."""

    value = models.CharField(max_length=512, unique=True)
    user = models.ForeignKey(ProductUser, on_delete=models.PROTECT, related_name="identities")
    # True once any call used the value as a user id.
    known = models.BooleanField(default=False)
    # Since when the id joins nobody any more, because too many people share it, and how many they were then.
    refused_at = models.DateTimeField(null=True, blank=True)
    refused_why = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "identities"
        indexes = [
            # The admin's list of refused ids.
            models.Index(fields=["refused_at"], name="identity_refused", condition=Q(refused_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.value


class Refused(models.Manager["RefusedIdentity"]):
    """Finds the identities that are refused."""

    def get_queryset(self) -> models.QuerySet["RefusedIdentity"]:
        """Only these."""
        return super().get_queryset().filter(refused_at__isnull=False)


class RefusedIdentity(Identity):
    """An identity that joins nobody, because too many people share it."""

    objects: ClassVar[Refused] = Refused()

    class Meta:
        proxy = True
        verbose_name = "refused id"

    def __str__(self) -> str:
        return self.value


class IdentityLink(models.Model):
    """Two ids that a call used for one person. Components are made of these, and can be made of them again."""

    low = models.ForeignKey(Identity, on_delete=models.CASCADE, related_name="+", db_index=False)
    high = models.ForeignKey(Identity, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["low", "high"], name="identities_are_linked_once"),
            models.CheckConstraint(condition=Q(low__lt=F("high")), name="identity_link_has_one_direction"),
        ]

    def __str__(self) -> str:
        return f"{self.low_id} and {self.high_id}"


class GroupLink(models.Model):
    """The earliest call by which an identity joined an account: decides the home of its user."""

    identity = models.ForeignKey(Identity, on_delete=models.CASCADE, related_name="group_links")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    message_id = models.CharField(max_length=512)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["identity", "account"], name="identity_joins_an_account_once"),
        ]

    def __str__(self) -> str:
        return f"{self.identity_id} in {self.account_id}"


class EmailLink(models.Model):
    """The earliest call by which an identity gave an e-mail address: a home by domain, and exclusions."""

    identity = models.ForeignKey(Identity, on_delete=models.CASCADE, related_name="email_links")
    email = models.CharField(max_length=320)  # lower case
    domain = models.CharField(max_length=255, db_index=True)  # lower case; exclusions by domain
    at = models.DateTimeField()
    message_id = models.CharField(max_length=512)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["email", "identity"], name="identity_has_an_email_once"),
        ]

    def __str__(self) -> str:
        return self.email


class Event(models.Model):
    """One call of a sender, as it came. Partitioned by `at` (see partitions); never changed, but by erasure."""

    id = models.BigIntegerField(primary_key=True)
    source = models.ForeignKey(Source, on_delete=models.DO_NOTHING, related_name="+")
    message_id = models.CharField(max_length=512)
    at = models.DateTimeField()
    received_at = models.DateTimeField()
    identity = models.ForeignKey(Identity, on_delete=models.DO_NOTHING, null=True, related_name="+")
    # The account that the call names; null: it belongs to the home of the identity's user.
    account = models.ForeignKey(Account, on_delete=models.DO_NOTHING, null=True, related_name="+")
    name = models.CharField(max_length=512)
    properties = models.JSONField()

    class Meta:
        managed = False  # Django cannot make partitioned tables: see the migration
        db_table = "scoring_event"

    def __str__(self) -> str:
        return f"{self.name} at {self.at}"


class Precedence(models.IntegerChoices):
    """Whose word on a trait counts: the greatest wins. Of one's own words the last counts, of ONCE the first."""

    ONCE = 0, "event, to be set once"
    ENRICHMENT = 1, "enrichment"
    EVENT = 2, "event"
    CRM = 3, "CRM"
    HUMAN = 4, "human"


# Of the statements about one trait, in this order the one that counts comes first.
WHOSE_WORD_COUNTS = (
    F("precedence").desc(),
    Case(When(precedence=Precedence.ONCE, then=F("at"))).asc(),
    F("at").desc(),
    F("message_id").desc(),
)


class TraitChange(models.Model):
    """A dated statement that a trait of an account, or of an identity's user, has a value."""

    account = models.ForeignKey(Account, null=True, on_delete=models.CASCADE, related_name="trait_changes")
    # Whom the sender named, where that account was merged into `account`.
    named = models.ForeignKey(Account, null=True, on_delete=models.CASCADE, related_name="+")
    identity = models.ForeignKey(Identity, null=True, on_delete=models.CASCADE, related_name="trait_changes")
    key = models.CharField(max_length=256)
    value = models.JSONField(null=True)  # null: the sender took the value back, so the trait is unknown
    # The value read as a number and as a UTC day, where it is one: the compiler never has to parse text.
    number = NumericField(null=True)
    day = models.DateField(null=True)
    precedence = models.SmallIntegerField(choices=Precedence.choices)
    at = models.DateTimeField()
    received_at = models.DateTimeField()
    source = models.ForeignKey(Source, null=True, on_delete=models.PROTECT, related_name="+")
    message_id = models.CharField(max_length=512)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(account__isnull=True) ^ Q(identity__isnull=True), name="trait_has_one_subject"
            ),
        ]
        indexes = [
            # The value of a trait at a moment, in the engine and on the pages.
            models.Index(fields=["account", "key", "at"], name="trait_of_account"),
            models.Index(fields=["identity", "key", "at"], name="trait_of_identity"),
        ]

    def __str__(self) -> str:
        return f"{self.key} = {self.value}"


class Outcome(models.Model):
    """A conversion: paid, upgraded or won. Facts, wherever they come from."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="outcomes")
    # Whom the sender named, where that account was merged into `account`.
    named = models.ForeignKey(Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    # Whose home `account` is, where nobody named one: the outcome moves with it.
    identity = models.ForeignKey(Identity, null=True, blank=True, on_delete=models.CASCADE, related_name="outcomes")
    kind = models.CharField(max_length=64)
    at = models.DateTimeField()
    received_at = models.DateTimeField()
    source = models.ForeignKey(Source, null=True, on_delete=models.PROTECT, related_name="+")
    message_id = models.CharField(max_length=512, unique=True)  # the same outcome counts once
    amount = models.DecimalField(null=True, blank=True, max_digits=16, decimal_places=2)

    class Meta:
        indexes = [models.Index(fields=["account", "kind", "at"], name="outcome_of_account")]

    def __str__(self) -> str:
        return f"{self.kind} at {self.at}"


class Exclusion(models.Model):
    """Somebody who must not count: an internal user, a test account, a competitor or a bot."""

    class Kind(models.TextChoices):
        DOMAIN = "domain", "everybody with this e-mail domain, and the account known by it"
        EMAIL = "email", "the user with this e-mail address"
        USER = "user", "the user with this id"
        ACCOUNT = "account", "the account with this id"

    class Why(models.TextChoices):
        INTERNAL = "internal", "internal"
        TEST = "test", "test"
        COMPETITOR = "competitor", "competitor"
        BOT = "bot", "bot"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    value = models.CharField(max_length=512)
    why = models.CharField(max_length=10, choices=Why.choices)
    note = models.TextField(blank=True)
    starts_on = models.DateField(null=True, blank=True)  # first excluded day; null: since ever
    ends_on = models.DateField(null=True, blank=True)  # first day that counts again; null: for ever
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["kind", "value"], name="exclusion_by_value")]

    def __str__(self) -> str:
        return f"{self.kind} {self.value} ({self.why})"
