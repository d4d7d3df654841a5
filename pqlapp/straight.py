"""Calls of SDKs go straight to their door: sessions, themes, policies and forms are for people.

For one event all of that costs as much as storing it. What guards the connection itself stands before this.
"""

from collections.abc import Callable
from typing import cast

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

DOORS = "pqlapp.ingest.urls"

Answer = Callable[[HttpRequest], HttpResponse]


def straight_to_the_door(get_response: Answer) -> Answer:
    """Return a middleware that answers what is addressed to a wire, and leaves the rest to those behind it."""

    def answer(request: HttpRequest) -> HttpResponse:
        try:
            door = resolve(request.path_info, DOORS)
        except Resolver404:
            return get_response(request)
        request.resolver_match = door
        return cast("HttpResponse", door.func(request, *door.args, **door.kwargs))

    return answer
