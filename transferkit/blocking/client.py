"""The blocking client: the front door for threads."""

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
from transferkit._telemetry import Telemetry
from transferkit.blocking.loop import CLOSED, LoopThread
from transferkit.blocking.stream import BlockingEventStream
from transferkit.client import AsyncClient, Handle, RedirectHandle, TransferHandle
from transferkit.config import Config, load_config
from transferkit.errors import ClientClosed
from transferkit.events import Outcome, RedirectOutcome, TransferOutcome
from transferkit.provider.adapter import Adapter
from transferkit.provider.clock import Clock
from transferkit.requests import Call, Redirect, Request, Transfer, WireRequest
from transferkit.stores import Store
from transferkit.streams import EventStream

__all__ = ["BlockingHandle", "BlockingRedirectHandle", "BlockingTransferHandle", "Client"]

P = ParamSpec("P")
T = TypeVar("T")
O = TypeVar("O", bound=Outcome)  # noqa: E741 - as in the asynchronous client


@final
class BlockingHandle(Generic[O]):
    """A transfer or redirect that is recorded; wait for its outcome here or in any process on the store."""

    def __init__(self, client: Client, transfer_id: str, request: Request) -> None:
        self._client = client
        self._id = transfer_id
        self._request = request

    @property
    def id(self) -> str:
        """The transfer's id, on every event of it."""
        return self._id

    @property
    def request(self) -> Request:
        """What was asked for, without the fields that were dropped."""
        return self._request

    @property
    def call(self) -> Call:
        """The call."""
        return self._request.call

    def outcome(self, timeout: float | None = None) -> O:
        """The one terminal event.

        Waits until the provider's verdict, the call's end or the deadline decided. Raises `TimeoutError`
        after `timeout` seconds and leaves the transfer open; whatever interrupts the wait does the same.
        Raises `ClientClosed` when the client is closed, or closes before there is an outcome.
        """
        return cast("O", self._client.outcome(self._id, timeout))

    def __repr__(self) -> str:
        return f"<{type(self._request).__name__} {self._id} of {self.call}>"


BlockingTransferHandle = BlockingHandle[TransferOutcome]
BlockingRedirectHandle = BlockingHandle[RedirectOutcome]


def _same(
    verb: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    """A verb of the asynchronous client: the same parameters and result, blocking."""

    @wraps(verb)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(lambda client: verb(client, *args, **kwargs))

    return blocking


def _handing(
    verb: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, Handle[O]]],
) -> Callable[Concatenate[Client, P], BlockingHandle[O]]:
    """The same for a verb that returns a handle."""

    @wraps(verb)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> BlockingHandle[O]:
        handle = self._run(lambda client: verb(client, *args, **kwargs))
        return BlockingHandle(self, handle.id, handle.request)

    return _shown(blocking, verb)


def _streaming(
    verb: Callable[Concatenate[AsyncClient, P], EventStream],
) -> Callable[Concatenate[Client, P], BlockingEventStream]:
    """The same for a verb that makes a stream."""

    @wraps(verb)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> BlockingEventStream:
        return BlockingEventStream(self._loop_thread, lambda client: verb(client, *args, **kwargs))

    return _shown(blocking, verb)


def _shown(blocking: T, verb: Callable[..., Any]) -> T:
    """Have `help` show the blocking class that a verb returns; `wraps` shows that of the original."""
    original = signature(verb)
    returns = f"Blocking{original.return_annotation}"
    blocking.__signature__ = original.replace(return_annotation=returns)  # type: ignore[attr-defined]
    return blocking


@final
class Client:
    """`AsyncClient` for threads that block: the same verbs, usable from any thread, of any process.

    The client opens itself at first use; `with client:` opens it at once, so that a store that is not there
    is noticed at the start. It runs in a daemon thread with an event loop of its own.

    * A forked child opens a client of its own at first use and leaves its parent's alone, so one client made
      before the fork serves all workers. With a store or adapters that were handed over ready-made and are
      open at the fork, the child's calls raise `ClientClosed`. A store in memory is each process's own.
    * Ctrl-C, and whatever else a signal handler raises, ends a wait and nothing more: a transfer that was
      begun goes on.
    * `close()` ends all waits with `ClientClosed` and all streams; calls after it raise `ClientClosed` until
      `with client:` opens the client again. Without `close()`, submissions under way get a few seconds when
      the interpreter exits, after the last thread that is no daemon; a wait in a daemon thread ends its
      thread then.
    * In the client's own thread (an adapter, a store, a log handler) a call raises `RuntimeError`. In
      another event loop's thread it blocks that loop: use `AsyncClient` there.
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

    def __enter__(self) -> Self:
        if self._closed:
            self.close()  # another thread may still be at it
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
        """Stop taking requests, let submissions under way finish for a moment, and let go of everything.

        A submission that is cut off stays recorded; a process that opens the store again takes it over.
        Waits in other threads raise `ClientClosed`, and streams end. Closing twice does nothing.
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
        """This process's loop, started by whoever needs it first."""
        with self._lock:
            if self._left_behind:
                raise ClientClosed(
                    "the parent process has this client open on a store or adapters that it was handed "
                    "ready-made; they cannot be shared with a fork. Nothing was sent. Make a client in this "
                    "process, or use Client.from_config"
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
        """In a forked child: the parent's threads are not here, and what they hold is not to be touched."""
        self._left_behind = self._left_behind or (self._ready_made and self._loop is not None)
        self._client = self._loop = None
        self._lock = RLock()

    # --- asking -------------------------------------------------------------------------------------

    transfer = _handing(AsyncClient.transfer)
    redirect = _handing(AsyncClient.redirect)

    @overload
    def submit(self, request: Transfer) -> BlockingTransferHandle: ...
    @overload
    def submit(self, request: Redirect) -> BlockingRedirectHandle: ...
    def submit(self, request: Request) -> BlockingTransferHandle | BlockingRedirectHandle:
        """Record a request and send it; returns once it is recorded.

        Raises only while nothing is recorded: `InvalidRequest` with every problem, `TransferInProgress`,
        `IdempotencyConflict`, `ConfigError`, `StoreError`, `ClientClosed`. After that a refusal is an event
        and an outcome. Whatever interrupts the caller detaches it; the transfer goes on.
        """

        async def submit(client: AsyncClient) -> TransferHandle | RedirectHandle:
            return await client.submit(request)

        return self._handle(self._run(submit))

    def preview(self, request: Request) -> WireRequest:
        """The exact HTTP request that `submit` would send, credentials masked.

        Sends nothing, records nothing, needs no credentials and opens nothing. Raises `InvalidRequest`.
        """
        loop = self._loop_thread()
        return loop.run(lambda: loop.client.preview(request))

    # --- asking after -------------------------------------------------------------------------------

    def get(self, transfer_id: str) -> BlockingTransferHandle | BlockingRedirectHandle:
        """The handle of a stored transfer or redirect. Raises `TransferNotFound`."""
        return self._handle(self._run(lambda client: client.get(transfer_id)))

    def _handle(
        self, handle: TransferHandle | RedirectHandle
    ) -> BlockingTransferHandle | BlockingRedirectHandle:
        if isinstance(handle.request, Redirect):
            return BlockingHandle[RedirectOutcome](self, handle.id, handle.request)
        return BlockingHandle[TransferOutcome](self, handle.id, handle.request)

    outcome = _same(AsyncClient.outcome)
    history = _same(AsyncClient.history)

    events = _streaming(AsyncClient.events)
    groups = _same(AsyncClient.groups)
    parked = _same(AsyncClient.parked)
    release = _same(AsyncClient.release)
    remove_group = _same(AsyncClient.remove_group)

    # --- being told ---------------------------------------------------------------------------------

    receive = _same(AsyncClient.receive)

    def wsgi(self) -> WsgiCallbackApp:
        """The receiver as a WSGI app, to mount or to serve by itself. The first callback opens the client."""
        return WsgiCallbackApp(self.receive, config=self._callbacks)

    run_due = _same(AsyncClient.run_due)
    prune = _same(AsyncClient.prune)


async def _nothing(_: AsyncClient) -> None:
    """Opening is all that is wanted."""


_clients: WeakSet[Client] = WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._forget()  # noqa: SLF001 - the hook is the class's own; only it can have one for each process


if hasattr(os, "register_at_fork"):  # pragma: no branch - only Windows has no forks
    os.register_at_fork(after_in_child=_after_fork)
