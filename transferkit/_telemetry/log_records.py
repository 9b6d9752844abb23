"""What happened to calls, as log records: the stream's events and the answers to submissions."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from transferkit._lifecycle import Answered, CallKey, Opened
from transferkit._telemetry import answer_word
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact, shown_id
from transferkit.errors import StoreError
from transferkit.events import Event, Outcome, ProviderOther
from transferkit.provider.results import SubmitResult, Submitted

__all__ = ["about", "report_answer", "report_event", "report_lost", "report_unrecorded"]

_log = logging.getLogger("transferkit.engine")

_OF_AN_ANSWER = ("status", "code", "subcode", "reason", "request_id", "correlation_id")
_OF_AN_OUTCOME = ("basis", "code", "subcode", "reason", "evidence", "call_alive", "request_id")


def about(call: CallKey, transfer_id: str | None, name: str) -> dict[str, object]:
    """What every record about a call carries beside its message."""
    return {
        "event": name,
        "provider": call.provider,
        "call_id": shown_id(call.id),
        "transfer_id": transfer_id,
    }


def report_answer(opened: Opened, attempt: int, answer: SubmitResult) -> None:
    """Log what came of an attempt."""
    if not _log.isEnabledFor(logging.INFO):
        return
    extra = _of_an_answer(opened, attempt, answer, LogEvent.SUBMISSION_ANSWERED)
    _log.info("attempt %d to send %s: %s", attempt, opened.id, extra["answer"], extra=extra)


def report_unrecorded(opened: Opened, answered: Answered, error: Exception) -> None:
    """Log an answer that the store could not take for now."""
    extra = _of_an_answer(opened, answered.attempt, answered.answer, LogEvent.ANSWER_UNRECORDED)
    why = redact(str(error)) if isinstance(error, StoreError) else type(error).__name__
    _log.warning(
        "%s. The store failed (%s): the answer is kept and recorded later", _words(extra), why, extra=extra
    )


def report_lost(opened: Opened, answered: Answered) -> None:
    """Log an answer that could not be recorded."""
    extra = _of_an_answer(opened, answered.attempt, answered.answer, LogEvent.ANSWER_LOST)
    _log.error(
        "%s. The store did not take the answer, and this process gives up: the outcome may be expired",
        _words(extra),
        extra=extra,
    )


def _of_an_answer(opened: Opened, attempt: int, answer: SubmitResult, name: str) -> dict[str, object]:
    said = _said(answer if isinstance(answer, Submitted) else answer.result, _OF_AN_ANSWER)
    return {**about(opened.call, opened.id, name), "attempt": attempt, "answer": answer_word(answer), **said}


def _words(extra: Mapping[str, object]) -> str:
    known = [f"{name} {extra[name]}" for name in _OF_AN_ANSWER if extra[name] is not None]
    said = ", ".join([str(extra["answer"]), *known])
    which = f"{extra['provider']}:{extra['call_id']}, transfer {extra['transfer_id']}"
    return f"{which}, attempt {extra['attempt']}: {said}"


def report_event(event: Event) -> None:
    """Log an event of the stream, under its kind."""
    late = event.late_verdict if isinstance(event, ProviderOther) else None
    level = logging.WARNING if late else logging.INFO
    if not _log.isEnabledFor(level):
        return
    extra = about(CallKey(event.provider, event.call_id), event.transfer_id, event.kind)
    call = f"{event.provider}:{extra['call_id']}"
    extra |= {"event_id": event.id, "sequence": event.sequence, **_said(event, ("correlation_id",))}
    if isinstance(event, Outcome):
        extra |= _said(event, _OF_AN_OUTCOME)
        extra["elapsed"] = None if event.elapsed is None else event.elapsed.total_seconds()
    if late:
        _log.warning(
            "transfer %s on %s: the provider says %s after the outcome; the outcome stands",
            event.transfer_id,
            call,
            late,
            extra=extra,
        )
    else:
        _log.info("%s on %s", event.kind, call, extra=extra)


def _said(value: object, names: tuple[str, ...]) -> dict[str, object]:
    """Those of its fields that it has; a provider's text redacted."""
    found = {name: getattr(value, name, None) for name in names}
    return {name: shown_id(one) if type(one) is str else one for name, one in found.items()}
