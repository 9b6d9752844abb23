"""The configuration: a TOML file, a dict or `TRANSFERKIT_*` variables, held to strictly.

Every problem is reported at once, each naming the key, what it holds and what is accepted. Reading does no
other I/O and resolves no secret.
"""

from __future__ import annotations

import logging
import os
import re
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, final, get_args, get_origin

from attrs import evolve, field, fields, frozen

from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import MASK, redact
from transferkit.errors import ConfigError, Problem
from transferkit.provider.registry import adapter_class
from transferkit.provider.secret import Secret
from transferkit.provider.urls import split_url
from transferkit.stores.address import ADDRESSES, problem_with
from transferkit.stores.consumer_groups import GroupStart

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "CallbackConfig",
    "Config",
    "GroupConfig",
    "LifecycleConfig",
    "RetentionConfig",
    "is_in_environment",
    "load_config",
    "settings_in_environment",
]

_log = logging.getLogger("transferkit.config")

ENV_PREFIX = "TRANSFERKIT_"
_ENV_FILE = "TRANSFERKIT_CONFIG"

_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_CENTURY = timedelta(days=36_500)
_BILLION = 1_000_000_000


@final
@frozen
class _Limit:
    """Which values of its type a key accepts: in words, and as a test."""

    accepts: str
    holds: Callable[[Any], bool]


def _can_be_added_to(url: str) -> bool:
    """Whether the URL is absolute and, with a path added to it, still one that anybody may be told."""
    parts = split_url(url)
    plain = url.isascii() and url.isprintable() and not set(url) & set(" ?#")
    return plain and parts.scheme in {"https", "http"} and bool(parts.hostname) and "@" not in parts.netloc


# The upper bounds keep every time that is made of a span in the calendar, and every count in any store.
_Wait = Annotated[
    timedelta, _Limit("seconds, more than 0 and no more than a day", lambda span: timedelta() < span <= _DAY)
]
_Age = Annotated[
    timedelta,
    _Limit("seconds, more than 0 and no more than a century", lambda span: timedelta() < span <= _CENTURY),
]
_Pause = Annotated[
    timedelta, _Limit("seconds, from 1 to a century", lambda span: _SECOND <= span <= _CENTURY)
]
_Skew = Annotated[timedelta, _Limit("seconds, from 0 to an hour", lambda span: span <= _HOUR)]
_Lease = Annotated[
    timedelta,
    _Limit(
        "seconds, from 1 to a day; longer than a request takes",
        lambda span: _SECOND <= span <= _DAY,
    ),
]
_Count = Annotated[
    int,
    _Limit("a whole number, 1 or more and no more than a billion", lambda count: 1 <= count <= _BILLION),
]
_Url = Annotated[
    str,
    _Limit("https://HOST/PATH without user name, query or fragment; not empty", _can_be_added_to),
]


@final
@frozen(kw_only=True)
class CallbackConfig:
    """`[callbacks]`: where callbacks arrive, how much is taken from them and how they are verified.

    Spans in seconds. `public_url`: where providers reach the receiver; paths are added to it. `body_timeout`:
    for a body to arrive. `clock_skew`: by how much the provider's clock and ours may differ when a token's
    times are checked. `key_refresh`: the age at which signing keys are fetched anew; `key_cooldown`: the
    least time between two fetches that unknown key ids start.

    `accept_unverified` lets anyone on the network report outcomes: for tests on loopback only.
    """

    public_url: _Url | None = None
    accept_unverified: bool = False
    max_body_bytes: _Count = 1_048_576
    body_timeout: _Wait = timedelta(seconds=10)
    clock_skew: _Skew = timedelta(minutes=2)
    key_refresh: _Age = timedelta(hours=1)
    key_cooldown: _Wait = timedelta(seconds=5)


@final
@frozen(kw_only=True)
class LifecycleConfig:
    """`[lifecycle]`: how long to wait for what; spans in seconds.

    `grace`: for a proof after the call's end. `inspect_gap`: the least time between two questions to the
    provider about one transfer. `max_attempts`: how often a request is sent. `lease`: how long a process may
    be silent before another takes over its work; longer than a request takes, which is three times the
    provider's `timeout`, for a token, a connection and an answer.
    """

    grace: _Wait = timedelta(seconds=5)
    inspect_gap: _Wait = timedelta(seconds=5)
    max_attempts: _Count = 6
    lease: _Lease = timedelta(seconds=120)


@final
@frozen(kw_only=True)
class GroupConfig:
    """`[groups]`: how consumer groups read the stream; spans in seconds.

    `start`: where a new group begins. `lease`: how long a consumer may be silent before others take over
    its calls. `max_attempts`: how often an event is begun before it is parked.
    """

    start: GroupStart = GroupStart.BEGINNING
    lease: _Wait = timedelta(seconds=30)
    max_attempts: _Count = 5


@final
@frozen(kw_only=True)
class RetentionConfig:
    """`[retention]`: what is kept for how long; spans in seconds.

    `age`: how long a call is kept after its last event. `group_idle`: a group that nobody was at for so long
    holds nothing back. `every`: the pause between two removals.
    """

    age: _Age = timedelta(days=30)
    group_idle: _Age = timedelta(days=30)
    every: _Pause = timedelta(hours=1)


@final
@frozen(kw_only=True)
class Config:
    """The whole configuration, read and checked. `providers` holds each adapter's own settings."""

    source: str
    provider: str
    store: str = field(default="memory:", repr=False)
    callbacks: CallbackConfig = CallbackConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    groups: GroupConfig = GroupConfig()
    retention: RetentionConfig = RetentionConfig()
    providers: Mapping[str, Any] = field(default=EMPTY, repr=False, hash=False)
    base: Path = field(factory=Path.cwd)
    """What relative paths in it are relative to."""


class _EnvText(str):
    """Text from a variable, which cannot say whether it means a number."""

    __slots__ = ()


def load_config(source: str | Path | Mapping[str, Any] | None = None) -> Config:
    """Read a configuration from a TOML file, a dict, or (None) from the environment.

    With None, `TRANSFERKIT_CONFIG` may name a file; other variables name keys, nested with a double
    underscore (`TRANSFERKIT_PROVIDERS__ACS__RESOURCE_ID`), and win over the file. A path or a dict is the
    whole configuration: no variable is read beside it. Raises `ConfigError`.
    """
    if isinstance(source, Mapping):
        return _read("configuration", source, Path.cwd())
    if source is not None:
        path = _path(source)
        _warn_of_ignored_variables(path)
        return _read(str(path), _toml(path), path.resolve().parent)
    variables = _environment()
    named = os.environ.get(_ENV_FILE)
    if named:
        path = Path(named)
        return _read(f"{named} and environment", _merged(_toml(path), variables), path.resolve().parent)
    if not variables:
        raise ConfigError("environment", [_NOTHING])
    return _read("environment", variables, Path.cwd())


_NOTHING = Problem(
    "configuration",
    "there is none: give --config FILE, set TRANSFERKIT_CONFIG=FILE, or in Python from_config(PATH)",
)


def _warn_of_ignored_variables(path: Path) -> None:
    """Whoever sets them expects them to win over the file."""
    if ignored := settings_in_environment():
        _log.warning(
            "not read beside %s, which is the whole configuration: %s; for variables to win over a file, "
            "name it by TRANSFERKIT_CONFIG instead",
            path,
            ", ".join(ignored),
            extra={"event": LogEvent.CONFIG_VARIABLES_IGNORED},
        )


def _path(source: object) -> Path:
    if not isinstance(source, str | os.PathLike):
        wanted = "a file's path, a dict, or None for the environment"
        raise TypeError(f"configuration: expected {wanted}, got {type(source).__name__}")
    return Path(source)


def settings_in_environment() -> tuple[str, ...]:
    """The variables that hold settings, in alphabetical order: all of ours but `TRANSFERKIT_CONFIG`."""
    return tuple(
        name
        for name in sorted(os.environ)
        if name.startswith(ENV_PREFIX) and name != _ENV_FILE and not name.startswith(f"{ENV_PREFIX}TEST_")
    )


def is_in_environment() -> bool:
    """Whether the environment holds settings or names a file: what `load_config(None)` would read."""
    return bool(os.environ.get(_ENV_FILE) or settings_in_environment())


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(
            str(path), [Problem("file", f"cannot be read: {error.strerror}", "a TOML file")]
        ) from None
    except (ValueError, RecursionError) as error:  # a number of too many digits is no TOMLDecodeError
        raise ConfigError(str(path), [Problem("file", f"is not TOML: {error}", "a TOML file")]) from None


def _environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in settings_in_environment():
        *tables, key = name.removeprefix(ENV_PREFIX).lower().split("__")
        table = found
        for part in tables:
            below = table.setdefault(part, {})
            if not isinstance(below, dict):  # a variable names the table itself: let that be refused
                break
            table = below
        else:
            if not isinstance(table.get(key), dict):
                table[key] = _EnvText(os.environ[name])
    return found


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both and isinstance(below, Mapping) else value
    return result


_TABLES: Mapping[str, type[Any]] = {
    "callbacks": CallbackConfig,
    "lifecycle": LifecycleConfig,
    "groups": GroupConfig,
    "retention": RetentionConfig,
}
_TOP = ("provider", "store", *_TABLES, "providers")


def _read(source: str, data: Mapping[str, Any], base: Path) -> Config:
    problems = [Problem(str(key), "is not a known key", ", ".join(_TOP)) for key in data if key not in _TOP]
    converter = _converter(base)
    read: dict[str, Any] = {}
    for name, cls in _TABLES.items():
        if name in data:
            read[name] = _structure(converter, data[name], cls, name, problems)
    providers = _providers(converter, _tables(data), problems)
    provider = _provider(data.get("provider"), providers, problems)
    store = data.get("store", "memory:")
    if not isinstance(store, str):
        problems.append(Problem("store", f"is a {type(store).__name__}, not text", ADDRESSES))
    elif problem := problem_with(store):
        problems.append(Problem("store", problem, ADDRESSES))  # an address may hold a password
    if problems:
        raise ConfigError(source, problems)
    return Config(
        source=source, provider=provider, store=str(store), providers=FrozenMap(providers), base=base, **read
    )


def _tables(data: Mapping[str, Any]) -> object:
    """The `[providers]` tables; one that needs no settings may be named by `provider` alone."""
    tables, provider = data.get("providers", {}), data.get("provider")
    if isinstance(tables, Mapping) and isinstance(provider, str) and provider not in tables:
        try:
            if not adapter_class(provider).needs_settings:
                return {**tables, provider: {}}
        except ConfigError:
            pass  # said with the other problems
    return tables


def _providers(converter: Converter, tables: object, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(tables, Mapping):
        problems.append(Problem("providers", f"{_shown(tables)} is no table", "[providers.NAME] tables"))
        return {}
    settings: dict[str, Any] = {}
    for name, table in tables.items():
        try:
            cls = adapter_class(str(name)).settings_class
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        settings[str(name)] = _structure(converter, table, cls, f"providers.{name}", problems)
    return settings


def _provider(value: object, providers: Mapping[str, Any], problems: list[Problem]) -> str:
    """The default provider: named, or the only one configured."""
    known = ", ".join(sorted(providers)) or "a name that has a [providers.NAME] table"
    if value is None and len(providers) == 1:
        return next(iter(providers))
    if value is None:
        problems.append(Problem("provider", "is missing", known))
    elif not isinstance(value, str):
        problems.append(Problem("provider", f"{_shown(value)} is not text", known))
    elif value not in providers and not any(p.field.startswith(f"providers.{value}") for p in problems):
        problems.append(Problem("provider", f"{value!r} has no [providers.{value}] table", known))
    return str(value)


def _structure(
    converter: Converter, data: object, cls: type[Any], where: str, problems: list[Problem]
) -> Any:
    from cattrs.errors import BaseValidationError

    if not isinstance(data, Mapping):
        problems.append(Problem(where, f"{_shown(data)} is no table", "a table"))
        return None
    try:
        settings = converter.structure(data, cls)
    except BaseValidationError as error:
        problems.extend(_problems(error, cls, where))
        return None
    named = {
        attribute.name: evolve(value, key=f"{where}.{attribute.name}")
        for attribute in fields(cls)
        if isinstance(value := getattr(settings, attribute.name), Secret)
    }
    return evolve(settings, **named) if named else settings


def _problems(error: BaseException, cls: type[Any], where: str) -> Iterator[Problem]:
    from cattrs.errors import AttributeValidationNote, BaseValidationError, ForbiddenExtraKeysError

    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, AttributeValidationNote)]
    if notes:
        where = f"{where}.{notes[-1].name}"
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _problems(inner, cls, where)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = ", ".join(attribute.name for attribute in fields(cls))
        for extra in sorted(error.extra_fields):
            yield Problem(f"{where}.{extra}", "is not a known key", known)
    elif isinstance(error, KeyError):
        yield Problem(where, "is missing", _accepts(notes[-1].type if notes else None))
    elif isinstance(error, _Unacceptable):
        yield Problem(where, str(error), error.accepts)
    else:
        yield Problem(where, redact(str(error)))


class _Unacceptable(Exception):
    def __init__(self, value: object, accepts: str, *, secret: bool = False) -> None:
        super().__init__(f"a {type(value).__name__} is not accepted" if secret else f"got {_shown(value)}")
        self.accepts = accepts


def _shown(value: object) -> str:
    return redact(repr(str(value) if isinstance(value, _EnvText) else value))


def _accepts(cls: Any) -> str:
    options = [option for option in get_args(cls) if option is not type(None)] or [cls]
    kind = options[0]
    if _is_protocol(kind):
        return f"a {kind.__name__} object, from Python only"
    if kind is Secret:
        return 'text, { env = "NAME" } or { file = "path" }'
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(str(member.value) for member in kind)
    words = {str: "text", bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
    return "seconds" if kind is timedelta else words.get(kind, getattr(kind, "__name__", str(kind)))


def _converter(base: Path) -> Converter:
    """Reads settings strictly: no text for a number, except from a variable, which has nothing else."""
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    readers: dict[type, Callable[[Any, Any], Any]] = {
        str: _read_text,
        StrEnum: _read_enum,
        bool: _read_bool,
        int: _read_number,
        float: _read_number,
        timedelta: _read_span,
        Path: partial(_read_path, base),
        Secret: partial(_read_secret, base),
    }
    for cls, read in readers.items():
        converter.register_structure_hook(cls, read)
    converter.register_structure_hook_func(_is_limited, partial(_read_limited, converter))
    converter.register_structure_hook_func(_is_protocol, _read_object)
    converter.register_structure_hook_func(_is_tuple, _read_tuple)
    converter.register_structure_hook_func(_is_optional, partial(_read_optional, converter))
    return converter


def _read_text(data: object, _: type) -> str:
    """What is empty is no way to leave a key out: who is asked for, or what is allowed, must be said."""
    if not isinstance(data, str) or not data.strip():
        raise _Unacceptable(data, "text, not empty")
    return str(data)


def _read_bool(data: object, _: type) -> bool:
    if isinstance(data, _EnvText) and data.lower() in {"true", "false", "1", "0"}:
        return data.lower() in {"true", "1"}
    if not isinstance(data, bool):
        raise _Unacceptable(data, "true or false")
    return data


def _read_number(data: Any, cls: type[int | float]) -> Any:
    if isinstance(data, _EnvText):
        try:
            return cls(data)
        except ValueError:
            raise _Unacceptable(data, _accepts(cls)) from None
    whole = isinstance(data, int) and not isinstance(data, bool)
    if whole or (cls is float and isinstance(data, float)):
        try:
            return cls(data)
        except OverflowError:
            raise _Unacceptable(data, _accepts(cls)) from None
    raise _Unacceptable(data, _accepts(cls))


def _read_span(data: object, _: type) -> timedelta:
    seconds = _read_number(data, float)
    if not 0 <= seconds < timedelta.max.total_seconds():
        raise _Unacceptable(data, "seconds, not negative")
    return timedelta(seconds=seconds)


def _read_limited(converter: Converter, data: object, cls: Any) -> Any:
    (inner, limit) = get_args(cls)
    value = converter.structure(data, inner)
    if not limit.holds(value):
        raise _Unacceptable(_bare(data) if isinstance(data, str) else data, limit.accepts)
    return value


def _bare(url: str) -> str:
    """A URL, or what was meant as one, without its user name, query and fragment: keys are kept there."""
    nobody = re.sub("//.*@", f"//{MASK}@", url, flags=re.DOTALL)
    return re.sub("([?#]).*", rf"\1{MASK}", nobody, flags=re.DOTALL)


def _read_path(base: Path, data: object, _: type) -> Path:
    if not isinstance(data, (str, Path)) or not str(data).strip():
        raise _Unacceptable(data, "a path")
    return base / data


def _read_enum(data: object, cls: type[StrEnum]) -> StrEnum:
    known = {member.value: member for member in cls}
    if not isinstance(data, str) or data not in known:
        raise _Unacceptable(data, _accepts(cls))
    return known[data]


def _read_secret(base: Path, data: object, _: type) -> Secret:
    match data:
        case str(text) | {"env": str(text)} | {"file": str(text)} if not text.strip():
            raise _Unacceptable("", _accepts(Secret))
        case str():
            return Secret(value=str(data))
        case {"env": str(name), **more} if not more:
            return Secret(env=str(name))
        case {"file": str(name), **more} if not more:
            return Secret(file=base / str(name))
        case _:
            raise _Unacceptable(data, _accepts(Secret), secret=True)


def _read_tuple(data: object, _: type) -> tuple[str, ...]:
    found = [part.strip() for part in data.split(",") if part.strip()] if isinstance(data, _EnvText) else data
    if not isinstance(found, (list, tuple)) or not found:
        raise _Unacceptable(data, "a list of text, one or more")
    return tuple(_read_text(item, str) for item in found)


def _read_object(data: object, cls: type) -> object:
    """A key whose type is a protocol takes an object from Python code, which no file can contain."""
    if isinstance(data, type) or not isinstance(data, cls):
        raise _Unacceptable(data, _accepts(cls), secret=True)
    return data


def _read_optional(converter: Converter, data: object, cls: Any) -> Any:
    """`X | None`: a key that is there must hold an X."""
    if data is None:
        return None
    (inner,) = (option for option in get_args(cls) if option is not type(None))
    return converter.structure(data, inner)


def _is_limited(cls: Any) -> bool:
    return any(isinstance(one, _Limit) for one in getattr(cls, "__metadata__", ()))


def _is_protocol(cls: Any) -> bool:
    return bool(getattr(cls, "_is_protocol", False))


def _is_tuple(cls: Any) -> bool:
    origin: object = get_origin(cls)
    return origin is tuple


def _is_optional(cls: Any) -> bool:
    return get_origin(cls) in {Union, types.UnionType} and type(None) in get_args(cls)
