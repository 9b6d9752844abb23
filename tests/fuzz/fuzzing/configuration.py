"""The configuration as a dict, a file and variables: read, or refused by an error that shows no secret."""

from __future__ import annotations

import os
import tempfile
import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from fuzzing.mutations import ODD_TEXT, altered, altered_bytes, altered_text
from fuzzing.target import Case, Target, as_bytes, as_text, installed, promised
from transferkit import AsyncClient, ConfigError
from transferkit.config import load_config
from transferkit.provider.registry import announced

SECRET = "pl4nted-fuzz-secret"
_PROVIDERS: dict[str, Any] = {"fake": {"like": "graph"} if installed("transferkit_graph") else {}}
if installed("transferkit_graph"):
    _PROVIDERS["graph"] = {
        "tenant_id": "0f9d2a3b-1111-4c4c-9d9d-2b3c4d5e6f70",
        "client_id": "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80",
        "client_secret": SECRET,
        "cloud": "global",
        "api": "beta",
        "path": "applications",
        "app_id": "one",
        "allowed_tenants": ["a", "b"],
        "timeout": 3.5,
    }
if installed("transferkit_acs"):
    _PROVIDERS["acs"] = {
        "connection_string": {"env": "ACS_CONNECTION_STRING"},
        "resource_id": "r",
        "api_version": "2026-03-12",
        "eventgrid_secret": {"file": "secret.txt"},
        "timeout": 10,
    }
_WHOLE: dict[str, Any] = {
    "provider": "fake",
    "store": "memory:",
    "callbacks": {
        "public_url": "https://app.example/callbacks",
        "max_body_bytes": 1000,
        "clock_skew": 60,
        "key_refresh": 9,
    },
    "lifecycle": {"grace": 5, "max_attempts": 3},
    "groups": {"start": "now", "lease": 30.5, "max_attempts": 2},
    "retention": {"age": 3600},
    "providers": _PROVIDERS,
}
_PARTS: list[Any] = [
    _WHOLE,
    {"env": "NOBODY_SET_THIS"},
    {"file": "/nowhere"},
    "sqlite:///x.db",
    "postgresql://h/db",
    "sqlite:",
    0.5,
]


_announced = cache(announced)


class Configuration(Target):
    """`load_config` and what a client makes of it, which opens nothing."""

    name = "config"
    weight = 1

    def make(self, random: Random) -> Case:
        match random.randrange(3):
            case 0:
                return {"form": "dict", "data": _json_safe(altered(_WHOLE, random, _PARTS))}
            case 1:
                return {"form": "file", "data": as_text(_file(random))}
            case _:
                return {"form": "variables", "data": _variables(random)}

    async def check(self, case: Case) -> None:
        # Looking for adapters among all installed distributions takes longer than everything else.
        with patch("transferkit.provider.registry.announced", _announced):
            self._check(case)

    def _check(self, case: Case) -> None:
        try:
            match case["form"]:
                case "dict":
                    config = load_config(case["data"]) if isinstance(case["data"], dict) else None
                case "file":
                    config = _from_file(as_bytes(case["data"]))
                case _:
                    with patch.dict(os.environ, case["data"]):
                        config = load_config()
            if config is not None:
                promised(SECRET not in repr(config) or _misplaced(case), "a repr shows a secret")
                AsyncClient(config)
        except ConfigError as error:
            promised(error.problems, "an error names no problem")
            shown = SECRET in f"{error} {error!r}" and not _misplaced(case)
            promised(not shown, "an error shows a secret")


def _misplaced(case: Case) -> bool:
    """Whether the secret stands where no secret belongs: an error shows what it is about."""
    data = case["data"]
    if case["form"] == "variables":
        return any(SECRET in value and not name.endswith("CLIENT_SECRET") for name, value in data.items())
    if case["form"] == "file":
        try:
            data = tomllib.loads(as_bytes(data).decode())
        except ValueError:
            return False
    return _elsewhere(data)


def _elsewhere(value: Any) -> bool:
    if isinstance(value, dict):
        return any(
            _elsewhere(item) or SECRET in name for name, item in value.items() if name != "client_secret"
        )
    return any(map(_elsewhere, value)) if isinstance(value, list) else SECRET in str(value)


def _from_file(data: bytes) -> Any:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        Path(file.name).write_bytes(data)
        return load_config(file.name)


def _json_safe(value: Any) -> Any:
    return value if isinstance(value, dict) else {"provider": value}


def _toml(value: Any) -> str:
    """A value in TOML, as far as it can be said there."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(str(name))} = {_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value) if abs(value) < 10**300 else "inf"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _file(random: Random) -> bytes:
    table = altered(_WHOLE, random, _PARTS) if random.random() < 0.7 else _WHOLE
    text = "\n".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in _json_safe(table).items())
    data = text.encode("utf-8", "surrogatepass")
    return altered_bytes(data, random) if random.random() < 0.6 else data


def _variables(random: Random) -> dict[str, str]:
    """Variables that say what the whole does, some of them altered; none holds a NUL."""
    found: dict[str, str] = {}
    tables = [("TRANSFERKIT", _WHOLE)]
    while tables:
        prefix, table = tables.pop()
        for name, value in table.items():
            key = f"{prefix}_{name.upper()}" if prefix == "TRANSFERKIT" else f"{prefix}__{name.upper()}"
            if isinstance(value, dict):
                tables.append((key, value))
            else:
                found[key] = ",".join(value) if isinstance(value, list) else str(value)
    for _ in range(random.choice((1, 1, 2, 4))):
        name = random.choice([*found])
        match random.randrange(4):
            case 0:
                del found[name]
            case 1:
                found[altered_text(name, random)] = found.pop(name)
            case _:
                found[name] = altered_text(found[name], random) or random.choice(ODD_TEXT)
    return {
        name.translate(_UNSAYABLE): value.translate(_UNSAYABLE)
        for name, value in found.items()
        if name.startswith("TRANSFERKIT_") and name != "TRANSFERKIT_CONFIG"
    }


# The operating system's text has no NUL, and of half characters only those that stand for a single byte.
_UNSAYABLE: dict[int, str] = dict.fromkeys([0, ord("="), *range(0xD800, 0xDC80), *range(0xDD00, 0xE000)], "_")
