"""The contract of adapters, as a test class to subclass.

    class TestMyAdapter(AdapterContract):
        samples = ContractSamples(adapter=lambda: MyAdapter(MySettings(...)), ...)

Needs pytest, pytest-asyncio (in either mode) and hypothesis; see `docs/how_to/write_an_adapter.md`.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ClassVar, final
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transferkit.events import Basis
from transferkit.identifiers import UnknownIdentifier
from transferkit.provider.adapter import Adapter, Callback, Submission
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.deadline import Deadline, DeadlinePassed
from transferkit.provider.facts import Fact, MalformedCallback, Result, Signal
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult
from transferkit.requests import (
    AnswerCall,
    CallingContext,
    HangUp,
    Hold,
    Join,
    OnUnsupported,
    PlaceCall,
    RejectCall,
    Request,
    RequestKind,
    Resume,
    Step,
    Transfer,
)
from transferkit.testing.server import stop_accepting

__all__ = ["AdapterContract", "ContractSamples"]

# Each adapter runs the same inherited tests, which hypothesis would report as a health problem.
_for_every_subclass = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.differing_executors]
)
_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@final
@attrs.frozen(kw_only=True)
class ContractSamples:
    """The adapter under test, and sample data for it.

    * `adapter`: creates an adapter with complete settings, whose credentials are `secrets`.
    * `unreachable`: creates an adapter whose provider cannot be connected to; None if the provider is local.
    * `at`: creates an adapter whose provider is at an address on loopback (`http://127.0.0.1:40123`), where
      the contract responds in unexpected ways; None if the adapter supports only https.
    * `preparing`: takes a request and the line of an HTTP request. If it is one that executes nothing, which
      `submit` sends before the one that executes, it returns the JSON to answer with at `at`; otherwise None.
    * `requests`: requests that the provider supports; the first is a transfer. There is one of each supported
      kind of step, and none needs a query of the provider before it is sent.
    * `callbacks`: bodies of callbacks, each with the signals that it decodes to.
    """

    adapter: Callable[[], Adapter]
    unreachable: Callable[[], Adapter] | None = None
    at: Callable[[str], Adapter] | None = None
    preparing: Callable[[Request, bytes], bytes | None] = lambda _, __: None
    requests: tuple[Request, ...]
    callbacks: tuple[tuple[bytes, tuple[Signal, ...]], ...]
    secrets: tuple[str, ...] = ()


def _submission(request: Request, *, deadline: Deadline | None = None) -> Submission:
    deadline = deadline or Deadline(datetime.now(UTC) + timedelta(minutes=1))
    return Submission(id=str(uuid4()), request=request, first_sent_at=_AT, deadline=deadline)


def _facts(adapter: type[Adapter], body: bytes) -> tuple[Fact, ...]:
    """The facts of a body, including the valid part of a malformed body."""
    try:
        return adapter.decode(Callback(body=body, received_at=_AT))
    except MalformedCallback as error:
        malformed = error
    assert malformed.provider == adapter.name
    assert malformed.where
    return malformed.facts


# Responses that prove neither that the request was executed nor that it was not.
_UNCLEAR_RESPONSES = {
    "connection closed": b"",
    "response cut short": b"HTTP/1.1 202 Accepted\r\nContent-Le",
    "not HTTP": b"220 mail.example ESMTP\r\n",
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "502 of a proxy": b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>",
    "503 without Retry-After": (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ),
}


@asynccontextmanager
async def _unclear_provider(
    response: bytes, preparing: Callable[[bytes], bytes | None] = lambda _: None
) -> AsyncGenerator[tuple[str, list[bytes]]]:
    """Run a provider that responds to each request with `response`; yields its URL and the request lines.

    Requests for which `preparing` returns an answer get it, and are not among the lines.
    """
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            line = head.partition(b"\r\n")[0]
            prepared = preparing(line)
            if prepared is not None:
                size = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(prepared)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + size + prepared)
            else:
                requests.append(line)
                writer.write(response)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return  # the client gave up
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests
    finally:
        await stop_accepting(server)
        await server.wait_closed()


@final
class _ClockAdvancedByConnection:
    """A clock that advances by a minute when a client has connected to a socket."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening

    def now(self) -> datetime:
        connected, _, _ = select.select([self._listening], [], [], 0)
        return _AT + timedelta(minutes=1 if connected else 0)

    async def wait(self, event: asyncio.Event, until: datetime | None) -> None:
        """Return immediately; the adapter does not wait for a deadline."""


class AdapterContract:
    """The tests of the contract. Subclass it and set `samples`."""

    samples: ClassVar[ContractSamples]

    @pytest.fixture
    def adapter(self) -> Adapter:
        """A new adapter."""
        return self.samples.adapter()

    # --- the adapter and its settings ---------------------------------------------------------------

    def test_an_adapter_has_a_name_and_attrs_settings(self, adapter: Adapter) -> None:
        assert adapter.name.isidentifier()
        assert attrs.has(adapter.settings_class)

    def test_an_adapter_can_be_created_with_default_settings(self, adapter: Adapter) -> None:
        assert isinstance(type(adapter)(adapter.settings_class()).capabilities, Capabilities)

    def test_the_repr_of_an_adapter_shows_no_secrets(self, adapter: Adapter) -> None:
        shown = repr(vars(adapter))
        assert not [secret for secret in self.samples.secrets if secret in shown]

    def test_capabilities_are_constant_and_describe_what_they_accept(self, adapter: Adapter) -> None:
        capabilities = adapter.capabilities
        assert capabilities == adapter.capabilities
        supports = [support for kind in RequestKind if (support := capabilities.support(kind)) is not None]
        assert all(limit.accepts for support in supports for limit in support.fields.values())

    def test_the_canonical_form_of_a_canonical_call_id_is_the_same_id(self, adapter: Adapter) -> None:
        for request in self.samples.requests:
            canonical = adapter.canonical_call_id(request.call.id)
            assert adapter.canonical_call_id(canonical) == canonical

    # --- planning -----------------------------------------------------------------------------------

    def test_sample_requests_have_no_problem(self, adapter: Adapter) -> None:
        for request in self.samples.requests:
            planned = adapter.plan(request)
            assert planned.problems == ()
            assert planned.request == request
            assert planned.dropped == ()

    def test_every_supported_step_has_a_sample(self, adapter: Adapter) -> None:
        assert set(adapter.capabilities.steps) <= {request.kind for request in self.samples.requests}

    def test_a_step_that_is_not_supported_is_refused(self, adapter: Adapter) -> None:
        call, to = self._transfer().call, self._transfer().to
        steps: tuple[Step, ...] = (
            *(AnswerCall(call), RejectCall(call), PlaceCall(to), Hold(call), Resume(call), HangUp(call)),
            Join(call, other=call.id, to=to),
        )
        for step in steps:
            if step.kind not in adapter.capabilities.steps:
                assert [problem.field for problem in adapter.plan(step).problems] == ["request"]

    def test_the_callbacks_of_a_placed_call_arrive_at_an_address_that_names_its_step(
        self, adapter: Adapter
    ) -> None:
        step_id = str(uuid4())
        route = adapter.route(f"/calls/{step_id}")
        if RequestKind.PLACE_CALL in adapter.capabilities.steps and adapter.route("") is not None:
            assert route is not None
            assert route.placed_by == step_id
            assert route.transfer_id is None

    def test_planning_is_pure(self, adapter: Adapter) -> None:
        for request in self.samples.requests:
            assert adapter.plan(request) == adapter.plan(request)

    def test_a_target_of_an_unknown_kind_is_rejected_before_sending(self, adapter: Adapter) -> None:
        request = attrs.evolve(self._transfer(), to=UnknownIdentifier("99:nobody"))
        problems = adapter.plan(request).problems
        assert [problem.field for problem in problems] == ["to"]
        assert problems[0].accepts

    def test_planning_reports_all_problems_at_once(self, adapter: Adapter) -> None:
        unknown = UnknownIdentifier("99:nobody")
        request = attrs.evolve(self._transfer(), to=unknown, transferee=unknown)
        assert {"to", "transferee"} <= {problem.field for problem in adapter.plan(request).problems}

    def test_unsupported_fields_are_dropped_only_if_the_request_allows_it(self, adapter: Adapter) -> None:
        limits = adapter.capabilities.transfer or {}
        unsupported = {"context.sip", "context.voip", "region", "language_id"} - set(limits)
        plain = self._transfer()
        context = CallingContext(
            sip={"X-a": "1"} if "context.sip" in unsupported else plain.context.sip,
            voip={"a": "1"} if "context.voip" in unsupported else plain.context.voip,
            teams=plain.context.teams,
        )
        full = attrs.evolve(
            plain,
            context=context,
            region="amer" if "region" in unsupported else plain.region,
            language_id="en-us" if "language_id" in unsupported else plain.language_id,
        )
        assert {problem.field for problem in adapter.plan(full).problems} == unsupported
        planned = adapter.plan(attrs.evolve(full, on_unsupported=OnUnsupported.DROP))
        assert set(planned.dropped) == unsupported
        assert planned.problems == ()
        assert planned.request == attrs.evolve(plain, on_unsupported=OnUnsupported.DROP)

    def _transfer_and_steps(self) -> list[Request]:
        """The first transfer, and the steps: how other requests are sent does not differ."""
        return [self._transfer(), *(request for request in self.samples.requests if request.kind.is_step)]

    def _transfer(self) -> Transfer:
        first = self.samples.requests[0]
        assert isinstance(first, Transfer)
        return first

    # --- requests -----------------------------------------------------------------------------------

    @pytest.mark.asyncio
    async def test_the_previewed_request_shows_no_credentials(self, adapter: Adapter) -> None:
        for request in self.samples.requests:
            submission = _submission(request)
            wire = await adapter.wire(submission)
            assert wire.method
            assert wire.url
            shown = f"{wire.url} {dict(wire.headers)} {wire.body!r}"
            assert not [secret for secret in self.samples.secrets if secret in shown]
        await adapter.aclose()

    @pytest.mark.asyncio
    async def test_a_request_can_be_previewed_without_credentials(self, adapter: Adapter) -> None:
        bare = type(adapter)(adapter.settings_class())
        assert (await bare.wire(_submission(self._transfer()))).url
        await bare.aclose()

    @pytest.mark.asyncio
    async def test_the_same_submission_results_in_the_same_request(self, adapter: Adapter) -> None:
        for request in self.samples.requests:
            submission = _submission(request)
            first, second = await adapter.wire(submission), await adapter.wire(submission)
            assert (first.method, first.url, first.body) == (second.method, second.url, second.body)
        await adapter.aclose()

    @pytest.mark.asyncio
    async def test_a_submission_to_an_unreachable_provider_returns_not_sent(self) -> None:
        if self.samples.unreachable is None:
            return
        adapter = self.samples.unreachable()
        for request in self._transfer_and_steps():
            answer = await adapter.submit(_submission(request))
            assert isinstance(answer, NotSent), f"there was no connection; the adapter returned {answer}"
            self._assert_local_failure(answer.result)
            self._assert_no_secret(answer.result)
        inspection = await adapter.inspect(self._transfer().call)
        assert inspection.presence is Presence.UNKNOWN
        await adapter.aclose()
        again = await adapter.submit(_submission(self._transfer()))
        assert isinstance(again, NotSent), f"a closed adapter can be used again; the adapter returned {again}"
        await adapter.aclose()

    @pytest.mark.asyncio
    @pytest.mark.parametrize("response", _UNCLEAR_RESPONSES, ids=_UNCLEAR_RESPONSES)
    async def test_a_submission_with_an_unclear_response_returns_maybe_sent(self, response: str) -> None:
        if self.samples.at is None:
            return
        for request in self._transfer_and_steps():
            preparing = partial(self.samples.preparing, request)
            async with _unclear_provider(_UNCLEAR_RESPONSES[response], preparing) as (url, requests):
                adapter = self.samples.at(url)
                result = await adapter.submit(_submission(request))
                assert requests, "nothing was sent to the address that was passed to `at`"
                assert len(requests) == 1, (
                    "an adapter sends each submission once; the engine decides about retries"
                )
                assert isinstance(result, MaybeSent), (
                    f"the request may have been executed; the adapter returned {result}"
                )
                self._assert_no_secret(result.result)
                assert (await adapter.inspect(self._transfer().call)).presence is Presence.UNKNOWN
                await adapter.aclose()

    @pytest.mark.asyncio
    async def test_a_request_is_not_sent_if_its_deadline_passes_while_it_is_prepared(self) -> None:
        """The deadline is checked immediately before the request is written, after token and connection."""
        if self.samples.at is None:
            return
        with socket.create_server(("127.0.0.1", 0)) as listening:
            deadline = Deadline(_AT + timedelta(seconds=30), _ClockAdvancedByConnection(listening))
            adapter = self.samples.at(f"http://127.0.0.1:{listening.getsockname()[1]}")
            late = self._submit_late(adapter, _submission(self._transfer(), deadline=deadline))
            answer = await asyncio.wait_for(late, timeout=30)
            await adapter.aclose()
            listening.settimeout(0)  # the adapter may have connected
            with suppress(BlockingIOError):
                arrived, _ = listening.accept()
                with arrived:
                    assert arrived.recv(1) == b"", "the request was written after its deadline"
        assert isinstance(answer, NotSent), f"nothing was sent; the adapter returned {answer}"
        self._assert_local_failure(answer.result)

    async def _submit_late(self, adapter: Adapter, submission: Submission) -> SubmitResult:
        try:
            return await adapter.submit(submission)
        except DeadlinePassed as late:
            return late.answer

    @pytest.mark.asyncio
    async def test_a_submission_without_credentials_returns_a_local_failure(self, adapter: Adapter) -> None:
        if not self.samples.secrets:
            return
        bare = type(adapter)(adapter.settings_class())
        answer = await bare.submit(_submission(self._transfer()))
        assert isinstance(answer, (Rejected, NotSent)), (
            f"nothing can have been sent; the adapter returned {answer}"
        )
        self._assert_local_failure(answer.result)
        assert (await bare.inspect(self._transfer().call)).presence is Presence.UNKNOWN
        await bare.aclose()

    @pytest.mark.asyncio
    async def test_an_adapter_can_be_closed_twice(self, adapter: Adapter) -> None:
        await adapter.aclose()
        await adapter.aclose()

    def _assert_local_failure(self, result: Result) -> None:
        assert result.basis is Basis.LOCAL, (
            f"the provider did not respond, so the basis must be local; the result is {result}"
        )
        assert result.message
        assert result.advice, f"a local failure must have advice; the result is {result}"

    def _assert_no_secret(self, result: Result) -> None:
        shown = f"{result.message} {result.advice} {result.request_id}"
        assert not [secret for secret in self.samples.secrets if secret in shown]

    # --- checks -------------------------------------------------------------------------------------

    @pytest.mark.asyncio
    async def test_a_check_without_credentials_assert_check_fails(self, adapter: Adapter) -> None:
        if self.samples.secrets:
            bare = type(adapter)(adapter.settings_class())
            await self._assert_check_fails(bare)

    @pytest.mark.asyncio
    async def test_a_check_of_an_unreachable_provider_assert_check_fails(self) -> None:
        if self.samples.unreachable is not None:
            await self._assert_check_fails(self.samples.unreachable())

    async def _assert_check_fails(self, adapter: Adapter) -> None:
        results = await adapter.check()
        await adapter.aclose()
        failed = [result for result in results if result.ok is False]
        assert failed, f"at least one check must fail; the results are {results}"
        assert all(result.name and result.message and result.advice for result in failed)
        assert not [secret for secret in self.samples.secrets if secret in repr(results)]

    def test_every_callback_path_has_a_route(self, adapter: Adapter) -> None:
        assert all(adapter.route(path) for path in adapter.callback_paths)

    # --- callbacks ----------------------------------------------------------------------------------

    def test_an_unknown_path_has_no_route(self, adapter: Adapter) -> None:
        assert adapter.route("/no/such/path") is None
        for path in adapter.callback_paths:
            route = adapter.route(path)
            assert route is not None
            assert 200 <= route.success_status < 300  # noqa: PLR2004 - the range of success

    def test_callbacks_decode_to_their_signals(self, adapter: Adapter) -> None:
        for body, signals in self.samples.callbacks:
            facts = adapter.decode(Callback(body=body, received_at=_AT))
            assert tuple(signal for fact in facts for signal in fact.signals) == signals

    def test_facts_contain_unrecorded_events_of_this_provider(self, adapter: Adapter) -> None:
        for body, _ in self.samples.callbacks:
            for fact in adapter.decode(Callback(body=body, received_at=_AT)):
                event = fact.event
                assert event.provider == adapter.name
                assert event.call_id == adapter.canonical_call_id(event.call_id)
                assert event.time.utcoffset() == timedelta(0)
                assert event.raw
                assert event.id is None
                assert event.sequence is None
                assert fact.delivery is not None

    def test_decoding_the_same_callback_again_gives_the_same_facts(self, adapter: Adapter) -> None:
        for body, _ in self.samples.callbacks:
            assert _facts(type(adapter), body) == _facts(type(adapter), body)

    def test_a_repeated_callback_has_the_same_delivery_key_at_any_time(self, adapter: Adapter) -> None:
        for body, _ in self.samples.callbacks:
            first = adapter.decode(Callback(body=body, received_at=_AT))
            again = adapter.decode(Callback(body=body, received_at=_AT + timedelta(seconds=7)))
            assert [fact.delivery for fact in first] == [fact.delivery for fact in again]

    def test_different_callbacks_have_different_delivery_keys(self, adapter: Adapter) -> None:
        facts = [
            fact
            for body in {body for body, _ in self.samples.callbacks}
            for fact in adapter.decode(Callback(body=body, received_at=_AT))
        ]
        keys = {fact.delivery.key for fact in facts if fact.delivery is not None}
        assert len(facts) == 1 or len(keys) > 1, (
            "all callbacks have the same key, so all but the first would be treated as repetitions"
        )

    def test_facts_carry_the_verified_tenant_and_the_transfer_of_the_address(self, adapter: Adapter) -> None:
        transfer_id = str(UUID(int=1))
        for body, _ in self.samples.callbacks:
            plain = adapter.decode(Callback(body=body, received_at=_AT))
            named = adapter.decode(
                Callback(body=body, received_at=_AT, tenant_id="tenant-1", transfer_id=transfer_id)
            )
            for before, after in zip(plain, named, strict=True):
                assert after.transfer_id in {before.transfer_id, transfer_id}
                assert before.tenant_id is None
                assert after.tenant_id in {None, "tenant-1"}

    @_for_every_subclass
    @given(body=st.binary(max_size=300))
    def test_any_bytes_decode_to_facts_or_are_malformed(self, body: bytes) -> None:
        _facts(type(self.samples.adapter()), body)

    @_for_every_subclass
    @given(data=st.data())
    def test_any_mutation_of_a_callback_decodes_to_facts_or_is_malformed(self, data: st.DataObject) -> None:
        body, _ = data.draw(st.sampled_from(self.samples.callbacks))
        at = data.draw(st.integers(0, len(body) - 1))
        end = data.draw(st.integers(at, min(at + 20, len(body))))
        _facts(type(self.samples.adapter()), body[:at] + data.draw(st.binary(max_size=10)) + body[end:])
