"""What editors and programs check our documents with: constants, for anybody."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from scoring import language


@require_safe
def rules(request: HttpRequest) -> JsonResponse:
    """Answer the JSON Schema of a rule document; any page may read it."""
    headers = {"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}
    return JsonResponse(language.json_schema(), content_type="application/schema+json", headers=headers)
