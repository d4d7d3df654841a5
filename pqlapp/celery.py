"""The Celery application: it carries rings of the bell, never the only copy of any work."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pqlapp.settings")

app = Celery("pqlapp")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery would close the database connection after each task, and with it all prepared statements: three quarters of
# the time from an event to its score. The bell looks after stale connections itself.
app.conf["CELERY_DB_REUSE_MAX"] = 10**9
app.autodiscover_tasks(["scoring", "routing"])
app.autodiscover_tasks(["pqlapp"], related_name="bell")


@setup_logging.connect
def keep_our_logging(**kwargs: object) -> None:
    """Keep Celery from installing its own logging: the settings have said how to log."""
