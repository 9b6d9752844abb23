"""The configuration: a TOML file, a dict or `TRANSFERKIT_*` variables, validated strictly.

Every problem is reported at once, each with its key, its value and what is accepted. Loading does no other
I/O and resolves no secret.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, final

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.log_events import LogEvent
from transferkit.config.routes import RouteConfig, read_routes
from transferkit.config.sources import (
    CONFIG_VARIABLE,
    merge,
    read_toml,
    read_variables,
    settings_in_environment,
)
from transferkit.config.values import Limit, read_table, show, unknown_key
from transferkit.errors import ConfigError, Problem
from transferkit.provider.registry import adapter_class, sink_class
from transferkit.provider.urls import split_url
from transferkit.stores.address import ADDRESSES, problem_with
from transferkit.stores.consumer_groups import GroupStart

__all__ = [
    "CallbackConfig",
    "Config",
    "ContentMode",
    "GroupConfig",
    "LifecycleConfig",
    "RelayConfig",
    "RetentionConfig",
    "RouteConfig",
    "is_in_environment",
    "load_config",
    "settings_in_environment",
]

_log = logging.getLogger("transferkit.config")

_ZERO = timedelta()
_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_CENTURY = timedelta(days=36_500)
_BILLION = 1_000_000_000


def _is_base_url(url: str) -> bool:
    """Whether the URL is absolute, a path can be added to it, and it contains nothing secret."""
    parts = split_url(url)
    plain = url.isascii() and url.isprintable() and not set(url) & set(" ?#")
    return plain and parts.scheme in {"https", "http"} and bool(parts.hostname) and "@" not in parts.netloc


# The upper limits keep every computed time within the calendar, and every count within any store.
_Wait = Annotated[
    timedelta, Limit("seconds, more than 0 and no more than a day", lambda span: _ZERO < span <= _DAY)
]
_Age = Annotated[
    timedelta, Limit("seconds, more than 0 and no more than a century", lambda span: _ZERO < span <= _CENTURY)
]
_Pause = Annotated[timedelta, Limit("seconds, from 1 to a century", lambda span: _SECOND <= span <= _CENTURY)]
_Skew = Annotated[timedelta, Limit("seconds, from 0 to an hour", lambda span: span <= _HOUR)]
_Lease = Annotated[
    timedelta,
    Limit("seconds, from 1 to a day; longer than a request takes", lambda span: _SECOND <= span <= _DAY),
]
_Count = Annotated[
    int, Limit("a whole number, 1 or more and no more than a billion", lambda count: 1 <= count <= _BILLION)
]
_Batch = Annotated[int, Limit("a whole number from 1 to 1,000", range(1, 1001).__contains__)]
_Url = Annotated[
    str, Limit("https://HOST/PATH without user name, query or fragment; not empty", _is_base_url)
]


@final
@frozen(kw_only=True)
class CallbackConfig:
    """`[callbacks]`: where callbacks arrive, how large they may be and how they are verified.

    * `public_url`: the URL at which providers reach the receiver; paths are added to it.
    * `accept_unverified`: let anyone on the network report outcomes. Only for tests on loopback.
    * `max_body_bytes`: the largest body that is accepted.
    * `body_timeout`: seconds within which a body must arrive.
    * `clock_skew`: seconds by which the clocks of the provider and this machine may differ when the times of
      a token are checked.
    * `key_refresh`: seconds after which signing keys are fetched again.
    * `key_cooldown`: the least seconds between two fetches for unknown key ids.
    * `connection_lease`: for a provider that sends callbacks over a connection: seconds after which another
      process connects in place of one that is silent.
    """

    public_url: _Url | None = None
    accept_unverified: bool = False
    max_body_bytes: _Count = 1_048_576
    body_timeout: _Wait = timedelta(seconds=10)
    clock_skew: _Skew = timedelta(minutes=2)
    key_refresh: _Age = timedelta(hours=1)
    key_cooldown: _Wait = timedelta(seconds=5)
    connection_lease: _Lease = timedelta(seconds=15)


@final
@frozen(kw_only=True)
class LifecycleConfig:
    """`[lifecycle]`: how long to wait for what.

    * `grace`: seconds to wait for a proof after the end of the call.
    * `inspect_gap`: the least seconds between two queries about one transfer.
    * `max_attempts`: how often a request is sent at most.
    * `lease`: seconds after which another process takes over the work of one that is silent. Longer than a
      request takes, which is three times the provider's `timeout`: for a token, a connection and a response.
    """

    grace: _Wait = timedelta(seconds=5)
    inspect_gap: _Wait = timedelta(seconds=5)
    max_attempts: _Count = 6
    lease: _Lease = timedelta(seconds=120)


@final
@frozen(kw_only=True)
class GroupConfig:
    """`[groups]`: how consumer groups read the stream.

    * `start`: where a new group starts to read.
    * `lease`: seconds after which other consumers take over the calls of one that is silent.
    * `max_attempts`: how often an event is delivered before it is parked.
    """

    start: GroupStart = GroupStart.BEGINNING
    lease: _Wait = timedelta(seconds=30)
    max_attempts: _Count = 5


@final
@frozen(kw_only=True)
class RetentionConfig:
    """`[retention]`: how long calls are kept.

    * `age`: seconds for which a call is kept after its last event.
    * `group_idle`: seconds without a consumer after which a group no longer prevents removal.
    * `every`: the pause between two removals, in seconds.
    """

    age: _Age = timedelta(days=30)
    group_idle: _Age = timedelta(days=30)
    every: _Pause = timedelta(hours=1)


@final
class ContentMode(StrEnum):
    """Where a message of a relay has the attributes of its CloudEvent."""

    STRUCTURED = "structured"
    """The body is the whole event, `application/cloudevents+json`."""
    BINARY = "binary"
    """The body is the data, `application/json`. The attributes are headers, named as the protocol binding of
    CloudEvents says."""


def _is_source(text: str) -> bool:
    return text.isascii() and text.isprintable() and not set(text) & set(' "<>?#')


@final
@frozen(kw_only=True)
class RelayConfig:
    """`[relay]`: how the event stream is forwarded to a broker.

    * `sink`: the kind of broker; `[relay.NAME]` has its settings.
    * `group`: the consumer group as which the relay reads.
    * `source`: the start of the CloudEvents attribute `source`; the provider's name is added to it.
    * `content_mode`: where a message has the attributes of its CloudEvent.
    * `raw`: include what the provider sent: the callback's JSON and the SIP and VoIP headers. They may
      contain numbers and names, whatever the next two keys say.
    * `numbers`: include phone numbers, SIP addresses and all other identifiers that can be dialled.
    * `names`: include display names.
    * `batch`: how many events are read and sent at a time at most.
    * `retry_pause`: the longest pause before a message that the broker did not confirm is sent again.
    """

    sink: str | None = None
    group: str = "relay"
    source: Annotated[str, Limit("a URI reference without query or fragment", _is_source)] = "/transferkit"
    content_mode: ContentMode = ContentMode.STRUCTURED
    raw: bool = False
    numbers: bool = False
    names: bool = False
    batch: _Batch = 100
    retry_pause: _Wait = timedelta(seconds=30)


@final
@frozen(kw_only=True)
class Config:
    """The whole configuration, read and validated.

    `source` names where it comes from, `provider` is the default one, `providers` has each adapter's settings
    by name, `sink` has the settings of the sink that `relay.sink` names, and relative paths are relative to
    `base`.
    """

    source: str
    provider: str
    store: str = field(default="memory:", repr=False)
    callbacks: CallbackConfig = field(factory=CallbackConfig)
    lifecycle: LifecycleConfig = field(factory=LifecycleConfig)
    groups: GroupConfig = field(factory=GroupConfig)
    retention: RetentionConfig = field(factory=RetentionConfig)
    relay: RelayConfig = field(factory=RelayConfig)
    sink: Any = field(default=None, repr=False, hash=False)
    routes: Mapping[str, RouteConfig] = field(default=EMPTY, repr=False, hash=False)
    providers: Mapping[str, Any] = field(default=EMPTY, repr=False, hash=False)
    base: Path = field(factory=Path.cwd)


_SECTIONS: Final[Mapping[str, type[Any]]] = {
    "callbacks": CallbackConfig,
    "lifecycle": LifecycleConfig,
    "groups": GroupConfig,
    "retention": RetentionConfig,
}
_KEYS: Final = ("provider", "store", *_SECTIONS, "routes", "relay", "providers")


def load_config(source: str | Path | Mapping[str, Any] | None = None) -> Config:
    """Load a configuration from a TOML file, a dict or, with None, the environment.

    With None, `TRANSFERKIT_CONFIG` may name a file. Other variables set keys, which override the file; a
    double underscore separates table and key (`TRANSFERKIT_CALLBACKS__PUBLIC_URL`). A path or a dict is the
    whole configuration: variables are then ignored. Raises `ConfigError`.
    """
    if source is None:
        return _load_from_environment()
    if isinstance(source, Mapping):
        return _read("configuration", source, Path.cwd())
    if not isinstance(source, str | os.PathLike):
        accepted = "a file's path, a dict, or None for the environment"
        raise TypeError(f"configuration: expected {accepted}, got {type(source).__name__}")
    path = Path(source)
    if ignored := settings_in_environment():
        _log.warning(
            "variables are ignored, because %s is the whole configuration: %s; for variables to override a "
            "file, name the file by TRANSFERKIT_CONFIG instead",
            path,
            ", ".join(ignored),
            extra={"event": LogEvent.CONFIG_VARIABLES_IGNORED},
        )
    return _read(str(path), read_toml(path), path.resolve().parent)


def is_in_environment() -> bool:
    """Whether the environment has settings or names a file, which `load_config(None)` would load."""
    return bool(os.environ.get(CONFIG_VARIABLE) or settings_in_environment())


def _load_from_environment() -> Config:
    variables = read_variables()
    if name := os.environ.get(CONFIG_VARIABLE):
        path = Path(name)
        return _read(f"{name} and environment", merge(read_toml(path), variables), path.resolve().parent)
    if not variables:
        ways = "give --config FILE, set TRANSFERKIT_CONFIG=FILE, or in Python call from_config(PATH)"
        raise ConfigError("environment", [Problem("configuration", f"there is none: {ways}")])
    return _read("environment", variables, Path.cwd())


def _read(source: str, data: Mapping[str, Any], base: Path) -> Config:
    problems = [unknown_key(str(key), _KEYS) for key in data if key not in _KEYS]
    sections = {
        name: read_table(data[name], cls, name, base, problems)
        for name, cls in _SECTIONS.items()
        if name in data
    }
    relay, sink = _relay(data.get("relay", {}), base, problems)
    routes = read_routes(data.get("routes", {}), base, problems)
    providers = _providers(data, base, problems)
    provider = _default_provider(data.get("provider"), providers, problems)
    store = data.get("store", "memory:")
    if not isinstance(store, str):
        problems.append(Problem("store", f"is a {type(store).__name__}, not text", ADDRESSES))
    elif problem := problem_with(store):  # the address is not shown: it may contain a password
        problems.append(Problem("store", problem, ADDRESSES))
    if problems:
        raise ConfigError(source, problems)
    return Config(
        source=source,
        provider=provider,
        store=str(store),
        relay=relay,
        sink=sink,
        routes=FrozenMap(routes),
        providers=FrozenMap(providers),
        base=base,
        **sections,
    )


def _relay(table: object, base: Path, problems: list[Problem]) -> tuple[Any, Any]:
    """The keys of `[relay]`, and the settings of the sink that it names, from the table of that name."""
    name = table.get("sink") if isinstance(table, Mapping) else None
    if not isinstance(table, Mapping) or not isinstance(name, str):
        return read_table(table, RelayConfig, "relay", base, problems), None
    keys = {key: value for key, value in table.items() if key != name}
    relay = read_table(keys, RelayConfig, "relay", base, problems)
    try:
        cls = sink_class(str(name)).settings_class
    except ConfigError as error:
        problems.extend(error.problems)
        return relay, None
    return relay, read_table(table.get(name, {}), cls, f"relay.{name}", base, problems)


def _providers(data: Mapping[str, Any], base: Path, problems: list[Problem]) -> dict[str, Any]:
    """The settings of each provider. One that needs no settings may be named by `provider` alone."""
    tables = data.get("providers", {})
    if not isinstance(tables, Mapping):
        problems.append(Problem("providers", f"{show(tables)} is not a table", "[providers.NAME] tables"))
        return {}
    settings: dict[str, Any] = {}
    for name, table in tables.items():
        try:
            cls = adapter_class(str(name)).settings_class
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            settings[str(name)] = read_table(table, cls, f"providers.{name}", base, problems)
    name = data.get("provider")
    if isinstance(name, str) and name not in tables:
        with suppress(ConfigError):  # reported as a provider without a table
            adapter = adapter_class(name)
            if not adapter.needs_settings:
                settings[name] = adapter.settings_class()
    return settings


def _default_provider(value: object, providers: Mapping[str, Any], problems: list[Problem]) -> str:
    """The named provider, or the only one that is configured."""
    accepted = ", ".join(sorted(providers)) or "a name that has a [providers.NAME] table"
    if value is None and len(providers) == 1:
        return next(iter(providers))
    if value is None:
        problems.append(Problem("provider", "is missing", accepted))
    elif not isinstance(value, str):
        problems.append(Problem("provider", f"{show(value)} is not text", accepted))
    elif value not in providers and not any(p.field.startswith(f"providers.{value}") for p in problems):
        problems.append(Problem("provider", f"{value!r} has no [providers.{value}] table", accepted))
    return str(value)
