"""The JSON Schema and the AsyncAPI document of the events, generated from the event classes."""

from __future__ import annotations

import inspect
from typing import Any, Final

from transferkit.config import ContentMode
from transferkit.events import Event, event_classes
from transferkit.relay.data import JsonObject, definitions, event_schema
from transferkit.relay.envelope import SEQUENCE_DIGITS, data_schema_id, event_type

__all__ = ["asyncapi_document", "json_schema"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DEFINITIONS: Final = "#/$defs/"
_COMPONENTS: Final = "#/components/schemas/"


def json_schema() -> JsonObject:
    """Return the JSON Schema (2020-12) of the data of every event, each class in `$defs`."""
    classes = event_classes()
    return {
        "$schema": _DIALECT,
        "$id": "urn:transferkit:event:v1",
        "title": "Event",
        "description": inspect.getdoc(Event) or "",
        "oneOf": [{"$ref": f"{_DEFINITIONS}{cls.__name__}"} for cls in classes],
        "$defs": {**{cls.__name__: event_schema(cls) for cls in classes}, **definitions(classes)},
    }


def asyncapi_document(*, version: str, content_mode: ContentMode = ContentMode.STRUCTURED) -> JsonObject:
    """Return the AsyncAPI 3 document of the messages that a relay sends.

    `version` is that of the API. The address of the channel is null, because the sink's settings name it.
    """
    classes = event_classes()
    schemas: JsonObject = {**{cls.__name__: event_schema(cls) for cls in classes}, **definitions(classes)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "transferkit events",
            "version": version,
            "description": (
                "Each message is a CloudEvent 1.0. Delivery is at least once: the id of an event is the same "
                "in every copy. The messages of one call (the attribute partitionkey) are in the order of "
                "their sequence."
            ),
        },
        "defaultContentType": _content_type(content_mode),
        "channels": {
            "events": {
                "address": None,
                "description": "The subject, queue or topic that the relay's sink sends to.",
                "messages": {
                    cls.__name__: {"$ref": f"#/components/messages/{cls.__name__}"} for cls in classes
                },
            }
        },
        "operations": {
            "sendEvents": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "summary": "transferkit relay",
            }
        },
        "components": {
            "messages": {cls.__name__: _message(cls, content_mode) for cls in classes},
            "schemas": _with_component_references(schemas),
        },
    }


def _content_type(content_mode: ContentMode) -> str:
    return "application/json" if content_mode is ContentMode.BINARY else "application/cloudevents+json"


def _message(cls: type[Event], content_mode: ContentMode) -> JsonObject:
    data = {"$ref": f"{_COMPONENTS}{cls.__name__}"}
    binary = content_mode is ContentMode.BINARY
    return {
        "name": event_type(cls.kind),
        "title": cls.__name__,
        "summary": (inspect.getdoc(cls) or "").partition("\n")[0],
        "contentType": _content_type(content_mode),
        "payload": data if binary else _envelope(cls, data),
    }


def _envelope(cls: type[Event], data: JsonObject) -> JsonObject:
    """The schema of a structured CloudEvent."""
    properties: JsonObject = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "description": "The event's id, the same in every copy."},
        "source": {"type": "string", "format": "uri-reference"},
        "type": {"const": event_type(cls.kind)},
        "subject": {"type": "string", "description": "The provider's id of the call."},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"const": data_schema_id(cls.kind)},
        "sequence": {
            "type": "string",
            "pattern": f"^[0-9]{{{SEQUENCE_DIGITS},}}$",
            "description": "Counts the events of the call from 1, without gaps.",
        },
        "partitionkey": {"type": "string", "description": "The provider and the call: PROVIDER:CALL."},
        "data": data,
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _with_component_references(schema: Any) -> Any:
    """The same schema, with references to the components of an AsyncAPI document."""
    if isinstance(schema, dict):
        return {
            key: value.replace(_DEFINITIONS, _COMPONENTS)
            if key == "$ref"
            else _with_component_references(value)
            for key, value in schema.items()
        }
    return [_with_component_references(item) for item in schema] if isinstance(schema, list) else schema
