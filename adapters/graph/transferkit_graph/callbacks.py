"""The facts in Graph's notifications. Pure and total: any bytes give facts or `MalformedCallback`.

Shapes: learn.microsoft.com call-transfer, call-redirect, call-reject, call-delete, participant-invite and
participant-startHoldMusic (v1.0, beta), the 2018 documentation of call: transfer, msteams call-notifications,
and bodies that users recorded (microsoft-graph-comms-samples issue 772, microsoft-graph-docs issue 8310).
Names, letter case and types of values differ over time; every form is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, final
from urllib.parse import unquote
from uuid import UUID
from zlib import crc32

from transferkit_microsoft.codes import TRANSFER_COMPLETED, result_info
from transferkit_microsoft.lenient_json import JsonObject, normal_word

from transferkit.events import CallConnected, CallEnded, CallIncoming, CallParticipants, Event, ProviderOther
from transferkit.identifiers import Identifier
from transferkit.provider.facts import Delivery, Fact, MalformedCallback, RequestKind, Signal
from transferkit.provider.json import content_key, freeze, read_json
from transferkit_graph.identities import read_identities, read_identity_set, read_legacy_parties, read_roster
from transferkit_graph.reasons import GRAPH

if TYPE_CHECKING:
    from transferkit.provider.adapter import Callback

__all__ = ["canonical_call_id", "decode"]

RESPOND_WITHIN: Final = timedelta(seconds=15)
"""How long an incoming call waits to be answered, rejected or redirected (call-redirect)."""

_MESSAGE_ID: Final = "x-microsoft-skype-message-id"
_ERROR: Final = 300
_IN_CALLS = re.compile(r"/calls/(?P<id>[^/?#]+)(?:/(?P<part>[a-z]+)(?:/(?P<item>[^/?#]+))?)?", re.IGNORECASE)
_HOLDS: Final = {
    "startholdmusicoperation": RequestKind.HOLD,
    "stopholdmusicoperation": RequestKind.RESUME,
}
_VERDICTS: Final = {"completed": Signal.SUCCEEDED, "failed": Signal.FAILED}
_ENDED: Final = frozenset({"terminated", "disconnected"})
_PROGRESS: Final = {
    "transferring": Signal.STARTED,
    "redirecting": Signal.STARTED,
    "transferaccepted": Signal.ACCEPTED,
}


def canonical_call_id(call_id: str) -> str:
    """A call id in lower case: Graph writes the id of one call in either case."""
    return call_id.lower()


def decode(callback: Callback, *, provider: str) -> tuple[Fact, ...]:
    """The facts in a callback's body, in order.

    Raises `MalformedCallback` if an element names no call; it has the facts of the other elements.
    """
    try:
        whole = read_json(callback.body)
    except (ValueError, RecursionError) as error:
        raise MalformedCallback(provider, "body", f"is not JSON ({type(error).__name__})") from None
    if not isinstance(whole, dict):
        raise MalformedCallback(provider, "body", "is not a JSON object")
    facts: list[Fact] = []
    problems: list[tuple[str, str]] = []
    for index, element in enumerate(_elements(whole, provider)):
        where = "body" if element is whole else f"value[{index}]"
        try:
            facts.append(_Notification(callback, provider, index, element).fact())
        except _Unreadable as error:
            problems.append((f"{where}{error.where}", error.why))
        except RecursionError:
            problems.append((where, "is nested too deeply"))
    if problems:
        raise MalformedCallback(provider, *problems[0], facts=facts)
    return tuple(facts)


class _Unreadable(Exception):
    def __init__(self, why: str, where: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.where = where


def _elements(whole: dict[str, Any], provider: str) -> list[Any]:
    """Each notification of a collection, or the body as the only one (the form before 2019)."""
    names = JsonObject(whole)
    for value in (whole.get("value"), names.get("value")):  # the exact name wins over another letter case
        if isinstance(value, list):
            return value
    if names.keys() & {"callstate", "resourcedata", "resourceurl", "resource"}:
        return [whole]
    raise MalformedCallback(provider, "value", "is missing: a notification has a list of that name")


@final
class _Notification:
    """One notification. Raises `_Unreadable` if it names no call.

    * `data`: `resourceData`, empty if it is an array; then that is `roster`.
    * `part`, `item`: what the notification is about within the call, from its address; the call itself if
      `part` is empty.
    """

    def __init__(self, callback: Callback, provider: str, index: int, element: object) -> None:
        if not isinstance(element, dict):
            raise _Unreadable("is not a JSON object")
        raw = freeze(element)
        top = JsonObject(element)
        data = top.get("resourcedata")
        if data is None and "callstate" in top:
            data = element
        self.callback = callback
        self.data = JsonObject(data)
        self.roster: list[Any] | None = data if isinstance(data, list) else None
        call_id, self.part, self.item = _resource(top, self.data)
        self.change = normal_word(top.get("changetype"))
        self.delivery = _delivery(callback, index, element)
        self.result = result_info(self.data.get("resultinfo"))
        self.common: dict[str, Any] = {
            "time": callback.received_at.astimezone(UTC),  # notifications contain no time
            "provider": provider,
            "call_id": canonical_call_id(call_id),
            "correlation_id": self.data.text("callchainid") or GRAPH.correlation_id(callback.headers),
            "raw": raw,
        }

    def fact(self) -> Fact:
        type_ = (self.data.text("@odata.type") or "").rpartition(".")[2]
        # A roster was also published under `operations/participants`.
        if self.roster is not None and "participants" in {self.part, self.item} and self.change != "deleted":
            return self._fact(CallParticipants(**self.common, participants=read_roster(self.roster)))
        if self.part == "operations" or type_.endswith("Operation"):
            return self._operation(type_)
        if self.part:
            return self._other(self.part if self.item is None else self.part.removesuffix("s"))
        return self._call()

    def _call(self) -> Fact:
        word = self.data.text("state") or self.data.text("callstate") or ""
        state = normal_word(word)
        if self.change == "deleted" or state in _ENDED:
            return self._ended()
        if state in _PROGRESS:
            operation = RequestKind.REDIRECT if state == "redirecting" else RequestKind.TRANSFER
            return self._other(word, _PROGRESS[state], operation=operation)
        if state == "incoming":
            return self._incoming()
        if state == "established":
            return self._established(word)
        return self._other(word or ("tone" if "toneinfo" in self.data else self.change) or "notification")

    def _ended(self) -> Fact:
        result = self.result
        answered_by = _answered_by(self.data)
        cause = normal_word(self.data.get("terminationreason"))
        transferred = cause == "apptransferred" or (
            result is not None and result.subcode == TRANSFER_COMPLETED
        )
        redirected = cause == "appredirected" or answered_by is not None
        codes: dict[str, Any] = {}
        if result is not None:
            codes = {"code": result.code, "subcode": result.subcode, "message": result.message}
        return self._fact(
            CallEnded(**self.common, **codes),
            *((Signal.SUCCEEDED,) if transferred or redirected else ()),
            Signal.CALL_ENDED,
            target=answered_by,
            call_alive=False,
            operation=RequestKind.TRANSFER if transferred else RequestKind.REDIRECT if redirected else None,
        )

    def _established(self, word: str) -> Fact:
        result = self.result
        if result is not None and result.code is not None and result.code >= _ERROR:
            return self._other(word, Signal.FAILED, call_alive=True, operation=RequestKind.TRANSFER)
        if "toneinfo" in self.data:
            return self._other("tone", Signal.RETURNED, call_alive=True)
        return self._fact(CallConnected(**self.common), Signal.RETURNED, call_alive=True)

    def _incoming(self) -> Fact:
        callers, called = read_legacy_parties(self.data.array("participants"))
        caller = read_identity_set(self.data.child("source").get("identity")) or next(iter(callers), None)
        context = self.data.child("incomingcontext")
        event = CallIncoming(
            **self.common,
            source=caller,
            targets=read_identities(self.data.array("targets")) or tuple(called),
            caller_display_name=getattr(caller, "display_name", None),
            transferor=read_identity_set(context.get("transferor")),
            on_behalf_of=read_identity_set(context.get("onbehalfof")),
            respond_by=self.common["time"] + RESPOND_WITHIN,
        )
        return self._fact(event)

    def _operation(self, type_: str) -> Fact:
        """An operation of the call. Its `deleted` is its own end, not the call's.

        A transfer's operation is a plain `commsOperation`, with `transferring` or `transferAccepted` as its
        subcode (beta, until 2020). Other operations have types of their own. Each repeats the
        `clientContext` of its request: that of a transfer, a hold or a resume is its id.
        """
        kind = type_.lower()
        transfer_id = _transfer_id(self.data.get("clientcontext"))
        if kind in _HOLDS and self.change == "deleted":
            verdict = _VERDICTS.get(normal_word(self.data.get("status")))
            signals = () if verdict is None or transfer_id is None else (verdict,)
            return self._other(type_, *signals, transfer_id=transfer_id, operation=_HOLDS[kind])
        if kind.endswith("operation") and kind != "commsoperation":
            return self._other(type_)
        word = self.data.child("resultinfo").text("subcode") or ""
        if normal_word(word) in _PROGRESS:
            return self._other(word, _PROGRESS[normal_word(word)], transfer_id=transfer_id)
        failed = transfer_id and kind == "commsoperation" and normal_word(self.data.get("status")) == "failed"
        signals = (Signal.FAILED,) if failed else ()
        operation = RequestKind.TRANSFER
        return self._other(type_ or "operation", *signals, transfer_id=transfer_id, operation=operation)

    def _other(self, name: str, *signals: Signal, **known: Any) -> Fact:
        return self._fact(ProviderOther(**self.common, name=name), *signals, **known)

    def _fact(self, event: Event, *signals: Signal, transfer_id: str | None = None, **known: Any) -> Fact:
        return Fact(
            event=event,
            signals=signals,
            result=self.result,
            delivery=self.delivery,
            transfer_id=transfer_id or self.callback.transfer_id,
            ends_with_verdict=True,
            content=self._content(signals),
            tenant_id=self.callback.tenant_id,
            **known,
        )

    def _content(self, signals: tuple[Signal, ...]) -> str | None:
        """Equal for equal verdicts: Graph may repeat a notification under another message id."""
        if not {Signal.FAILED, Signal.SUCCEEDED}.intersection(signals):
            return None
        result = self.result
        words = (signals, result and (result.code, result.subcode, result.message))
        return sha256(repr(words).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _resource(top: JsonObject, data: JsonObject) -> tuple[str, str, str | None]:
    """The call, the part of it and the item in that part, from the first address that names a call."""
    for address in (top.get("resourceurl"), top.get("resource"), data.get("@odata.id"), top.get("@odata.id")):
        found = _IN_CALLS.search(address) if isinstance(address, str) else None
        if found:
            id_, part, item = found.groups("")
            return unquote(id_), part.lower(), item or None
    call_id = data.text("id")
    if call_id and ("callstate" in data or "state" in data):
        return call_id, "", None
    raise _Unreadable("names no call", ".resourceUrl")


def _delivery(callback: Callback, index: int, element: Mapping[str, Any]) -> Delivery:
    """By the message's number and the place in the message, else by content.

    The number is observed, not documented: two bodies under one number are two messages.
    """
    number = callback.headers.get(_MESSAGE_ID)
    if number:
        return Delivery(f"{number}:{crc32(callback.body):08x}#{index}", exact=True)
    return Delivery(content_key(element), exact=False)


def _answered_by(call: JsonObject) -> Identifier | None:
    """Another party that answered an incoming call, which happens only after a redirect.

    The application itself, having answered, is among the call's own targets.
    """
    answered = call.child("answeredby")
    identifier = read_identity_set(answered.get("identity"))
    own = call.get("myparticipantid")
    participant = answered.get("participantid") or answered.get("id")
    if identifier is None or normal_word(call.get("direction")) == "outgoing" or (own and own == participant):
        return None
    targets = {target.raw_id.lower() for target in read_identities(call.array("targets"))}
    return None if identifier.raw_id.lower() in targets else identifier


def _transfer_id(context: object) -> str | None:
    """A `clientContext` that can be the id of a transfer: a UUID."""
    try:
        return str(UUID(context)) if isinstance(context, str) else None
    except ValueError:
        return None
