"""Log records about calls: the events of the stream, and the answers to submissions."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from transferkit._lifecycle import Answered, CallKey, Opened
from transferkit._telemetry import answer_word
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact, safe_id
from transferkit.errors import StoreError
from transferkit.events import Event, Outcome, ProviderOther
from transferkit.provider.results import SubmitResult, Submitted

__all__ = ["log_fields", "report_answer", "report_event", "report_lost", "report_unrecorded"]

_log = logging.getLogger("transferkit.engine")

_ANSWER_FIELDS = ("status", "code", "subcode", "reason", "request_id", "correlation_id")
_OUTCOME_FIELDS = ("basis", "code", "subcode", "reason", "evidence", "call_alive", "request_id")


def log_fields(call: CallKey, transfer_id: str | None, name: str) -> dict[str, object]:
    """The fields of every log record about a call."""
    return {
        "event": name,
        "provider": call.provider,
        "call_id": safe_id(call.id),
        "transfer_id": transfer_id,
    }


def report_answer(opened: Opened, attempt: int, answer: SubmitResult) -> None:
    """Log the answer to an attempt."""
    if not _log.isEnabledFor(logging.INFO):
        return
    extra = _answer_fields(opened, attempt, answer, LogEvent.SUBMISSION_ANSWERED)
    _log.info("attempt %d to send %s: %s", attempt, opened.id, extra["answer"], extra=extra)


def report_unrecorded(opened: Opened, answered: Answered, error: Exception) -> None:
    """Log an answer that the store could not record yet."""
    extra = _answer_fields(opened, answered.attempt, answered.answer, LogEvent.ANSWER_UNRECORDED)
    why = redact(str(error)) if isinstance(error, StoreError) else type(error).__name__
    _log.warning(
        "%s. The store failed (%s): the answer is kept in memory and recorded later",
        _summary(extra),
        why,
        extra=extra,
    )


def report_lost(opened: Opened, answered: Answered) -> None:
    """Log an answer that is given up because the store did not record it."""
    extra = _answer_fields(opened, answered.attempt, answered.answer, LogEvent.ANSWER_LOST)
    _log.error(
        "%s. The store did not record the answer before this process gave up: the outcome may be expired",
        _summary(extra),
        extra=extra,
    )


def _answer_fields(opened: Opened, attempt: int, answer: SubmitResult, name: str) -> dict[str, object]:
    fields = _fields_of(answer if isinstance(answer, Submitted) else answer.result, _ANSWER_FIELDS)
    return {
        **log_fields(opened.call, opened.id, name),
        "attempt": attempt,
        "answer": answer_word(answer),
        **fields,
    }


def _summary(extra: Mapping[str, object]) -> str:
    known = [f"{name} {extra[name]}" for name in _ANSWER_FIELDS if extra[name] is not None]
    answer = ", ".join([str(extra["answer"]), *known])
    transfer = f"{extra['provider']}:{extra['call_id']}, transfer {extra['transfer_id']}"
    return f"{transfer}, attempt {extra['attempt']}: {answer}"


def report_event(event: Event) -> None:
    """Log an event of the stream; `event` of the record is the kind."""
    late = event.late_verdict if isinstance(event, ProviderOther) else None
    level = logging.WARNING if late else logging.INFO
    if not _log.isEnabledFor(level):
        return
    extra = log_fields(CallKey(event.provider, event.call_id), event.transfer_id, event.kind)
    call = f"{event.provider}:{extra['call_id']}"
    extra |= {"event_id": event.id, "sequence": event.sequence, **_fields_of(event, ("correlation_id",))}
    if isinstance(event, Outcome):
        extra |= _fields_of(event, _OUTCOME_FIELDS)
        left = getattr(event, "left", None)
        if left is not None:
            extra |= _fields_of(event, ("agent_call", "caller_held"))
            extra["left"] = [safe_id(call_id) for call_id in left]
        extra["elapsed"] = None if event.elapsed is None else event.elapsed.total_seconds()
    if late:
        _log.warning(
            "transfer %s on %s: the provider reported %s after the outcome; the outcome does not change",
            event.transfer_id,
            call,
            late,
            extra=extra,
        )
    else:
        _log.info("%s on %s", event.kind, call, extra=extra)


def _fields_of(value: object, names: tuple[str, ...]) -> dict[str, object]:
    """The named fields; those it does not have are None, and text is redacted."""
    found = {name: getattr(value, name, None) for name in names}
    return {name: safe_id(item) if type(item) is str else item for name, item in found.items()}
