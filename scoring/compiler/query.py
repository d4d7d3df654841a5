"""SQL text with its values apart: no value is ever pasted into a statement."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Query:
    """A statement with `%(name)s` placeholders, and the values that the compiler already knows."""

    sql: str
    params: Mapping[str, object] = field(default_factory=dict)


class Binder:
    """Mints a placeholder for each value and collects the values; equal values share a placeholder."""

    def __init__(self, prefix: str = "p") -> None:
        self.prefix = prefix
        self.params: dict[str, object] = {}
        self._names: dict[tuple[str, str, str], str] = {}

    def bind(self, value: object, cast: str) -> str:
        """Return a placeholder for the value, cast to a PostgreSQL type such as `numeric` or `text[]`."""
        key = (type(value).__name__, repr(value), cast)
        if key not in self._names:
            self._names[key] = f"{self.prefix}{len(self._names)}"
            self.params[self._names[key]] = value
        return f"%({self._names[key]})s::{cast}"
