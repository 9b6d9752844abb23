"""CloudEvents 1.0: how an event of the stream becomes a message for a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from attrs import field, frozen

from transferkit._util.redaction import safe_repr
from transferkit.config import ContentMode, RelayConfig
from transferkit.events import Event
from transferkit.relay.data import event_data

if TYPE_CHECKING:
    from cloudevents.core.v1.event import CloudEvent

__all__ = ["SEQUENCE_DIGITS", "Message", "data_schema_id", "event_type", "message_of"]

SEQUENCE_DIGITS: Final = 10


@final
@frozen(kw_only=True)
class Message:
    """One event, as a sink sends it.

    * `id`: the event's id, by which a broker or consumer recognizes a repetition.
    * `key`: the provider and the call. Messages with the same key must stay in order.
    * `kind`: the kind of the event, `transfer.completed`.
    * `event`: the CloudEvent, of the library `cloudevents`. `content_mode`: how to write it. The functions in
      `cloudevents.core.bindings` do that for HTTP headers, Kafka and AMQP.
    """

    id: str
    key: str = field(repr=safe_repr)
    provider: str
    kind: str
    event: CloudEvent = field(repr=False)
    content_mode: ContentMode = ContentMode.STRUCTURED


def event_type(kind: str) -> str:
    """The CloudEvents `type` of a kind of event."""
    return f"transferkit.{kind}"


def data_schema_id(kind: str) -> str:
    """The CloudEvents `dataschema` of a kind of event: the `$id` of its JSON Schema."""
    return f"urn:transferkit:event:v1:{kind}"


def message_of(event: Event, config: RelayConfig) -> Message:
    """Return the message of a recorded event.

    Raises `ValueError` if the event is not recorded, or has an attribute that CloudEvents does not allow.
    """
    from cloudevents.core.exceptions import CloudEventValidationError
    from cloudevents.core.v1.event import CloudEvent

    if event.id is None or event.sequence is None:
        raise ValueError(f"{event.kind}: only a recorded event has an id and a sequence")
    key = f"{event.provider}:{event.call_id}"
    attributes = {
        "id": event.id,
        "source": f"{config.source.rstrip('/')}/{event.provider}",
        "type": event_type(event.kind),
        "subject": event.call_id,
        "time": event.time,
        "datacontenttype": "application/json",
        "dataschema": data_schema_id(event.kind),
        "sequence": f"{event.sequence:0{SEQUENCE_DIGITS}}",  # in text order, as the extension requires
        "partitionkey": key,
    }
    try:
        cloud_event = CloudEvent(attributes, event_data(event, config))
    except CloudEventValidationError as error:
        raise ValueError(f"{event.kind}: not a valid CloudEvent: {', '.join(error.errors)}") from None
    return Message(
        id=event.id,
        key=key,
        provider=event.provider,
        kind=event.kind,
        event=cloud_event,
        content_mode=config.content_mode,
    )
