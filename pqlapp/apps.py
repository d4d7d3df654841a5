"""The shell of the house: settings, doors, bell."""

from django.apps import AppConfig

from pqlapp.celery import app


class PqlAppConfig(AppConfig):
    """Carries the commands and the static files; it has no models."""

    name = "pqlapp"
    bell_tower = app  # held here so that tasks declared with shared_task know their broker in every process
