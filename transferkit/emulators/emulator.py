"""The base class of every provider's emulator: an ASGI app with the provider's paths and the control API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from transferkit.emulators.base import EmulatorBase
from transferkit.emulators.callbacks import RequestScope, request_scope
from transferkit.emulators.control import serve_control
from transferkit.emulators.faults import Fault, FaultKind
from transferkit.emulators.http import ClientDisconnected, read_request, send_reply
from transferkit.emulators.openapi import CONTROL_PREFIX
from transferkit.emulators.records import EmulatedRequest, RecordedRequest, Reply
from transferkit.testing.server import ABORT

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Emulator"]


class Emulator(EmulatorBase):
    """One provider's emulator.

    A provider implements `handle`, which answers the provider's requests, and keeps the calls. This class
    serves HTTP, records requests and callbacks, applies faults, lets targets ring and posts callbacks.

    * `pace`: the time in seconds between two steps of a scenario.
    * `callback_url`: the callback address of calls that are placed with the control API or the web page.
    """

    @property
    def app(self) -> ASGIApp:
        """The ASGI app to serve: the provider's paths, and the control API under `/_emulator/`."""
        return self.__serve

    async def __serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"an emulator supports only HTTP, not {scope['type']}")
        try:
            request = await read_request(scope, receive)
        except ClientDisconnected:
            return
        if request.path.startswith(CONTROL_PREFIX):
            await send_reply(serve_control(self, request, client=scope.get("client")), send)
            return
        at = self.clock.now()
        fault = self.faults.for_request(request.path)
        reply = await self.__execute(request, fault)
        if fault is not None and fault.kind in {FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER}:
            reply = None
        self.journal.add(RecordedRequest.of(request, reply, at=at, fault=str(fault) if fault else None))
        if reply is None:
            await _reset_connection(scope, receive)
        else:
            await send_reply(reply, send)

    async def __execute(self, request: EmulatedRequest, fault: Fault | None) -> Reply | None:
        """Execute the request, unless the fault prevents it."""
        match fault:
            case Fault(kind=FaultKind.RESET_BEFORE):
                return None
            case Fault(kind=FaultKind.STATUS):
                return self.reply_to_fault(fault)
            case Fault(kind=FaultKind.SLOW):
                await asyncio.sleep(fault.seconds)
        scope = RequestScope()
        token = request_scope.set(scope)
        try:
            reply = await self.handle(request)
        finally:
            request_scope.reset(token)
        match fault:
            case Fault(kind=FaultKind.SLOW_AFTER):
                await asyncio.sleep(fault.seconds)
            case Fault(kind=FaultKind.EARLY):
                await scope.first_callback()
        return reply


async def _reset_connection(scope: Scope, receive: Receive) -> None:
    abort: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT)
    if abort is None:
        raise ConnectionResetError("the connection is reset by a fault of the emulator")
    abort()
    while (await receive())["type"] != "http.disconnect":
        pass
