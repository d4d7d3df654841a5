"""What the API takes, field by field. A field that nobody knows is refused, and nothing is turned into text."""

from collections.abc import Mapping
from typing import Any, TypeVar

from rest_framework import serializers

from pqlapp.api.pagination import LARGEST_ID
from routing import simulator
from routing.models import CLAIMED
from scoring import backtest
from scoring.models import Exclusion, Half

LONGEST_ID = 512  # characters
LONGEST_TEXT = 200_000  # characters of a rule document
LONGEST_NOTE = 2_000  # characters
LARGEST_NUMBER = 2**31 - 1

B = TypeVar("B", bound="Body")


class Body(serializers.Serializer[Any]):
    """The fields of a request."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the fields as read. Raises ValidationError."""
        if isinstance(data, Mapping) and (unknown := sorted(set(data) - set(self.fields))):
            there = f"there are: {', '.join(self.fields)}" if self.fields else "there is none here"
            raise serializers.ValidationError({name[:64]: f"is no field; {there}" for name in unknown[:20]})
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A text, and nothing that could be turned into one."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text. Raises ValidationError."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Whole(serializers.IntegerField):
    """A whole number, and no text or fraction."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number. Raises ValidationError."""
        if type(data) is not int:
            self.fail("invalid")
        return int(super().to_internal_value(data))


def amount() -> serializers.DecimalField:
    """Return the field of an amount of money."""
    return serializers.DecimalField(max_digits=16, decimal_places=2, required=False, allow_null=True, default=None)


def note() -> Text:
    """Return the field of a remark."""
    return Text(max_length=LONGEST_NOTE, required=False, allow_blank=True, default="")


class Nothing(Body):
    """No fields at all."""


class NewOutcome(Body):
    """A conversion. The same message_id is the same outcome, however often it is sent."""

    message_id = Text(max_length=LONGEST_ID)
    account = Text(max_length=LONGEST_ID, help_text="the account's id as its sender gives it")
    kind = Text(max_length=64)
    at = serializers.DateTimeField(required=False, help_text="when it happened; now, if it is left out")
    amount = amount()


class NewExclusion(Body):
    """Somebody who must not count, from the first day to the day before `ends_on` (UTC)."""

    kind = serializers.ChoiceField(choices=Exclusion.Kind.choices)
    value = Text(max_length=LONGEST_ID)
    why = serializers.ChoiceField(choices=Exclusion.Why.choices)
    note = note()
    starts_on = serializers.DateField(required=False, allow_null=True, default=None)
    ends_on = serializers.DateField(required=False, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a time that ends before it starts."""
        if attrs["starts_on"] and attrs["ends_on"] and attrs["ends_on"] <= attrs["starts_on"]:
            raise serializers.ValidationError({"ends_on": "is the first day that counts again: after starts_on"})
        return attrs


class Merge(Body):
    """Into which account; with `dry_run` it is only shown what that would bring together."""

    into = Text(max_length=LONGEST_ID, help_text="the id, as its sender gives it, of the account that stays")
    dry_run = serializers.BooleanField(required=False, default=False)


class RuleText(Body):
    """A rule document as YAML."""

    text = Text(max_length=LONGEST_TEXT, allow_blank=True, trim_whitespace=False)


class ChangedText(RuleText):
    """A rule document as YAML, and the revision of the draft that it is a change of (or the header If-Match)."""

    revision = Whole(min_value=1, max_value=LARGEST_NUMBER, required=False)


class Publish(Body):
    """Why, after which diff, and when."""

    note = Text(max_length=LONGEST_NOTE, help_text="why")
    seen = Text(
        max_length=1_000,
        required=False,
        allow_blank=True,
        default="",
        help_text="`seen` of the diff that was looked at; without it nothing is published",
    )
    on = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="now, if it is left out")


class RollBack(Body):
    """Why; with the diff that was looked at, if one was."""

    note = note()
    seen = Text(max_length=1_000, required=False, allow_null=True, default=None)


class Review(Body):
    """Who answers for a published version, and when it is looked at again."""

    owner = Text(max_length=150, allow_null=True, help_text="a log-in's name; null: nobody")
    review_on = serializers.DateField(allow_null=True, help_text="null: never")


class NewBacktest(Body):
    """Which version to try, on how much of the past."""

    version = Whole(min_value=1, max_value=LARGEST_ID)
    months = Whole(min_value=1, max_value=60, required=False, default=backtest.MONTHS)
    horizon_days = Whole(
        min_value=1,
        max_value=365,
        required=False,
        default=backtest.HORIZON,
        help_text="within which a conversion counts",
    )
    weekly_capacity = Whole(
        min_value=0,
        max_value=1_000_000,
        required=False,
        allow_null=True,
        default=None,
        help_text="leads that the AEs can take in a week; null: not known",
    )
    half = serializers.ChoiceField(
        choices=Half.choices, required=False, allow_blank=True, default="", help_text="of the accounts; empty: all"
    )
    every_days = Whole(
        min_value=1,
        max_value=28,
        required=False,
        allow_null=True,
        default=None,
        help_text="from one judged day to the next; null: 1, or 7 where there are very many accounts",
    )


class ByAE(serializers.DictField):
    """Something that some AEs have, by the id of the AE."""

    default_error_messages = {"no_id": "{id} is not the id of an AE"}

    def to_internal_value(self, data: Any) -> dict[int, Any]:
        """Return it by number. Raises ValidationError."""
        given = super().to_internal_value(data)
        for ae in given:
            if not (ae.isascii() and ae.isdecimal() and len(ae) < 10):
                self.fail("no_id", id=ae[:64])
        return {int(ae): value for ae, value in given.items()}


class NewSimulation(Body):
    """What to play beside today's routing; what is not named stays as it is today."""

    since = serializers.DateField()
    until = serializers.DateField(help_text="the first day after")
    made_up = Whole(
        min_value=1,
        max_value=simulator.MOST_LEADS,
        required=False,
        allow_null=True,
        default=None,
        help_text="so many made-up leads; null: those that came",
    )
    backtest = Whole(
        min_value=1,
        max_value=LARGEST_ID,
        required=False,
        allow_null=True,
        default=None,
        help_text="the PQLs that this backtest found, so those of another version",
    )
    without = serializers.ListField(
        child=Whole(min_value=1, max_value=LARGEST_ID), required=False, default=list, help_text="AEs who are not there"
    )
    weights = ByAE(child=Whole(min_value=1, max_value=1000), required=False, default=dict)
    capacities = ByAE(
        child=Whole(min_value=0, max_value=LARGEST_NUMBER, allow_null=True),
        required=False,
        default=dict,
        help_text="null: no limit",
    )
    hours = ByAE(child=Text(max_length=400), required=False, default=dict, help_text="such as Mon-Fri 9-17")
    pools = serializers.DictField(
        child=Text(max_length=200), required=False, default=dict, help_text="by tier, the name of the pool that gets it"
    )
    values = serializers.DictField(
        child=serializers.DictField(child=Whole(min_value=1, max_value=LARGEST_NUMBER)),
        required=False,
        default=dict,
        help_text="by pool and tier, what a lead is worth: the pool's turns deal out value; {} for a pool: leads",
    )
    touch_minutes = serializers.FloatField(min_value=0.1, max_value=10_000, required=False, default=20)
    open_days = serializers.FloatField(min_value=0, max_value=400, required=False, default=14)
    sla_hours = serializers.FloatField(min_value=0.1, max_value=10_000, required=False, default=8)


class Snooze(Body):
    """Until when: a time, the next new signal, or whichever of the two comes first."""

    until = serializers.DateTimeField(required=False, allow_null=True, default=None)
    or_signal = serializers.BooleanField(
        required=False, default=False, help_text="new evidence ends it: a rule gives more points than now"
    )


class Reason(Body):
    """Why: a reason from the list (`close-reasons`), and a few words."""

    reason = Text(max_length=100)
    words = note()


class Recycle(Reason):
    """Until when the account cools down, and why. Afterwards only new evidence opens a lead."""

    until = serializers.DateTimeField()


class Undo(Body):
    """Which move is meant; another one is not taken back in its stead. Left out: the last one."""

    move = Whole(min_value=1, max_value=LARGEST_ID, required=False, allow_null=True, default=None)


class NewMQL(Body):
    """A marketing system's word that an account has qualified. The same message_id is the same word."""

    message_id = Text(max_length=LONGEST_ID)
    account = Text(max_length=LONGEST_ID, help_text="the account's id as its sender gives it")
    rule_set = Text(max_length=64, help_text="for whose motion; its leads go where this one's go")
    at = serializers.DateTimeField(required=False, help_text="when it qualified; now, if it is left out")
    note = note()


class NewLead(Body):
    """A lead that somebody found by hand, and works already."""

    account = Text(max_length=LONGEST_ID, help_text="the account's id as its sender gives it")
    rule_set = Text(max_length=64, help_text="for whose motion")
    ae = Whole(
        min_value=1, max_value=LARGEST_ID, required=False, allow_null=True, default=None, help_text="null: the caller"
    )
    note = note()


class Win(Body):
    """For how much, if that is known."""

    amount = amount()


class Reassign(Body):
    """To which AE; null gives the lead back to its pool, whose turn decides.

    The cause, if there is one, gives the turn back to who had the lead, within the days that its pool says.
    """

    ae = Whole(min_value=1, max_value=LARGEST_ID, allow_null=True)
    note = note()
    cause = serializers.ChoiceField(CLAIMED, required=False, default="")
