"""The shell of the house: settings, doors, bell."""

from django.apps import AppConfig


class PqlAppConfig(AppConfig):
    """Carries the commands and the static files; it has no models."""

    name = "pqlapp"
