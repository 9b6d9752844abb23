"""ARI events as facts. Pure.

A verdict comes from three places, each of which names the transfer: the arguments with which a channel
returns to Stasis, the variables that the dialplan sets, and the bridge that joins a caller with a
consultation leg. All have the same delivery key, because they say the same.

Events: the ARI event model (`/ari/api-docs/events.json`), Asterisk 22.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, final

from attrs import evolve, frozen

from transferkit.events import CallConnected, CallEnded, CallIncoming, Event, FailureReason, ProviderOther
from transferkit.provider.adapter import Callback
from transferkit.provider.facts import Delivery, Fact, MalformedCallback, RequestKind, Result, Signal
from transferkit.provider.json import content_key, freeze, read_json
from transferkit_asterisk.identities import party
from transferkit_asterisk.names import (
    MARK,
    step_of_channel,
    transfer_of_bridge,
    transfer_of_end,
    transfer_of_key,
    transfer_of_state,
)
from transferkit_asterisk.reasons import (
    ENDS_DIALOG,
    REDIRECTED,
    UNPROVEN,
    cause_reason,
    dial_failure,
    sip_failure,
)

__all__ = ["PROVIDER", "StasisReturn", "decode", "is_noise", "verdict_fact"]

PROVIDER: Final = "asterisk"

_NOISE: Final = frozenset(
    {
        "ApplicationReplaced",
        "BridgeCreated",
        "BridgeDestroyed",
        "ChannelCallerId",
        "ChannelConnectedLine",
        "ChannelCreated",
        "ChannelDialplan",
    }
)
_PENDING: Final = "pending"
_SUCCESS: Final = "SUCCESS"
_REFER: Final = frozenset({_SUCCESS, "FAILURE", "UNSUPPORTED"})
_FIRST_FINAL: Final = 200
_PARTIES: Final = 2
_DIALLING: Final = re.compile(r"dial-([0-9a-f]{32})")
_COMPLETED: Final = (Signal.ACCEPTED, Signal.SUCCEEDED)


@final
@frozen
class StasisReturn:
    """The arguments with which a channel returns to Stasis from a transfer."""

    transfer_id: str
    state: str
    consult: str | None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> StasisReturn | None:
        """The arguments of a StasisStart; None if it is another event or another entry into Stasis."""
        args = event.get("args")
        if (
            event.get("type") != "StasisStart"
            or not isinstance(args, (list, tuple))
            or args[:1]
            not in (
                [MARK],
                (MARK,),
            )
        ):
            return None
        _, key, state, consult, *_ = [*map(str, args), "", "", ""]
        transfer_id = transfer_of_key(key)
        return None if transfer_id is None else cls(transfer_id, state, consult or None)

    @property
    def has_succeeded(self) -> bool:
        """Whether a REFER succeeded, so that the leg is not needed any more."""
        return self.state.partition("/")[0] == _SUCCESS


def is_noise(event: Mapping[str, Any]) -> bool:
    """Whether an event says nothing about the life of a call, such as that a dialplan step began."""
    if event.get("type") == "ChannelVarset":
        variable = event.get("variable")
        known = transfer_of_state(variable) or transfer_of_end(variable)
        return known is None and _dialled(event) is None
    return event.get("type") in _NOISE


def decode(callback: Callback) -> tuple[Fact, ...]:
    """The facts of one ARI event. Raises `MalformedCallback`, and nothing else."""
    try:
        event = read_json(callback.body)
        key = content_key(event)
    except (ValueError, RecursionError) as error:
        raise MalformedCallback(PROVIDER, "body", f"is not JSON ({type(error).__name__})") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise MalformedCallback(PROVIDER, "type", "is missing: this is not an ARI event")
    call_id = _call_of(event)
    if is_noise(event) or call_id is None:
        return ()
    common: dict[str, Any] = {
        "time": _time(event.get("timestamp")) or callback.received_at,
        "provider": PROVIDER,
        "call_id": call_id,
        "raw": freeze(event),
    }
    fact = _verdict(event, common) or _other(event, common, Delivery(key, exact=False))
    return (evolve(fact, placed_by=step_of_channel(call_id)),)


# --- verdicts -----------------------------------------------------------------------------------------


def verdict_fact(
    transfer_id: str, state: str, common: Mapping[str, Any], *, call_alive: bool | None
) -> Fact | None:
    """The fact that a result of the dialplan is, such as `FAILURE/486`. None if it is no result yet.

    A REFER without a provable final status is not a verdict; the call returned, which leads to a query.
    """
    status, _, text = state.partition("/")
    code = int(text) if re.fullmatch(r"[1-9]\d{0,3}", text, re.ASCII) else None
    if status in {"", _PENDING, "ANSWER"}:
        return None
    if status == _SUCCESS:
        return _fact(transfer_id, common, _COMPLETED, Result(code=code or 200), call_alive=False)
    if status in _REFER:
        if status != "UNSUPPORTED" and (code is None or code < _FIRST_FINAL or code in UNPROVEN):
            return Fact(
                event=ProviderOther(name="TransferUnproven", **common),
                signals=(Signal.RETURNED,),
                delivery=Delivery(f"{transfer_id}:unproven"),
                transfer_id=transfer_id,
            )
        result = sip_failure(status, code)
        call_alive = None if code == ENDS_DIALOG else call_alive
    else:
        result = dial_failure(status, code)
    alive = False if result.reason is FailureReason.CALLER_LEFT else call_alive
    return _fact(transfer_id, common, (Signal.FAILED,), result, call_alive=alive)


def connected_fact(transfer_id: str, common: Mapping[str, Any]) -> Fact:
    """The fact that Asterisk connected the caller with the target."""
    result = Result(code=200, message="connected by Asterisk")
    return _fact(transfer_id, common, _COMPLETED, result, call_alive=True)


def _fact(
    transfer_id: str,
    common: Mapping[str, Any],
    signals: tuple[Signal, ...],
    result: Result,
    *,
    call_alive: bool | None,
) -> Fact:
    return Fact(
        event=ProviderOther(name="TransferResult", **common),
        signals=signals,
        result=result,
        delivery=Delivery(f"{transfer_id}:verdict"),
        transfer_id=transfer_id,
        call_alive=call_alive,
    )


def _verdict(event: Mapping[str, Any], common: dict[str, Any]) -> Fact | None:
    """The verdict or the progress of a transfer that an event states; None if it states none."""
    returned = StasisReturn.of(event)
    if returned is not None:
        return verdict_fact(returned.transfer_id, returned.state, common, call_alive=True)
    match event["type"]:
        case "ChannelVarset":
            return _of_variable(event, common)
        case "ChannelEnteredBridge":
            bridge = _child(event, "bridge")
            transfer_id = transfer_of_bridge(bridge.get("id"))
            channels = bridge.get("channels")
            joined = isinstance(channels, list) and len(channels) >= _PARTIES and bridge.get("name")
            if transfer_id is not None and joined:
                return connected_fact(transfer_id, {**common, "call_id": str(bridge["name"])})
    return None


def _of_variable(event: Mapping[str, Any], common: dict[str, Any]) -> Fact | None:
    variable, value = event.get("variable"), str(event.get("value"))
    if (transfer_id := transfer_of_state(variable)) is not None:
        if value == _PENDING:
            return _started(transfer_id, common)
        # A failure is reported when the channel is back in Stasis, where the next transfer can begin.
        succeeded = value.partition("/")[0] == _SUCCESS
        return verdict_fact(transfer_id, value, common, call_alive=False) if succeeded else None
    if (transfer_id := transfer_of_end(variable)) is not None:
        state, _, dialled = value.rpartition("/")
        state = dialled if state == _PENDING and dialled == "CANCEL" else state
        return verdict_fact(transfer_id, state, common, call_alive=False) or _left(transfer_id, common)
    transfer_id = _dialled(event)
    return None if transfer_id is None else connected_fact(transfer_id, common)


def _left(transfer_id: str, common: Mapping[str, Any]) -> Fact:
    """The fact that the channel hung up during a transfer.

    After a hang-up during a REFER, Asterisk sends ChannelDestroyed only when the subscription ends, which is
    minutes later.
    """
    return Fact(
        event=ProviderOther(name="TransferLeft", **common),
        signals=(Signal.CALL_ENDED,),
        delivery=Delivery(f"{transfer_id}:left"),
    )


def _started(transfer_id: str, common: Mapping[str, Any]) -> Fact:
    return Fact(
        event=ProviderOther(name="TransferStarted", **common),
        signals=(Signal.STARTED,),
        delivery=Delivery(f"{transfer_id}:started"),
        transfer_id=transfer_id,
    )


def _dialled(event: Mapping[str, Any]) -> str | None:
    """The transfer whose target was connected: Dial put the channel and the target into a bridge."""
    dialplan = _child(_child(event, "channel"), "dialplan")
    extension = _DIALLING.fullmatch(str(dialplan.get("exten")))
    is_connected = event.get("variable") == "BRIDGEPEER" and bool(event.get("value"))
    if extension is None or not is_connected or dialplan.get("app_name") != "Dial":
        return None
    return transfer_of_key(extension[1])


# --- other events -------------------------------------------------------------------------------------


def _other(event: Mapping[str, Any], common: dict[str, Any], delivery: Delivery) -> Fact:
    channel = _child(event, "channel")
    is_up = channel.get("state") == "Up"
    match event["type"]:
        case "StasisStart" if channel.get("state") == "Ring":
            return Fact(event=_incoming(channel, common), delivery=delivery)
        case "StasisStart" | "ChannelStateChange" if is_up:
            return Fact(event=CallConnected(**common), delivery=delivery)
        case "ChannelDestroyed":
            return _ended(event, common, delivery, state=channel.get("state"))
        case name:
            return Fact(event=ProviderOther(name=name, **common), delivery=delivery)


def _incoming(channel: Mapping[str, Any], common: dict[str, Any]) -> Event:
    caller = _child(channel, "caller")
    dialled = party(_child(channel, "dialplan").get("exten"))
    name = caller.get("name")
    return CallIncoming(
        source=party(caller.get("number")),
        targets=() if dialled is None else (dialled,),
        caller_display_name=name if isinstance(name, str) and name else None,
        **common,
    )


def _ended(event: Mapping[str, Any], common: dict[str, Any], delivery: Delivery, *, state: object) -> Fact:
    """The end of a channel.

    One that rang here and left by a redirect states its success. One that Asterisk called, and that did not
    answer, has the reason.
    """
    cause, text = event.get("cause"), event.get("cause_txt")
    code = cause if isinstance(cause, int) and not isinstance(cause, bool) else None
    called = str(state) in {"Down", "Dialing", "Ringing"}
    result = Result(
        code=code,
        message=text if isinstance(text, str) else None,
        reason=cause_reason(code) if called else FailureReason.UNKNOWN,
    )
    redirected = cause == REDIRECTED and state == "Ring"
    return Fact(
        event=CallEnded(**common),
        signals=(Signal.SUCCEEDED, Signal.CALL_ENDED) if redirected else (Signal.CALL_ENDED,),
        result=result,
        delivery=delivery,
        operation=RequestKind.REDIRECT if redirected else None,
        content=delivery.key if redirected else None,
        call_alive=False,
    )


# --- reading ------------------------------------------------------------------------------------------


def _child(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    child = value.get(name)
    return child if isinstance(child, Mapping) else {}


def _call_of(event: Mapping[str, Any]) -> str | None:
    """The id of the channel that an event is about; that of the caller for Dial."""
    for name in ("channel", "caller", "peer"):
        id_ = _child(event, name).get("id")
        if isinstance(id_, str) and id_:
            return id_
    return None


def _time(text: object) -> datetime | None:
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
