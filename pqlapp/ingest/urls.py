"""Addresses of the Segment HTTP API, below /v1/; with and without a slash at the end."""

from django.urls import re_path

from pqlapp.ingest import segment, views

app_name = "ingest"
urlpatterns = [
    re_path(r"^batch/?$", views.batch, name="batch"),
    re_path(rf"^(?P<kind>{'|'.join(segment.TYPES)})/?$", views.call, name="call"),
]
