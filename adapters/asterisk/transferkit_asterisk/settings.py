"""The keys of `[providers.asterisk]`."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, final

from attrs import field, frozen

from transferkit.errors import ConfigError, Problem
from transferkit.identifiers import SipAddress
from transferkit.provider.secret import Secret
from transferkit.provider.urls import is_loopback, split_url

__all__ = ["AsteriskSettings", "Mode"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LONGEST_WAIT = 600


@final
class Mode(StrEnum):
    """How a call is transferred."""

    REFER = "refer"
    """Asterisk sends a SIP REFER, and the caller's side calls the target."""
    BRIDGE = "bridge"
    """Asterisk calls the target and connects the caller with it. The call stays in Asterisk."""


@final
@frozen(kw_only=True)
class AsteriskSettings:
    """`[providers.asterisk]`.

    * `base_url`: the address of ARI. A password is sent over https only, except to this machine.
    * `username`, `password`: the ARI user.
    * `app`: the Stasis application. Only transferkit may be connected to it.
    * `context`: the dialplan context that `transferkit asterisk dialplan` prints.
    * `mode`: `refer` (the default) or `bridge`.
    * `number_uri`: the SIP address of a phone number, such as `sip:{number}@carrier.example` or
      `sip:{digits}@10.0.0.5`; `{digits}` is the number without the plus sign. Without it, targets can only be
      SIP addresses.
    * `endpoint`: the PJSIP endpoint over which targets are called. Needed if `mode` is `bridge`, and to place
      calls.
    * `ring_timeout`: for how many seconds a target that Asterisk calls rings at most.
    * `timeout`: seconds to wait for a connection and for a response, each.
    * `ca_file`: the only certificate authorities to trust.
    """

    base_url: str = "http://127.0.0.1:8088/ari"
    username: str = "transferkit"
    password: Secret = field(factory=lambda: Secret(key="providers.asterisk.password"))
    app: str = "transferkit"
    context: str = "transferkit"
    mode: Mode = field(default=Mode.REFER, converter=Mode)
    number_uri: str | None = None
    endpoint: str | None = None
    ring_timeout: int = 60
    timeout: float = 10.0
    ca_file: Path | None = None

    def __attrs_post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))

    def _problems(self) -> Iterator[str]:
        yield from self._problems_of_access()
        yield from self._problems_of_targets()
        if not 0 < self.timeout <= _LONGEST_WAIT:
            yield f"timeout: expected seconds, more than 0 and no more than {_LONGEST_WAIT}"

    def _problems_of_access(self) -> Iterator[str]:
        parts = split_url(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            yield "base_url: expected https://HOST:PORT/ari"
        elif "@" in parts.netloc:
            yield "base_url: must not contain a user name or a password"
        elif parts.scheme == "http" and not is_loopback(parts.hostname):
            yield "base_url: the password is sent over https only, except to this machine"
        for name in ("app", "context"):
            if not _NAME.fullmatch(getattr(self, name)):
                yield f"{name}: expected up to 64 letters, digits, hyphens and underscores"
        if not self.username or ":" in self.username:
            yield "username: must not be empty or contain a colon"

    def _problems_of_targets(self) -> Iterator[str]:
        if self.number_uri is not None and not _is_template(self.number_uri):
            yield "number_uri: expected a SIP address that contains {number} or {digits}"
        if self.endpoint is not None and not _NAME.fullmatch(self.endpoint):
            yield "endpoint: expected the name of a PJSIP endpoint"
        if self.mode is Mode.BRIDGE and self.endpoint is None:
            yield "endpoint: needed if mode is bridge"
        if not 1 <= self.ring_timeout <= _LONGEST_WAIT:
            yield f"ring_timeout: expected seconds, from 1 to {_LONGEST_WAIT}"

    @property
    def api_url(self) -> str:
        """The address that paths are appended to."""
        return self.base_url.rstrip("/")

    @property
    def events_url(self) -> str:
        """The address of the websocket over which ARI sends events."""
        return f"ws{self.api_url.removeprefix('http')}/events?app={self.app}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """The trusted authorities; None for those of the system. Raises `ConfigError`."""
        if self.ca_file is None:
            return None
        try:
            return ssl.create_default_context(cafile=str(self.ca_file))
        except (OSError, ssl.SSLError) as error:
            why = f"file {self.ca_file} cannot be used ({type(error).__name__})"
            raise ConfigError(
                "settings", [Problem("providers.asterisk.ca_file", why, "certificates in PEM form")]
            ) from None


def _is_template(text: Any) -> bool:
    if "{number}" not in text and "{digits}" not in text:
        return False
    try:
        SipAddress(text.replace("{number}", "+14255550100").replace("{digits}", "14255550100"))
    except ValueError:
        return False
    return True
