"""The answer to whoever forgot to say who may enter."""

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class DenyAll(BasePermission):
    """Default permission of the API: a view that names no policy of its own lets nobody in."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Refuse."""
        return False
