"""The results of checks."""

from __future__ import annotations

from transferkit.provider.adapter import CheckResult

__all__ = ["failed", "passed", "undecided"]


def passed(name: str, message: str) -> CheckResult:
    """A check that passed."""
    return CheckResult(name=name, ok=True, message=message)


def failed(name: str, message: str, *, advice: str) -> CheckResult:
    """A check that failed; `advice` says what to do."""
    return CheckResult(name=name, ok=False, message=message, advice=advice)


def undecided(name: str, message: str, *, advice: str | None = None) -> CheckResult:
    """A check that was skipped, or found something that may be intended."""
    return CheckResult(name=name, ok=None, message=message, advice=advice)
