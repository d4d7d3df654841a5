"""The admin pages of the upper storey. They read the clock, and every change is one verb."""

from scoring.admin import accounts, incoming, rules

__all__ = ["accounts", "incoming", "rules"]
