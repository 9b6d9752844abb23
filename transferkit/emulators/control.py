"""Serves the control API under `/_emulator/`.

Requests and responses are JSON; an error has the body {"error"}. Only this machine may use it, and no web
page of another site. `GET /_emulator/openapi.json` returns its OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from transferkit.emulators.base import EmulatorBase
from transferkit.emulators.openapi import CONTROL_PREFIX, openapi_document
from transferkit.emulators.operations import ControlError, execute
from transferkit.emulators.records import EmulatedRequest, Reply
from transferkit.provider.urls import is_loopback

__all__ = ["serve_control"]


def serve_control(
    emulator: EmulatorBase, request: EmulatedRequest, *, client: tuple[str, int] | None
) -> Reply:
    """Answer one request to the control API from this client address."""
    if not _is_local(request, client):
        error = "the control API is only for programs on this machine"
        return Reply(status=HTTPStatus.FORBIDDEN, body={"error": error})
    path = request.path.removeprefix(CONTROL_PREFIX).strip("/")
    if (request.method, path) == ("GET", "openapi.json"):
        return Reply(status=HTTPStatus.OK, body=openapi_document(request.base_url))
    try:
        return execute(emulator, request.method, path, _body(request))
    except ControlError as failure:
        return Reply(status=failure.status, body={"error": str(failure)})


def _is_local(request: EmulatedRequest, client: tuple[str, int] | None) -> bool:
    """Whether a program on this machine sent the request, to a name of this machine, from no other site."""
    if client is None or not is_loopback(client[0]):
        return False
    if not is_loopback(urlsplit(request.base_url).hostname or ""):
        return False  # DNS rebinding
    return request.headers.get("origin", request.base_url) == request.base_url


def _body(request: EmulatedRequest) -> Mapping[str, Any]:
    if not request.body:
        return {}
    if request.content_type != "application/json":
        raise ControlError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ControlError(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    return body
