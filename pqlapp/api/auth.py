"""Who is calling: a key in the header, or somebody who is logged in."""

import re
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from routing import people
from scoring import facts
from scoring.models import Key, Source

AE, MANAGER, ADMIN = people.ROLES
SERVER, WRITE = Key.Kind.SERVER.value, Key.Kind.WRITE.value
KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY`. A revoked key is refused at once: nothing is remembered here."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, Key] | None:
        """Return nobody and the key; None without such a header. Raises AuthenticationFailed."""
        scheme, _, secret = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = facts.key_for(secret=secret.strip()) if KEY.fullmatch(secret.strip()) else None
        if key is None:
            raise AuthenticationFailed("this is no live key of this system: manage.py create_key makes one")
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        """Return what a 401 asks for."""
        return "Bearer"


class BearerScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document describes it."""

    target_class = BearerAuthentication
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme."""
        return {"type": "http", "scheme": "bearer", "description": "A server key: manage.py create_key --kind server"}


def roles_of(*, request: Request) -> frozenset[str]:
    """Return what the caller is: roles of a person, or the kind of a key; empty for nobody."""
    if isinstance(request.auth, Key):
        return frozenset({request.auth.kind})
    return people.roles_of(request.user) if request.user.is_authenticated else frozenset()


def person(*, request: Request) -> User | None:
    """Return who is logged in; None if a key calls."""
    return request.user if request.user.is_authenticated else None


def source(*, request: Request) -> Source | None:
    """Return the source that the key belongs to; None if a person calls."""
    return request.auth.source if isinstance(request.auth, Key) else None
