"""One callback in, one answer out: authenticated, decoded and committed in one transaction before any 2xx.

The path alone selects provider and authentication, so that no sender picks the weaker check.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import final
from urllib.parse import urlsplit

from attrs import field, frozen

from transferkit.adapter import Adapter, Callback, CallbackRoute
from transferkit.clock import Clock
from transferkit.config import CallbackConfig
from transferkit.errors import CallbackNotVerified, MalformedCallback, StoreError
from transferkit.events import Event
from transferkit.frozenmap import EMPTY, FrozenMap
from transferkit.lifecycle import CallKey, Input, Observed
from transferkit.stores import Applied

__all__ = ["CallbackRequest", "CallbackResponse", "Receiver"]

_log = logging.getLogger("transferkit.callbacks")

_METHOD = "POST"
_PAUSES = (0.05, 0.2)
"""Seconds between tries of a commit."""


def _lower_names(headers: Mapping[str, str]) -> FrozenMap[str]:
    return FrozenMap({name.lower(): value for name, value in headers.items()})


@final
@frozen(kw_only=True)
class CallbackRequest:
    """An HTTP request from a provider, as any framework can say it. `url` may be absolute or a path."""

    method: str
    url: str = field(repr=False)
    headers: FrozenMap[str] = field(default=EMPTY, converter=_lower_names)
    body: bytes = field(default=b"", repr=False)


@final
@frozen(kw_only=True)
class CallbackResponse:
    """What to answer, and the events that the callback became."""

    status: int
    headers: FrozenMap[str] = field(default=EMPTY, converter=_lower_names)
    body: bytes = b""
    events: tuple[Event, ...] = ()


@final
class Receiver:
    """Turns callbacks into committed steps of the life cycle.

    `adapters` gives the adapter of a provider's name, or None; `apply_all` commits several inputs at once.
    """

    def __init__(
        self,
        *,
        adapters: Callable[[str], Adapter | None],
        apply_all: Callable[[list[tuple[CallKey, Input]]], Awaitable[tuple[Applied, ...]]],
        clock: Clock,
        config: CallbackConfig,
    ) -> None:
        self._adapters = adapters
        self._apply_all = apply_all
        self._clock = clock
        self._config = config
        self._prefix = urlsplit(config.public_url).path.rstrip("/") if config.public_url else ""

    async def receive(self, request: CallbackRequest) -> CallbackResponse:
        """Answer one request. A 2xx means that everything in it is committed."""
        path = urlsplit(request.url).path
        if path.startswith(f"{self._prefix}/"):
            path = path.removeprefix(self._prefix)
        name, _, rest = path.strip("/").partition("/")
        adapter = self._adapters(name)
        route = adapter.route(f"/{rest}" if rest else "") if adapter else None
        if adapter is None or route is None:
            return _answer(404, "no provider is served at this path")
        if request.method != _METHOD:
            return _answer(405, f"only {_METHOD}", {"allow": _METHOD})
        if len(request.body) > self._config.max_body_bytes:
            return _answer(413, f"more than {self._config.max_body_bytes} bytes")
        try:
            tenant_id = self._authenticate(route)
        except CallbackNotVerified as error:
            _log.warning(
                "callback refused: %s", error, extra={"event": "callback_refused", "provider": adapter.name}
            )
            return _answer(401, "the sender is not verified", {"www-authenticate": "Bearer"})
        callback = Callback(
            body=request.body,
            headers=request.headers,
            received_at=self._clock.now(),
            route=route.name,
            transfer_id=route.transfer_id,
            tenant_id=tenant_id,
        )
        return await self._take(adapter, route, callback)

    def _authenticate(self, route: CallbackRoute) -> str | None:
        """The verified tenant, if the token names one."""
        if self._config.accept_unverified:
            return None
        raise CallbackNotVerified(
            f"route {route.name!r}: tokens cannot be verified by this version; set "
            f"callbacks.accept_unverified = true for tests on loopback"
        )

    async def deliver(self, callback: Callback, *, adapter: Adapter) -> tuple[Event, ...]:
        """Commit what an authenticated callback says; returns the events that it became.

        Raises `StoreError`, after which nothing is kept, and `MalformedCallback` after everything else that
        the callback said is committed.
        """
        malformed: MalformedCallback | None = None
        try:
            facts = adapter.decode(callback)
        except MalformedCallback as error:
            malformed = error
            facts = error.facts
        now = self._clock.now()
        inputs: list[tuple[CallKey, Input]] = [
            (CallKey(fact.event.provider, fact.event.call_id), Observed(at=now, fact=fact)) for fact in facts
        ]
        applied = await self._commit(inputs) if inputs else ()
        if malformed is not None:
            raise malformed
        return tuple(event for one in applied for event in one.events)

    async def _commit(self, inputs: list[tuple[CallKey, Input]]) -> tuple[Applied, ...]:
        """Commit, and briefly try again: most senders do not."""
        for pause in _PAUSES:
            try:
                return await self._apply_all(inputs)
            except StoreError as error:
                _log.warning("commit failed, trying again: %s", error, extra={"event": "commit_retried"})
                await asyncio.sleep(pause)
        return await self._apply_all(inputs)

    async def _take(self, adapter: Adapter, route: CallbackRoute, callback: Callback) -> CallbackResponse:
        extra = {"provider": adapter.name, "route": route.name}
        try:
            events = await self.deliver(callback, adapter=adapter)
        except MalformedCallback as error:
            _log.warning("%s", error, extra=extra | {"event": "callback_malformed", "kept": len(error.facts)})
            return _answer(400, f"{error.where}: {error.message}")
        except StoreError:
            _log.exception("callback not stored", extra=extra | {"event": "callback_not_stored"})
            return _answer(503, "not stored; send it again", {"retry-after": "5"})
        return CallbackResponse(status=route.success_status, events=events)


def _answer(status: int, why: str, headers: Mapping[str, str] | None = None) -> CallbackResponse:
    return CallbackResponse(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=json.dumps({"error": why}).encode(),
    )
