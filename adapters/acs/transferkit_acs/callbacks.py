"""What a callback says: mid-call CloudEvents and Event Grid deliveries, decoded to facts. Pure and total.

Shapes: learn.microsoft.com Call Automation webhook events, by api-version since 2022; Event Grid's
IncomingCall in both of its schemas. Names and types are read in any letter case, as official samples have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, final

from transferkit_microsoft.codes import TRANSFER_COMPLETED, call_end

from transferkit.events import (
    CallConnected,
    CallEnded,
    CallIncoming,
    CallParticipants,
    Event,
    Participant,
    ProviderOther,
)
from transferkit.identifiers import Identifier
from transferkit.provider.adapter import Callback
from transferkit.provider.facts import Delivery, Fact, MalformedCallback, RequestKind, Result, Signal
from transferkit.provider.json import EMPTY, FrozenMap, content_key, freeze, read_json
from transferkit_acs.capabilities import RINGING
from transferkit_acs.identities import identifier_of
from transferkit_acs.payloads import instant_of, member, number_of, text_of
from transferkit_acs.sip_headers import with_uui

__all__ = ["EVENT_GRID", "PROVIDER", "canonical_call_id", "decode"]

PROVIDER: Final = "acs"
EVENT_GRID: Final = "eventgrid"
"""The name of the route of Event Grid's deliveries."""

# Event Grid tries again 10 s after it waited 30 s for an answer, when nobody may ring any more.
_STALE_AFTER = timedelta(seconds=40)

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CALL_IN_SOURCE = re.compile(r"calling/callConnections/([^/?#]+)", re.IGNORECASE)


def canonical_call_id(call_id: str) -> str:
    """A GUID in lower case, as events have it; any other id as it is."""
    return call_id.lower() if not call_id.islower() and _GUID.fullmatch(call_id) else call_id


def decode(callback: Callback) -> tuple[Fact, ...]:
    """One fact for each event. Raises `MalformedCallback`, which keeps the facts of the good elements."""
    try:
        value = read_json(callback.body)
    except (ValueError, RecursionError):
        raise MalformedCallback(PROVIDER, "body", "is not JSON") from None
    elements = value if isinstance(value, list) else [value]
    facts: list[Fact] = []
    wrong: list[tuple[str, str]] = []
    for index, element in enumerate(elements):
        try:
            raw = freeze(element)
            facts.append(_fact(_Envelope(element, callback, raw)))
        except (ValueError, RecursionError) as error:
            where = f"[{index}]" if isinstance(value, list) else "body"
            wrong.append((where, str(error) if isinstance(error, ValueError) else "is nested too deeply"))
    if wrong:
        raise MalformedCallback(PROVIDER, *wrong[0], facts=facts)
    return tuple(facts)


@final
class _Envelope:
    """One event, in whichever of the two schemas. Raises `ValueError` that says what is missing."""

    kind: str
    """Its type."""
    name: str
    """The last part of that."""
    data: Mapping[str, Any]
    common: dict[str, Any]
    """What every event of the stream says."""

    def __init__(self, element: object, callback: Callback, raw: Any) -> None:
        if not isinstance(element, dict):
            raise ValueError("is not a JSON object")  # noqa: TRY004 - it is about a value, not about code
        kind = text_of(element, "type") or text_of(element, "eventType")
        if not kind:
            raise ValueError("has no event type")
        data = member(element, "data")
        data = data if isinstance(data, dict) else {}
        time = instant_of(element, "time") or instant_of(element, "eventTime") or instant_of(data, "time")
        self.kind = kind
        self.name = kind.rpartition(".")[2] or kind
        self.element = element
        self.data = data
        self.callback = callback
        self.common = {
            "time": time or callback.received_at,
            "provider": PROVIDER,
            "call_id": _call_id(element, data),
            "correlation_id": text_of(data, "correlationId"),
            "operation_context": text_of(data, "operationContext"),
            "raw": raw,
        }

    def fact(
        self,
        event: Event,
        *signals: Signal,
        result: Result | None = None,
        target: Identifier | None = None,
        transferee: Identifier | None = None,
    ) -> Fact:
        """A fact of this delivery."""
        return Fact(
            event=event,
            signals=signals,
            result=result,
            delivery=self._delivery,
            transfer_id=self.callback.transfer_id,
            operation=RequestKind.TRANSFER,
            echoes_context=True,
            target=target,
            transferee=transferee,
        )

    @property
    def _delivery(self) -> Delivery:
        """By its id, which is its source's own (CloudEvents 1.0), within one type; else by content."""
        event_id = text_of(self.element, "id")
        if not event_id:
            return Delivery(content_key(self.element), exact=False)
        source = text_of(self.element, "source") or text_of(self.element, "topic") or ""
        key = f"{event_id} {self.kind} {source}"
        if self.callback.transfer_id:  # at a transfer's own address it says more than at the call's
            key = f"{key} {self.callback.transfer_id}"
        # Event Grid's senders number as they like.
        return Delivery(f"{EVENT_GRID}:{key}" if self.callback.route == EVENT_GRID else key, exact=True)

    @property
    def other(self) -> ProviderOther:
        """The event under the provider's own name."""
        return ProviderOther(**self.common, name=self.name)

    @property
    def result(self) -> Result | None:
        """`resultInformation`, absent from some events before 2024-09-15."""
        information = member(self.data, "resultInformation")
        if not isinstance(information, dict):
            return None
        return call_end(
            number_of(information, "code"),
            number_of(information, "subCode"),
            sip=number_of(member(information, "sipDetails"), "code"),
            message=text_of(information, "message"),
        )


def _call_id(element: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Whose call it is: as the data says, else as the address of the event says, else by what there is."""
    if named := text_of(data, "callConnectionId"):
        return canonical_call_id(named)
    for name in ("source", "subject"):
        if found := _CALL_IN_SOURCE.search(text_of(element, name) or ""):
            return canonical_call_id(found[1])
    for name in ("serverCallId", "correlationId"):
        if known := text_of(data, name):
            return f"{name}:{known}"
    return "none"


def _fact(envelope: _Envelope) -> Fact:
    name = envelope.name.lower()
    if name == "incomingcall":
        return _incoming(envelope)
    # What may move a life cycle is believed on its own path only, which has its own authentication.
    decoder = None if envelope.callback.route == EVENT_GRID else _MID_CALL.get(name)
    return decoder(envelope) if decoder else envelope.fact(envelope.other)


def _accepted(envelope: _Envelope) -> Fact:
    return envelope.fact(
        envelope.other,
        Signal.ACCEPTED,
        Signal.SUCCEEDED,
        result=envelope.result,
        target=identifier_of(member(envelope.data, "transferTarget")),
        transferee=identifier_of(member(envelope.data, "transferee")),
    )


def _failed(envelope: _Envelope) -> Fact:
    return envelope.fact(envelope.other, Signal.FAILED, result=envelope.result or call_end(None))


def _connected(envelope: _Envelope) -> Fact:
    return envelope.fact(CallConnected(**envelope.common))


def _disconnected(envelope: _Envelope) -> Fact:
    result = envelope.result or call_end(None)
    event = CallEnded(**envelope.common, code=result.code, subcode=result.subcode, message=result.message)
    if result.subcode == TRANSFER_COMPLETED:
        # The service ended the leg after a successful transfer. The context is the call's own.
        return envelope.fact(event, Signal.CALL_TRANSFERRED, Signal.CALL_ENDED, result=result)
    return envelope.fact(event, Signal.CALL_ENDED, result=result)


def _participants(envelope: _Envelope) -> Fact:
    entries = member(envelope.data, "participants")
    found = [_participant(entry) for entry in entries] if isinstance(entries, list) else []
    people = tuple(participant for participant in found if participant is not None)
    return envelope.fact(CallParticipants(**envelope.common, participants=people))


def _participant(entry: object) -> Participant | None:
    """One entry; in 2022 it was the bare identifier."""
    identifier = identifier_of(member(entry, "identifier")) or identifier_of(entry)
    if identifier is None:
        return None
    return Participant(identifier=identifier, muted=_flag(entry, "isMuted"), on_hold=_flag(entry, "isOnHold"))


def _flag(entry: object, name: str) -> bool | None:
    value = member(entry, name)
    return value if isinstance(value, bool) else None


_MID_CALL: Mapping[str, Callable[[_Envelope], Fact]] = {
    "calltransferaccepted": _accepted,
    "calltransferfailed": _failed,
    "callconnected": _connected,
    "calldisconnected": _disconnected,
    "participantsupdated": _participants,
}


def _incoming(envelope: _Envelope) -> Fact:
    data = envelope.data
    target, source = identifier_of(member(data, "to")), identifier_of(member(data, "from"))
    own = text_of(data, "correlationId") or text_of(data, "serverCallId") or text_of(envelope.element, "id")
    context = member(data, "customContext")
    event = CallIncoming(
        **{**envelope.common, "call_id": f"{RINGING}{own or content_key(envelope.element)}"},
        source=source,
        targets=(target,) if target else (),
        caller_display_name=text_of(data, "callerDisplayName"),
        sip=with_uui(_headers(member(context, "sipHeaders"))),
        voip=_headers(member(context, "voipHeaders")),
        on_behalf_of=identifier_of(member(data, "onBehalfOfCallee")),
        stale=envelope.callback.received_at - envelope.common["time"] >= _STALE_AFTER,
        incoming_context=text_of(data, "incomingCallContext"),
    )
    return envelope.fact(event)


def _headers(value: object) -> FrozenMap[str]:
    if not isinstance(value, dict):
        return EMPTY
    return FrozenMap({name: text for name in value if (text := text_of(value, name)) is not None})
