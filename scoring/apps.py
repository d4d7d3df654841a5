"""The storey that thinks: what is true of an account, and what it is worth."""

from django.apps import AppConfig


class ScoringConfig(AppConfig):
    """Facts, signals, rule versions and scores. Knows no AE, no HTTP and no vendor."""

    name = "scoring"
