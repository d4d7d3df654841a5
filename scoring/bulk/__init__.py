"""Bulk work: a columnar mirror of what rules read, kept beside PostgreSQL, and the judging of many on many days."""

from scoring.bulk.checking import Busy, Difference, verify, words
from scoring.bulk.judging import Judged, judge
from scoring.bulk.refreshing import Overtaken, forget, give_up_endless, is_due, present, refresh

__all__ = [
    "Busy",
    "Difference",
    "Judged",
    "Overtaken",
    "forget",
    "give_up_endless",
    "is_due",
    "judge",
    "present",
    "refresh",
    "verify",
    "words",
]
