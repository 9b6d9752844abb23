"""Tracebacks for log records. `exc_info` would log the messages of other libraries unredacted."""

from __future__ import annotations

import traceback

from transferkit._util.redaction import redact

__all__ = ["safe_traceback"]


def safe_traceback(error: BaseException) -> str:
    """Return the traceback with its causes and contexts, without phone numbers and secrets."""
    return redact("".join(traceback.format_exception(error)).rstrip())
