"""Reads a configuration's data from a TOML file and from `TRANSFERKIT_*` variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from transferkit.config.values import EnvText
from transferkit.errors import ConfigError, Problem

__all__ = ["CONFIG_VARIABLE", "merge", "read_toml", "read_variables", "settings_in_environment"]

CONFIG_VARIABLE: Final = "TRANSFERKIT_CONFIG"
_PREFIX: Final = "TRANSFERKIT_"
_TEST_PREFIX: Final = "TRANSFERKIT_TEST_"


def read_toml(path: Path) -> Mapping[str, Any]:
    """Read a file. Raises `ConfigError`."""
    import tomllib

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:  # a number of too many digits is not a TOMLDecodeError
        problem = f"is not TOML: {error}"
    raise ConfigError(str(path), [Problem("file", problem, "a TOML file")])


def settings_in_environment() -> tuple[str, ...]:
    """The names of the variables with settings, in alphabetical order: all but `TRANSFERKIT_CONFIG`."""
    return tuple(
        name
        for name in sorted(os.environ)
        if name.startswith(_PREFIX) and name != CONFIG_VARIABLE and not name.startswith(_TEST_PREFIX)
    )


def read_variables() -> dict[str, Any]:
    """The settings in the environment as nested tables; a double underscore separates table and key."""
    tables: dict[str, Any] = {}
    for name in settings_in_environment():
        *path, key = name.removeprefix(_PREFIX).lower().split("__")
        table = tables
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):  # another variable sets the table itself: a problem later
                break
        else:
            if not isinstance(table.get(key), dict):
                table[key] = EnvText(os.environ[name])
    return tables


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested tables; the values of `over` replace those of `base`."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = merge(below, value)
        else:
            result[key] = value
    return result
