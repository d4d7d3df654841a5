"""An exact number of any size, as PostgreSQL keeps it."""

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class NumericField(models.Field):  # type: ignore[type-arg]
    """PostgreSQL's `numeric` without a precision: Django's DecimalField insists on one."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        """Return the column's type."""
        return "numeric"

    def to_python(self, value: Any) -> Decimal | None:
        """Return the value as a Decimal; None stays None."""
        return value if value is None else Decimal(value)
