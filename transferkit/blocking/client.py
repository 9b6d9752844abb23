"""The blocking client, and the handles that it returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from functools import partial, wraps
from inspect import signature
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, final, overload
from weakref import WeakSet

from transferkit._callbacks.verification.fetching import Fetch
from transferkit._callbacks.wsgi import WsgiCallbackApp
from transferkit._engine.handles import RecordedRequest
from transferkit._telemetry import Telemetry
from transferkit._util.signatures import documented_by
from transferkit.blocking.consultations import BlockingConsultationHandle
from transferkit.blocking.loop import CLOSED, LoopThread
from transferkit.blocking.relay import BlockingRelay
from transferkit.blocking.routes import BlockingRouteHandle
from transferkit.blocking.stream import BlockingEventStream
from transferkit.client import (
    AnyHandle,
    AsyncClient,
    CallHandle,
    ConsultationHandle,
    Handle,
    RouteHandle,
    StepHandle,
)
from transferkit.config import Config, load_config
from transferkit.errors import ClientClosed
from transferkit.events import Outcome, RedirectOutcome, StepOutcome, TransferOutcome
from transferkit.identifiers import Identifier
from transferkit.provider.adapter import Adapter
from transferkit.provider.clock import Clock
from transferkit.relay.relay import Relay
from transferkit.requests import Call, Consultation, Redirect, Request, Route, Step, Transfer, WireRequest
from transferkit.stores import Store
from transferkit.streams import EventStream

__all__ = [
    "BlockingCallHandle",
    "BlockingHandle",
    "BlockingRedirectHandle",
    "BlockingStepHandle",
    "BlockingTransferHandle",
    "Client",
]

P = ParamSpec("P")
T = TypeVar("T")
O = TypeVar("O", bound=Outcome)  # noqa: E741 - as in the asynchronous client


@final
class BlockingHandle(RecordedRequest, Generic[O]):
    """A recorded transfer or redirect. Any process with the same store can wait for its outcome."""

    def __init__(self, client: Client, transfer_id: str, request: Request) -> None:
        super().__init__(transfer_id, request)
        self._client = client

    @documented_by(Handle.outcome)
    def outcome(self, timeout: float | None = None) -> O:
        return cast("O", self._client.outcome(self.id, timeout))


BlockingTransferHandle = BlockingHandle[TransferOutcome]
BlockingRedirectHandle = BlockingHandle[RedirectOutcome]
BlockingStepHandle = BlockingHandle[StepOutcome]
AnyBlockingHandle = (
    BlockingTransferHandle
    | BlockingRedirectHandle
    | BlockingStepHandle
    | BlockingConsultationHandle
    | BlockingRouteHandle
)


@final
class BlockingCallHandle:
    """A call of the application: answered or placed with this handle, or known by its id.

    `step` is the handle of the step that answers or places the call; None if there is none.
    """

    def __init__(self, client: Client, handle: CallHandle) -> None:
        self._client = client
        self._handle = handle
        step = handle.step
        self.step = None if step is None else BlockingStepHandle(client, step.id, step.request)

    @property
    def call(self) -> Call:
        """The call. Raises `CallNotConnected` for a placed call whose id the provider has not given yet."""
        return self._handle.call

    @documented_by(CallHandle.connected)
    def connected(self, timeout: float | None = None) -> Call:
        return self._client._run(lambda _: self._handle.connected(timeout))  # noqa: SLF001 - its own handle

    @documented_by(CallHandle.hold)
    def hold(self, participant: Identifier | None = None) -> BlockingStepHandle:
        return self._step(lambda: self._handle.hold(participant))

    @documented_by(CallHandle.resume)
    def resume(self, participant: Identifier | None = None) -> BlockingStepHandle:
        return self._step(lambda: self._handle.resume(participant))

    @documented_by(CallHandle.hang_up)
    def hang_up(self, *, leave: bool = False) -> BlockingStepHandle:
        return self._step(lambda: self._handle.hang_up(leave=leave))

    def __repr__(self) -> str:
        return f"<Blocking{repr(self._handle)[1:]}"

    def _step(self, submit: Callable[[], Coroutine[Any, Any, StepHandle]]) -> BlockingStepHandle:
        handle = self._client._run(lambda _: submit())  # noqa: SLF001 - its own handle
        return BlockingStepHandle(self._client, handle.id, handle.request)


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    """The same method, with the same parameters and result, blocking."""

    @wraps(method)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(lambda client: method(client, *args, **kwargs))

    return blocking


def _returning_handle(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, Handle[O]]],
) -> Callable[Concatenate[Client, P], BlockingHandle[O]]:
    """The same for a method that returns a handle."""

    @wraps(method)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> BlockingHandle[O]:
        handle = self._run(lambda client: method(client, *args, **kwargs))
        return BlockingHandle(self, handle.id, handle.request)

    return _with_blocking_result(blocking, method)


def _returning_call(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, CallHandle]],
) -> Callable[Concatenate[Client, P], BlockingCallHandle]:
    """The same for a method that returns the handle of a call."""

    @wraps(method)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> BlockingCallHandle:
        return BlockingCallHandle(self, self._run(lambda client: method(client, *args, **kwargs)))

    return _with_blocking_result(blocking, method)


def _returning_consultation(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, ConsultationHandle]],
) -> Callable[Concatenate[Client, P], BlockingConsultationHandle]:
    """The same for a method that returns the handle of a consultation."""

    @wraps(method)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> BlockingConsultationHandle:
        handle = self._run(lambda client: method(client, *args, **kwargs))
        return BlockingConsultationHandle(self._run, handle.id, handle.request)

    return _with_blocking_result(blocking, method)


def _returning_route(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, RouteHandle]],
) -> Callable[Concatenate[Client, P], BlockingRouteHandle]:
    """The same for a method that returns the handle of a route."""

    @wraps(method)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> BlockingRouteHandle:
        handle = self._run(lambda client: method(client, *args, **kwargs))
        return BlockingRouteHandle(self._run, handle.id, handle.request)

    return _with_blocking_result(blocking, method)


def _returning_stream(
    method: Callable[Concatenate[AsyncClient, P], EventStream],
) -> Callable[Concatenate[Client, P], BlockingEventStream]:
    """The same for a method that returns a stream."""

    @wraps(method)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> BlockingEventStream:
        return BlockingEventStream(self._loop_thread, lambda client: method(client, *args, **kwargs))

    return _with_blocking_result(blocking, method)


def _returning_relay(
    method: Callable[Concatenate[AsyncClient, P], Relay],
) -> Callable[Concatenate[Client, P], BlockingRelay]:
    """The same for a method that returns a relay."""

    @wraps(method)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> BlockingRelay:
        async def make(client: AsyncClient) -> Relay:
            return method(client, *args, **kwargs)

        loop = self._loop_thread()
        return BlockingRelay(loop, self._run(make))

    return _with_blocking_result(blocking, method)


def _with_blocking_result(blocking: T, method: Callable[..., Any]) -> T:
    """Have `help` show the blocking class that a method returns, where `wraps` shows the original."""
    original = signature(method)
    returns = f"Blocking{original.return_annotation}"
    blocking.__signature__ = original.replace(return_annotation=returns)  # type: ignore[attr-defined]
    return blocking


@final
class Client:
    """`AsyncClient` for threads that block: the same methods, for any thread of any process.

    The client opens itself when it is first used. `with client:` opens it at once, so that an unreachable
    store is noticed at the start. It runs in a daemon thread with an event loop of its own.

    * A forked child opens a client of its own when it first uses it, so one client that is made before the
      fork serves all workers. If the client was open at the fork, on a ready-made store or ready-made
      adapters, then the child's calls raise `ClientClosed`. Each process has its own store in memory.
    * Ctrl-C, and whatever else a signal handler raises, ends a wait and nothing more: a transfer that was
      recorded goes on.
    * `close()` ends all waits with `ClientClosed`, and all streams. Later calls raise `ClientClosed` until
      `with client:` opens the client again. Without `close()`, submissions that are being sent get a few
      seconds when the interpreter exits, after the last non-daemon thread. A wait in a daemon thread then
      ends its thread.
    * A call raises `RuntimeError` in the client's own thread (in an adapter, a store, a log handler). In the
      thread of another event loop, it blocks that loop: use `AsyncClient` there.
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
        self._make = partial(
            AsyncClient,
            config,
            store=store,
            adapters=adapters,
            clock=clock,
            fetch_keys=fetch_keys,
            background=background,
            telemetry=telemetry,
        )
        self._callbacks = config.callbacks
        self._ready_made = store is not None or adapters is not None
        self._client: AsyncClient | None = self._make()  # at once, to raise `ConfigError` here
        self._loop: LoopThread | None = None
        self._closed = False
        self._left_behind = False
        self._lock = RLock()  # a signal handler may call while its own thread holds it
        _clients.add(self)

    @classmethod
    @documented_by(AsyncClient.from_config)
    def from_config(
        cls,
        source: str | Path | Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
        fetch_keys: Fetch | None = None,
        background: bool = True,
    ) -> Self:
        return cls(load_config(source), clock=clock, fetch_keys=fetch_keys, background=background)

    # --- opening and closing ------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._closed:
            self.close()  # another thread may still be closing it
            self._closed = False
        try:
            self._run(_nothing)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client. Waits in other threads raise `ClientClosed`, and streams end.

        It accepts no more requests, waits a few seconds for submissions that are being sent, and closes its
        connections. A submission that is cut off stays recorded, and a process that opens the store resumes
        it. Closing twice does nothing.
        """
        if self._loop is not None:
            self._loop.check_thread()
        with self._lock:
            self._closed = True
            loop = self._loop
        if loop is None:
            return
        try:
            loop.close()
        finally:
            if not loop.alive and self._loop is loop:
                self._loop = None

    def _loop_thread(self) -> LoopThread:
        """Return the loop of this process, started when it is first needed."""
        with self._lock:
            if self._left_behind:
                raise ClientClosed(
                    "the client was open in the parent process, on a ready-made store or adapters, which a "
                    "fork cannot share. Nothing was sent. Make a client in this process, or use "
                    "Client.from_config"
                )
            if self._closed:
                raise ClientClosed(CLOSED)
            if self._loop is None:
                self._client = self._client or self._make()
                self._loop = LoopThread(self._client)
            return self._loop

    def _run(self, work: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        loop = self._loop_thread()

        async def opened() -> T:
            return await work(await loop.opened())

        return loop.run(opened)

    def _forget(self) -> None:
        """In a forked child, drop the parent's loop, whose thread does not exist here."""
        self._left_behind = self._left_behind or (self._ready_made and self._loop is not None)
        self._client = self._loop = None
        self._lock = RLock()

    # --- requests -----------------------------------------------------------------------------------

    transfer = _returning_handle(AsyncClient.transfer)
    redirect = _returning_handle(AsyncClient.redirect)
    answer = _returning_call(AsyncClient.answer)
    reject = _returning_handle(AsyncClient.reject)
    place_call = _returning_call(AsyncClient.place_call)
    consult = _returning_consultation(AsyncClient.consult)
    route = _returning_route(AsyncClient.route)

    @documented_by(AsyncClient.call)
    def call(self, call: Call | str) -> BlockingCallHandle:
        return BlockingCallHandle(self, self._loop_thread().client.call(call))

    @overload
    def submit(self, request: Transfer) -> BlockingTransferHandle: ...
    @overload
    def submit(self, request: Redirect) -> BlockingRedirectHandle: ...
    @overload
    def submit(self, request: Step) -> BlockingStepHandle: ...
    @overload
    def submit(self, request: Consultation) -> BlockingConsultationHandle: ...
    @overload
    def submit(self, request: Route) -> BlockingRouteHandle: ...
    @documented_by(AsyncClient.submit)
    def submit(self, request: Request) -> AnyBlockingHandle:
        async def submit(client: AsyncClient) -> AnyHandle:
            return await client.submit(request)

        return self._handle(self._run(submit))

    @documented_by(AsyncClient.preview)
    def preview(self, request: Request) -> WireRequest:
        loop = self._loop_thread()
        return loop.run(lambda: loop.client.preview(request))

    # --- transfers and events -----------------------------------------------------------------------

    @documented_by(AsyncClient.get)
    def get(self, transfer_id: str) -> AnyBlockingHandle:
        return self._handle(self._run(lambda client: client.get(transfer_id)))

    @documented_by(AsyncClient.consultation)
    def consultation(self, consultation_id: str) -> BlockingConsultationHandle:
        handle = self._run(lambda client: client.consultation(consultation_id))
        return BlockingConsultationHandle(self._run, handle.id, handle.request)

    def _handle(self, handle: AnyHandle) -> AnyBlockingHandle:
        request = handle.request
        if isinstance(request, Consultation):
            return BlockingConsultationHandle(self._run, handle.id, request)
        if isinstance(request, Route):
            return BlockingRouteHandle(self._run, handle.id, request)
        if isinstance(request, Transfer):
            return BlockingHandle[TransferOutcome](self, handle.id, request)
        if isinstance(request, Redirect):
            return BlockingHandle[RedirectOutcome](self, handle.id, request)
        return BlockingHandle[StepOutcome](self, handle.id, request)

    outcome = _blocking(AsyncClient.outcome)
    history = _blocking(AsyncClient.history)

    events = _returning_stream(AsyncClient.events)
    relay = _returning_relay(AsyncClient.relay)
    process = _blocking(AsyncClient.process)
    groups = _blocking(AsyncClient.groups)
    parked = _blocking(AsyncClient.parked)
    release = _blocking(AsyncClient.release)
    remove_group = _blocking(AsyncClient.remove_group)

    # --- callbacks and due work ---------------------------------------------------------------------

    receive = _blocking(AsyncClient.receive)

    def wsgi(self) -> WsgiCallbackApp:
        """Return a WSGI app that receives callbacks. Mount it in an application, or serve it alone.

        The first callback opens the client.
        """
        return WsgiCallbackApp(self.receive, config=self._callbacks)

    run_due = _blocking(AsyncClient.run_due)
    prune = _blocking(AsyncClient.prune)


async def _nothing(_: AsyncClient) -> None:
    """Only open the client."""


_clients: WeakSet[Client] = WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._forget()  # noqa: SLF001 - the hook belongs to the class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
