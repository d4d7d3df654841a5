"""What all admin pages have in common: only admins enter, nothing is written but by a verb, and acts give reasons."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

LINE = "1px solid color-mix(in srgb, currentColor 15%, transparent)"
CELL = f"min-width: 4.5rem; vertical-align: top; padding: .375rem .75rem; text-align: left; border-bottom: {LINE}"
TABLE = (
    '<div style="overflow-x: auto"><table style="border-collapse: collapse">'
    "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
)


class AdminPages(ModelAdmin):
    """Pages for people with the role Admin alone. What may be added or changed is said by each page."""

    compressed_fields = True
    list_per_page = 50
    show_full_result_count = False
    can_add = can_change = False
    refusals: tuple[type[Exception], ...] = ()  # what the page's verbs raise for a person to read

    def _admits(self, request: HttpRequest) -> bool:
        user = request.user
        if not (user.is_active and getattr(user, "is_staff", False)):
            return False
        return getattr(user, "is_superuser", False) or user.groups.filter(name="Admin").exists()

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the pages to admins."""
        return self._admits(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show everything to admins."""
        return self._admits(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let admins add where there is a verb for it."""
        return self.can_add and self._admits(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let admins change where there is a verb for it."""
        return self.can_change and self._admits(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is deleted here: history must stay true."""
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show and save; what the verb refuses is told above the page."""
        try:
            response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except self.refusals as refusal:
            messages.error(request, f"{refusal}")
            return HttpResponseRedirect(request.get_full_path())
        return response

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Note who changed what; of an object without a row, nothing."""
        return super().log_change(request, obj, message) if obj.pk else None

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Note who added what; of an object without a row, nothing."""
        return super().log_addition(request, obj, message) if obj.pk else None

    def page_of(self, obj: Model) -> str:
        """Return the address of an object's page in the admin."""
        return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


class Nothing(forms.Form):
    """An act that asks for no more than a yes."""


def act(
    pages: AdminPages,
    request: HttpRequest,
    obj: Model,
    *,
    title: str,
    explanation: str | SafeString,
    button: str,
    do: Callable[[dict[str, Any]], object],
    refusals: tuple[type[Exception], ...] = (),
    form_class: type[forms.Form] = Nothing,
    initial: dict[str, Any] | None = None,
) -> HttpResponse:
    """Ask once more, then do it: returns the page that asks, or leads to that of what `do` returned, if it is a row."""
    form = form_class(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            done = do(form.cleaned_data)
            return HttpResponseRedirect(pages.page_of(done if isinstance(done, Model) else obj))
        except refusals as refusal:
            messages.error(request, f"{refusal}")
            return HttpResponseRedirect(pages.page_of(obj))
    context = {"explanation": explanation, "button": button, "form": form, "back": pages.page_of(obj)}
    return TemplateResponse(
        request, "admin/act.html", {**pages.admin_site.each_context(request), "title": title, **context}
    )


def take_over(obj: Model, stored: Model) -> None:
    """Let the object that the admin holds be the one that the verb stored."""
    obj.__dict__.update(stored.__dict__)


def link(pages: AdminPages, obj: Model | None, text: object = None) -> str | SafeString:
    """Return a link to an object's page, with a text of its own or the given one; a dash if there is none."""
    if obj is None:
        return "-"
    shown = obj if text is None else text
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', pages.page_of(obj), shown)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str | SafeString:
    """Return a table; without rows, a dash."""
    lines = [format_html_join("", f'<td style="{CELL}">{{}}</td>', ([cell] for cell in row)) for row in rows]
    if not lines:
        return "-"
    return format_html(
        TABLE,
        format_html_join("", f'<th scope="col" style="{CELL}">{{}}</th>', ([cell] for cell in head)),
        format_html_join("", "<tr>{}</tr>", ([line] for line in lines)),
    )
