"""The facts in ACS's callbacks: mid-call CloudEvents and deliveries of Event Grid. Pure and total.

Shapes: learn.microsoft.com Call Automation webhook events, by api-version since 2022; Event Grid's
IncomingCall in both of its schemas. Names and types are read in any letter case, because official samples
differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, final

from attrs import evolve
from transferkit_microsoft.codes import TRANSFER_COMPLETED, call_end, result_info
from transferkit_microsoft.ids import GUID
from transferkit_microsoft.lenient_json import JsonObject, text_of

from transferkit.events import (
    CallConnected,
    CallEnded,
    CallIncoming,
    CallParticipants,
    Event,
    Participant,
    ProviderOther,
)
from transferkit.provider.adapter import Callback
from transferkit.provider.facts import Delivery, Fact, MalformedCallback, RequestKind, Result, Signal
from transferkit.provider.json import FrozenMap, content_key, freeze, read_json
from transferkit_acs.capabilities import RINGING
from transferkit_acs.identities import identifier_of
from transferkit_acs.sip_headers import with_uui

__all__ = ["EVENT_GRID", "PROVIDER", "canonical_call_id", "decode"]

PROVIDER: Final = "acs"
EVENT_GRID: Final = "eventgrid"
"""The name of the route of Event Grid's deliveries."""

# Event Grid waits 30 s for a response and retries 10 s later (event-grid/delivery-and-retry). By then, the
# call has normally stopped ringing.
_STALE_AFTER: Final = timedelta(seconds=40)

_GUID = re.compile(GUID)
_CALL_IN_SOURCE = re.compile(r"calling/callConnections/([^/?#]+)", re.IGNORECASE)


def canonical_call_id(call_id: str) -> str:
    """A GUID in lower case, as events have it; any other id unchanged."""
    return call_id.lower() if _GUID.fullmatch(call_id) else call_id


def decode(callback: Callback) -> tuple[Fact, ...]:
    """One fact for each event. Raises `MalformedCallback`, which has the facts of the good elements."""
    try:
        value = read_json(callback.body)
    except (ValueError, RecursionError):
        raise MalformedCallback(PROVIDER, "body", "is not JSON") from None
    elements = value if isinstance(value, list) else [value]
    facts: list[Fact] = []
    problems: list[tuple[str, str]] = []
    for index, element in enumerate(elements):
        where = f"[{index}]" if isinstance(value, list) else "body"
        try:
            facts.append(_fact(_Envelope(element, callback)))
        except ValueError as error:
            problems.append((where, str(error)))
        except RecursionError:
            problems.append((where, "is nested too deeply"))
    if problems:
        raise MalformedCallback(PROVIDER, *problems[0], facts=facts)
    return tuple(facts)


@final
class _Envelope:
    """One event, in either schema. Raises `ValueError` that says what is missing.

    `kind` is its type, `name` the last part of the type, `common` what every event of the stream has.
    """

    def __init__(self, value: object, callback: Callback) -> None:
        if not isinstance(value, dict):
            raise ValueError("is not a JSON object")  # noqa: TRY004 - it is about a value, not about code
        element = JsonObject(value)
        kind = element.text("type") or element.text("eventtype")
        if not kind:
            raise ValueError("has no event type")
        data = element.child("data")
        self.callback = callback
        self.kind = kind
        self.name = kind.rpartition(".")[2] or kind
        self.element = element
        self.data = data
        self.value = value
        call_id = _call_id(element, data)
        self.names_call = call_id is not None
        time = element.time("time") or element.time("eventtime") or data.time("time")
        self.common: dict[str, Any] = {
            "time": time or callback.received_at,
            "provider": PROVIDER,
            "call_id": call_id or _stand_in(data),
            "correlation_id": data.text("correlationid"),
            "operation_context": data.text("operationcontext"),
            "raw": freeze(value),
        }

    def fact(
        self, event: Event, *signals: Signal, about: RequestKind = RequestKind.TRANSFER, **known: Any
    ) -> Fact:
        """A fact of this delivery. A verdict in it is `about` a request of this kind."""
        return Fact(
            event=event,
            names_call=self.names_call,
            signals=signals,
            delivery=self._delivery,
            transfer_id=self.callback.transfer_id,
            operation=about,
            echoes_context=True,
            **known,
        )

    @property
    def _delivery(self) -> Delivery:
        """By the event's id, unique within its source (CloudEvents 1.0) and type; else by content."""
        event_id = self.element.text("id")
        if not event_id:
            return Delivery(content_key(self.value), exact=False)
        source = self.element.text("source") or self.element.text("topic") or ""
        key = f"{event_id} {self.kind} {source}"
        if self.callback.transfer_id:  # the transfer's own address identifies the transfer as well
            key = f"{key} {self.callback.transfer_id}"
        # Event Grid's ids are independent of Call Automation's.
        return Delivery(f"{EVENT_GRID}:{key}" if self.callback.route == EVENT_GRID else key, exact=True)

    @property
    def other(self) -> ProviderOther:
        """The event under the provider's own name."""
        return ProviderOther(**self.common, name=self.name)

    @property
    def result(self) -> Result | None:
        """`resultInformation`, absent from some events before 2024-09-15."""
        return result_info(self.data.get("resultinformation"))


def _call_id(element: JsonObject, data: JsonObject) -> str | None:
    """The call, from the event's data, else from its address."""
    if named := data.text("callconnectionid"):
        return canonical_call_id(named)
    for name in ("source", "subject"):
        if found := _CALL_IN_SOURCE.search(element.text(name) or ""):
            return canonical_call_id(found[1])
    return None


def _stand_in(data: JsonObject) -> str:
    """What takes the place of the call's id: an id of the call's server."""
    for name in ("serverCallId", "correlationId"):
        if known := data.text(name.lower()):
            return f"{name}:{known}"
    return "none"


def _fact(envelope: _Envelope) -> Fact:
    name = envelope.name.lower()
    if name == "incomingcall":
        return _incoming(envelope)
    # A verdict counts only on the mid-call path, whose tokens are those of Call Automation.
    decoder = None if envelope.callback.route == EVENT_GRID else _MID_CALL.get(name)
    return decoder(envelope) if decoder else envelope.fact(envelope.other)


def _accepted(envelope: _Envelope) -> Fact:
    return envelope.fact(
        envelope.other,
        Signal.ACCEPTED,
        Signal.SUCCEEDED,
        result=envelope.result,
        target=identifier_of(envelope.data.get("transfertarget")),
        transferee=identifier_of(envelope.data.get("transferee")),
    )


def _failed(envelope: _Envelope) -> Fact:
    return envelope.fact(envelope.other, Signal.FAILED, result=envelope.result or call_end(None))


def _moved(envelope: _Envelope) -> Fact:
    person = identifier_of(envelope.data.get("participant"))
    about, result = RequestKind.JOIN, envelope.result
    return envelope.fact(envelope.other, Signal.SUCCEEDED, about=about, result=result, transferee=person)


def _not_moved(envelope: _Envelope) -> Fact:
    person = identifier_of(envelope.data.get("participant"))
    about, result = RequestKind.JOIN, envelope.result or call_end(None)
    return envelope.fact(envelope.other, Signal.FAILED, about=about, result=result, transferee=person)


def _not_held(envelope: _Envelope) -> Fact:
    result = envelope.result or call_end(None)
    return envelope.fact(envelope.other, Signal.FAILED, about=RequestKind.HOLD, result=result)


def _not_placed(envelope: _Envelope) -> Fact:
    """`CallDisconnected` follows."""
    return _not_established(envelope, RequestKind.PLACE_CALL)


def _not_answered(envelope: _Envelope) -> Fact:
    """No `CallDisconnected` follows."""
    return _not_established(envelope, RequestKind.ANSWER)


def _not_established(envelope: _Envelope, kind: RequestKind) -> Fact:
    result = envelope.result or call_end(None)
    return envelope.fact(envelope.other, Signal.FAILED, Signal.CALL_ENDED, about=kind, result=result)


def _connected(envelope: _Envelope) -> Fact:
    return envelope.fact(CallConnected(**envelope.common))


def _disconnected(envelope: _Envelope) -> Fact:
    result = envelope.result or call_end(None)
    event = CallEnded(**envelope.common, code=result.code, subcode=result.subcode, message=result.message)
    if result.subcode == TRANSFER_COMPLETED:
        # The service ended the leg after a successful transfer. The operation context is the call's own.
        return envelope.fact(event, Signal.CALL_TRANSFERRED, Signal.CALL_ENDED, result=result)
    return envelope.fact(event, Signal.CALL_ENDED, result=result)


def _participants(envelope: _Envelope) -> Fact:
    found = (_participant(entry) for entry in envelope.data.array("participants"))
    people = tuple(participant for participant in found if participant is not None)
    return envelope.fact(CallParticipants(**envelope.common, participants=people))


def _participant(value: object) -> Participant | None:
    """One entry of the list. In 2022 it was the bare identifier."""
    entry = JsonObject(value)
    identifier = identifier_of(entry.get("identifier")) or identifier_of(value)
    if identifier is None:
        return None
    return Participant(identifier=identifier, muted=entry.flag("ismuted"), on_hold=entry.flag("isonhold"))


_MID_CALL: Mapping[str, Callable[[_Envelope], Fact]] = {
    "calltransferaccepted": _accepted,
    "calltransferfailed": _failed,
    "callconnected": _connected,
    "calldisconnected": _disconnected,
    "participantsupdated": _participants,
    "createcallfailed": _not_placed,
    "answerfailed": _not_answered,
    "holdfailed": _not_held,
    "moveparticipantsucceeded": _moved,
    "moveparticipantfailed": _not_moved,
}


def _incoming(envelope: _Envelope) -> Fact:
    data = envelope.data
    target, source = identifier_of(data.get("to")), identifier_of(data.get("from"))
    own = data.text("correlationid") or data.text("servercallid") or envelope.element.text("id")
    context = data.child("customcontext")
    event = CallIncoming(
        **{**envelope.common, "call_id": f"{RINGING}{own or content_key(envelope.value)}"},
        source=source,
        targets=(target,) if target else (),
        caller_display_name=data.text("callerdisplayname"),
        sip=with_uui(_headers(context.get("sipheaders"))),
        voip=_headers(context.get("voipheaders")),
        on_behalf_of=identifier_of(data.get("onbehalfofcallee")),
        stale=envelope.callback.received_at - envelope.common["time"] >= _STALE_AFTER,
        incoming_context=data.text("incomingcallcontext"),
    )
    return evolve(envelope.fact(event), names_call=True)


def _headers(value: object) -> FrozenMap[str]:
    members = value.items() if isinstance(value, Mapping) else ()
    return FrozenMap({name: text for name, item in members if (text := text_of(item)) is not None})
