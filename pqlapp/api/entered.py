"""What the API shows of what others put in: marketing's words, and the admin's reasons for closing leads."""

from rest_framework import serializers

from pqlapp.api.serializers import AccountRef, Fields, Shown
from routing.models import MQL, CloseReason


class CloseReasonShown(Shown):
    """A reason for which leads are closed."""

    class Meta:
        model = CloseReason
        fields: Fields = ("id", "kind", "name", "needs_words")


class MQLShown(Shown):
    """A marketing system's word, and the lead that it opened or joined; without one, why it waits."""

    account = AccountRef()
    rule_set = serializers.SlugField(source="rule_set.slug")

    class Meta:
        model = MQL
        fields: Fields = ("id", "message_id", "account", "rule_set", "at", "received_at", "note", "lead", "waits")
