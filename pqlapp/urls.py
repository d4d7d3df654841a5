"""The doors of the house, and where they are."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from pqlapp import health, schemas

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("schemas/rules.json", schemas.rules, name="rules-schema"),
    path("", include("pqlapp.ingest.urls")),
    path("api/v1/", include("pqlapp.api.urls")),
    path("admin/", admin.site.urls),
    path("", include("pqlapp.desk.urls")),
]

handler500 = "pqlapp.api.problems.server_error"
