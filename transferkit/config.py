"""The configuration: a TOML file, a dict or `TRANSFERKIT_*` variables, held to strictly.

Every problem is reported at once, each naming the key, what it holds and what is accepted. Reading does no
other I/O and resolves no secret.
"""

from __future__ import annotations

import os
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, final, get_args, get_origin

from attrs import evolve, field, fields, frozen

from transferkit._redact import redact
from transferkit.errors import ConfigError, Problem
from transferkit.frozenmap import EMPTY, FrozenMap
from transferkit.registry import adapter_class
from transferkit.secret import Secret

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["CallbackConfig", "Config", "LifecycleConfig", "load_config"]

ENV_PREFIX = "TRANSFERKIT_"
_ENV_FILE = "TRANSFERKIT_CONFIG"


@final
@frozen(kw_only=True)
class CallbackConfig:
    """`[callbacks]`: where callbacks arrive and how much is taken from them.

    `accept_unverified` lets anyone on the network report outcomes: for tests on loopback only.
    """

    public_url: str | None = None
    accept_unverified: bool = False
    max_body_bytes: int = 1_048_576


@final
@frozen(kw_only=True)
class LifecycleConfig:
    """`[lifecycle]`: how long to wait for what; spans in seconds.

    `grace`: for a proof after the call's end. `lease`: how long a process may be silent before another
    takes over its work; longer than any request takes.
    """

    grace: timedelta = timedelta(seconds=5)
    inspect_gap: timedelta = timedelta(seconds=5)
    max_attempts: int = 6
    lease: timedelta = timedelta(seconds=120)


@final
@frozen(kw_only=True)
class Config:
    """The whole configuration, read and checked. `providers` holds each adapter's own settings."""

    source: str
    provider: str
    store: str = "memory:"
    callbacks: CallbackConfig = CallbackConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    providers: Mapping[str, Any] = field(default=EMPTY, repr=False, hash=False)
    base: Path = field(factory=Path.cwd)
    """What relative paths in it are relative to."""


class _EnvText(str):
    """Text from a variable, which cannot say whether it means a number."""

    __slots__ = ()


def load_config(source: str | Path | Mapping[str, Any] | None = None) -> Config:
    """Read a configuration from a TOML file, a dict, or (None) from the environment.

    With None, `TRANSFERKIT_CONFIG` may name a file; other variables name keys, nested with a double
    underscore (`TRANSFERKIT_PROVIDERS__ACS__RESOURCE_ID`), and win over the file. Raises `ConfigError`.
    """
    if isinstance(source, Mapping):
        return _read("configuration", source, Path.cwd())
    if source is not None:
        path = Path(source)
        return _read(str(path), _toml(path), path.resolve().parent)
    variables = _environment()
    named = os.environ.get(_ENV_FILE)
    if named:
        path = Path(named)
        return _read(f"{named} and environment", _merged(_toml(path), variables), path.resolve().parent)
    return _read("environment", variables, Path.cwd())


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(
            str(path), [Problem("file", f"cannot be read: {error.strerror}", "a TOML file")]
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [Problem("file", f"is not TOML: {error}", "a TOML file")]) from None


def _environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in sorted(os.environ.items()):
        if name.startswith(ENV_PREFIX) and name != _ENV_FILE and not name.startswith(f"{ENV_PREFIX}TEST_"):
            *tables, key = name.removeprefix(ENV_PREFIX).lower().split("__")
            table = found
            for part in tables:
                below = table.setdefault(part, {})
                if not isinstance(below, dict):  # a variable names the table itself: let that be refused
                    break
                table = below
            else:
                if not isinstance(table.get(key), dict):
                    table[key] = _EnvText(value)
    return found


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both and isinstance(below, Mapping) else value
    return result


_TOP = ("provider", "store", "callbacks", "lifecycle", "providers")
_STORES = "memory: · sqlite:///FILE · postgresql://…"


def _read(source: str, data: Mapping[str, Any], base: Path) -> Config:
    problems = [Problem(str(key), "is not a known key", ", ".join(_TOP)) for key in data if key not in _TOP]
    converter = _converter(base)
    read: dict[str, Any] = {}
    for name, cls in (("callbacks", CallbackConfig), ("lifecycle", LifecycleConfig)):
        if name in data:
            read[name] = _structure(converter, data[name], cls, name, problems)
    providers = _providers(converter, _tables(data), problems)
    provider = _provider(data.get("provider"), providers, problems)
    store = data.get("store", "memory:")
    if not isinstance(store, str):
        problems.append(Problem("store", f"{_shown(store)} is not text", _STORES))
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
    converter.register_structure_hook_func(_is_tuple, _read_tuple)
    converter.register_structure_hook_func(_is_optional, partial(_read_optional, converter))
    return converter


def _read_text(data: object, _: type) -> str:
    if not isinstance(data, str):
        raise _Unacceptable(data, "text")
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
        return cls(data)
    raise _Unacceptable(data, _accepts(cls))


def _read_span(data: object, _: type) -> timedelta:
    seconds = _read_number(data, float)
    if not 0 <= seconds < timedelta.max.total_seconds():
        raise _Unacceptable(data, "seconds, not negative")
    return timedelta(seconds=seconds)


def _read_path(base: Path, data: object, _: type) -> Path:
    if not isinstance(data, (str, Path)):
        raise _Unacceptable(data, "a path")
    return base / data


def _read_enum(data: object, cls: type[StrEnum]) -> StrEnum:
    known = {member.value: member for member in cls}
    if not isinstance(data, str) or data not in known:
        raise _Unacceptable(data, _accepts(cls))
    return known[data]


def _read_secret(base: Path, data: object, _: type) -> Secret:
    match data:
        case str():
            return Secret(value=str(data))
        case {"env": str(name), **more} if not more:
            return Secret(env=str(name))
        case {"file": str(name), **more} if not more:
            return Secret(file=base / str(name))
        case _:
            raise _Unacceptable(data, _accepts(Secret), secret=True)


def _read_tuple(data: object, _: type) -> tuple[str, ...]:
    if isinstance(data, _EnvText):
        return tuple(part.strip() for part in data.split(",") if part.strip())
    if not isinstance(data, (list, tuple)):
        raise _Unacceptable(data, "a list of text")
    return tuple(_read_text(item, str) for item in data)


def _read_optional(converter: Converter, data: object, cls: Any) -> Any:
    """`X | None`: a key that is there must hold an X."""
    if data is None:
        return None
    (inner,) = (option for option in get_args(cls) if option is not type(None))
    return converter.structure(data, inner)


def _is_tuple(cls: Any) -> bool:
    origin: object = get_origin(cls)
    return origin is tuple


def _is_optional(cls: Any) -> bool:
    return get_origin(cls) in {Union, types.UnionType} and type(None) in get_args(cls)
