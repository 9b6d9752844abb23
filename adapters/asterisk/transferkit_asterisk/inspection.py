"""What Asterisk says about a channel that is queried."""

from __future__ import annotations

import re
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from transferkit.provider.adapter import Inspection
from transferkit.provider.facts import Fact, Signal
from transferkit.provider.json import freeze
from transferkit.provider.results import Presence
from transferkit_asterisk.ari import Ari, Reply
from transferkit_asterisk.callbacks import PROVIDER, connected_fact, verdict_fact
from transferkit_asterisk.names import bridge_id, dial_extension, key_of, state_variable
from transferkit_asterisk.reasons import ari_failure
from transferkit_asterisk.requests import AriRequest, channel_path, get_variable

__all__ = ["inspect_channel", "is_executed", "stated_verdict"]

_TRANSFERRING: Final = re.compile(r"(?:refer|dial)-[0-9a-f]{32}")
_PARTIES: Final = 2
_UP: Final = "Up"


async def inspect_channel(ari: Ari, call_id: str) -> Inspection:
    """The state of a channel.

    A channel whose caller hung up during a REFER is still listed for a while. Its variables are not, so a
    function of the channel is read too.
    """
    reply = await ari.send(AriRequest("GET", channel_path(call_id)))
    if not isinstance(reply, Reply):
        return Inspection(presence=Presence.UNKNOWN, result=reply.result)
    if not reply.is_success:
        gone = reply.status == HTTPStatus.NOT_FOUND
        result = ari_failure(reply.status, reply.message)
        return Inspection(presence=Presence.GONE if gone else Presence.UNKNOWN, result=result)
    if reply.text("state") != _UP:  # it rings, which is neither connected nor gone
        return Inspection(presence=Presence.UNKNOWN)
    state = await ari.send(get_variable(call_id, "CHANNEL(state)"))
    if not isinstance(state, Reply):
        return Inspection(presence=Presence.UNKNOWN, result=state.result)
    if state.status == HTTPStatus.NOT_FOUND:
        return Inspection(presence=Presence.GONE)
    running = _TRANSFERRING.fullmatch(reply.text("dialplan", "exten") or "")
    return Inspection(presence=Presence.TRANSFERRING if running else Presence.CONNECTED)


async def is_executed(ari: Ari, call_id: str, transfer_id: str) -> bool:
    """Whether the dialplan began to execute this transfer, by its guard variable."""
    return bool(await _read(ari, call_id, state_variable(key_of(transfer_id))))


async def stated_verdict(ari: Ari, call_id: str, transfer_id: str, *, now: datetime) -> Fact | None:
    """The verdict that Asterisk keeps: in the channel's variables, or by the members of a bridge."""
    try:
        key = key_of(transfer_id)
    except ValueError:
        return None
    common: dict[str, Any] = {"time": now, "provider": PROVIDER, "call_id": call_id}
    state = await _read(ari, call_id, state_variable(key))
    if state is None:
        members = await _members(ari, bridge_id(key))
        common["raw"] = freeze({"channels": members})
        is_joined = call_id in members and len(members) >= _PARTIES
        return connected_fact(transfer_id, common) if is_joined else None
    common["raw"] = freeze({"state": state})
    if await _is_connected(ari, call_id, dial_extension(key)):
        return connected_fact(transfer_id, common)
    fact = verdict_fact(transfer_id, state, common, call_alive=True)
    has_verdict = fact is not None and {Signal.SUCCEEDED, Signal.FAILED} & {*fact.signals}
    return fact if has_verdict else None


async def _is_connected(ari: Ari, call_id: str, extension: str) -> bool:
    """Whether this execution of Dial connected the channel with the target that it called."""
    reply = await ari.send(AriRequest("GET", channel_path(call_id)))
    if not isinstance(reply, Reply) or reply.text("dialplan", "exten") != extension:
        return False
    answered = await _read(ari, call_id, "DIALEDPEERNAME")
    return bool(answered) and answered == await _read(ari, call_id, "BRIDGEPEER")


async def _members(ari: Ari, bridge: str) -> list[object]:
    """The ids of the channels in a bridge; empty if there is no such bridge."""
    reply = await ari.send(AriRequest("GET", f"bridges/{bridge}"))
    found = reply.body.get("channels") if isinstance(reply, Reply) and isinstance(reply.body, dict) else None
    return found if isinstance(found, list) else []


async def _read(ari: Ari, call_id: str, variable: str) -> str | None:
    reply = await ari.send(get_variable(call_id, variable))
    return reply.text("value") if isinstance(reply, Reply) and reply.is_success else None
