"""The asynchronous client, and the handles that it returns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final, overload

from attrs import evolve

from transferkit._callbacks import CallbackRequest, CallbackResponse, Receiver
from transferkit._callbacks.asgi import CallbackApp
from transferkit._callbacks.verification.fetching import Fetch
from transferkit._callbacks.verification.verifier import Verifier
from transferkit._engine.calls import CallHandle
from transferkit._engine.components import make_adapters, make_store
from transferkit._engine.connections import KeptConnection
from transferkit._engine.consultation_handles import ConsultationHandle
from transferkit._engine.consultations import Consultations
from transferkit._engine.handles import Handle, RedirectHandle, StepHandle, TransferHandle
from transferkit._engine.incoming import answer_of, redirect_of, reject_of
from transferkit._engine.inspector import Inspector
from transferkit._engine.ledger import Ledger
from transferkit._engine.lifespan import Lifespan
from transferkit._engine.planning import Planned, call_key, plan_request
from transferkit._engine.route_handles import RouteHandle
from transferkit._engine.scheduler import Scheduler
from transferkit._engine.sender import Sender
from transferkit._engine.tasks import BackgroundTasks
from transferkit._engine.unrecorded import UnrecordedAnswers
from transferkit._lifecycle import Opened
from transferkit._telemetry import Telemetry, telemetry_here
from transferkit._util.log_events import LogEvent
from transferkit._util.signatures import takes_arguments_of
from transferkit.config import Config, load_config
from transferkit.errors import InvalidRequest, Problem, TransferNotFound
from transferkit.events import (
    ConsultationOutcome,
    Event,
    RedirectOutcome,
    RouteOutcome,
    StepOutcome,
    TransferOutcome,
)
from transferkit.provider.adapter import Adapter, Connection, Submission
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.deadline import Deadline
from transferkit.relay.relay import Relay
from transferkit.relay.sink import Sink, configured_sink
from transferkit.requests import (
    AnswerCall,
    Call,
    Consultation,
    PlaceCall,
    Redirect,
    RejectCall,
    Request,
    Route,
    Step,
    Transfer,
    WireRequest,
)
from transferkit.stores import CommitUnknown, Store, StoredTransfer
from transferkit.stores.consumer_groups import GroupStart, GroupStatus, ParkedEvent
from transferkit.streams import EventStream, GroupStream, Handler, LiveTail, OutcomeWatch, Processor

__all__ = [
    "AnyHandle",
    "AnyOutcome",
    "AsyncClient",
    "CallHandle",
    "ConsultationHandle",
    "Handle",
    "RedirectHandle",
    "RouteHandle",
    "StepHandle",
    "TransferHandle",
]

_log = logging.getLogger("transferkit.client")

AnyHandle = TransferHandle | RedirectHandle | StepHandle | ConsultationHandle | RouteHandle
AnyOutcome = TransferOutcome | RedirectOutcome | StepOutcome | ConsultationOutcome | RouteOutcome


@final
class AsyncClient:
    """Transfers and redirects calls, receives callbacks, and reports one true outcome for each request.

    Open it with `async with`; it opens nothing before that. `AsyncClient.from_config` is the usual way to
    make one. The constructor also takes ready-made parts, for tests and for your own stores or adapters:

    * `background=False` leaves due work to other processes or to `run_due()`: for tools that only read, and
      for processes that live as long as one request.
    * `fetch_keys` fetches the keys that callbacks are verified with, in place of HTTP: in tests
      `CallbackSigner.fetch`.
    * `telemetry` receives spans and figures. The default reports to OpenTelemetry's global providers if
      `opentelemetry-api` is installed.
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
        self._clock = clock = clock or SystemClock()
        self._store = store = store or make_store(config)
        self._adapters = adapters = dict(adapters) if adapters is not None else make_adapters(config, clock)
        self._telemetry = telemetry = telemetry or telemetry_here()
        self._tasks = BackgroundTasks()
        spawn = self._tasks.spawn
        self._ledger = ledger = Ledger(store, telemetry)
        self._unrecorded = UnrecordedAnswers(
            store=store, ledger=ledger, clock=clock, spawn=spawn, telemetry=telemetry
        )
        self._sender = Sender(
            store=store,
            ledger=ledger,
            unrecorded=self._unrecorded,
            adapters=adapters,
            clock=clock,
            timing=config.lifecycle,
            telemetry=telemetry,
            spawn=spawn,
        )
        self._inspector = inspector = Inspector(
            store=store, ledger=ledger, adapters=adapters, clock=clock, telemetry=telemetry
        )
        if not background:
            ledger.after_commit = inspector.inspect_for_failure
        consultations = Consultations(
            store=store,
            ledger=ledger,
            sender=self._sender,
            inspector=inspector,
            adapters=adapters,
            clock=clock,
            public_url=config.callbacks.public_url,
        )
        self._scheduler = Scheduler(
            store=store,
            ledger=ledger,
            sender=self._sender,
            inspector=inspector,
            consultations=consultations,
            unrecorded=self._unrecorded,
            providers=frozenset(adapters),
            clock=clock,
            timing=config.lifecycle,
            retention=config.retention,
            spawn=spawn,
        )
        self._receiver = Receiver(
            adapters=adapters.get,
            commit=ledger.commit,
            verifier=Verifier(clock=clock, config=config.callbacks, fetch=fetch_keys),
            clock=clock,
            config=config.callbacks,
            store=store,
            telemetry=telemetry,
        )
        self._lifespan = Lifespan(store, self._start)
        self._watch = OutcomeWatch(store)
        self._closed = asyncio.Event()
        self._group_streams: set[GroupStream] = set()
        self._processors: set[Processor] = set()
        self._relays: set[Relay] = set()

    @classmethod
    def from_config(
        cls,
        source: str | Path | Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
        fetch_keys: Fetch | None = None,
        background: bool = True,
    ) -> Self:
        """Make a client from the path of a TOML file, a dict, or (None) `TRANSFERKIT_*` variables.

        Reads the file and nothing else. Raises `ConfigError` with every problem, each with its key.
        """
        return cls(load_config(source), clock=clock, fetch_keys=fetch_keys, background=background)

    # --- opening and closing ------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._lifespan.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client at the end of the outermost block."""
        await self._lifespan.leave()

    async def aclose(self) -> None:
        """Close the client, whichever blocks it is open for.

        It accepts no more requests, waits a few seconds for submissions that are being sent, and closes its
        connections. A submission that is cut off stays recorded, and a process that opens the store resumes
        it. Raises `ClientClosed` in another event loop than the client was opened in.
        """
        await self._lifespan.close()

    def _start(self, closers: AsyncExitStack) -> None:
        """Start the parts; `closers` closes them in the reverse order."""
        if self._config.callbacks.accept_unverified:
            _log.warning(
                "callbacks.accept_unverified is on: anyone who reaches the callback URL can report "
                "outcomes; for tests on loopback only",
                extra={"event": LogEvent.CALLBACKS_UNVERIFIED},
            )
        connections = {
            name: connection
            for name, adapter in self._adapters.items()
            if (connection := adapter.listen(self._receiver.deliver)) is not None
        }
        for adapter in reversed(self._adapters.values()):
            closers.push_async_callback(adapter.aclose)
        closers.push_async_callback(self._receiver.aclose)
        self._watch = OutcomeWatch(self._store)
        closers.push_async_callback(self._watch.close)
        closers.push_async_callback(self._tasks.drain)
        kept: list[KeptConnection] = []
        if self._background:
            runner = asyncio.create_task(self._scheduler.run(), name="transferkit-scheduler")
            closers.push_async_callback(_end, runner)
            kept = self._keep_open(connections, closers)
        self._unrecorded.open()
        closers.callback(self._unrecorded.close)
        closers.push_async_callback(self._close_group_streams)
        closers.push_async_callback(self._close_relays)
        closers.callback(
            self._telemetry.watch(
                self._store,
                lateness=self._scheduler.lateness,
                connections=lambda: {one.provider: one.is_up for one in kept if one.is_up is not None},
                spawn=self._tasks.spawn,
            )
        )
        self._closed = asyncio.Event()  # of this opening: streams of an earlier one stay ended
        closers.callback(self._closed.set)

    def _keep_open(
        self, connections: Mapping[str, Connection], closers: AsyncExitStack
    ) -> list[KeptConnection]:
        """Open the connections over which providers send callbacks, and keep them open."""
        kept = [
            KeptConnection(
                provider=name,
                connection=connection,
                store=self._store,
                inspector=self._inspector,
                clock=self._clock,
                lease=self._config.callbacks.connection_lease,
            )
            for name, connection in connections.items()
        ]
        for one in kept:
            task = asyncio.create_task(one.run(), name=f"transferkit-connection-{one.provider}")
            closers.push_async_callback(_end, task)
        return kept

    async def _close_group_streams(self) -> None:
        await asyncio.gather(*(processor.aclose() for processor in tuple(self._processors)))
        await asyncio.gather(*(stream.aclose() for stream in tuple(self._group_streams)))

    async def _close_relays(self) -> None:
        await asyncio.gather(*(relay.aclose() for relay in tuple(self._relays)))

    # --- requests -----------------------------------------------------------------------------------

    @takes_arguments_of(Transfer)
    async def transfer(self, request: Transfer) -> TransferHandle:
        """Transfer the other party of `call` to the target `to`. Returns when the request is recorded.

        The arguments are the fields of `Transfer`, and `submit(Transfer(…))` does the same. `call` is a
        `Call` or the call's id. `deadline` is in seconds or a timedelta, 150 s by default. Raises what
        `submit` raises, and `ValueError` or `TypeError` for an invalid field.
        """
        return await self.submit(request)

    @takes_arguments_of(redirect_of)
    async def redirect(self, request: Redirect) -> RedirectHandle:
        """Redirect an incoming call to one target or several. Returns when the request is recorded.

        The arguments are the fields of `Redirect`, and `submit(Redirect(…))` does the same. `call` is the
        `CallIncoming` event, which also sets `incoming_context` and `source`, or a `Call`, or the call's id.
        `ring_timeout` and `deadline` are in seconds or timedeltas. Raises what `submit` raises, and
        `ValueError` or `TypeError` for an invalid field.
        """
        return await self.submit(request)

    @takes_arguments_of(answer_of)
    async def answer(self, request: AnswerCall) -> CallHandle:
        """Answer an incoming call. Returns when the request is recorded; `connected()` waits for the call.

        The arguments are the fields of `AnswerCall`. `call` is the `CallIncoming` event, which also sets
        `incoming_context`, or a `Call`, or the call's id. Raises what `submit` raises, and `ValueError` or
        `TypeError` for an invalid field.
        """
        step = await self.submit(request)
        return self._call_handle(step.call, step)

    @takes_arguments_of(reject_of)
    async def reject(self, request: RejectCall) -> StepHandle:
        """Reject an incoming call. Returns when the request is recorded.

        The arguments are the fields of `RejectCall`, as for `answer`. Raises what `answer` raises.
        """
        return await self.submit(request)

    @takes_arguments_of(PlaceCall)
    async def place_call(self, request: PlaceCall) -> CallHandle:
        """Call `to`. Returns when the request is recorded; `connected()` waits until the target answers.

        The arguments are the fields of `PlaceCall`. Raises what `submit` raises, and `ValueError` or
        `TypeError` for an invalid field.
        """
        step = await self.submit(request)
        return self._call_handle(step.call, step)

    def call(self, call: Call | str) -> CallHandle:
        """Return a handle of a call of the application: a `Call`, or the id of one of the default provider.

        No I/O. Raises `InvalidRequest` if its provider is not configured.
        """
        call = Call(None, call) if isinstance(call, str) else call
        return self._call_handle(evolve(call, provider=call.provider or self._config.provider))

    def _call_handle(self, call: Call, step: StepHandle | None = None) -> CallHandle:
        key = call_key(call, self._adapters)
        return CallHandle(call, key=key, store=self._open_store, submit=self.submit, step=step)

    @takes_arguments_of(Consultation)
    async def consult(self, request: Consultation) -> ConsultationHandle:
        """Put the other party of `call` on hold and call the agent `to`. Returns when that is recorded.

        The arguments are the fields of `Consultation`, and `submit(Consultation(…))` does the same. The
        handle waits for the agent's answer, and completes or cancels the consultation. Raises what `submit`
        raises, and `ValueError` or `TypeError` for an invalid field.
        """
        return await self.submit(request)

    @takes_arguments_of(Route)
    async def route(self, request: Route) -> RouteHandle:
        """Transfer the caller to the first of several targets that takes the call.

        The arguments are the fields of `Route`, and `submit(Route(…))` does the same. `ring_timeout` of an
        attempt and `deadline` are in seconds or timedeltas. Returns when the route is recorded; it goes on in
        any process with the same store. Raises what `submit` raises, with the problems of all attempts, and
        `ValueError` or `TypeError` for an invalid field.
        """
        return await self.submit(request)

    @overload
    async def submit(self, request: Transfer) -> TransferHandle: ...
    @overload
    async def submit(self, request: Redirect) -> RedirectHandle: ...
    @overload
    async def submit(self, request: Step) -> StepHandle: ...
    @overload
    async def submit(self, request: Consultation) -> ConsultationHandle: ...
    @overload
    async def submit(self, request: Route) -> RouteHandle: ...
    async def submit(self, request: Request) -> AnyHandle:
        """Record a request and send it. Returns when the request is recorded.

        Raises `InvalidRequest` with every problem, `TransferInProgress`, `IdempotencyConflict`,
        `ConfigError`, `StoreError` or `ClientClosed` if nothing was recorded. Raises `CommitUnknown`, a
        `StoreError` that names the transfer, if the store failed and the request may have been recorded. A
        request that the provider refuses later ends with an event, not with an error. Whatever interrupts
        the caller, the transfer goes on.
        """
        self._lifespan.check_open()
        with self._telemetry.request(request) as span:
            planned = self._plan(request)
            opened = planned.opened
            span.set_call(opened.call)
            recording = self._tasks.spawn(self._sender.record(planned))
            try:
                recorded = await asyncio.shield(recording)
            except asyncio.CancelledError:
                if not recording.cancelled():
                    raise  # the caller was cancelled, and the transfer goes on
                raise CommitUnknown(
                    f"the client was closed while transfer {opened.id} was being recorded. It may or may not "
                    "have been recorded; if it was, a process that opens the store sends it"
                ) from None
            with suppress(Exception):  # a meter may raise; the request is recorded all the same
                span.set_transfer(recorded.id)
            return self._handle(recorded)

    async def preview(self, request: Request) -> WireRequest:
        """Return the HTTP request exactly as `submit` would send it, with masked credentials.

        Sends and records nothing. Needs no credentials and no open client. Raises `InvalidRequest`.
        """
        opened = self._plan(request).opened
        if isinstance(request, Consultation | Route):
            several = Problem("request", f"a {request.kind} consists of several requests", "one of them")
            raise InvalidRequest(opened.call.provider, [several])
        submission = Submission(
            id=opened.id,
            request=opened.request,
            first_sent_at=opened.at,
            deadline=Deadline(opened.at + opened.request.deadline, self._clock),
            tenant_id=opened.request.call.tenant_id,
        )
        return await self._adapters[opened.call.provider].wire(submission)

    def _plan(self, request: Request) -> Planned:
        """Return the request as it is recorded. Raises `InvalidRequest`."""
        return plan_request(
            request,
            adapters=self._adapters,
            provider=self._config.provider,
            public_url=self._config.callbacks.public_url,
            routes=self._config.routes,
            at=self._clock.now(),
            trace=self._telemetry.current_trace(),
        )

    # --- transfers and events -----------------------------------------------------------------------

    async def get(self, transfer_id: str) -> AnyHandle:
        """Return the handle of a stored request. Raises `TransferNotFound`."""
        return self._handle((await self._stored(transfer_id)).opened)

    async def consultation(self, consultation_id: str) -> ConsultationHandle:
        """Return the handle of a stored consultation. Raises `TransferNotFound`."""
        handle = await self.get(consultation_id)
        if not isinstance(handle, ConsultationHandle):
            raise TransferNotFound(consultation_id)
        return handle

    async def outcome(self, transfer_id: str, timeout: float | None = None) -> AnyOutcome:
        """Wait for the outcome of a stored request, as its handle's `outcome` does.

        Raises `TransferNotFound`, `ClientClosed`, and `TimeoutError` after `timeout` seconds; the transfer
        goes on.
        """
        return await (await self.get(transfer_id)).outcome(timeout)

    async def history(self, transfer_id: str) -> tuple[Event, ...]:
        """Return all events of the call of a stored request, in sequence. Raises `TransferNotFound`."""
        return await self._store.call_events((await self._stored(transfer_id)).opened.call)

    async def _stored(self, transfer_id: str) -> StoredTransfer:
        self._lifespan.check_open()
        stored = await self._store.transfer(transfer_id)
        if stored is None:
            raise TransferNotFound(transfer_id)
        return stored

    def _handle(self, opened: Opened) -> AnyHandle:
        request = opened.request
        if isinstance(request, Consultation):
            return ConsultationHandle(
                opened,
                watch=self._open_watch,
                store=self._open_store,
                commit=self._ledger.commit,
                clock=self._clock,
            )
        if isinstance(request, Route):
            return RouteHandle(opened, watch=self._open_watch, commit=self._ledger.commit, clock=self._clock)
        if isinstance(request, Transfer):
            return Handle[TransferOutcome](opened.id, request, self._open_watch)
        if isinstance(request, Redirect):
            return Handle[RedirectOutcome](opened.id, request, self._open_watch)
        return Handle[StepOutcome](opened.id, request, self._open_watch)

    def _open_store(self) -> Store:
        self._lifespan.check_open()
        return self._store

    def _open_watch(self) -> OutcomeWatch:
        self._lifespan.check_open()
        return self._watch

    def events(
        self, group: str | None = None, *, start: GroupStart | str | None = None, follow: bool = True
    ) -> EventStream:
        """Return a stream of events: enter it with `with` or `async with`, then iterate over it.

        Without a group, the stream is a live tail that starts now, or with the oldest stored event if `start`
        is "beginning". With a group, each event is delivered at least once, in order per call, to one of the
        group's consumers; `start` applies to a new group and defaults to that of `[groups]`. With
        `follow=False` the stream ends when there are no more events to read.
        """
        self._lifespan.check_open()
        if group is not None:
            return self._group_stream(group, start=start, follow=follow)
        return LiveTail(self._store, self._closed, start=_start(start) or GroupStart.NOW, follow=follow)

    def _group_stream(self, group: str, *, start: GroupStart | str | None, follow: bool) -> GroupStream:
        self._lifespan.check_open()
        config = self._config.groups
        return GroupStream(
            self._store,
            group,
            config=evolve(config, start=_start(start) or config.start),
            clock=self._clock,
            follow=follow,
            entered=self._group_streams,
            telemetry=self._telemetry,
        )

    async def process(
        self,
        group: str,
        handler: Handler,
        *,
        concurrency: int = 1,
        start: GroupStart | str | None = None,
        follow: bool = True,
    ) -> None:
        """Call `handler` with each event of a group, and acknowledge the event after it has returned.

        The handler is an async function, or one that blocks, which is called in a thread. `concurrency`
        workers share the calls, as if each was a process of its own; more than the store has partitions (16)
        are of no use. The events of one call are handled one after the other, in order. If the handler
        raises, the event is delivered again, at the earliest after half a second, and parked after
        `groups.max_attempts` attempts.

        Returns when the client closes, which waits a few seconds for handlers that are running, or with
        `follow=False` when there are no more events. A cancellation gives the events back that are being
        handled. Raises `StoreError` if the group cannot be opened.
        """
        processor = Processor(
            handler,
            group=group,
            concurrency=concurrency,
            open_stream=lambda: self._group_stream(group, start=start, follow=follow),
            running=self._processors,
            clock=self._clock,
        )
        await processor.run()

    def relay(self, sink: Sink | None = None, *, group: str | None = None, follow: bool = True) -> Relay:
        """Return a relay, which forwards the event stream to a broker: `await client.relay().run()`.

        `sink` and `group` default to those of `[relay]`, which also says what a message contains. With
        `follow=False` the relay ends when there are no more events. Raises `ConfigError` if no sink is
        configured.
        """
        self._lifespan.check_open()
        config = evolve(self._config.relay, group=group or self._config.relay.group)
        return Relay(
            sink or configured_sink(self._config),
            config=config,
            open_stream=partial(
                self._group_stream, config.group, start=self._config.groups.start, follow=follow
            ),
            running=self._relays,
            clock=self._clock,
            telemetry=self._telemetry,
        )

    async def groups(self) -> tuple[GroupStatus, ...]:
        """Return the status of every consumer group, by name: its lag, parked events and consumers."""
        self._lifespan.check_open()
        return await self._store.groups()

    async def parked(self, group: str) -> tuple[ParkedEvent, ...]:
        """Return the events that the group parked after too many attempts, the oldest first."""
        self._lifespan.check_open()
        return await self._store.parked(group)

    async def release(self, group: str, event_id: str) -> bool:
        """Deliver a parked event again; returns False if the group parked no such event."""
        self._lifespan.check_open()
        return await self._store.release(group, event_id)

    async def remove_group(self, group: str) -> bool:
        """Delete a group with its position and its parked events; returns False if it does not exist."""
        self._lifespan.check_open()
        return await self._store.remove_group(group)

    # --- callbacks and due work ---------------------------------------------------------------------

    async def receive(self, request: CallbackRequest) -> CallbackResponse:
        """Process one callback, and return the response to send to the provider."""
        self._lifespan.check_open()
        return await self._receiver.receive(request)

    def asgi(self) -> CallbackApp:
        """Return an ASGI app that receives callbacks. Mount it in an application, or serve it alone.

        The app can be mounted before the client is open; until then it responds 503. Served alone, it opens
        the client when the server starts and closes it when the server stops. If it is mounted, the
        application opens the client in its own lifespan: `async with client: yield`.
        """
        return CallbackApp(self.receive, opened=lambda: self, config=self._config.callbacks)

    async def run_due(self) -> int:
        """Do all work that is due now; returns the number of pieces.

        An open client does this in the background. Call it where no client stays open (cron, serverless).
        """
        self._lifespan.check_open()
        return await self._scheduler.run_due()

    async def prune(self) -> int:
        """Remove the finished calls that are older than `[retention]` allows; returns their number.

        An open client does this in the background, too.
        """
        self._lifespan.check_open()
        return await self._scheduler.prune()


def _start(start: GroupStart | str | None) -> GroupStart | None:
    """Where to start, if it is given. Raises `ValueError`."""
    if start is not None and start not in set(GroupStart):
        raise ValueError(f"start: expected one of {', '.join(GroupStart)}")
    return None if start is None else GroupStart(start)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
