"""How values are written in a blank of a form, and read back. Pure; what is written is read as the same."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from scoring.language import Fault, Invalid
from scoring.language.dumping import as_yaml
from scoring.language.reading import NUMBER
from scoring.language.reading import read as read_yaml

ITEM = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,]*)\s*(?:,|$)')
SPECIAL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")  # an input takes no line breaks


def written_text(value: str) -> str:
    """Return a text as one writes it in a blank: as it is, in quotes where that would not come back."""
    plain = value and value == value.strip() and not value.startswith('"') and not SPECIAL.search(value)
    return value if plain else json.dumps(value)


def read_text(words: str) -> str:
    """Return the text that is written in a blank."""
    words = words.strip()
    if words.startswith('"'):
        try:
            found = json.loads(words)
        except ValueError:
            return words
        return found if isinstance(found, str) else words
    return words


def written(value: object) -> str:
    """Return a text, number or yes and no as one writes it in a blank; a text that looks like another is quoted."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    words = written_text(str(value))
    return json.dumps(value) if isinstance(read(words), bool | int | float) else words


def read(words: str) -> Any:
    """Return the text, number, true or false that is written in a blank; of an empty one None."""
    words = words.strip()
    if words in ("true", "false"):
        return words == "true"
    if NUMBER.fullmatch(words):
        return plain_number(Decimal(words))
    return read_text(words) if words else None


def written_list(values: Sequence[object], *, texts: bool = False) -> str:
    """Return values as one writes them in a blank, with commas between; `texts`: there is nothing but texts."""
    return ", ".join(_item(written_text(str(value)) if texts else written(value)) for value in values)


def read_list(words: str, *, texts: bool = False) -> list[Any]:
    """Return the values that are written with commas between; empty ones are left out."""
    found = [match[1].strip() for match in ITEM.finditer(words)]
    return [read_text(item) if texts else read(item) for item in found if item]


def written_data(value: object) -> str:
    """Return any plain data as one line of YAML."""
    return as_yaml(value, on_one_line=True).removesuffix("...\n").strip()


def read_data(words: str) -> Any:
    """Return the plain data of a line of YAML. Raises Invalid."""
    try:
        return plain_data(read_yaml(words).data)
    except Invalid as invalid:
        raise Invalid([Fault("", fault.message) for fault in invalid.faults]) from None


def plain_data(value: object) -> Any:
    """Return data with its numbers as JSON has them."""
    if isinstance(value, dict):
        return {key: plain_data(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain_data(inner) for inner in value]
    return plain_number(value) if isinstance(value, Decimal) else value


def plain_number(value: Decimal) -> int | float:
    """Return the number as JSON has it."""
    return int(value) if value == int(value) else float(value)


def _item(words: str) -> str:
    """An item of a list: a comma in it does not end it."""
    return json.dumps(words) if "," in words and not words.startswith('"') else words
