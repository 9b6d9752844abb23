"""The sink contract: how a relay sends messages to one kind of broker.

A sink retries nothing and keeps no order: the relay does. Every sink must pass the test class
`transferkit.testing.SinkContract`. A distribution registers its sink under the entry point group
`transferkit.sinks`; the name of the entry point is the value of `relay.sink` in the configuration.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, TypeAlias, final

from attrs import field, frozen

from transferkit._util.redaction import redact
from transferkit.config import Config
from transferkit.config.values import Limit
from transferkit.errors import ConfigError, Problem, TransferKitError
from transferkit.provider.registry import sink_class
from transferkit.relay.envelope import Message

__all__ = [
    "Confirmed",
    "Refused",
    "SendResult",
    "Sink",
    "SinkError",
    "Timeout",
    "Unconfirmed",
    "configured_sink",
    "needs_client",
]


@final
@frozen
class Confirmed:
    """The broker stored the message. `duplicate`: it had the message already and dropped this copy."""

    duplicate: bool = False


@final
@frozen
class Refused:
    """The broker or its client will never accept the message as it is, for example because of its size.

    The event counts as failed, and is parked after `groups.max_attempts` attempts.
    """

    reason: str = field(converter=redact)


@final
@frozen
class Unconfirmed:
    """The broker may or may not have stored the message. It is sent again, however long that takes."""

    reason: str = field(converter=redact)


Timeout: TypeAlias = Annotated[
    timedelta,
    Limit(
        "seconds, more than 0 and no more than a minute",
        lambda span: timedelta(0) < span <= timedelta(minutes=1),
    ),
]
"""How long a sink waits for a confirmation, as a setting."""

SendResult: TypeAlias = Confirmed | Refused | Unconfirmed


class SinkError(TransferKitError):
    """The sink cannot be used now, and nothing was sent. The relay tries again.

    The broker cannot be reached, refuses the credentials, or has no such destination.
    """


class Sink(ABC):
    """A connection to one destination of one broker."""

    name: ClassVar[str]
    """The sink's name in the configuration, log records and metrics."""
    settings_class: ClassVar[type[Any]]
    """An attrs class. Its fields are the keys of `[relay.<name>]`, of the types that the settings of an
    adapter may have."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @abstractmethod
    async def open(self) -> None:
        """Connect, and check that the destination exists.

        Raises `SinkError`, which says what to do, or `ConfigError` for a setting that cannot be used. Called
        again after a `SinkError`.
        """

    @abstractmethod
    async def send(self, messages: Sequence[Message]) -> Sequence[SendResult]:
        """Send messages, each of another call, and wait until the broker has confirmed them.

        Returns one result for each message, in the same order. The messages may be sent in any order and at
        the same time. Returns within some seconds also if the broker does not answer (`Unconfirmed`), and
        reconnects by itself. If it raises an exception or is cancelled, every message counts as unconfirmed.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release the connection. A sink that is not open may be closed."""


_MODULES: Final = {"azure": "azure-servicebus", "confluent_kafka": "confluent-kafka", "nats": "nats-py"}
"""The distributions of the modules whose names differ from theirs."""


@contextmanager
def needs_client(extra: str) -> Generator[None]:
    """Raise `ConfigError`, which says what to install, if a module of the sink's extra is missing."""
    try:
        import cloudevents.core  # noqa: F401 - each message needs it

        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        module = _MODULES.get(package, package)
        remedy = f"pip install 'transferkit[{extra}]'"
        raise ConfigError("relay", [Problem("relay.sink", f"{module} is not installed", remedy)]) from None


def configured_sink(config: Config) -> Sink:
    """Make the sink that `relay.sink` names. Raises `ConfigError`."""
    name = config.relay.sink
    if name is None:
        problem = Problem("relay.sink", "is missing", "the name of a sink, with its settings in [relay.NAME]")
        raise ConfigError(config.source, [problem])
    cls = sink_class(name)
    if not issubclass(cls, Sink):
        raise ConfigError(config.source, [Problem("relay.sink", f"{cls.__name__} is not a transferkit Sink")])
    return cls(config.sink)
