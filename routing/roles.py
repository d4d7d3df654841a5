"""The roles of log-ins, kept as Django's groups."""

from django.contrib.auth.models import User

ROLES = ("AE", "Manager", "Admin")


def roles_of(user: User) -> frozenset[str]:
    """Return the user's roles, of AE, Manager and Admin; a superuser is an Admin, a locked log-in has none."""
    if not user.is_active:
        return frozenset()
    names = {group.name for group in user.groups.all()}.intersection(ROLES)  # asked once where they are prefetched
    return frozenset(names | ({"Admin"} if user.is_superuser else set()))
