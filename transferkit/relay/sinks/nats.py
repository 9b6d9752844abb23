"""NATS JetStream, with the official client nats-py.

An event is published on the subject `PREFIX.PROVIDER.KIND` (`transferkit.acs.transfer.completed`) with its id
as `Nats-Msg-Id`: JetStream drops a second copy that arrives within the stream's duplicate window
(https://docs.nats.io/using-nats/developer/develop_jetstream/model_deep_dive#message-deduplication).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, final

from attrs import field, frozen

from transferkit.config.values import Limit
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
    from nats.aio.client import Client
    from nats.js import JetStreamContext

__all__ = ["NatsSettings", "NatsSink"]

_RECONNECT_SECONDS: Final = 1
_TOO_LARGE: Final = 10054
"""The error code of JetStream for a message that exceeds the stream's `max_msg_size`."""


def _is_subject(text: str) -> bool:
    return text.isascii() and text.isprintable() and all(text.split(".")) and not set(text) & set(" *>")


@final
@frozen(kw_only=True)
class NatsSettings:
    """`[relay.nats]`: a JetStream stream.

    * `servers`: the addresses of the cluster, `nats://HOST:PORT` or `tls://HOST:PORT`, without credentials.
    * `stream`: the name of the stream. It must exist and store the subjects `PREFIX.>`.
    * `prefix`: the first part of the subjects.
    * `credentials`: a credentials file (`.creds`). Or `user` and `password`, or `token`.
    * `ca_file`: the certificate authorities to trust, instead of the system's.
    * `timeout`: seconds to wait for a confirmation.
    """

    servers: tuple[str, ...]
    stream: str
    prefix: Annotated[str, Limit("a NATS subject without wildcards", _is_subject)] = "transferkit"
    credentials: Path | None = None
    user: str | None = None
    password: Secret | None = field(default=None, repr=False)
    token: Secret | None = field(default=None, repr=False)
    ca_file: Path | None = None
    timeout: Timeout = timedelta(seconds=5)


@final
class NatsSink(Sink):
    """Publishes messages to a JetStream stream."""

    name = "nats"
    settings_class = NatsSettings

    def __init__(self, settings: NatsSettings) -> None:
        super().__init__(settings)
        self._settings = settings
        self._client: Client | None = None
        self._stream: JetStreamContext | None = None
        self._problem = ""
        """What the client reported last."""

    async def open(self) -> None:
        with needs_client("nats"):
            from nats.aio.client import Client
            from nats.errors import Error
            from nats.js.errors import NotFoundError

        await self.close()
        self._problem = ""
        settings, seconds = self._settings, self._settings.timeout.total_seconds()
        client = self._client = Client()
        try:
            async with asyncio.timeout(seconds):  # the client itself tries forever
                await client.connect(
                    list(settings.servers),
                    name="transferkit relay",
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RECONNECT_SECONDS,
                    connect_timeout=max(1, round(seconds)),
                    error_cb=self._note,
                    **self._credentials(),
                )
            self._stream = client.jetstream(timeout=seconds)
            info = await self._stream.stream_info(settings.stream)
        except NotFoundError:
            await self.close()
            raise SinkError(
                f"NATS has no stream {settings.stream!r}: create it with the subjects {settings.prefix}.>"
            ) from None
        except (Error, OSError) as error:
            await self.close()
            raise SinkError(f"NATS cannot be used: {_described(error)}{self._problem}") from None
        wanted = f"{settings.prefix}.acs.transfer.completed"
        if not any(_covers(subject, wanted) for subject in info.config.subjects or ()):
            await self.close()
            raise SinkError(
                f"the NATS stream {settings.stream!r} does not store the subjects {settings.prefix}.>: "
                "add them to the stream, or set relay.nats.prefix"
            )

    def _credentials(self) -> dict[str, Any]:
        settings = self._settings
        options: dict[str, Any] = {}
        if settings.credentials is not None:
            options["user_credentials"] = str(settings.credentials)
        if settings.user is not None:
            options["user"] = settings.user
        if settings.password is not None:
            options["password"] = settings.password.resolve()
        if settings.token is not None:
            options["token"] = settings.token.resolve()
        if settings.ca_file is not None:
            import ssl

            options["tls"] = ssl.create_default_context(cafile=settings.ca_file)
        return options

    async def _note(self, error: Exception) -> None:
        if not (self._problem and isinstance(error, OSError)):  # the end of a connection hides its cause
            self._problem = f" ({_described(error)})"

    async def send(self, messages: Sequence[Message]) -> Sequence[SendResult]:
        client, stream = self._client, self._stream
        if client is None or stream is None or not client.is_connected:
            # Otherwise the client keeps the messages and sends them whenever it connects again.
            return [Unconfirmed(f"not connected to NATS{self._problem}")] * len(messages)
        self._problem = ""
        return await asyncio.gather(*(self._publish(stream, message) for message in messages))

    async def _publish(self, stream: JetStreamContext, message: Message) -> SendResult:
        from nats.errors import Error, MaxPayloadError
        from nats.js.errors import APIError, NoStreamResponseError

        headers, body = _written(message)
        settings = self._settings
        try:
            ack = await stream.publish(
                f"{settings.prefix}.{message.provider}.{message.kind}",
                body,
                stream=settings.stream,
                headers={**headers, "Nats-Msg-Id": message.id},
            )
        except MaxPayloadError:
            return Refused(f"{len(body)} bytes are more than the NATS server's max_payload")
        except NoStreamResponseError:
            return Unconfirmed(f"no stream stores {settings.prefix}.{message.provider}.{message.kind}")
        except APIError as error:
            if error.err_code == _TOO_LARGE:
                return Refused(f"{len(body)} bytes are more than the stream's max_msg_size")
            return Unconfirmed(f"JetStream error {error.err_code}: {error.description}")
        except (Error, OSError) as error:
            return Unconfirmed(_described(error))
        return Confirmed(duplicate=bool(ack.duplicate))

    async def close(self) -> None:
        client, self._client, self._stream = self._client, None, None
        if client is not None:
            await client.close()


def _written(message: Message) -> tuple[dict[str, str], bytes]:
    """The headers and the body. The NATS binding of CloudEvents has the headers of the HTTP binding."""
    from cloudevents.core.bindings import http

    from transferkit.config import ContentMode

    binary = message.content_mode is ContentMode.BINARY
    written = (http.to_binary_event if binary else http.to_structured_event)(message.event)
    return written.headers, written.body


def _covers(subject: str, wanted: str) -> bool:
    """Whether a stream with this subject, which may have wildcards, stores `wanted`."""
    parts, tokens = subject.split("."), wanted.split(".")
    for at, part in enumerate(parts):
        if part == ">":
            return len(tokens) > at
        if at >= len(tokens) or part not in {"*", tokens[at]}:
            return False
    return len(parts) == len(tokens)


def _described(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
