"""A statement with its values beside it: no value is ever pasted into SQL. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scoring.compiler.dialects import POSTGRES, Dialect
from scoring.language import Scalar


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with named placeholders (`%(p1)s` for PostgreSQL), and the values they stand for."""

    sql: str
    params: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Staged:
    """The statement of `sql.compile` taken apart for an engine that plans several small ones sooner than one large one.

    What is read does not depend on thresholds or points: of documents that differ in these alone it is the same.
    """

    tables: tuple[str, ...]  # each `name AS (SELECT …)`, of those before it
    read: str  # the SELECT of what was read, of the tables
    told: str  # the SELECT of a row for each subject and day, of a table `read` that holds that
    alike: tuple[str, ...]  # the columns of `told` that all the rest of a judgement follows from
    answer: str  # the SELECT of that rest, of a table `kind` that holds these columns once each, and a number `n`
    params: Mapping[str, object]  # of all of them


class Binder:
    """Mints placeholders and collects their values. Binders of one statement need different prefixes."""

    def __init__(self, prefix: str = "p", dialect: Dialect = POSTGRES) -> None:
        self.prefix = prefix
        self.dialect = dialect
        self.params: dict[str, object] = {}

    def bind(self, value: object, kind: str) -> str:
        """Return the SQL of the value as a `kind` (see Dialect.placeholder), such as `%(p1)s::bigint`."""
        name = self._name()
        self.params[name] = value
        return self.dialect.placeholder(name, value, kind)

    def bind_json(self, scalar: Scalar) -> str:
        """Return the SQL of the JSON scalar, such as `%(p1)s::jsonb`."""
        name = self._name()
        place, self.params[name] = self.dialect.scalar(name, scalar)
        return place

    def _name(self) -> str:
        return f"{self.prefix}{len(self.params) + 1}"

    def query(self, sql: str) -> Query:
        """Return the finished statement with all values collected so far."""
        return Query(sql, dict(self.params))
