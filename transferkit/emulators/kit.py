"""What emulators have in common, whoever serves them: records, faults, scenarios, callbacks."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from transferkit.emulators.exchange import exchange
from transferkit.emulators.faults import Fault, Faults
from transferkit.emulators.journal import Journal
from transferkit.emulators.posting import Postman
from transferkit.emulators.records import (
    CallView,
    EmulatedRequest,
    RecordedRequest,
    Reply,
    RingingCall,
    SentCallback,
)
from transferkit.emulators.ringing import Ringing
from transferkit.provider.clock import Clock, SystemClock
from transferkit.testing.scenarios import Ending, Scenario, scenario

if TYPE_CHECKING:
    from transferkit.testing.signing import CallbackSigner

__all__ = ["EmulatedProvider"]


class EmulatedProvider(ABC):
    """One provider as far as it answers, remembers and plays. What fulfils it derives from `Emulator`."""

    name: ClassVar[str]
    needs_tls: ClassVar[bool] = False
    """Whether the provider's own client library insists on https."""
    issuer: ClassVar[str] = "https://issuer.emulator.invalid"
    """Who signs the callbacks, unless a signer is given."""
    incoming_path: ClassVar[str] = ""
    """What the address for incoming calls has after that for callbacks (`/eventgrid`)."""

    def __init__(
        self, *, pace: float = 0.02, clock: Clock | None = None, signer: CallbackSigner | None = None
    ) -> None:
        self.pace = pace
        self.callback_url: str | None = None
        self.clock = clock or SystemClock()
        self.requests: list[RecordedRequest] = []
        self.callbacks: list[SentCallback] = []
        self.faults: Faults = Faults()
        self.journal: Journal = Journal()
        self.__given_signer = signer
        self.__rung = Ringing(self.__calmer)
        self.__turned_away: dict[tuple[str, str], int] = {}
        self.__postman = Postman(
            faults=self.faults,
            clock=self.clock,
            record=self.record,
            play=self.play,
            respell=self.other_spelling,
        )
        self.__playing: set[asyncio.Task[None]] = set()
        self.__quieter = asyncio.Event()

    @cached_property
    def signer(self) -> CallbackSigner:
        """Signs the callbacks; its keys are made when they are first needed."""
        from transferkit.testing.signing import CallbackSigner

        return self.__given_signer or CallbackSigner(issuer=self.issuer, clock=self.clock)

    # --- what a provider says -------------------------------------------------------------------------

    @abstractmethod
    async def answer(self, request: EmulatedRequest) -> Reply:
        """What the service answers. Whatever happens later is begun with `play`."""

    @abstractmethod
    def config(self, base_url: str, *, ca_file: Path | None = None) -> dict[str, Any]:
        """The `[providers.<name>]` table that points an adapter at this emulator."""

    @abstractmethod
    def place_call(self, *, callback_url: str, group: bool = False) -> str:
        """An established call, as after the application answered; returns its id."""

    @abstractmethod
    def ring(self, *, callback_url: str) -> RingingCall:
        """A call that rings at the application: posts the incoming call there. Needs a running event loop."""

    @abstractmethod
    def hang_up(self, call_id: str) -> None:
        """Let the caller hang up. Needs a running event loop. Raises `KeyError` for an unknown call."""

    @abstractmethod
    def executions(self, call_id: str) -> int:
        """How many transfers or redirects of this call were executed, not merely asked for."""

    @abstractmethod
    def calls(self) -> tuple[CallView, ...]:
        """All calls, also those that ended, the latest last."""

    def faulty_reply(self, fault: Fault) -> Reply:
        """The answer of a service in trouble; a provider may put its own error body into it."""
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        phrase = HTTPStatus(fault.status).phrase if fault.status in set(HTTPStatus) else "Error"
        error = {"code": phrase.replace(" ", ""), "message": f"{phrase}: switched on at the emulator."}
        return Reply(status=fault.status, body={"error": error}, headers=headers)

    def other_spelling(self, body: Any) -> Any:
        """A callback's body in spellings that the provider uses elsewhere, for the fault `spelling`."""
        return body

    # --- what was seen ----------------------------------------------------------------------------------

    def record(self, what: RecordedRequest | SentCallback) -> None:
        """Keep it, and tell whoever watches."""
        if isinstance(what, RecordedRequest):
            self.requests.append(what)
        else:
            self.callbacks.append(what)
        self.journal.add(what)

    def reset(self) -> None:
        """Forget what was recorded and switch every fault off. The calls stay."""
        self.requests.clear()
        self.callbacks.clear()
        self.faults.clear()
        self.journal.clear()

    # --- scenarios ------------------------------------------------------------------------------------

    def play(self, story: Coroutine[Any, Any, None]) -> None:
        """Let a scenario run in the background."""
        task = asyncio.get_running_loop().create_task(story)
        self.__playing.add(task)
        task.add_done_callback(self.__played)
        if cause := exchange.get():
            cause.tasks.add(task)

    def __played(self, task: asyncio.Task[None]) -> None:
        self.__playing.discard(task)
        self.__calmer()

    def __calmer(self) -> None:
        self.__quieter.set()
        self.__quieter = asyncio.Event()
        self.journal.wake()

    async def step(self) -> None:
        """The pause between two steps of a scenario."""
        await asyncio.sleep(self.pace)

    def turned_away(self, call_id: str, line: Scenario) -> int | None:
        """The status with which this scenario turns the request about the call away; None: it is taken."""
        if line.status is None:
            return None
        key = call_id, line.name
        before = self.__turned_away.get(key, 0)
        if line.refusals is not None and before >= line.refusals:
            return None
        self.__turned_away[key] = before + 1
        return line.status

    async def target_rings(self, call_id: str, line: Scenario) -> Scenario:
        """Let the target of this call ring for as long as the scenario says; returns the line to play on.

        That is the line itself, or what `decide` said: somebody answered, declined, or the caller hung up.
        """
        return await self.__rung.wait(call_id, line, seconds=line.paces * self.pace)

    @property
    def ringing_targets(self) -> frozenset[str]:
        """The calls whose target rings."""
        return self.__rung.call_ids

    def decide(self, call_id: str, name: str) -> bool:
        """End the ringing of this call's target like the scenario of that name; returns whether it rang.

        `hang_up` does well to ask for `caller_leaves` first. Raises `KeyError` for an unknown scenario and
        `ValueError` for one that is no end of a ringing.
        """
        line = scenario(name)
        if line.ending in {Ending.MANUAL, Ending.REFUSED}:
            raise ValueError(f"{name}: no ringing ends like that")
        return self.__rung.decide(call_id, line)

    def answer_target(self, call_id: str) -> bool:
        """The target of this call picks up, now; returns whether it rang."""
        return self.decide(call_id, "answers")

    def decline_target(self, call_id: str) -> bool:
        """The target of this call declines, now; returns whether it rang."""
        return self.decide(call_id, "declined")

    async def settle(self) -> None:
        """Return when everything that was begun has been played, or waits for somebody to decide."""
        while self.__playing - self.__rung.waiting:
            await self.__quieter.wait()

    # --- callbacks ------------------------------------------------------------------------------------

    async def post(self, url: str, body: Any, *, headers: Mapping[str, str] | None = None) -> int | None:
        """Post one callback, unless a fault is switched on; returns the status, None where nobody answered.

        A callback that is delayed or held back is posted later, and None is returned.
        """
        return await self.__postman.post(url, body, headers)

    async def aclose(self) -> None:
        """Stop playing and close connections."""
        for task in list(self.__playing):
            task.cancel()
        await asyncio.gather(*self.__playing, return_exceptions=True)
        await self.__postman.aclose()
