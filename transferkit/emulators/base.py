"""What all emulators have in common except HTTP: records, faults, scenarios and callbacks."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from transferkit.emulators.callbacks import CallbackSender, request_scope
from transferkit.emulators.faults import Fault, Faults
from transferkit.emulators.journal import Journal
from transferkit.emulators.records import (
    CallView,
    EmulatedRequest,
    RecordedRequest,
    Reply,
    RingingCall,
    SentCallback,
)
from transferkit.emulators.ringing import RingingTargets
from transferkit.provider.clock import Clock, SystemClock
from transferkit.testing.scenarios import Ending, Scenario, scenario

if TYPE_CHECKING:
    from transferkit.testing.signing import CallbackSigner

__all__ = ["EmulatorBase"]


class EmulatorBase(ABC):
    """One emulated provider, without HTTP. Providers derive from `Emulator`.

    Private attributes have two underscores, so that a derived class can name its own attributes freely.
    """

    name: ClassVar[str]
    needs_tls: ClassVar[bool] = False
    """Whether the provider's client library accepts only https."""
    issuer: ClassVar[str] = "https://issuer.emulator.invalid"
    """The issuer of the callback tokens, unless a signer is given."""
    incoming_path: ClassVar[str] = ""
    """The path of the address for incoming calls below that for callbacks (`/eventgrid`)."""

    def __init__(
        self, *, pace: float = 0.02, clock: Clock | None = None, signer: CallbackSigner | None = None
    ) -> None:
        self.pace = pace
        self.callback_url: str | None = None
        self.clock = clock or SystemClock()
        self.faults: Faults = Faults()
        self.journal: Journal = Journal()
        self.__given_signer = signer
        self.__ringing = RingingTargets(self.__notify)
        self.__rejections: dict[tuple[str, str], int] = {}
        self.__sender = CallbackSender(
            faults=self.faults,
            clock=self.clock,
            record=self.journal.add,
            start=self.start,
            respell=self.other_spelling,
        )
        self.__tasks: set[asyncio.Task[None]] = set()
        self.__task_changed = asyncio.Event()

    @cached_property
    def signer(self) -> CallbackSigner:
        """Signs the callbacks; creates its keys on first use."""
        from transferkit.testing.signing import CallbackSigner

        return self.__given_signer or CallbackSigner(issuer=self.issuer, clock=self.clock)

    # --- implemented by each provider -----------------------------------------------------------------

    @abstractmethod
    async def handle(self, request: EmulatedRequest) -> Reply:
        """Execute a request and return the response. Starts everything that happens later with `start`."""

    @abstractmethod
    def config(self, base_url: str, *, ca_file: Path | None = None) -> dict[str, Any]:
        """The `[providers.<name>]` table that points an adapter at this emulator."""

    @abstractmethod
    def place_call(self, *, callback_url: str, group: bool = False) -> str:
        """Add an established call, as after the application answered; returns its id."""

    @abstractmethod
    def ring(self, *, callback_url: str) -> RingingCall:
        """Add an incoming call and post it to `callback_url`. Needs a running event loop."""

    @abstractmethod
    def hang_up(self, call_id: str) -> None:
        """Have the caller hang up. Needs a running event loop. Raises `KeyError` for an unknown call."""

    @abstractmethod
    def executions(self, call_id: str) -> int:
        """How many transfers or redirects of this call were executed; rejected requests do not count."""

    @abstractmethod
    def calls(self) -> tuple[CallView, ...]:
        """All calls, including ended ones, the latest last."""

    def reply_to_fault(self, fault: Fault) -> Reply:
        """The response to a request with the fault `status`; a provider may use its own error body."""
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        phrase = HTTPStatus(fault.status).phrase if fault.status in set(HTTPStatus) else "Error"
        error = {"code": phrase.replace(" ", ""), "message": f"{phrase}: a fault of the emulator."}
        return Reply(status=fault.status, body={"error": error}, headers=headers)

    def other_spelling(self, body: Any) -> Any:
        """A callback's body in the provider's alternative spelling, for the fault `spelling`."""
        return body

    def signer_document(self, request: EmulatedRequest, *, openid_path: str, keys_path: str) -> Reply | None:
        """The response to a request for the signer's OpenID document or keys; None for any other path."""
        if request.path not in {openid_path, keys_path}:
            return None
        if request.method not in {"GET", "HEAD"}:
            return Reply(status=HTTPStatus.METHOD_NOT_ALLOWED)
        if request.path == keys_path:
            return Reply(status=HTTPStatus.OK, body=self.signer.jwks())
        document = self.signer.openid_configuration(request.base_url + keys_path.removesuffix("/keys"))
        return Reply(status=HTTPStatus.OK, body=document)

    # --- records --------------------------------------------------------------------------------------

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """The requests that were received, in order."""
        records = (entry.record for entry in self.journal.entries)
        return tuple(record for record in records if isinstance(record, RecordedRequest))

    @property
    def callbacks(self) -> tuple[SentCallback, ...]:
        """The callbacks that were sent, in order."""
        records = (entry.record for entry in self.journal.entries)
        return tuple(record for record in records if isinstance(record, SentCallback))

    def reset(self) -> None:
        """Delete the recorded requests and callbacks and switch off every fault. The calls stay."""
        self.faults.clear()
        self.journal.clear()

    # --- scenarios ------------------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background. `settle` waits for it; `aclose` cancels it."""
        task = asyncio.get_running_loop().create_task(work)
        self.__tasks.add(task)
        task.add_done_callback(self.__finished)
        if scope := request_scope.get():
            scope.tasks.add(task)

    def __finished(self, task: asyncio.Task[None]) -> None:
        self.__tasks.discard(task)
        self.__notify()

    def __notify(self) -> None:
        self.__task_changed.set()
        self.__task_changed = asyncio.Event()
        self.journal.notify()

    async def pause(self) -> None:
        """Wait for the time between two steps of a scenario."""
        await asyncio.sleep(self.pace)

    def rejection_status(self, call_id: str, line: Scenario) -> int | None:
        """The status with which the scenario rejects this request about the call; None to accept it."""
        if line.status is None:
            return None
        key = call_id, line.name
        earlier = self.__rejections.get(key, 0)
        if line.refusals is not None and earlier >= line.refusals:
            return None
        self.__rejections[key] = earlier + 1
        return line.status

    async def ring_target(self, call_id: str, line: Scenario) -> Scenario:
        """Let the target of this call ring for as long as the scenario says; returns how the story continues.

        That is `line`, or the scenario that `end_ringing` named: answered, declined, or the caller hung up.
        """
        return await self.__ringing.wait(call_id, line, seconds=line.paces * self.pace)

    @property
    def ringing_targets(self) -> frozenset[str]:
        """The calls whose target is ringing."""
        return self.__ringing.call_ids

    def end_ringing(self, call_id: str, scenario_name: str) -> bool:
        """End the ringing of this call's target as in the named scenario; returns whether it was ringing.

        Raises `KeyError` for an unknown scenario, and `ValueError` for one that cannot end a ringing.
        """
        line = scenario(scenario_name)
        if line.ending in {Ending.MANUAL, Ending.REFUSED}:
            raise ValueError(f"the scenario {scenario_name} cannot end a ringing")
        return self.__ringing.end(call_id, line)

    def answer_target(self, call_id: str) -> bool:
        """Have the target of this call answer now; returns whether it was ringing."""
        return self.end_ringing(call_id, "answers")

    def decline_target(self, call_id: str) -> bool:
        """Have the target of this call decline now; returns whether it was ringing."""
        return self.end_ringing(call_id, "declined")

    async def settle(self) -> None:
        """Return when all background work is done, except scenarios that wait for `end_ringing`."""
        while self.__tasks - self.__ringing.waiting:
            await self.__task_changed.wait()

    # --- callbacks ------------------------------------------------------------------------------------

    async def post(self, url: str, body: Any, *, headers: Mapping[str, str] | None = None) -> int | None:
        """Post a callback, subject to the faults; returns the status, or None if there is no response.

        Also returns None for a callback that a fault delays; it is posted later.
        """
        return await self.__sender.post(url, body, headers)

    async def aclose(self) -> None:
        """Cancel background work and close connections."""
        for task in list(self.__tasks):
            task.cancel()
        await asyncio.gather(*self.__tasks, return_exceptions=True)
        await self.__sender.aclose()
