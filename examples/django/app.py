"""Django: the callback receiver is a view. In a project, settings and URLs are in their own files."""

from __future__ import annotations

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from transferkit import CallbackRequest, Client, UsageError, parse_identifier

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="for-this-example-only")  # noqa: S106
client = Client.from_config()


@csrf_exempt
def callbacks(request: HttpRequest, rest: str) -> HttpResponse:
    """Pass a callback to the client and return its response."""
    url = f"/{rest}?{request.META['QUERY_STRING']}"
    received = CallbackRequest(method=request.method, url=url, headers=request.headers, body=request.body)
    answer = client.receive(received)
    return HttpResponse(answer.body, status=answer.status, headers=answer.headers)


@csrf_exempt
def transfer(request: HttpRequest, call_id: str) -> HttpResponse:
    """Start a transfer and return its id."""
    try:
        started = client.transfer(call_id, to=parse_identifier(request.GET["to"]))
    except (UsageError, ValueError) as error:
        return JsonResponse({"error": str(error)}, status=409)
    return JsonResponse({"id": started.id}, status=202)


urlpatterns = [path("callbacks/<path:rest>", callbacks), path("calls/<call_id>/transfer", transfer)]
app = get_wsgi_application()
