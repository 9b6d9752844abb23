"""Checks what the configuration says and whether its secrets can be resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import fields

from transferkit.cli.checks.results import failed, passed
from transferkit.config import Config
from transferkit.errors import ConfigError, Problem
from transferkit.provider.adapter import Adapter, CheckResult
from transferkit.provider.secret import Secret

__all__ = ["check_configuration"]


def check_configuration(config: Config, adapters: Mapping[str, Adapter]) -> Iterator[CheckResult]:
    """Yield where the configuration comes from, one result for all good secrets, and one for each other."""
    names = ", ".join(sorted(config.providers))
    message = f"{config.source}: {names}; the default is {config.provider}"
    yield passed("config", message)
    resolved = 0
    failing: set[str] = set()
    for secret in _secrets(config):
        try:
            secret.resolve()
        except ConfigError as error:
            for problem in error.problems:
                failing.add(problem.field)
                yield failed(
                    "secrets",
                    f"{problem.field} cannot be resolved: {problem.message}",
                    advice="Provide it, and run the check as the application's user.",
                )
        else:
            resolved += 1
    for problem in _problems_of_form(adapters):
        if problem.field not in failing:
            failing.add(problem.field)
            yield failed("secrets", f"{problem.field} {problem.message}", advice=_accepted(problem))
    if resolved and not failing:
        yield passed("secrets", f"{resolved} resolved, of a valid form")


def _problems_of_form(adapters: Mapping[str, Adapter]) -> Iterator[Problem]:
    for adapter in adapters.values():
        try:
            adapter.check_secrets()
        except ConfigError as error:
            yield from error.problems


def _accepted(problem: Problem) -> str:
    return f"Accepted is {problem.accepts}." if problem.accepts else "Correct it."


def _secrets(config: Config) -> Iterator[Secret]:
    for table in (*config.providers.values(), *([] if config.sink is None else [config.sink])):
        for attribute in fields(type(table)):
            value = getattr(table, attribute.name)
            if isinstance(value, Secret):
                yield value
