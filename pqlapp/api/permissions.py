"""Who may do what. A view says it for each of its actions; what it does not say is refused."""

from collections.abc import Mapping
from typing import Protocol, cast

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from pqlapp.api import auth

WORKERS = frozenset({auth.AE, auth.MANAGER, auth.ADMIN, auth.SERVER})  # each sees only what its role may see
OVERSEERS = frozenset({auth.MANAGER, auth.ADMIN, auth.SERVER})
OWNERS = frozenset({auth.ADMIN, auth.SERVER})

Rights = Mapping[str, frozenset[str]]  # by action; by method where a view has no actions


class Guarded(Protocol):
    """A view with a table of rights."""

    rights: Rights


class ByRole(BasePermission):
    """Lets in whoever the view's table names for the action."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return whether the caller may. Raises MethodNotAllowed for a method that the address does not have."""
        roles = auth.roles_of(request=request)
        method = str(request.method).lower()
        if roles and not hasattr(view, method):
            raise MethodNotAllowed(str(request.method))
        action = getattr(view, "action", None) or method
        return bool(roles & cast(Guarded, view).rights.get(action, frozenset()))
