"""Forwarding the event stream to a broker: CloudEvents, their schemas, and sinks."""

from transferkit.relay.envelope import Message, message_of
from transferkit.relay.relay import Relay, RelayHealth, RelayState
from transferkit.relay.schema import asyncapi_document, json_schema
from transferkit.relay.sink import Confirmed, Refused, SendResult, Sink, SinkError, Unconfirmed

__all__ = [
    "Confirmed",
    "Message",
    "Refused",
    "Relay",
    "RelayHealth",
    "RelayState",
    "SendResult",
    "Sink",
    "SinkError",
    "Unconfirmed",
    "asyncapi_document",
    "json_schema",
    "message_of",
]
