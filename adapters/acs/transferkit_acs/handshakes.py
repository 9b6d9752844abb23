"""The handshakes by which Event Grid validates an endpoint, in both of its schemas, and their responses.

Shapes: learn.microsoft.com event-grid/end-point-validation-event-grid-events-schema, and the abuse protection
of CloudEvents (cloudevents/spec, http-webhook section 4). A handshake also has a URL to visit instead of
responding; it is not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from transferkit_microsoft.lenient_json import JsonObject

from transferkit.provider.adapter import Callback, HandshakeResponse
from transferkit.provider.facts import MalformedCallback
from transferkit.provider.json import read_json
from transferkit_acs.callbacks import EVENT_GRID, PROVIDER

__all__ = ["handshake", "looks_like_event_grid"]

_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
_ORIGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,253}[A-Za-z0-9])?")
_LONGEST_CODE = 1024


def looks_like_event_grid(headers: Mapping[str, str]) -> bool:
    """Whether a request has the headers of Event Grid, which any sender can set."""
    return "webhook-request-origin" in headers or any(name.startswith("aeg-") for name in headers)


def handshake(callback: Callback) -> HandshakeResponse | None:
    """The response to a handshake; None for any other request. Raises `MalformedCallback`."""
    if callback.route != EVENT_GRID:
        return None
    return _allow(callback) if callback.method == "OPTIONS" else _validate(callback)


def _allow(callback: Callback) -> HandshakeResponse:
    origin = callback.headers.get("webhook-request-origin", "")
    if not _ORIGIN.fullmatch(origin):
        raise MalformedCallback(PROVIDER, "header WebHook-Request-Origin", "names no host")
    return HandshakeResponse(
        headers={"allow": "POST, OPTIONS", "webhook-allowed-origin": origin, "webhook-allowed-rate": "*"}
    )


def _validate(callback: Callback) -> HandshakeResponse | None:
    if _VALIDATION.encode() not in callback.body:
        return None
    try:
        value = read_json(callback.body)
    except (ValueError, RecursionError):
        return None  # `decode` reports it
    elements = [JsonObject(element) for element in (value if isinstance(value, list) else [value])]
    if not elements or any(element.text("eventtype") != _VALIDATION for element in elements):
        return None  # a response to the handshake would acknowledge the other events, which would be lost
    code = elements[0].child("data").text("validationcode")
    if not code or len(code) > _LONGEST_CODE:
        raise MalformedCallback(PROVIDER, "data.validationCode", "is missing or too long")
    return HandshakeResponse(
        headers={"content-type": "application/json"}, body=json.dumps({"validationResponse": code}).encode()
    )
