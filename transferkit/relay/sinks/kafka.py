"""Apache Kafka and Azure Event Hubs, with Confluent's client (librdkafka).

The key of a record is the provider and the call, so that the events of a call are in one partition, in order.
The producer is idempotent: its own retries store no second copy. A record that the relay sends again, because
no confirmation arrived in time or a process was killed, is a second copy with the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from attrs import field, frozen

from transferkit.config import ContentMode
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
    from confluent_kafka import Message as Record
    from confluent_kafka import Producer

__all__ = ["KafkaSettings", "KafkaSink", "SaslMechanism"]

_FLUSH_GRACE: Final = 2.0
"""Seconds to wait for reports after the delivery timeout."""


@final
class SaslMechanism(StrEnum):
    """How the client authenticates."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


@final
@frozen(kw_only=True)
class KafkaSettings:
    """`[relay.kafka]`: a topic of Kafka or an event hub.

    * `servers`: the bootstrap servers, `HOST:PORT`. Event Hubs: `NAMESPACE.servicebus.windows.net:9093`.
    * `topic`: the topic or event hub. It must exist, or the broker must create topics by itself.
    * `tls`: encrypt the connection; `ca_file`: the certificate authorities to trust instead of the system's.
    * `user`, `password`: the credentials, sent by `mechanism`. Event Hubs: the user `$ConnectionString`, the
      connection string as password, the mechanism PLAIN, and `tls`.
    * `timeout`: seconds to wait for a confirmation.
    """

    servers: tuple[str, ...]
    topic: str
    tls: bool = True
    ca_file: Path | None = None
    user: str | None = None
    password: Secret | None = field(default=None, repr=False)
    mechanism: SaslMechanism = SaslMechanism.PLAIN
    timeout: Timeout = timedelta(seconds=10)


@final
class KafkaSink(Sink):
    """Produces records. `options` are further options of librdkafka, which replace the sink's own."""

    name = "kafka"
    settings_class = KafkaSettings

    def __init__(self, settings: KafkaSettings, *, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(settings)
        self._settings = settings
        self._options = dict(options or {})
        self._producer: Producer | None = None

    async def open(self) -> None:
        with needs_client("kafka"):
            from confluent_kafka import KafkaException, Producer
        await self.close()
        settings = self._settings
        try:
            producer = self._producer = Producer(self._configuration())
            found = await asyncio.to_thread(
                producer.list_topics, settings.topic, timeout=settings.timeout.total_seconds()
            )
        except KafkaException as error:
            raise SinkError(f"Kafka cannot be used: {error.args[0].str()}") from None
        if (problem := found.topics[settings.topic].error) is not None:
            raise SinkError(f"the Kafka topic {settings.topic!r} cannot be used: {problem.str()}")

    def _configuration(self) -> dict[str, Any]:
        settings = self._settings
        milliseconds = max(1, int(settings.timeout.total_seconds() * 1000))
        configuration: dict[str, Any] = {
            "bootstrap.servers": ",".join(settings.servers),
            "client.id": "transferkit-relay",
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": milliseconds,
            "request.timeout.ms": milliseconds,
            "linger.ms": 0,  # the relay sends a batch and waits for it
            "security.protocol": _PROTOCOLS[settings.tls, settings.user is not None],
            "log_level": 0,  # problems are results; librdkafka would write to standard error
        }
        if settings.ca_file is not None:
            configuration["ssl.ca.location"] = str(settings.ca_file)
        if settings.user is not None:
            configuration |= {"sasl.mechanism": settings.mechanism.value, "sasl.username": settings.user}
        if settings.password is not None:
            configuration["sasl.password"] = settings.password.resolve()
        return configuration | self._options

    async def send(self, messages: Sequence[Message]) -> Sequence[SendResult]:
        producer = self._producer
        if producer is None:
            return [Unconfirmed("the producer is not open")] * len(messages)
        batch = _Batch(producer, self._settings, messages)
        results = await asyncio.to_thread(batch.send)
        if batch.fatal:
            await self._replace()
        return results

    async def _replace(self) -> None:
        """Make a new producer: after a fatal error the old one sends nothing more."""
        from confluent_kafka import Producer

        await self.close()
        self._producer = Producer(self._configuration())

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            await asyncio.to_thread(producer.flush, 0)


_PROTOCOLS: Final = {
    (False, False): "PLAINTEXT",
    (False, True): "SASL_PLAINTEXT",
    (True, False): "SSL",
    (True, True): "SASL_SSL",
}


@final
class _Batch:
    """Messages that are sent together, in a thread of their own."""

    def __init__(self, producer: Producer, settings: KafkaSettings, messages: Sequence[Message]) -> None:
        self._producer = producer
        self._settings = settings
        self._messages = messages
        self._results: list[SendResult] = [Unconfirmed("Kafka sent no confirmation in time")] * len(messages)
        self.fatal = False

    def send(self) -> Sequence[SendResult]:
        from confluent_kafka import KafkaException

        for at, message in enumerate(self._messages):
            headers, key, value = _written(message)
            try:
                self._producer.produce(
                    self._settings.topic, value, key, headers=headers, on_delivery=self._report_to(at)
                )
            except KafkaException as error:
                self._results[at] = self._problem(error.args[0])
            except BufferError:
                self._results[at] = Unconfirmed("the producer's queue is full")
        self._producer.flush(self._settings.timeout.total_seconds() + _FLUSH_GRACE)
        return self._results

    def _report_to(self, at: int) -> Any:
        def report(error: Any, _: Record) -> None:
            self._results[at] = Confirmed() if error is None else self._problem(error)

        return report

    def _problem(self, error: Any) -> SendResult:
        from confluent_kafka import KafkaError

        self.fatal = self.fatal or error.fatal()
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return Refused(f"the record is too large: {error.str()}")
        return Unconfirmed(f"{error.name()}: {error.str()}")


def _written(message: Message) -> tuple[list[tuple[str, str | bytes | None]], str, bytes]:
    from cloudevents.core.bindings import kafka

    binary = message.content_mode is ContentMode.BINARY
    written = (kafka.to_binary_event if binary else kafka.to_structured_event)(message.event)
    return list(written.headers.items()), message.key, written.value
