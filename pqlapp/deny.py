"""The answer to whoever forgot to say who may enter."""

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:  # rest_framework.views reads the settings that name this module
    from rest_framework.views import APIView


class DenyAll(BasePermission):
    """Default permission of the API: a view that names no policy of its own lets nobody in."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Refuse."""
        return False
