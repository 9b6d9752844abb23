"""The asynchronous client: the front door."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, final, overload

from attrs import evolve

from transferkit._callbacks import CallbackRequest, CallbackResponse, Receiver
from transferkit._callbacks.asgi import CallbackApp
from transferkit._callbacks.verification.fetching import Fetch
from transferkit._callbacks.verification.verifier import Verifier
from transferkit._engine.incoming import redirect_of
from transferkit._engine.planning import plan_request
from transferkit._engine.worker import Worker
from transferkit._lifecycle import CallStillRinging, Opened
from transferkit._telemetry import Telemetry, telemetry_here
from transferkit._util.log_events import LogEvent
from transferkit._util.signatures import takes_arguments_of
from transferkit._util.tracebacks import safe_traceback
from transferkit.config import Config, load_config
from transferkit.errors import (
    ClientClosed,
    ConfigError,
    IdempotencyConflict,
    InvalidRequest,
    Problem,
    TransferInProgress,
    TransferNotFound,
)
from transferkit.events import Event, Outcome, RedirectOutcome, TransferOutcome
from transferkit.provider.adapter import Adapter, Submission
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.deadline import Deadline
from transferkit.provider.registry import adapter_class
from transferkit.requests import (
    Call,
    Redirect,
    Request,
    Transfer,
    WireRequest,
)
from transferkit.stores import CommitUnknown, KeyUsed, LegOccupied, Store, StoredTransfer
from transferkit.stores.address import ADDRESSES, store_at
from transferkit.stores.consumer_groups import GroupStart, GroupStatus, ParkedEvent
from transferkit.streams import EventStream, GroupStream, LiveTail, OutcomeWatch

__all__ = ["AsyncClient", "Handle", "RedirectHandle", "TransferHandle"]

_log = logging.getLogger("transferkit.client")

_DRAIN_SECONDS = 5.0

O = TypeVar("O", bound=Outcome)  # noqa: E741 - the only type variable here
_AwaitOutcome = Callable[[str, float | None], Coroutine[Any, Any, O]]


@final
class Handle(Generic[O]):
    """A transfer or redirect that is recorded; await its outcome here or in any process on the store."""

    def __init__(
        self, opened: Opened, outcome: Callable[[str, float | None], Coroutine[Any, Any, O]]
    ) -> None:
        self._opened = opened
        self._outcome = outcome

    @property
    def id(self) -> str:
        """The transfer's id, on every event of it."""
        return self._opened.id

    @property
    def request(self) -> Request:
        """What was asked for, without the fields that were dropped."""
        return self._opened.request

    @property
    def call(self) -> Call:
        """The call."""
        return self._opened.request.call

    async def outcome(self, timeout: float | None = None) -> O:
        """The one terminal event.

        Waits until the provider's verdict, the call's end or the deadline decided. Raises `TimeoutError`
        after `timeout` seconds and leaves the transfer open; cancelling the wait does the same. Raises
        `ClientClosed` when the client is closed, or closes before there is an outcome.
        """
        return await self._outcome(self.id, timeout)

    def __repr__(self) -> str:
        return f"<{type(self._opened.request).__name__} {self.id} of {self.call}>"


TransferHandle = Handle[TransferOutcome]
RedirectHandle = Handle[RedirectOutcome]


@final
class AsyncClient:
    """Transfers and redirects calls, receives callbacks, and tells one true outcome for each request.

    Open it with `async with`; it opens nothing before. `AsyncClient.from_config` is the usual way in; the
    constructor takes parts ready-made, for tests and for stores or adapters of your own.

    `background=False` leaves due work to others, or to `run_due()`: for tools that only look, and for
    processes that live as long as one request. `fetch_keys` fetches the keys that callbacks are verified
    with, where that is not to be done over the network: `CallbackSigner.fetch` in tests. `telemetry` is told
    what happens, by default OpenTelemetry's global providers where `opentelemetry-api` is installed.
    """

    def __init__(
        self,
        config: Config,
        *,
        store: Store | None = None,
        adapters: Mapping[str, Adapter] | None = None,
        clock: Clock | None = None,
        fetch_keys: Fetch | None = None,
        background: bool = True,
        telemetry: Telemetry | None = None,
    ) -> None:
        if not isinstance(config, Config):
            raise TypeError(
                f"AsyncClient takes a Config, not {type(config).__name__}: AsyncClient.from_config takes a "
                "file's path, a dict or nothing"
            )
        self._config = config
        self._background = background
        self._clock = clock or SystemClock()
        self._store = store or _store(config)
        self._adapters = dict(adapters) if adapters is not None else _adapters(config, self._clock)
        self._telemetry = telemetry or telemetry_here()
        self._worker = Worker(
            store=self._store,
            adapter=self._adapters.__getitem__,
            providers=frozenset(self._adapters),
            clock=self._clock,
            timing=config.lifecycle,
            retention=config.retention,
            telemetry=self._telemetry,
            spawn=self._spawn,
            background=background,
        )
        self._receiver = Receiver(
            adapters=self._adapters.get,
            commit=self._worker.apply_all,
            verifier=Verifier(clock=self._clock, config=config.callbacks, fetch=fetch_keys),
            clock=self._clock,
            config=config.callbacks,
            store=self._store,
            telemetry=self._telemetry,
        )
        self._watch = OutcomeWatch(self._store)
        self._group_streams: set[GroupStream] = set()
        self._closed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = False
        self._closing: asyncio.Task[None] | None = None
        self._entered = 0
        """How many `async with` blocks it is open for."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: asyncio.Task[None] | None = None
        self._unwatch: Callable[[], None] | None = None

    @classmethod
    def from_config(
        cls,
        source: str | Path | Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
        fetch_keys: Fetch | None = None,
        background: bool = True,
    ) -> Self:
        """A client from a TOML file's path, a dict, or (None) `TRANSFERKIT_*` variables.

        Reads the file and nothing else. Raises `ConfigError` with every problem, each naming its key.
        """
        return cls(load_config(source), clock=clock, fetch_keys=fetch_keys, background=background)

    # --- opening and closing ------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._open:
            self._check_open()
        else:
            await self._start()
        self._entered += 1
        return self

    async def _start(self) -> None:
        if self._config.callbacks.accept_unverified:
            _log.warning(
                "callbacks.accept_unverified is on: anyone who reaches the callback URL can report "
                "outcomes; for tests on loopback only",
                extra={"event": LogEvent.CALLBACKS_UNVERIFIED},
            )
        if self._closing is not None:
            await asyncio.wait([self._closing])
        await self._store.open()
        if self._open:  # another task was faster
            return
        try:
            for adapter in self._adapters.values():
                adapter.listen(self._receiver.deliver)
        except BaseException:
            await self._store.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._watch = OutcomeWatch(self._store)
        self._closed = asyncio.Event()  # streams of an earlier opening stay at their end
        self._worker.answers.open()
        self._open = True
        self._unwatch = self._telemetry.watch(self._store, lateness=self._worker.lateness, spawn=self._spawn)
        if self._background:
            self._runner = asyncio.create_task(self._worker.run(), name="transferkit-worker")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it at the end of the outermost block."""
        self._entered = max(self._entered - 1, 0)
        if not self._entered:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop taking requests, let submissions under way finish for a moment, and let go of everything.

        Whichever blocks it is open for. A submission that is cut off stays recorded; a process that opens the
        store again takes it over. Raises `ClientClosed` in another event loop than it was opened in.
        """
        if self._open:
            self._check_open()
            self._open, self._entered = False, 0
            self._closing = asyncio.create_task(self._close(), name="transferkit-close")
        try:
            await self._end_of_closing()
        except asyncio.CancelledError:
            # Let go nonetheless; whoever cancels a second time will not wait for it.
            await self._end_of_closing()
            raise

    async def _end_of_closing(self) -> None:
        closing = self._closing
        if closing is None:
            return
        await asyncio.wait([closing])
        self._closing = None
        closing.result()

    async def _close(self) -> None:
        async with AsyncExitStack() as last:  # each of them, whatever another one raises
            last.push_async_callback(self._store.close)
            for adapter in self._adapters.values():
                last.push_async_callback(adapter.aclose)
            last.push_async_callback(self._receiver.aclose)
            last.push_async_callback(self._watch.close)
            last.push_async_callback(self._drain)
            self._closed.set()
            if self._unwatch is not None:  # pragma: no branch - it is watched while it is open
                self._unwatch()
            await asyncio.gather(*(stream.aclose() for stream in tuple(self._group_streams)))

    async def _drain(self) -> None:
        """Stop looking for work, and let submissions under way finish for a moment."""
        self._worker.answers.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)
        loop = asyncio.get_running_loop()
        end = loop.time() + _DRAIN_SECONDS
        while self._tasks and (left := end - loop.time()) > 0:  # what is waited for may begin a submission
            await asyncio.wait(set(self._tasks), timeout=left)
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _check_open(self) -> None:
        if not self._open:
            raise ClientClosed("the client is not open: use it inside `async with client:`")
        if self._loop is not _running_loop():
            raise ClientClosed(
                "the client was opened in another event loop, where its tasks and connections are: open one "
                "in each loop, or use `Client` from threads"
            )

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the client's own task, which no caller's cancellation reaches."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "a task of the client ended with an error\n%s",
                safe_traceback(error),
                extra={"event": LogEvent.TASK_FAILED},
            )

    # --- asking -------------------------------------------------------------------------------------

    @takes_arguments_of(Transfer)
    async def transfer(self, request: Transfer) -> TransferHandle:
        """Transfer the other party of `call` (its id, or a `Call`) to `to`. Returns once that is recorded.

        The arguments are the fields of `Transfer`: `submit(Transfer(…))` does the same. `deadline` is in
        seconds or a timedelta, 150 s by default. Raises what `submit` raises, and `ValueError` or `TypeError`
        for an invalid field.
        """
        return await self.submit(request)

    @takes_arguments_of(redirect_of)
    async def redirect(self, request: Redirect) -> RedirectHandle:
        """Redirect an incoming call to `to`, one target or several. Returns once that is recorded.

        `call` is the `CallIncoming` event, from which `incoming_context` and `source` are taken, or a `Call`,
        or the call's id. The other arguments are the fields of `Redirect`: `submit(Redirect(…))` does the
        same. `ring_timeout` and `deadline` are in seconds or timedeltas. Raises what `submit` raises, and
        `ValueError` or `TypeError` for an invalid field.
        """
        return await self.submit(request)

    @overload
    async def submit(self, request: Transfer) -> TransferHandle: ...
    @overload
    async def submit(self, request: Redirect) -> RedirectHandle: ...
    async def submit(self, request: Request) -> TransferHandle | RedirectHandle:
        """Record a request and send it; returns once it is recorded.

        Raises only while nothing is recorded: `InvalidRequest` with every problem, `TransferInProgress`,
        `IdempotencyConflict`, `ConfigError`, `StoreError`, `ClientClosed`. After that a refusal is an event
        and an outcome. Where the store failed and it is not certain that nothing was recorded, the error is
        `CommitUnknown` and names the transfer. Cancelling the caller detaches it; the transfer goes on.
        """
        self._check_open()
        with self._telemetry.asking(request) as span:
            opened, dropped = self._plan(request)
            span.about(opened.call)
            begun = self._spawn(self._begin(opened, dropped))
            try:
                handle: TransferHandle | RedirectHandle = await asyncio.shield(begun)
            except asyncio.CancelledError:
                if not begun.cancelled():
                    raise  # the caller's own: the transfer goes on
                raise CommitUnknown(
                    f"the client was closed while transfer {opened.id} was being recorded: it may or may not "
                    "be; if it is, a process that opens the store takes it over"
                ) from None
            with suppress(Exception):  # a meter's: it is recorded all the same
                span.recorded(handle.id)
            return handle

    async def _begin(self, opened: Opened, dropped: tuple[str, ...]) -> TransferHandle | RedirectHandle:
        try:
            begun = await self._worker.begin(opened, dropped=dropped)
        except KeyUsed as used:
            known = used.stored.opened
            if known.fingerprint != opened.fingerprint:
                raise IdempotencyConflict(str(opened.request.idempotency_key), known.id) from None
            return self._handle(known)
        except CallStillRinging:
            still = "still rings: it can be redirected, not transferred"
            raise InvalidRequest(
                opened.call.provider, [Problem("call", still, "the id of an answered call")]
            ) from None
        except LegOccupied as occupied:
            raise TransferInProgress(str(occupied.leg), occupied.transfer_id) from None
        if begun is not None:
            self._spawn(self._worker.send(begun))
        return self._handle(opened)

    async def preview(self, request: Request) -> WireRequest:
        """The exact HTTP request that `submit` would send, credentials masked.

        Sends nothing, records nothing, needs no credentials and no open client. Raises `InvalidRequest`.
        """
        opened, _ = self._plan(request)
        submission = Submission(
            id=opened.id,
            request=opened.request,
            first_sent_at=opened.at,
            deadline=Deadline(opened.at + opened.request.deadline, self._clock),
            tenant_id=opened.request.call.tenant_id,
        )
        return await self._adapters[opened.call.provider].wire(submission)

    def _plan(self, request: Request) -> tuple[Opened, tuple[str, ...]]:
        """The request as it is recorded, and what was left out. Raises `InvalidRequest`."""
        return plan_request(
            request,
            adapters=self._adapters,
            provider=self._config.provider,
            public_url=self._config.callbacks.public_url,
            at=self._clock.now(),
            trace=self._telemetry.current_trace(),
        )

    # --- asking after -------------------------------------------------------------------------------

    async def get(self, transfer_id: str) -> TransferHandle | RedirectHandle:
        """The handle of a stored transfer or redirect. Raises `TransferNotFound`."""
        return self._handle((await self._stored(transfer_id)).opened)

    async def outcome(
        self, transfer_id: str, timeout: float | None = None
    ) -> TransferOutcome | RedirectOutcome:
        """The outcome of a stored transfer or redirect, waited for as by `Handle.outcome`.

        Raises `TransferNotFound`, `ClientClosed`, and `TimeoutError` after `timeout` seconds, which leaves
        the transfer open.
        """
        return await (await self.get(transfer_id)).outcome(timeout)

    async def history(self, transfer_id: str) -> tuple[Event, ...]:
        """All events of the call that a stored request is about, in sequence. Raises `TransferNotFound`."""
        return await self._store.call_events((await self._stored(transfer_id)).opened.call)

    async def _stored(self, transfer_id: str) -> StoredTransfer:
        self._check_open()
        stored = await self._store.transfer(transfer_id)
        if stored is None:
            raise TransferNotFound(transfer_id)
        return stored

    def _handle(self, opened: Opened) -> TransferHandle | RedirectHandle:
        if opened.is_redirect:
            return Handle[RedirectOutcome](opened, self._await_outcome)
        return Handle[TransferOutcome](opened, self._await_outcome)

    async def _await_outcome(self, transfer_id: str, timeout: float | None) -> Any:
        self._check_open()
        watch = self._watch  # of this opening: it ends with it
        known = await watch.known(transfer_id)  # outside of the limit: 0 asks for what is known now
        if known is not None:
            return known
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await watch.outcome(transfer_id)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"transfer {transfer_id} has no outcome after {timeout:g} s; it goes on: ask again later"
            ) from None

    def events(
        self, group: str | None = None, *, start: GroupStart | str | None = None, follow: bool = True
    ) -> EventStream:
        """The stream of events: `async with client.events() as stream`, then `async for event in stream`.

        Without a group a live tail, from now unless `start` is "beginning". With one at least once and in
        order per call, shared with the group's other consumers; `start` is for a new group, by default that
        of `[groups]`. `follow=False` ends it where there is nothing more to read now.
        """
        self._check_open()
        if start is not None and start not in set(GroupStart):
            raise ValueError(f"start: expected one of {', '.join(GroupStart)}")
        if group is None:
            return LiveTail(self._store, self._closed, start=GroupStart(start or "now"), follow=follow)
        config = self._config.groups
        return GroupStream(
            self._store,
            group,
            config=evolve(config, start=GroupStart(start or config.start)),
            clock=self._clock,
            follow=follow,
            entered=self._group_streams,
            telemetry=self._telemetry,
        )

    async def groups(self) -> tuple[GroupStatus, ...]:
        """Every consumer group, by name: how far behind it is, what it set aside, who is at it."""
        self._check_open()
        return await self._store.groups()

    async def parked(self, group: str) -> tuple[ParkedEvent, ...]:
        """Events that the group set aside after too many attempts, the oldest first."""
        self._check_open()
        return await self._store.parked(group)

    async def release(self, group: str, event_id: str) -> bool:
        """Have a parked event delivered once more; False where the group parked no such event."""
        self._check_open()
        return await self._store.release(group, event_id)

    async def remove_group(self, group: str) -> bool:
        """Forget a group, how far it was and what it set aside; False where there is none."""
        self._check_open()
        return await self._store.remove_group(group)

    # --- being told ---------------------------------------------------------------------------------

    async def receive(self, request: CallbackRequest) -> CallbackResponse:
        """Take one callback. Answer the provider with what this returns, and not before."""
        self._check_open()
        return await self._receiver.receive(request)

    def asgi(self) -> CallbackApp:
        """The receiver as an ASGI app, to mount or to serve by itself.

        It may be made and mounted before the client is open, and asks senders to come again until it is.
        Served by itself it opens the client with the server and closes it at the end. A framework that it is
        mounted in does that in its own lifespan: `async with client: yield`.
        """
        return CallbackApp(self.receive, opened=self._served, config=self._config.callbacks)

    @asynccontextmanager
    async def _served(self) -> AsyncGenerator[None]:
        """Open for a server's lifespan, and afterwards as it was before."""
        async with self:
            yield

    async def run_due(self) -> int:
        """Do all work that is due now, and return how many pieces that was.

        An open client does this by itself; call it where no client stays open (cron, serverless).
        """
        self._check_open()
        return await self._worker.run_due()

    async def prune(self) -> int:
        """Remove the calls that are older than `[retention]` allows, and return how many that was.

        An open client does this by itself, too, every now and then.
        """
        self._check_open()
        return await self._worker.prune()


def _adapters(config: Config, clock: Clock) -> dict[str, Adapter]:
    return {name: adapter_class(name)(settings, clock=clock) for name, settings in config.providers.items()}


def _store(config: Config) -> Store:
    try:
        return store_at(config.store, base=config.base)
    except ValueError as error:
        raise ConfigError(config.source, [Problem("store", str(error), ADDRESSES)]) from None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
