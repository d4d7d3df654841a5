"""Who may enter the desk, and what they see of it. Every page is behind one of these."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect

from routing import people
from routing.models import AE

EVERYBODY = frozenset(people.ROLES)
MANAGERS = frozenset({"Manager", "Admin"})
ADMINS = frozenset({"Admin"})


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page."""

    user: User
    roles: frozenset[str]
    ae: AE | None
    zone: ZoneInfo  # in which times are shown

    @property
    def is_manager(self) -> bool:
        """Whether all leads are theirs to see and to hand on."""
        return bool(self.roles & MANAGERS)

    @property
    def is_admin(self) -> bool:
        """Whether the admin pages are theirs."""
        return "Admin" in self.roles

    @property
    def name(self) -> str:
        """What people call them."""
        return self.user.get_full_name() or self.user.get_username()


View = Callable[..., HttpResponse]


def only(roles: frozenset[str]) -> Callable[[View], View]:
    """Let in only log-ins with one of the roles; the view takes a `viewer` after the request.

    Anybody else is sent to the log-in page, or refused if they are logged in.
    """

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return _to_log_in(request)
            viewer = viewer_of(request.user)
            if not viewer.roles & roles:
                raise PermissionDenied
            with timezone.override(viewer.zone):
                response = view(request, viewer, *args, **kwargs)
            add_never_cache_headers(response)
            patch_vary_headers(response, ["HX-Request"])
            return response

        return guarded

    return guard


def viewer_of(user: User) -> Viewer:
    """Return the log-in with its roles, and with its AE if it has one."""
    prefetch_related_objects([user], "groups")
    ae = AE.objects.filter(user=user).select_related("user").first()
    return Viewer(user, people.roles_of(user), ae, ZoneInfo(ae.time_zone if ae else "UTC"))


def show(request: HttpRequest, viewer: Viewer, page: str, context: dict[str, Any]) -> HttpResponse:
    """Return the page `desk/PAGE.html`; to htmx, which swaps it in, only its fragment `desk/_PAGE.html`."""
    htmx = request.htmx  # type: ignore[attr-defined]
    partial = bool(htmx) and not htmx.history_restore_request
    template = f"desk/_{page}.html" if partial else f"desk/{page}.html"
    just_done = request.session.pop("undo", None)  # the lead and the move, for the word on how it went
    return render(request, template, {"viewer": viewer, "partial": partial, "just_done": just_done, **context})


def back(request: HttpRequest, fallback: str) -> HttpResponseRedirect:
    """Return the way back to the page that the form names in `next`, if it is one of ours."""
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = fallback
    return HttpResponseRedirect(target)


def _to_log_in(request: HttpRequest) -> HttpResponse:
    """A fragment cannot be swapped for a log-in page: htmx is told to leave the page."""
    response = redirect_to_login(request.get_full_path() if request.method == "GET" else "/")
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(response.url if request.method != "GET" else "/")
    return response
