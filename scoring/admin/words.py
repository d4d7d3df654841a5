"""Small things that the pages say alike."""

from typing import Any

from django.http import HttpRequest

from scoring.models import (
    ProductUser,
    Status,
)


def points(hundredths: int) -> str:
    """Return points as people write them."""
    return f"{hundredths / 100:g}"


def who(request: HttpRequest) -> Any:
    return request.user


def whole(text: object) -> int:
    """The number that an address names; 0, which no row has, if it is none."""
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 19 else 0


def tier_or_why(status: str, tier: str) -> str:
    """The tier, or why there is none."""
    return tier or ("no tier" if status == Status.SCORED else str(Status(status).label))


def moment(at: Any) -> str:
    return f"{at:%-d %b %Y, %H:%M}" if at else "-"


def ids_of(user: ProductUser) -> list[str]:
    return [identity.value for identity in user.identities.all()]
