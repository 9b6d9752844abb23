"""Any configuration (dict, file or variables) is read or raises `ConfigError`, and no secret is shown."""

import os
import tempfile
import tomllib
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fuzzing import (
    ODD_TEXT,
    as_bytes,
    as_text,
    corpus,
    damaged_bytes,
    damaged_json,
    damaged_text,
    installed,
    one_in,
)

from transferkit import AsyncClient, ConfigError
from transferkit.config import load_config

SECRET = "pl4nted-fuzz-secret"
PROVIDERS = {"fake": {"like": "graph"} if installed("transferkit_graph") else {}}
if installed("transferkit_graph"):
    PROVIDERS["graph"] = {
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
    PROVIDERS["acs"] = {
        "connection_string": {"env": "ACS_CONNECTION_STRING"},
        "resource_id": "r",
        "api_version": "2026-03-12",
        "eventgrid_secret": {"file": "secret.txt"},
        "timeout": 10,
    }
WHOLE = {
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
    "providers": PROVIDERS,
}
PARTS = [
    {"env": "NOT_SET"}, {"file": "/nowhere"}, "sqlite:///x.db", "postgresql://h/db", "sqlite:", 0.5,
]  # fmt: skip
# Environment variables contain no NUL, and no lone surrogates but those that stand for single bytes.
NOT_IN_VARIABLES = dict.fromkeys([0, ord("="), *range(0xD800, 0xDC80), *range(0xDD00, 0xE000)], "_")


def tables():
    return damaged_json([WHOLE], PARTS).map(
        lambda value: value if isinstance(value, dict) else {"provider": value}
    )


@st.composite
def files(draw):
    table = draw(st.just(WHOLE) | tables())
    text = "\n".join(f"{toml(str(name))} = {toml(value)}" for name, value in table.items())
    data = text.encode("utf-8", "surrogatepass")
    return as_text(draw(damaged_bytes(data)) if draw(st.booleans()) else data)


def toml(value):
    """A value in TOML, as far as TOML can express it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(name))} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value) if abs(value) < 10**300 else "inf"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


@st.composite
def variables(draw):
    found = dict(as_variables("TRANSFERKIT_", WHOLE))
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from([*found]))
        value = found.pop(name)
        if draw(one_in(4)):
            found[draw(damaged_text(name))] = value
        elif not draw(one_in(4)):
            found[name] = draw(damaged_text(value) | st.sampled_from(ODD_TEXT))
    return {
        name.translate(NOT_IN_VARIABLES): value.translate(NOT_IN_VARIABLES)
        for name, value in found.items()
        if name.startswith("TRANSFERKIT_") and name != "TRANSFERKIT_CONFIG"
    }


def as_variables(prefix, table):
    for name, value in table.items():
        key = f"{prefix}{name.upper()}"
        if isinstance(value, dict):
            yield from as_variables(f"{key}__", value)
        else:
            yield key, ",".join(value) if isinstance(value, list) else str(value)


def cases():
    forms = {"dict": tables(), "file": files(), "variables": variables()}
    return st.one_of(
        *(st.fixed_dictionaries({"form": st.just(form), "data": data}) for form, data in forms.items())
    )


def check(case):
    problem = None
    try:
        config = load(case)
        AsyncClient(config)
    except ConfigError as error:
        problem = error
    assert problem is None or problem.problems
    shown = repr(config) if problem is None else f"{problem} {problem!r}"
    assert SECRET not in shown or is_misplaced(case)


def load(case):
    match case["form"]:
        case "dict":
            return load_config(case["data"])
        case "file":
            with tempfile.NamedTemporaryFile(suffix=".toml") as file:
                Path(file.name).write_bytes(as_bytes(case["data"]))
                return load_config(file.name)
        case _:
            with patch.dict(os.environ, case["data"]):
                return load_config()


def is_misplaced(case):
    """Whether the secret is in a place for something else, which an error message may show."""
    data = case["data"]
    if case["form"] == "variables":
        return any(SECRET in value and not name.endswith("CLIENT_SECRET") for name, value in data.items())
    if case["form"] == "file":
        try:
            data = tomllib.loads(as_bytes(data).decode())
        except ValueError:
            return False
    return any(
        SECRET in name or has_secret_elsewhere(item, in_providers=name == "providers")
        for name, item in data.items()
    )


def has_secret_elsewhere(value, *, in_providers):
    """Whether the secret is not the value of `client_secret`; out of place that value must be text, too."""
    if isinstance(value, dict):
        return any(
            SECRET in name or has_secret_elsewhere(item, in_providers=in_providers)
            for name, item in value.items()
            if name != "client_secret" or not (in_providers or isinstance(item, str))
        )
    if isinstance(value, list):
        return any(has_secret_elsewhere(item, in_providers=in_providers) for item in value)
    return SECRET in str(value)


@settings(max_examples=3 * settings.default.max_examples)
@given(case=cases())
def test_any_configuration_is_read_or_refused_without_showing_a_secret(case):
    check(case)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in corpus("config").items()])
def test_a_configuration_that_once_failed_is_refused(case):
    check(case)
