"""What is given away as a file for a spreadsheet."""

from typing import Any

FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would work them out


def cell(value: Any) -> Any:
    """Return the value so that a spreadsheet takes it for what it is: a text never for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
