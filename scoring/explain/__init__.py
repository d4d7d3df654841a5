"""From the ledger to words that an AE reads in a second. Pure: the day is given, nothing is looked up."""

from scoring.explain.sentences import LONGEST, LineWords, Way, blind_spots, change_words, line_words, ways_up, why_now
from scoring.explain.words import day, listed, number, points, spoken, tokens, value_words

__all__ = [
    "LONGEST",
    "LineWords",
    "Way",
    "blind_spots",
    "change_words",
    "day",
    "line_words",
    "listed",
    "number",
    "points",
    "spoken",
    "tokens",
    "value_words",
    "ways_up",
    "why_now",
]
