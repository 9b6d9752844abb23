"""Posts callbacks, or lets them go wrong on their way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, final

from transferkit.emulators.exchange import exchange
from transferkit.emulators.faults import Fault, FaultKind, Faults
from transferkit.emulators.records import SentCallback
from transferkit.provider.clock import Clock

if TYPE_CHECKING:
    import httpx

__all__ = ["Postman"]

_HELD_BACK_SECONDS: Final = 0.5
_TIMEOUT_SECONDS: Final = 10

Headers = Mapping[str, str] | None


@final
class Postman:
    """Posts for one emulator.

    `record` keeps what was posted, `play` runs what is posted later, `respell` gives a body the provider's
    other spellings.
    """

    def __init__(
        self,
        *,
        faults: Faults,
        clock: Clock,
        record: Callable[[SentCallback], None],
        play: Callable[[Coroutine[Any, Any, None]], None],
        respell: Callable[[Any], Any],
    ) -> None:
        self._faults = faults
        self._clock = clock
        self._record = record
        self._play = play
        self._respell = respell
        self._held_back: list[asyncio.Event] = []
        self._client: httpx.AsyncClient | None = None

    async def post(self, url: str, body: Any, headers: Headers) -> int | None:
        """Post it, unless a fault is switched on; returns the status, None where nobody answered (yet)."""
        fault = self._faults.for_callback(f"{url} {json.dumps(body, ensure_ascii=False)}")
        match fault:
            case Fault(kind=FaultKind.LOSE):
                self._keep(url, body, headers, None, fault)
                return None
            case Fault(kind=FaultKind.DELAY | FaultKind.REORDER):
                self._play(self._post_later(url, body, headers, fault))
                return None
            case Fault(kind=FaultKind.SPELLING):
                body = self._respell(body)
        status = await self._send(url, body, headers, fault)
        self._let_go()
        if fault is not None and fault.kind is FaultKind.DUPLICATE:
            await self._send(url, body, headers, fault)
        return status

    async def _post_later(self, url: str, body: Any, headers: Headers, fault: Fault) -> None:
        if fault.kind is FaultKind.DELAY:
            await asyncio.sleep(fault.seconds)
        else:
            await self._overtaken()
        await self._send(url, body, headers, fault)

    async def _overtaken(self) -> None:
        """Return when another callback was posted, or none is likely to come."""
        overtaken = asyncio.Event()
        self._held_back.append(overtaken)
        try:
            async with asyncio.timeout(_HELD_BACK_SECONDS):
                await overtaken.wait()
        except TimeoutError:
            self._held_back.remove(overtaken)

    def _let_go(self) -> None:
        for overtaken in self._held_back:
            overtaken.set()
        self._held_back.clear()

    async def _send(self, url: str, body: Any, headers: Headers, fault: Fault | None) -> int | None:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, verify=False, trust_env=False)  # noqa: S501 - loopback
        status: int | None
        try:
            status = (await self._client.post(url, json=body, headers=headers)).status_code
        except (httpx.HTTPError, httpx.InvalidURL):
            status = None
        self._keep(url, body, headers, status, fault)
        if cause := exchange.get():
            cause.said.set()
        return status

    def _keep(self, url: str, body: Any, headers: Headers, status: int | None, fault: Fault | None) -> None:
        self._record(
            SentCallback.of(
                url,
                body,
                status,
                headers=headers,
                at=self._clock.now(),
                fault=None if fault is None else str(fault),
            )
        )

    async def aclose(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
