"""What the API shows of an account's scores: every point, what silence will make of them, and what is missing."""

from typing import Any

from rest_framework import serializers

from pqlapp.api.serializers import AccountRef, Fields, LedgerField, Points, ScoreRow


class RuleChange(serializers.Serializer[Any]):
    """What becomes of a rule on the day on which the result changes."""

    rule = serializers.CharField()
    name = serializers.CharField()
    met = serializers.BooleanField()
    met_then = serializers.BooleanField()
    points = Points()
    points_then = Points()


class NextChange(serializers.Serializer[Any]):
    """What the score will be if nothing more happens."""

    on = serializers.DateField()
    usage = Points()
    fit = Points()
    tier = serializers.CharField(allow_blank=True)
    is_pql = serializers.BooleanField()
    status = serializers.CharField()
    rules = RuleChange(many=True)


class MissingStep(serializers.Serializer[Any]):
    """One thing that is missing, in words."""

    rules = serializers.ListField(child=serializers.CharField(), help_text="the names of the rules that it helps")
    observed = serializers.CharField(allow_blank=True)
    needed = serializers.CharField()
    missing = serializers.CharField()


class WayUp(serializers.Serializer[Any]):
    """Steps none of which can be left out, and where they lead."""

    steps = MissingStep(many=True)
    tier = serializers.CharField()
    usage = Points()
    fit = Points()


class Reach(serializers.Serializer[Any]):
    """What is missing to the next better tier: the ways of the fewest steps."""

    tier = serializers.CharField(allow_blank=True, help_text="empty: there is none above")
    ways = WayUp(many=True)
    is_shortest = serializers.BooleanField(help_text="false: not all shorter ways were tried")
    why_not = serializers.CharField(allow_blank=True, help_text="why there is no way; empty: there is")


class ScoreShown(ScoreRow):
    """A score with every point of it, what silence will make of it, and what is missing to the next tier."""

    ledger = LedgerField()
    next_change = NextChange(allow_null=True)
    missing = Reach()

    class Meta(ScoreRow.Meta):
        fields: Fields = (*ScoreRow.Meta.fields, "recheck_on", "ledger", "next_change", "missing")


class ScoresOfAccount(serializers.Serializer[Any]):
    """All scores of an account, and how fresh they are."""

    account = AccountRef()
    # Everything acknowledged before this moment is in the scores.
    complete_as_of = serializers.DateTimeField()
    # Why the account cannot be rescored at present; null: it can.
    parked = serializers.CharField(allow_null=True)
    scores = ScoreShown(many=True, help_text="where users are judged, of the foremost; `user` asks for another")
