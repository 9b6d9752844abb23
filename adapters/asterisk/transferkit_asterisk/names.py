"""The names that a transfer has in Asterisk: extensions, variables, the bridge, and the arguments of Stasis.

They contain the transfer's id without hyphens, the key: Asterisk ignores hyphens in extensions. The key makes
a repeated request harmless, and tells which transfer a result belongs to.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

__all__ = [
    "BRIDGE_PREFIX",
    "MARK",
    "bridge_id",
    "consult_variable",
    "dial_extension",
    "end_variable",
    "is_request",
    "key_of",
    "placed_channel",
    "refer_extension",
    "state_variable",
    "step_of_channel",
    "target_variable",
    "transfer_of_bridge",
    "transfer_of_end",
    "transfer_of_key",
    "transfer_of_state",
]

MARK: Final = "transferkit"
"""The first argument of Stasis for a channel that returns from a transfer."""

BRIDGE_PREFIX: Final = "transferkit-"
_PLACED: Final = "transferkit-call-"
_STATE: Final = "TRANSFERKIT_STATE_"
_END: Final = "TRANSFERKIT_END_"
_KEY: Final = re.compile(r"[0-9a-f]{32}")


def key_of(transfer_id: str) -> str:
    """The key of a transfer. Raises `ValueError` for an id that is not a UUID."""
    return UUID(transfer_id).hex


def transfer_of_key(key: object) -> str | None:
    """The id of the transfer with this key; None if it is not a key."""
    return str(UUID(key)) if isinstance(key, str) and _KEY.fullmatch(key) else None


def refer_extension(key: str) -> str:
    """The extension that sends a REFER."""
    return f"refer-{key}"


def dial_extension(key: str) -> str:
    """The extension that calls the target."""
    return f"dial-{key}"


def target_variable(key: str) -> str:
    """The channel variable with the target."""
    return f"TRANSFERKIT_TARGET_{key}"


def consult_variable(key: str) -> str:
    """The channel variable with the id of the consultation leg."""
    return f"TRANSFERKIT_CONSULT_{key}"


def state_variable(key: str) -> str:
    """The channel variable that guards against a second execution, and keeps the result."""
    return f"{_STATE}{key}"


def end_variable(key: str) -> str:
    """The channel variable that is set when the channel hangs up."""
    return f"{_END}{key}"


def transfer_of_state(variable: object) -> str | None:
    """The transfer whose state variable this is; None if it is none."""
    return _transfer_of(variable, _STATE)


def transfer_of_end(variable: object) -> str | None:
    """The transfer whose end variable this is; None if it is none."""
    return _transfer_of(variable, _END)


def bridge_id(key: str) -> str:
    """The id of the bridge that joins the caller with the consultation leg."""
    return f"{BRIDGE_PREFIX}{key}"


def transfer_of_bridge(bridge: object) -> str | None:
    """The transfer whose bridge has this id; None if it is another bridge."""
    return _transfer_of(bridge, BRIDGE_PREFIX)


def is_request(id_: str) -> bool:
    """Whether this is the id of a request, such as of a step, and not of a channel that Asterisk named."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", id_) is not None


def placed_channel(step_id: str) -> str:
    """The id of the channel that a step places.

    It differs from the step's id, because a call that rings can be hung up while its step is open.
    """
    return f"{_PLACED}{key_of(step_id)}"


def step_of_channel(channel: object) -> str | None:
    """The step that placed the channel with this id; None if no step did."""
    return _transfer_of(channel, _PLACED)


def _transfer_of(text: object, prefix: str) -> str | None:
    if not isinstance(text, str) or not text.startswith(prefix):
        return None
    return transfer_of_key(text.removeprefix(prefix))
