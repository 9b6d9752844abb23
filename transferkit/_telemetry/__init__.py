"""OpenTelemetry spans and metrics, if `opentelemetry-api` is installed, and log records about calls."""

from __future__ import annotations

import logging
from functools import cache

from transferkit._telemetry.contract import CallbackRefused, Rejection, Span, Telemetry, answer_word
from transferkit._telemetry.links import link_events
from transferkit._util.log_events import LogEvent

__all__ = [
    "CallbackRefused",
    "Rejection",
    "Span",
    "Telemetry",
    "answer_word",
    "link_events",
    "telemetry_here",
]

_log = logging.getLogger("transferkit.telemetry")


@cache
def telemetry_here() -> Telemetry:
    """The telemetry of this process; it does nothing if OpenTelemetry is not installed."""
    try:
        from transferkit._telemetry.otel import OpenTelemetry

        return OpenTelemetry()
    except ModuleNotFoundError:
        return Telemetry()
    except (ImportError, TypeError):  # installed without the extra `otel`
        _log.warning(
            "no spans and metrics: the installed opentelemetry-api is older than 1.30. "
            "To report them: pip install 'transferkit[otel]'",
            extra={"event": LogEvent.TELEMETRY_OFF},
        )
        return Telemetry()
