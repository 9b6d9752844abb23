"""What is seen from outside: OpenTelemetry spans and metrics, where `opentelemetry-api` is installed."""

from __future__ import annotations

import logging
from functools import cache

from transferkit._telemetry.contract import Rejection, Span, Telemetry, answer_word
from transferkit._telemetry.origins import origins
from transferkit._util.log_events import LogEvent

__all__ = ["Rejection", "Span", "Telemetry", "answer_word", "origins", "telemetry_here"]

_log = logging.getLogger("transferkit.telemetry")


@cache
def telemetry_here() -> Telemetry:
    """This process's telemetry, looked for once: to the global providers of OpenTelemetry, or to nobody."""
    try:
        from transferkit._telemetry.otel import OpenTelemetry

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
