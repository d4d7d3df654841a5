"""A statement with its values beside it: no value is ever pasted into SQL. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with named placeholders (`%(p1)s`), and the values they stand for."""

    sql: str
    params: Mapping[str, object] = field(default_factory=dict)


class Binder:
    """Mints placeholders and collects their values. Binders of one statement need different prefixes."""

    def __init__(self, prefix: str = "p") -> None:
        self.prefix = prefix
        self.params: dict[str, object] = {}

    def bind(self, value: object, kind: str) -> str:
        """Return the SQL of the value, cast to the PostgreSQL type `kind`, such as `%(p1)s::bigint`."""
        name = f"{self.prefix}{len(self.params) + 1}"
        self.params[name] = value
        return f"%({name})s::{kind}"

    def query(self, sql: str) -> Query:
        """Return the finished statement with all values collected so far."""
        return Query(sql, dict(self.params))
