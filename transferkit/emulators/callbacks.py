"""Posts an emulator's callbacks, and applies the callback faults to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, final

from attrs import define, field

from transferkit.emulators.faults import Fault, FaultKind, Faults
from transferkit.emulators.records import SentCallback
from transferkit.provider.clock import Clock

if TYPE_CHECKING:
    import httpx

__all__ = ["CallbackSender", "RequestScope", "request_scope"]

_FIRST_CALLBACK_SECONDS: Final = 5.0
_NEXT_CALLBACK_SECONDS: Final = 0.5
_TIMEOUT_SECONDS: Final = 10

Headers = Mapping[str, str] | None


@final
@define
class RequestScope:
    """One request to the emulator: the background tasks that it started, and whether they sent a callback."""

    tasks: set[asyncio.Task[None]] = field(factory=set)
    callback_sent: asyncio.Event = field(factory=asyncio.Event)

    async def first_callback(self) -> None:
        """Return after the first callback, when all tasks are done, or after five seconds."""
        sent = asyncio.create_task(self.callback_sent.wait())
        try:
            async with asyncio.timeout(_FIRST_CALLBACK_SECONDS):
                while self.tasks and not sent.done():
                    await asyncio.wait({sent, *self.tasks}, return_when=asyncio.FIRST_COMPLETED)
                    self.tasks = {task for task in self.tasks if not task.done()}
        except TimeoutError:
            return
        finally:
            sent.cancel()


request_scope: ContextVar[RequestScope | None] = ContextVar("request_scope", default=None)
"""The request that the current task answers, or that started the current task."""


@final
class CallbackSender:
    """Posts the callbacks of one emulator.

    * `record` stores what was posted.
    * `start` runs a coroutine in the background, for callbacks that are posted later.
    * `respell` returns a body in the provider's alternative spelling, for the fault `spelling`.
    """

    def __init__(
        self,
        *,
        faults: Faults,
        clock: Clock,
        record: Callable[[SentCallback], None],
        start: Callable[[Coroutine[Any, Any, None]], None],
        respell: Callable[[Any], Any],
    ) -> None:
        self._faults = faults
        self._clock = clock
        self._record = record
        self._start = start
        self._respell = respell
        self._held_back: list[asyncio.Event] = []
        self._client: httpx.AsyncClient | None = None

    async def post(self, url: str, body: Any, headers: Headers) -> int | None:
        """Post a callback; returns the status, or None if there is no response or the callback is late."""
        fault = self._faults.for_callback(f"{url} {json.dumps(body, ensure_ascii=False)}")
        match fault:
            case Fault(kind=FaultKind.LOSE):
                self._keep(url, body, headers, None, fault, at=self._clock.now())
                return None
            case Fault(kind=FaultKind.DELAY | FaultKind.REORDER):
                self._start(self._post_later(url, body, headers, fault))
                return None
            case Fault(kind=FaultKind.SPELLING):
                body = self._respell(body)
        status = await self._send(url, body, headers, fault)
        self._release_held_back()
        if fault is not None and fault.kind is FaultKind.DUPLICATE:
            await self._send(url, body, headers, fault)
        return status

    async def _post_later(self, url: str, body: Any, headers: Headers, fault: Fault) -> None:
        if fault.kind is FaultKind.DELAY:
            await asyncio.sleep(fault.seconds)
        else:
            await self._next_callback()
        await self._send(url, body, headers, fault)

    async def _next_callback(self) -> None:
        """Return when another callback was posted, or when none follows in time."""
        overtaken = asyncio.Event()
        self._held_back.append(overtaken)
        try:
            async with asyncio.timeout(_NEXT_CALLBACK_SECONDS):
                await overtaken.wait()
        except TimeoutError:
            self._held_back.remove(overtaken)

    def _release_held_back(self) -> None:
        for overtaken in self._held_back:
            overtaken.set()
        self._held_back.clear()

    async def _send(self, url: str, body: Any, headers: Headers, fault: Fault | None) -> int | None:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, verify=False, trust_env=False)  # noqa: S501 - the receiver under test may have any certificate
        at = self._clock.now()
        status: int | None
        try:
            status = (await self._client.post(url, json=body, headers=headers)).status_code
        except (httpx.HTTPError, httpx.InvalidURL):
            status = None
        self._keep(url, body, headers, status, fault, at=at)
        if scope := request_scope.get():
            scope.callback_sent.set()
        return status

    def _keep(
        self,
        url: str,
        body: Any,
        headers: Headers,
        status: int | None,
        fault: Fault | None,
        *,
        at: datetime,
    ) -> None:
        self._record(
            SentCallback(
                url=url,
                body=body,
                status=status,
                headers=headers or {},
                at=at,
                fault=None if fault is None else str(fault),
            )
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
