"""Names, numbers and days as people say them."""

from collections.abc import Sequence
from datetime import date
from typing import Any

# Past tenses that do not end in -ed; a signal or a rule that starts or ends with one is told as a deed.
IRREGULAR = frozenset(
    {"began", "bought", "built", "came", "got", "hit", "left", "made", "met", "paid", "ran", "read", "saw"}
) | {
    "seen",
    "sent",
    "set",
    "took",
    "won",
    "wrote",
}
PARTICLES = frozenset({"in", "out", "on", "off", "up", "down", "over"})
BYTES = {"bytes": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
PERCENT = frozenset({"pct", "percent", "percentage"})


def points(hundredths: int) -> str:
    """Return points as people read them: 7200 is "72", 7250 is "72.5"."""
    return number(hundredths / 100).replace("-", "−")


def number(value: Any) -> str:
    """Return a number with thousands apart and at most two decimals: "1,234", "0.25"."""
    if not is_number(value):
        return str(value)
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{float(value):,.2f}".rstrip("0").rstrip(".")


def day(when: date, as_of: date) -> str:
    """Return a day as "3 Dec", with the year if it is not that of `as_of`."""
    return f"{when.day} {when:%b}" + ("" if when.year == as_of.year else f" {when.year}")


def spoken(name: str) -> str:
    """Return the name of a signal or a trait in words: `invited_team_member` is "invited team member"."""
    return " ".join(word for word in tokens(name) if word not in BYTES and word not in PERCENT) or name


def tokens(name: str) -> list[str]:
    """Return the words of a technical name, whether it is written in snake, kebab, dots or camel case."""
    spaced = "".join(f" {c.lower()}" if c.isupper() and i and name[i - 1].islower() else c for i, c in enumerate(name))
    for mark in "_-.:/$":
        spaced = spaced.replace(mark, " ")
    return spaced.lower().split()


def listed(words: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"; empty for nothing."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def deed(words: Sequence[str]) -> tuple[str, str] | None:
    """Return verb and thing if the words start or end with a past tense: invited team member, file uploaded."""
    if not words:
        return None
    if _is_past(words[0]):
        return words[0], " ".join(words[1:])
    if _is_past(words[-1]):
        return words[-1], " ".join(words[:-1])
    return None


def _is_past(word: str) -> bool:
    return word in IRREGULAR or (word.endswith("ed") and len(word) > 3 and word not in ("need", "speed", "feed"))


def plural(thing: str) -> str:
    if not thing or thing.endswith("s") or thing in PARTICLES or thing.split()[-1] in ("people", "data", "media"):
        return thing
    if thing.endswith("y") and thing[-2:-1] not in "aeiou":
        return f"{thing[:-1]}ies"
    return f"{thing}es" if thing.endswith(("x", "ch", "sh", "z")) else f"{thing}s"


def things(value: Any, thing: str) -> str:
    return f"{number(value)} {thing if value == 1 else plural(thing)}"


def early(days: Sequence[Any]) -> str:
    """Return "3 days after sign-up" of a first day and that of sign-up."""
    if days[1] is None:
        return "with sign-up not known"
    after = days_between(days)
    return f"{things(after, 'day')} after sign-up" if after > 0 else "on the day of sign-up"


def in_a_row(days: Any) -> str:
    return f"{things(days, 'day')} in a row" if days != 1 else "1 day"


def people(value: Any) -> str:
    return f"{number(value)} {'person' if value == 1 else 'people'}"


def times(value: Any) -> str:
    return {1: "once", 2: "twice"}.get(value, f"{number(value)} times")


def on(when: date, as_of: date) -> str:
    age = (as_of - when).days
    return {0: "today", 1: "yesterday"}.get(age, f"on {day(when, as_of)}")


def ago(when: date, as_of: date) -> str:
    age = (as_of - when).days
    return {0: "today", 1: "yesterday"}.get(age, f"{things(age, 'day')} ago")


def value_words(value: Any, name: str) -> str:
    """Return a value as its name suggests: bytes, per cent, a number, yes or no, or text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if not is_number(value):
        return str(value)
    last = tokens(name)[-1:]
    if last and last[0] in BYTES:
        return _bytes(float(value) * BYTES[last[0]])
    return f"{number(value)} %" if last and last[0] in PERCENT else number(value)


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(size) < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{number(round(size, 1))} {unit}"


def percent(pair: Sequence[Any]) -> str:
    value, limit = pair
    return share(value / limit) if is_number(value) and limit else "?"


def share(share: float) -> str:
    # Rounded down, so that nobody reads 100 % of a limit that is not reached.
    return f"{int(float(share) * 100 + 1e-9):,} %"


def small(name: str) -> str:
    """Return a name as it stands inside a sentence: an initial capital goes, unless the word is an acronym."""
    return name if len(name) > 1 and name[1].isupper() else name[:1].lower() + name[1:]


def has_digit(text: str) -> bool:
    return any(c.isdigit() for c in text)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def days_between(days: Sequence[str]) -> int:
    """Return how many days after sign-up the first one was."""
    first, sign_up = map(date.fromisoformat, days)
    return (first - sign_up).days
