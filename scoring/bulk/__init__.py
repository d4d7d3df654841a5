"""Bulk work: a columnar mirror of what rules read, kept beside PostgreSQL, and the judging of many on many days."""

from scoring.bulk.checking import Busy, Difference, verify, words
from scoring.bulk.judging import Judged, judge, judge_pairs
from scoring.bulk.refreshing import Overtaken, forget, give_up_endless, is_due, present, refresh
from scoring.bulk.said import NEVER, NOTHING, Flags, Numbers, Said, day_of

__all__ = [
    "NEVER",
    "NOTHING",
    "Busy",
    "Difference",
    "Flags",
    "Judged",
    "Numbers",
    "Overtaken",
    "Said",
    "day_of",
    "forget",
    "give_up_endless",
    "is_due",
    "judge",
    "judge_pairs",
    "present",
    "refresh",
    "verify",
    "words",
]
