"""Tracebacks for log records: `exc_info` would show lower layers' words as they are."""

from __future__ import annotations

import traceback

from transferkit._util.redaction import redact

__all__ = ["safe_traceback"]


def safe_traceback(error: BaseException) -> str:
    """The traceback with its causes and contexts, without numbers and secrets."""
    return redact("".join(traceback.format_exception(error)).rstrip())
