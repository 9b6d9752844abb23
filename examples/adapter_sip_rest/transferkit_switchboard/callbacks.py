"""Callbacks: decode the webhook of the PBX, which contains one event."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from transferkit import Callback, Delivery, Fact, FailureReason, MalformedCallback, Result, Signal
from transferkit.events import CallConnected, CallEnded, ProviderOther
from transferkit.provider.json import FrozenMap, freeze

PROVIDER: Final = "switchboard"

_SIGNALS: Final = {
    "refer.ringing": Signal.STARTED,
    "refer.answered": Signal.SUCCEEDED,
    "refer.failed": Signal.FAILED,
    "call.ended": Signal.CALL_ENDED,
}
_REASONS: Final = {  # by SIP status, RFC 3261 section 21; the PBX sends 487 if the caller hung up
    403: FailureReason.TARGET_NOT_ALLOWED,
    404: FailureReason.TARGET_NOT_FOUND,
    408: FailureReason.NO_ANSWER,
    480: FailureReason.UNREACHABLE,
    486: FailureReason.BUSY,
    487: FailureReason.CALLER_LEFT,
    603: FailureReason.DECLINED,
}


def decode(callback: Callback) -> Fact:
    """Return the fact of a callback. Raises `MalformedCallback` and no other exception."""
    try:
        event = freeze(json.loads(callback.body))
        time = datetime.strptime(event["at"], "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(UTC)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise MalformedCallback(PROVIDER, "body", f"is not an event ({type(error).__name__})") from None
    name, code = _text(event, "event"), event.get("sip_status")
    reason = _REASONS.get(code, FailureReason.UNKNOWN) if isinstance(code, int) else FailureReason.UNKNOWN
    common: Any = {"time": time, "provider": PROVIDER, "call_id": _text(event, "call"), "raw": event}
    kinds = {"call.talking": CallConnected, "call.ended": CallEnded}
    return Fact(
        event=kinds[name](**common) if name in kinds else ProviderOther(name=name, **common),
        signals=(_SIGNALS[name],) if name in _SIGNALS else (),
        result=Result(code=code if isinstance(code, int) else None, reason=reason),
        delivery=Delivery(_text(event, "id")),  # a repeated event has the same id
        # The PBX repeats our Idempotency-Key. A transfer that a person started at a phone has another value.
        transfer_id=_text(event, "refer") if name.startswith("refer.") else None,
        call_alive=reason is not FailureReason.CALLER_LEFT if name == "refer.failed" else None,
    )


def _text(event: FrozenMap[Any], name: str) -> str:
    value = event.get(name)
    if not (isinstance(value, str) and value):
        raise MalformedCallback(PROVIDER, name, "is missing or is not text")
    return value
