"""The OpenAPI 3.1 document of the control API, made from its operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from transferkit.emulators.operations import OPERATIONS, Operation

__all__ = ["CONTROL_PREFIX", "openapi_document"]

CONTROL_PREFIX: Final = "/_emulator/"


def openapi_document(base_url: str) -> dict[str, Any]:
    """The document of an emulator that is served at `base_url`."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(f"{CONTROL_PREFIX}{operation.path}", {})
        path[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Control API of transferkit's emulators",
            "version": "1",
            "description": "For programs on the emulator's own machine.",
        },
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    words = operation.path.replace("calls/{call_id}", "call").replace("/", "_").split("_")
    documented: dict[str, Any] = {
        "operationId": "_".join([operation.method.lower(), *words]),
        "summary": operation.summary,
        "responses": {
            str(operation.status.value): _response(operation.status.phrase, operation.result),
            "4XX": _response("The request was not executed.", {"$ref": "#/components/schemas/Error"}),
        },
    }
    if "{call_id}" in operation.path:
        documented["parameters"] = [
            {"name": "call_id", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    if operation.body:
        schema = {"type": "object", "properties": dict(operation.body), "required": list(operation.required)}
        content = {"application/json": {"schema": schema}}
        documented["requestBody"] = {"required": bool(operation.required), "content": content}
    return documented


def _response(description: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if schema is None:
        return {"description": description}
    return {"description": description, "content": {"application/json": {"schema": dict(schema)}}}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object that always has all these properties."""
    return {"type": "object", "required": list(properties), "properties": properties}


_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_TEXT_OR_NULL: Final[Mapping[str, Any]] = {"type": ["string", "null"]}
_NUMBER: Final[Mapping[str, Any]] = {"type": "integer"}
_FLAG: Final[Mapping[str, Any]] = {"type": "boolean"}
_TEXTS: Final[Mapping[str, Any]] = {"type": "array", "items": {"type": "string"}}
_HEADERS: Final[Mapping[str, Any]] = {"type": "object", "additionalProperties": {"type": "string"}}
_TIME: Final[Mapping[str, Any]] = {"type": "string", "description": "The time, in ISO 8601 with an offset."}
_FAULT: Final[Mapping[str, Any]] = {**_TEXT_OR_NULL, "description": "The fault that was applied."}
_ANY: Final[Mapping[str, Any]] = {"description": "Any JSON value, or the text if it is not JSON."}

_SCHEMAS: Final[Mapping[str, Any]] = {
    "Call": _object(
        id=_TEXT,
        provider=_TEXT,
        state={**_TEXT, "description": "In the provider's terms."},
        parties=_TEXTS,
        group=_FLAG,
        ringing={**_FLAG, "description": "Whether the call is incoming and waits to be answered."},
        executions={**_NUMBER, "description": "How many transfers or redirects of it were executed."},
        marks={**_TEXTS, "description": "Other texts that identify the call."},
        target_rings=_FLAG,
    ),
    "RingingCall": _object(
        call_id=_TEXT,
        incoming_context={**_TEXT_OR_NULL, "description": "What a redirect of the call needs, on ACS."},
    ),
    "Rang": _object(rang={**_FLAG, "description": "Whether a target of the call was ringing."}),
    "Request": _object(
        method=_TEXT,
        path=_TEXT,
        query=_HEADERS,
        headers={**_HEADERS, "description": "Names in lower case; credentials are masked."},
        body=_ANY,
        status={**_NUMBER, "description": "The status of the response; 0 if there was none."},
        at=_TIME,
        reply_headers=_HEADERS,
        reply_body=_ANY,
        fault=_FAULT,
    ),
    "Callback": _object(
        url=_TEXT,
        body=_ANY,
        status={"type": ["integer", "null"], "description": "The status of the response, if there was one."},
        headers=_HEADERS,
        at=_TIME,
        fault=_FAULT,
    ),
    "Faults": _object(
        active=_TEXTS,
        chaos_seed={"type": ["integer", "null"], "description": "The seed of the random faults, if any."},
    ),
    "Scenario": _object(
        name=_TEXT,
        number={**_TEXT, "description": "The phone number that selects it."},
        object_id={**_TEXT, "description": "The id of a Teams user or app, or of an ACS user, likewise."},
        description=_TEXT,
    ),
    "Error": _object(error=_TEXT),
}
