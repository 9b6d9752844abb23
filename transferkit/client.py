"""The asynchronous client, and the handles that it returns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final, overload

from attrs import evolve

from transferkit._callbacks import CallbackRequest, CallbackResponse, Receiver
from transferkit._callbacks.asgi import CallbackApp
from transferkit._callbacks.verification.fetching import Fetch
from transferkit._callbacks.verification.verifier import Verifier
from transferkit._engine.components import make_adapters, make_store
from transferkit._engine.handles import Handle, RedirectHandle, TransferHandle
from transferkit._engine.incoming import redirect_of
from transferkit._engine.inspector import Inspector
from transferkit._engine.ledger import Ledger
from transferkit._engine.lifespan import Lifespan
from transferkit._engine.planning import plan_request
from transferkit._engine.scheduler import Scheduler
from transferkit._engine.sender import Sender
from transferkit._engine.tasks import BackgroundTasks
from transferkit._engine.unrecorded import UnrecordedAnswers
from transferkit._lifecycle import Opened
from transferkit._telemetry import Telemetry, telemetry_here
from transferkit._util.log_events import LogEvent
from transferkit._util.signatures import takes_arguments_of
from transferkit.config import Config, load_config
from transferkit.errors import TransferNotFound
from transferkit.events import Event, RedirectOutcome, TransferOutcome
from transferkit.provider.adapter import Adapter, Submission
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.deadline import Deadline
from transferkit.requests import Redirect, Request, Transfer, WireRequest
from transferkit.stores import CommitUnknown, Store, StoredTransfer
from transferkit.stores.consumer_groups import GroupStart, GroupStatus, ParkedEvent
from transferkit.streams import EventStream, GroupStream, LiveTail, OutcomeWatch

__all__ = ["AsyncClient", "Handle", "RedirectHandle", "TransferHandle"]

_log = logging.getLogger("transferkit.client")


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
        inspector = Inspector(store=store, ledger=ledger, adapters=adapters, clock=clock, telemetry=telemetry)
        if not background:
            ledger.after_commit = inspector.inspect_for_failure
        self._scheduler = Scheduler(
            store=store,
            ledger=ledger,
            sender=self._sender,
            inspector=inspector,
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
        for adapter in self._adapters.values():
            adapter.listen(self._receiver.deliver)
        for adapter in reversed(self._adapters.values()):
            closers.push_async_callback(adapter.aclose)
        closers.push_async_callback(self._receiver.aclose)
        self._watch = OutcomeWatch(self._store)
        closers.push_async_callback(self._watch.close)
        closers.push_async_callback(self._tasks.drain)
        if self._background:
            runner = asyncio.create_task(self._scheduler.run(), name="transferkit-scheduler")
            closers.push_async_callback(_end, runner)
        self._unrecorded.open()
        closers.callback(self._unrecorded.close)
        closers.push_async_callback(self._close_group_streams)
        closers.callback(
            self._telemetry.watch(self._store, lateness=self._scheduler.lateness, spawn=self._tasks.spawn)
        )
        self._closed = asyncio.Event()  # of this opening: streams of an earlier one stay ended
        closers.callback(self._closed.set)

    async def _close_group_streams(self) -> None:
        await asyncio.gather(*(stream.aclose() for stream in tuple(self._group_streams)))

    # --- requests -----------------------------------------------------------------------------------

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
        self._lifespan.check_open()
        with self._telemetry.asking(request) as span:
            opened, dropped = self._plan(request)
            span.about(opened.call)
            recording = self._tasks.spawn(self._sender.record(opened, dropped=dropped))
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
                span.recorded(recorded.id)
            return self._handle(recorded)

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
        self._lifespan.check_open()
        stored = await self._store.transfer(transfer_id)
        if stored is None:
            raise TransferNotFound(transfer_id)
        return stored

    def _handle(self, opened: Opened) -> TransferHandle | RedirectHandle:
        if opened.is_redirect:
            return Handle[RedirectOutcome](opened, self._open_watch)
        return Handle[TransferOutcome](opened, self._open_watch)

    def _open_watch(self) -> OutcomeWatch:
        self._lifespan.check_open()
        return self._watch

    def events(
        self, group: str | None = None, *, start: GroupStart | str | None = None, follow: bool = True
    ) -> EventStream:
        """The stream of events: `async with client.events() as stream`, then `async for event in stream`.

        Without a group a live tail, from now unless `start` is "beginning". With one at least once and in
        order per call, shared with the group's other consumers; `start` is for a new group, by default that
        of `[groups]`. `follow=False` ends it where there is nothing more to read now.
        """
        self._lifespan.check_open()
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
        self._lifespan.check_open()
        return await self._store.groups()

    async def parked(self, group: str) -> tuple[ParkedEvent, ...]:
        """Events that the group set aside after too many attempts, the oldest first."""
        self._lifespan.check_open()
        return await self._store.parked(group)

    async def release(self, group: str, event_id: str) -> bool:
        """Have a parked event delivered once more; False where the group parked no such event."""
        self._lifespan.check_open()
        return await self._store.release(group, event_id)

    async def remove_group(self, group: str) -> bool:
        """Forget a group, how far it was and what it set aside; False where there is none."""
        self._lifespan.check_open()
        return await self._store.remove_group(group)

    # --- being told ---------------------------------------------------------------------------------

    async def receive(self, request: CallbackRequest) -> CallbackResponse:
        """Take one callback. Answer the provider with what this returns, and not before."""
        self._lifespan.check_open()
        return await self._receiver.receive(request)

    def asgi(self) -> CallbackApp:
        """The receiver as an ASGI app, to mount or to serve by itself.

        It may be made and mounted before the client is open, and asks senders to come again until it is.
        Served by itself it opens the client with the server and closes it at the end. A framework that it is
        mounted in does that in its own lifespan: `async with client: yield`.
        """
        return CallbackApp(self.receive, opened=lambda: self, config=self._config.callbacks)

    async def run_due(self) -> int:
        """Do all work that is due now, and return how many pieces that was.

        An open client does this by itself; call it where no client stays open (cron, serverless).
        """
        self._lifespan.check_open()
        return await self._scheduler.run_due()

    async def prune(self) -> int:
        """Remove the calls that are older than `[retention]` allows, and return how many that was.

        An open client does this by itself, too, every now and then.
        """
        self._lifespan.check_open()
        return await self._scheduler.prune()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
