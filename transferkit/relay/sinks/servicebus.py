"""Azure Service Bus, with Microsoft's SDK azure-servicebus (AMQP 1.0).

The event's id is the message id, by which an entity with duplicate detection drops a second copy. The call is
the session id, by which an entity with sessions delivers the events of a call to one receiver, in order
(https://learn.microsoft.com/azure/service-bus-messaging/duplicate-detection and .../message-sessions).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol, final, runtime_checkable

from attrs import field, frozen

from transferkit.config import ContentMode
from transferkit.errors import ConfigError, Problem
from transferkit.provider.secret import Secret
from transferkit.relay.envelope import Message
from transferkit.relay.sink import (
    Confirmed,
    Refused,
    SendResult,
    Sink,
    SinkError,
    Timeout,
    Unconfirmed,
    needs_client,
)

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

__all__ = ["ServiceBusCredential", "ServiceBusSettings", "ServiceBusSink"]

_ID_LIMIT: Final = 128
"""The most characters of a message id and of a session id."""


@runtime_checkable
class ServiceBusCredential(Protocol):
    """An asynchronous credential of azure-core, such as `azure.identity.aio.DefaultAzureCredential`."""

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        """Return an access token."""
        ...


@final
@frozen(kw_only=True)
class ServiceBusSettings:
    """`[relay.servicebus]`: a queue or a topic.

    * `queue` or `topic`: its name.
    * `connection_string`; or `namespace` (`NAME.servicebus.windows.net`) and `credential`, an asynchronous
      credential of azure-core, from Python only.
    * `partitioned`: whether the entity is partitioned: it accepts no batch with messages of several sessions.
    * `timeout`: seconds to wait for a confirmation.
    """

    queue: str | None = None
    topic: str | None = None
    connection_string: Secret | None = field(default=None, repr=False)
    namespace: str | None = None
    credential: ServiceBusCredential | None = field(default=None, repr=False)
    partitioned: bool = False
    timeout: Timeout = timedelta(seconds=10)

    def __attrs_post_init__(self) -> None:
        if (self.queue is None) == (self.topic is None):
            raise ValueError("exactly one of queue and topic is needed")
        if (self.connection_string is None) == (self.namespace is None or self.credential is None):
            raise ValueError("connection_string is needed, or namespace and credential")


@final
class ServiceBusSink(Sink):
    """Sends messages to a queue or topic."""

    name = "servicebus"
    settings_class = ServiceBusSettings

    def __init__(self, settings: ServiceBusSettings) -> None:
        super().__init__(settings)
        self._settings = settings
        self._client: ServiceBusClient | None = None
        self._sender: ServiceBusSender | None = None

    async def open(self) -> None:
        with needs_client("servicebus"):
            from azure.core.exceptions import AzureError

        await self.close()
        settings = self._settings
        client = self._client = self._make_client()
        sender = self._sender = (
            client.get_queue_sender(settings.queue)
            if settings.queue is not None
            else client.get_topic_sender(str(settings.topic))
        )
        try:
            await sender.create_message_batch()  # connects, and learns the size limit
        except (AzureError, OSError, ValueError) as error:
            await self.close()
            name = settings.queue or settings.topic
            raise SinkError(f"Service Bus {name!r} cannot be used: {_described(error)}") from None

    def _make_client(self) -> ServiceBusClient:
        from azure.servicebus.aio import ServiceBusClient

        settings = self._settings
        options: dict[str, Any] = {
            "retry_total": 0,  # the relay retries
            "socket_timeout": settings.timeout.total_seconds(),
        }
        if settings.connection_string is None:
            credential: Any = settings.credential
            return ServiceBusClient(str(settings.namespace), credential, **options)
        try:
            return ServiceBusClient.from_connection_string(settings.connection_string.resolve(), **options)
        except ValueError:  # its message may contain the string
            problem = Problem(settings.connection_string.key, "is not a connection string of Service Bus")
            raise ConfigError("relay", [problem]) from None

    async def send(self, messages: Sequence[Message]) -> Sequence[SendResult]:
        from azure.core.exceptions import AzureError

        if self._sender is None:
            return [Unconfirmed("the sender is not open")] * len(messages)
        results: list[SendResult | None] = [None] * len(messages)
        try:
            for batch, numbers in await self._batches(self._sender, messages, results):
                await self._sender.send_messages(batch, timeout=self._settings.timeout.total_seconds())
                for number in numbers:
                    results[number] = Confirmed()
        except (AzureError, OSError, ValueError) as error:
            reason = _described(error)
            return [Unconfirmed(reason) if result is None else result for result in results]
        return [result or Unconfirmed("not sent") for result in results]

    async def _batches(
        self, sender: ServiceBusSender, messages: Sequence[Message], results: list[SendResult | None]
    ) -> list[tuple[Any, list[int]]]:
        """As few batches as possible, each with the places of its messages. Refuses what fits into none."""
        from azure.servicebus.exceptions import MessageSizeExceededError

        batches: list[tuple[Any, list[int]]] = []
        for number, message in enumerate(messages):
            written = _written(message)
            for fresh in (False, True):
                if fresh or not batches or self._settings.partitioned:
                    batches.append((await sender.create_message_batch(), []))
                batch, numbers = batches[-1]
                try:
                    batch.add_message(written)
                except MessageSizeExceededError as error:
                    if not numbers:
                        results[number] = Refused(f"the message is too large: {error.message}")
                        batches.pop()
                        break
                else:
                    numbers.append(number)
                    break
        return batches

    async def close(self) -> None:
        sender, client, self._sender, self._client = self._sender, self._client, None, None
        for part in (sender, client):
            if part is not None:
                await part.close()


def _written(message: Message) -> ServiceBusMessage:
    from azure.servicebus import ServiceBusMessage
    from cloudevents.core.bindings import amqp

    binary = message.content_mode is ContentMode.BINARY
    written = (amqp.to_binary_event if binary else amqp.to_structured_event)(message.event)
    properties: dict[Any, Any] = dict(written.application_properties)
    if "cloudEvents_time" in properties:  # the library's number is not a timestamp of AMQP
        properties["cloudEvents_time"] = message.event.get_time()
    return ServiceBusMessage(
        written.application_data,
        message_id=_limited(message.id),
        session_id=_limited(message.key),
        subject=message.kind,
        content_type=str(written.properties["content-type"]),
        application_properties=properties,
    )


def _limited(text: str) -> str:
    """The text, or a digest of it if it is longer than Service Bus allows."""
    return text if len(text) <= _ID_LIMIT else sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
