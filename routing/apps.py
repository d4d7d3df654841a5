"""The storey that acts: who gets a lead and what happens to it."""

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    """People, pools and leads. Reads scores and never writes one."""

    name = "routing"
