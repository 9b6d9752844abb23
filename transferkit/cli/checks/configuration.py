"""Checks what the configuration says and whether its secrets can be resolved."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import fields

from transferkit.cli.checks.results import failed, passed
from transferkit.config import Config
from transferkit.errors import ConfigError
from transferkit.provider.adapter import CheckResult
from transferkit.provider.secret import Secret

__all__ = ["check_configuration"]


def check_configuration(config: Config) -> Iterator[CheckResult]:
    """Yield where the configuration comes from, one result for all good secrets, and one for each other."""
    names = ", ".join(sorted(config.providers))
    message = f"{config.source}: {names}; the default is {config.provider}"
    yield passed("config", message)
    resolved = 0
    for secret in _secrets(config):
        try:
            secret.resolve()
        except ConfigError as error:
            for problem in error.problems:
                yield failed(
                    "secrets",
                    f"{problem.field} cannot be resolved: {problem.message}",
                    advice="Provide it, and run the check as the application's user.",
                )
        else:
            resolved += 1
    if resolved:
        yield passed("secrets", f"{resolved} resolved")


def _secrets(config: Config) -> Iterator[Secret]:
    for table in config.providers.values():
        for attribute in fields(type(table)):
            value = getattr(table, attribute.name)
            if isinstance(value, Secret):
                yield value
