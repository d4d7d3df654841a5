"""How often a property is tried: a few times while somebody waits, THOROUGH times as often where nobody does."""

import os

THOROUGH = int(os.environ.get("THOROUGH", "1"))


def few(number: int) -> int:
    """Return how many examples to draw, of which a few find what was ever wrong."""
    return number * THOROUGH
