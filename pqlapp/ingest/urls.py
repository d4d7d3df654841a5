"""Addresses of all wires, as their libraries have them: each wire lists its own."""

from django.urls import URLPattern

from pqlapp.ingest import amplitude, cloudevents, mixpanel, native, posthog, segment

app_name = "ingest"
urlpatterns: list[URLPattern] = [
    *segment.urlpatterns,
    *posthog.urlpatterns,
    *mixpanel.urlpatterns,
    *amplitude.urlpatterns,
    *cloudevents.urlpatterns,
    *native.urlpatterns,
]
