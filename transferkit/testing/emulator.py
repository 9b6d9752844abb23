"""The kit that every provider's emulator is built with.

An emulator is an ASGI app that speaks its provider's published wire: it checks credentials, method, path and
body, keeps calls, plays the shared table of scenarios and posts the provider's callbacks. Needs the extra
`transferkit[emulators]`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from attrs import field, frozen

if TYPE_CHECKING:
    import httpx
    from starlette.types import ASGIApp

__all__ = ["Emulator", "RecordedRequest", "SentCallback"]


@final
@frozen(kw_only=True)
class RecordedRequest:
    """A request that the emulator got, and how it answered. `body` is the JSON value."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: Any = field(repr=False)
    status: int


@final
@frozen(kw_only=True)
class SentCallback:
    """A callback that the emulator posted, and the status that came back; None where none came."""

    url: str
    body: Any = field(repr=False)
    status: int | None


class Emulator(ABC):
    """One provider's emulator.

    `pace` is the time in seconds between two steps of a scenario. `requests` and `callbacks` record what
    was seen and said, in order.
    """

    name: ClassVar[str]
    needs_tls: ClassVar[bool] = False
    """Whether the provider's own client library insists on https."""

    def __init__(self, *, pace: float = 0.02) -> None:
        self.pace = pace
        self.requests: list[RecordedRequest] = []
        self.callbacks: list[SentCallback] = []
        self._client: httpx.AsyncClient | None = None
        self._playing: set[asyncio.Task[None]] = set()

    @property
    @abstractmethod
    def app(self) -> ASGIApp:
        """The ASGI app to serve."""

    @abstractmethod
    def config(self, base_url: str, *, ca_file: Path | None = None) -> dict[str, Any]:
        """The `[providers.<name>]` table that points an adapter at this emulator."""

    @abstractmethod
    def place_call(self, *, callback_url: str, group: bool = False) -> str:
        """An established call, as after the application answered; returns its id."""

    @abstractmethod
    def executions(self, call_id: str) -> int:
        """How many transfers or redirects of this call were executed, not merely asked for."""

    def play(self, scenario: Coroutine[Any, Any, None]) -> None:
        """Let a scenario run in the background."""
        task = asyncio.get_running_loop().create_task(scenario)
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)

    async def step(self) -> None:
        """The pause between two steps of a scenario."""
        await asyncio.sleep(self.pace)

    async def post(self, url: str, body: Any, *, headers: Mapping[str, str] | None = None) -> int | None:
        """Post one callback; returns the status, None where nobody answered."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=10, verify=False, trust_env=False)  # noqa: S501 - loopback
        try:
            status: int | None = (await self._client.post(url, json=body, headers=headers)).status_code
        except httpx.HTTPError:
            status = None
        self.callbacks.append(SentCallback(url=url, body=body, status=status))
        return status

    async def settle(self) -> None:
        """Return when every scenario that was begun has been played."""
        while self._playing:
            await asyncio.wait(set(self._playing))

    async def aclose(self) -> None:
        """Stop playing and close connections."""
        for task in list(self._playing):
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
            self._client = None
