"""What is seen from outside: OpenTelemetry spans and metrics, where `opentelemetry-api` is installed."""

from __future__ import annotations

import logging
from functools import cache

from transferkit.log_events import LogEvent
from transferkit.telemetry.contract import Rejection, Span, Telemetry, answer_word
from transferkit.telemetry.origins import origins

__all__ = ["Rejection", "Span", "Telemetry", "answer_word", "origins", "telemetry_here"]

_log = logging.getLogger("transferkit.telemetry")


@cache
def telemetry_here() -> Telemetry:
    """This process's telemetry, looked for once: to the global providers of OpenTelemetry, or to nobody."""
    try:
        from transferkit.telemetry.otel import OpenTelemetry

        return OpenTelemetry()
    except ModuleNotFoundError:
        return Telemetry()
    except (ImportError, TypeError):  # whoever installed it did not ask for our extra
        _log.warning(
            "no spans and metrics: the installed opentelemetry-api is older than 1.30. "
            "What to do: pip install 'transferkit[otel]'",
            extra={"event": LogEvent.TELEMETRY_OFF},
        )
        return Telemetry()
