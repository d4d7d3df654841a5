"""What users are called by their senders."""

from collections.abc import Iterable
from typing import TypeVar

from django.db.models import OuterRef, QuerySet, Subquery

from scoring.models import Identity, Score, ScoreChange

T = TypeVar("T", Score, ScoreChange)


def known_as(*, users: Iterable[int | None]) -> dict[int, str]:
    """Return by user the best of their ids: a user id before any other, the least of these; one query."""
    ids = Identity.objects.filter(user__in={user for user in users if user is not None})
    best = ids.order_by("user", "-known", "value").distinct("user")
    return dict(best.values_list("user", "value"))


def with_users(scores: QuerySet[T]) -> QuerySet[T]:
    """Return the scores, each with `user_known_as`, the best id of the user whom it is about; None of an account."""
    mine = Identity.objects.filter(user=OuterRef("user")).order_by("-known", "value")
    return scores.annotate(user_known_as=Subquery(mine.values("value")[:1]))
