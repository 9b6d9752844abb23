"""What Graph's notifications say. Pure and total: bytes in, facts out.

Shapes: learn.microsoft.com call-transfer, call-redirect, call-reject, call-delete and participant-invite
(v1.0, beta), the 2018 documentation of call: transfer, msteams call-notifications, and bodies that users
recorded (microsoft-graph-comms-samples issue 772, microsoft-graph-docs issue 8310). Their names, letter case
and types of value differ over time; every one of them is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final
from urllib.parse import unquote
from uuid import UUID
from zlib import crc32

from transferkit_microsoft.codes import TRANSFER_COMPLETED
from transferkit_microsoft.lenient import folded, text_of

from transferkit.events import (
    CallConnected,
    CallEnded,
    CallIncoming,
    CallParticipants,
    Event,
    Participant,
    ProviderOther,
)
from transferkit.identifiers import Identifier, UnknownIdentifier, parse_identifier
from transferkit.provider.facts import Delivery, Fact, MalformedCallback, RequestKind, Signal
from transferkit.provider.json import content_key, freeze, read_json
from transferkit_graph.identities import read_identity_set
from transferkit_graph.wording import chain_id, normal, result_info

if TYPE_CHECKING:
    from transferkit.provider.adapter import Callback

__all__ = ["canonical_call_id", "decode"]

RESPOND_WITHIN = timedelta(seconds=15)
"""How long an incoming call waits to be answered, rejected or redirected."""

_MESSAGE_ID = "x-microsoft-skype-message-id"
_ERROR = 300
_IN_CALLS = re.compile(r"/calls/(?P<id>[^/?#]+)(?:/(?P<part>[a-z]+)(?:/(?P<item>[^/?#]+))?)?", re.IGNORECASE)
_ENDED = frozenset({"terminated", "disconnected"})
_PROGRESS = {
    "transferring": Signal.STARTED,
    "redirecting": Signal.STARTED,
    "transferaccepted": Signal.ACCEPTED,
}


def canonical_call_id(call_id: str) -> str:
    """Graph writes one call's id in either letter case."""
    return call_id.lower()


def decode(callback: Callback, *, provider: str) -> tuple[Fact, ...]:
    """The facts in a callback's body, in order.

    Raises `MalformedCallback`, with the facts of the good elements, where an element names no call.
    """
    facts: list[Fact] = []
    first: MalformedCallback | None = None
    whole = _read(callback.body, provider)
    message = _message(callback)
    for index, element in enumerate(_elements(whole, provider)):
        try:
            raw = freeze(element)
            delivery = _delivery(message, index, element)
            facts.append(_Notification(callback, provider, delivery, element, raw).fact())
        except (_Unreadable, RecursionError) as error:
            where = "body" if element is whole else f"value[{index}]"
            first = first or _malformed(provider, where, error)
    if first:
        raise MalformedCallback(provider, first.where, first.message, facts=facts)
    return tuple(facts)


class _Unreadable(Exception):
    def __init__(self, why: str, where: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.where = where


def _malformed(provider: str, where: str, error: _Unreadable | RecursionError) -> MalformedCallback:
    if isinstance(error, _Unreadable):
        return MalformedCallback(provider, f"{where}{error.where}", error.why)
    return MalformedCallback(provider, where, "is nested too deeply")


def _read(body: bytes, provider: str) -> dict[str, Any]:
    """The body, which must be a JSON object."""
    try:
        whole = read_json(body)
    except (ValueError, RecursionError) as error:
        raise MalformedCallback(provider, "body", f"is not JSON ({type(error).__name__})") from None
    if not isinstance(whole, dict):
        raise MalformedCallback(provider, "body", "is not a JSON object")
    return whole


def _elements(whole: dict[str, Any], provider: str) -> list[object]:
    """Each notification of a collection, or the body as the only one (the form before 2019)."""
    value = whole.get("value")
    if isinstance(value, list):  # as nearly all have it
        return value
    names = folded(whole)
    value = names.get("value")
    if isinstance(value, list):
        return value
    if names.keys() & {"callstate", "resourcedata", "resourceurl", "resource"}:
        return [whole]
    raise MalformedCallback(provider, "value", "is missing: a notification has a list of that name")


@final
class _Notification:
    """One element, taken apart. Raises `_Unreadable` where it names no call.

    `part` is what of the call it is about: the call itself where empty.
    """

    data: Mapping[str, Any]
    """`resourceData`, folded; empty where it is a list."""
    roster: list[object] | None
    """`resourceData` where it is a list."""

    def __init__(
        self, callback: Callback, provider: str, delivery: Delivery, element: object, raw: Any
    ) -> None:
        if not isinstance(element, dict):
            raise _Unreadable("is no JSON object")
        top = folded(element)
        data = top.get("resourcedata")
        if data is None and "callstate" in top:
            data = element
        self.callback = callback
        self.provider = provider
        self.raw = raw
        self.data = folded(data)
        self.roster = data if isinstance(data, list) else None
        call_id, self.part, self.item = _resource(top, self.data)
        self.call_id = canonical_call_id(call_id)
        self.change = normal(top.get("changetype"))
        self.delivery = delivery
        self.result = result_info(self.data)

    def fact(self) -> Fact:
        # A roster was also published under `operations/participants`.
        if self.roster is not None and "participants" in {self.part, self.item} and self.change != "deleted":
            participants = tuple(_participants(self.roster))
            return self._fact(CallParticipants(**self._common, participants=participants))
        if self.part == "operations" or (text_of(self.data.get("@odata.type")) or "").endswith("Operation"):
            return self._operation()
        if self.part:
            return self._other(self.part if self.item is None else self.part.removesuffix("s"))
        return self._call()

    @property
    def time(self) -> datetime:
        """Graph's notifications carry no time of their own."""
        return self.callback.received_at.astimezone(UTC)

    @property
    def _correlation_id(self) -> str | None:
        return text_of(self.data.get("callchainid")) or chain_id(self.callback.headers)

    @property
    def _common(self) -> dict[str, Any]:
        """What every event of the stream says."""
        return {
            "time": self.time,
            "provider": self.provider,
            "call_id": self.call_id,
            "correlation_id": self._correlation_id,
            "raw": self.raw,
        }

    @property
    def _type(self) -> str:
        return (text_of(self.data.get("@odata.type")) or "").rpartition(".")[2]

    def _call(self) -> Fact:
        word = text_of(self.data.get("state")) or text_of(self.data.get("callstate")) or ""
        state = normal(word)
        if self.change == "deleted" or state in _ENDED:
            return self._ended()
        if state in _PROGRESS:
            operation = RequestKind.REDIRECT if state == "redirecting" else RequestKind.TRANSFER
            return self._other(word, (_PROGRESS[state],), operation=operation)
        if state == "incoming":
            return self._incoming()
        if state == "established":
            return self._established(word)
        return self._other(word or ("tone" if "toneinfo" in self.data else self.change) or "notification")

    def _ended(self) -> Fact:
        result = self.result
        answered_by = _answered_by(self.data)
        why = normal(self.data.get("terminationreason"))
        transferred = why == "apptransferred" or (result is not None and result.subcode == TRANSFER_COMPLETED)
        redirected = why == "appredirected" or answered_by is not None
        words: dict[str, Any] = {}
        if result is not None:
            words = {"code": result.code, "subcode": result.subcode, "message": result.message}
        return self._fact(
            CallEnded(**self._common, **words),
            (Signal.SUCCEEDED, Signal.CALL_ENDED) if transferred or redirected else (Signal.CALL_ENDED,),
            target=answered_by,
            call_alive=False,
            operation=RequestKind.TRANSFER if transferred else RequestKind.REDIRECT if redirected else None,
        )

    def _established(self, word: str) -> Fact:
        result = self.result
        if result is not None and result.code is not None and result.code >= _ERROR:
            return self._other(word, (Signal.FAILED,), call_alive=True, operation=RequestKind.TRANSFER)
        if "toneinfo" in self.data:
            return self._other("tone", (Signal.RETURNED,), call_alive=True)
        return self._fact(CallConnected(**self._common), (Signal.RETURNED,), call_alive=True)

    def _incoming(self) -> Fact:
        source = folded(self.data.get("source"))
        targets = self.data.get("targets")
        callers, called = _legacy_parties(self.data.get("participants"))
        caller = read_identity_set(source.get("identity")) or next(iter(callers), None)
        context = folded(self.data.get("incomingcontext"))
        event = CallIncoming(
            **self._common,
            source=caller,
            targets=tuple(_infos(targets)) or tuple(called),
            caller_display_name=getattr(caller, "display_name", None),
            transferor=read_identity_set(context.get("transferor")),
            on_behalf_of=read_identity_set(context.get("onbehalfof")),
            respond_by=self.time + RESPOND_WITHIN,
        )
        return self._fact(event)

    def _operation(self) -> Fact:
        """An operation of the call. Its `deleted` is its own end, not the call's.

        A transfer's operation is a plain `commsOperation`, with `transferring` or `transferAccepted` as its
        subcode (beta, until 2020). Other operations have types of their own. Each repeats the
        `clientContext` of its request: a transfer's is the transfer's id.
        """
        kind = self._type.lower()
        if kind.endswith("operation") and kind != "commsoperation":
            return self._other(self._type)
        ours = _own_id(self.data.get("clientcontext"))
        word = text_of(folded(self.data.get("resultinfo")).get("subcode")) or ""
        if normal(word) in _PROGRESS:
            return self._other(word, (_PROGRESS[normal(word)],), transfer_id=ours)
        failed = ours and kind == "commsoperation" and normal(self.data.get("status")) == "failed"
        signals = (Signal.FAILED,) if failed else ()
        return self._other(
            self._type or "operation", signals, transfer_id=ours, operation=RequestKind.TRANSFER
        )

    def _other(
        self,
        name: str,
        signals: tuple[Signal, ...] = (),
        *,
        transfer_id: str | None = None,
        call_alive: bool | None = None,
        operation: RequestKind | None = None,
    ) -> Fact:
        event = ProviderOther(**self._common, name=name)
        return self._fact(event, signals, transfer_id=transfer_id, call_alive=call_alive, operation=operation)

    def _fact(
        self,
        event: Event,
        signals: tuple[Signal, ...] = (),
        *,
        transfer_id: str | None = None,
        target: Identifier | None = None,
        call_alive: bool | None = None,
        operation: RequestKind | None = None,
    ) -> Fact:
        return Fact(
            event=event,
            signals=signals,
            result=self.result,
            delivery=self.delivery,
            transfer_id=transfer_id or self.callback.transfer_id,
            target=target,
            call_alive=call_alive,
            operation=operation,
            ends_with_verdict=True,
            content=self._content(signals) if self._is_verdict(signals) else None,
            tenant_id=self.callback.tenant_id,
        )

    @staticmethod
    def _is_verdict(signals: tuple[Signal, ...]) -> bool:
        return Signal.FAILED in signals or Signal.SUCCEEDED in signals

    def _content(self, signals: tuple[Signal, ...]) -> str:
        """Equal for verdicts that say the same: a notification can come again under another message id."""
        result = self.result
        words = (signals, result and (result.code, result.subcode, result.message))
        return sha256(repr(words).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _resource(top: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """The call, the part of it and the item in that: from whichever address names a call."""
    for address in (top.get("resourceurl"), top.get("resource"), data.get("@odata.id"), top.get("@odata.id")):
        found = _IN_CALLS.search(address) if isinstance(address, str) else None
        if found:
            id_, part, item = found.groups("")
            return unquote(id_) if "%" in id_ else id_, part.lower(), item or None
    call_id = text_of(data.get("id"))
    if call_id and ("callstate" in data or "state" in data):
        return call_id, "", None
    raise _Unreadable("names no call", ".resourceUrl")


def _message(callback: Callback) -> str | None:
    """What tells one message of the sender's from another; None where it numbers none.

    The number is observed, not documented: two bodies under one number are two messages. A checksum of the
    bytes is enough to tell them apart, and takes a twentieth of the time of each element's canonical JSON.
    """
    number = callback.headers.get(_MESSAGE_ID)
    return f"{number}:{crc32(callback.body):08x}" if number else None


def _delivery(message: str | None, index: int, element: object) -> Delivery:
    """By the message and the place in it, else by content, however that is written."""
    if message:
        return Delivery(f"{message}#{index}", exact=True)
    return Delivery(content_key(element), exact=False)


def _answered_by(call: Mapping[str, Any]) -> Identifier | None:
    """Who else took an incoming call: only a redirect makes that.

    The application itself, having answered, is among the call's own targets.
    """
    answered = folded(call.get("answeredby"))
    someone = read_identity_set(answered.get("identity"))
    own = call.get("myparticipantid")
    participant = answered.get("participantid") or answered.get("id")
    if someone is None or normal(call.get("direction")) == "outgoing" or (own and own == participant):
        return None
    asked = {target.raw_id.lower() for target in _infos(call.get("targets"))}
    return None if someone.raw_id.lower() in asked else someone


def _infos(participants: object) -> Iterator[Identifier]:
    """Who a list of `participantInfo` names."""
    for info in participants if isinstance(participants, list) else ():
        someone = read_identity_set(folded(info).get("identity"))
        if someone is not None:
            yield someone


def _participants(roster: list[object]) -> Iterator[Participant]:
    for entry in map(folded, roster):
        own_id = text_of(entry.get("id"))
        info = folded(entry.get("info"))
        someone = read_identity_set(info.get("identity"))
        if someone is None and own_id:
            someone = UnknownIdentifier(own_id, kind="participant")
        if someone is not None:
            muted = entry.get("ismuted")
            muted = muted if isinstance(muted, bool) else None
            yield Participant(identifier=someone, id=own_id, muted=muted)


def _legacy_parties(participants: object) -> tuple[list[Identifier], list[Identifier]]:
    """Callers and called of the form before Graph's, whose participants are raw ids, the caller marked."""
    callers: list[Identifier] = []
    called: list[Identifier] = []
    for entry in map(folded, participants if isinstance(participants, list) else ()):
        raw_id = text_of(entry.get("identity"))
        someone = parse_identifier(raw_id) if raw_id else read_identity_set(entry.get("identity"))
        if someone is not None:
            (callers if entry.get("originator") is True else called).append(someone)
    return callers, called


def _own_id(context: object) -> str | None:
    """A `clientContext` that can be the id of a transfer of ours: a UUID."""
    try:
        return str(UUID(context)) if isinstance(context, str) else None
    except ValueError:
        return None
