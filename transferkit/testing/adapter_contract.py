"""What every adapter must do, as a test class to subclass.

    class TestMyAdapter(AdapterContract):
        samples = ContractSamples(adapter=lambda: MyAdapter(MySettings(...)), ...)

Run with pytest and pytest-asyncio (`asyncio_mode = "auto"`) and hypothesis.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar, final
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transferkit.adapter import Adapter, Callback, Submission
from transferkit.capabilities import Capabilities
from transferkit.errors import MalformedCallback
from transferkit.identifiers import UnknownIdentifier
from transferkit.lifecycle import MaybeSent, NotSent, Presence, Refused
from transferkit.requests import CallingContext, OnUnsupported, Request, Transfer
from transferkit.signals import Fact, Signal

__all__ = ["AdapterContract", "ContractSamples"]

# The same inherited test runs once for each adapter, which hypothesis would take for a mistake.
_for_every_subclass = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.differing_executors]
)
_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@final
@attrs.frozen(kw_only=True)
class ContractSamples:
    """What the contract needs to know about one adapter.

    * `adapter`: makes an adapter with full settings, whose credentials are `secrets`.
    * `unreachable`: makes one whose provider does not listen; None where nothing can be unreachable.
    * `requests`: requests that the provider carries; the first is a transfer.
    * `callbacks`: bodies and the signals that they are.
    """

    adapter: Callable[[], Adapter]
    unreachable: Callable[[], Adapter] | None = None
    requests: tuple[Request, ...]
    callbacks: tuple[tuple[bytes, tuple[Signal, ...]], ...]
    secrets: tuple[str, ...] = ()


def _submission(request: Request) -> Submission:
    return Submission(id=str(uuid4()), request=request, first_sent_at=_AT)


def _facts(adapter: type[Adapter], body: bytes) -> tuple[Fact, ...]:
    """What decoding gives, the good part of a malformed body included."""
    try:
        return adapter.decode(Callback(body=body, received_at=_AT))
    except MalformedCallback as error:
        malformed = error
    assert malformed.provider == adapter.name
    assert malformed.where
    return malformed.facts


class AdapterContract:
    """Subclass, set `samples`, and pytest does the rest."""

    samples: ClassVar[ContractSamples]

    @pytest.fixture
    def adapter(self) -> Adapter:
        """A fresh adapter."""
        return self.samples.adapter()

    # --- values -------------------------------------------------------------------------------------

    def test_has_a_name_and_attrs_settings(self, adapter: Adapter) -> None:
        assert adapter.name.isidentifier()
        assert attrs.has(adapter.settings_class)

    def test_can_be_made_with_no_settings_at_all(self, adapter: Adapter) -> None:
        assert isinstance(type(adapter)(adapter.settings_class()).capabilities, Capabilities)

    def test_settings_do_not_show_secrets(self, adapter: Adapter) -> None:
        shown = repr(vars(adapter))
        assert not [secret for secret in self.samples.secrets if secret in shown]

    def test_capabilities_are_values(self, adapter: Adapter) -> None:
        capabilities = adapter.capabilities
        assert capabilities == adapter.capabilities
        for limits in (capabilities.transfer, capabilities.redirect):
            assert all(limit.accepts for limit in (limits or {}).values())

    def test_a_canonical_call_id_stays_as_it_is(self, adapter: Adapter) -> None:
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

    def test_planning_is_pure(self, adapter: Adapter) -> None:
        for request in self.samples.requests:
            assert adapter.plan(request) == adapter.plan(request)

    def test_a_target_of_an_unknown_kind_is_refused(self, adapter: Adapter) -> None:
        request = attrs.evolve(self._transfer(), to=UnknownIdentifier("99:nobody"))
        problems = adapter.plan(request).problems
        assert [problem.field for problem in problems] == ["to"]
        assert problems[0].accepts

    def test_all_problems_are_found_at_once(self, adapter: Adapter) -> None:
        unknown = UnknownIdentifier("99:nobody")
        request = attrs.evolve(self._transfer(), to=unknown, transferee=unknown)
        assert {"to", "transferee"} <= {problem.field for problem in adapter.plan(request).problems}

    def test_what_cannot_be_carried_is_dropped_only_on_request(self, adapter: Adapter) -> None:
        limits = adapter.capabilities.transfer or {}
        context = CallingContext(sip={"X-MS-Custom-a": "1"}, voip={"a": "1"})
        full = attrs.evolve(self._transfer(), context=context, region="amer", language_id="en-us")
        lacking = {"context.sip", "context.voip", "region", "language_id"} - set(limits)
        assert {problem.field for problem in adapter.plan(full).problems} == lacking
        planned = adapter.plan(attrs.evolve(full, on_unsupported=OnUnsupported.DROP))
        assert set(planned.dropped) == lacking
        assert planned.problems == ()

    def _transfer(self) -> Transfer:
        first = self.samples.requests[0]
        assert isinstance(first, Transfer)
        return first

    # --- the way out --------------------------------------------------------------------------------

    async def test_wire_shows_the_request_and_no_credential(self, adapter: Adapter) -> None:
        for request in self.samples.requests:
            submission = _submission(request)
            wire = await adapter.wire(submission)
            assert wire.method
            assert wire.url
            shown = f"{wire.url} {dict(wire.headers)} {wire.body!r}"
            assert not [secret for secret in self.samples.secrets if secret in shown]
        await adapter.aclose()

    async def test_wire_needs_no_credentials(self, adapter: Adapter) -> None:
        bare = type(adapter)(adapter.settings_class())
        assert (await bare.wire(_submission(self._transfer()))).url
        await bare.aclose()

    async def test_the_same_submission_is_the_same_wire(self, adapter: Adapter) -> None:
        submission = _submission(self._transfer())
        first, second = await adapter.wire(submission), await adapter.wire(submission)
        assert (first.method, first.url, first.body) == (second.method, second.url, second.body)
        await adapter.aclose()

    async def test_an_unreachable_provider_is_no_exception(self) -> None:
        if self.samples.unreachable is None:
            return
        adapter = self.samples.unreachable()
        answer = await adapter.submit(_submission(self._transfer()))
        assert isinstance(answer, NotSent)
        inspection = await adapter.inspect(self._transfer().call)
        assert inspection.presence is Presence.UNKNOWN
        await adapter.aclose()

    async def test_missing_credentials_are_no_exception(self, adapter: Adapter) -> None:
        if not self.samples.secrets:
            return
        bare = type(adapter)(adapter.settings_class())
        answer = await bare.submit(_submission(self._transfer()))
        assert isinstance(answer, (Refused, NotSent))
        assert not isinstance(answer, MaybeSent)
        assert answer.result.advice or answer.result.message
        await bare.aclose()

    async def test_closing_twice_is_fine(self, adapter: Adapter) -> None:
        await adapter.aclose()
        await adapter.aclose()

    # --- the way in ---------------------------------------------------------------------------------

    def test_an_unknown_path_is_nobodys(self, adapter: Adapter) -> None:
        assert adapter.route("/no/such/path") is None
        route = adapter.route("")
        assert route is not None
        assert 200 <= route.success_status < 300  # noqa: PLR2004 - the range of success

    def test_sample_callbacks_say_what_they_say(self, adapter: Adapter) -> None:
        for body, signals in self.samples.callbacks:
            facts = adapter.decode(Callback(body=body, received_at=_AT))
            assert tuple(signal for fact in facts for signal in fact.signals) == signals

    def test_facts_are_unrecorded_events_of_this_provider(self, adapter: Adapter) -> None:
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

    def test_decoding_is_pure(self, adapter: Adapter) -> None:
        for body, _ in self.samples.callbacks:
            assert _facts(type(adapter), body) == _facts(type(adapter), body)

    def test_a_verified_tenant_and_a_named_transfer_reach_the_facts(self, adapter: Adapter) -> None:
        body, _ = self.samples.callbacks[0]
        named = str(UUID(int=1))
        callback = Callback(body=body, received_at=_AT, tenant_id="tenant-1", transfer_id=named)
        facts = adapter.decode(callback)
        assert {fact.transfer_id for fact in facts} <= {None, named}
        assert {fact.tenant_id for fact in facts} <= {None, "tenant-1"}

    @_for_every_subclass
    @given(body=st.binary(max_size=300))
    def test_any_bytes_are_facts_or_malformed(self, body: bytes) -> None:
        _facts(type(self.samples.adapter()), body)

    @_for_every_subclass
    @given(data=st.data())
    def test_any_mutation_of_a_callback_is_facts_or_malformed(self, data: st.DataObject) -> None:
        body, _ = data.draw(st.sampled_from(self.samples.callbacks))
        at = data.draw(st.integers(0, len(body) - 1))
        end = data.draw(st.integers(at, min(at + 20, len(body))))
        _facts(type(self.samples.adapter()), body[:at] + data.draw(st.binary(max_size=10)) + body[end:])
