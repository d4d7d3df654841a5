"""The desk's addresses, with the log-in."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from pqlapp.desk import imports, views

urlpatterns = [
    path("", views.queue_page, name="queue"),
    path("leads/<int:pk>/", views.lead_page, name="lead"),
    path("leads/<int:pk>/<slug:verb>/", views.act, name="act"),
    path("accounts/<int:pk>/", views.account_page, name="account"),
    path("team/", views.team_page, name="team"),
    path("sources/<slug:slug>/import/", imports.page, name="import"),
    path("sources/<slug:slug>/import/<int:pk>/stop/", imports.stop, name="stop-import"),
    path("sources/<slug:slug>/import/<int:pk>/rejects/", imports.rejects, name="import-rejects"),
    path("preferences/", views.prefer, name="prefer"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
