"""A fake provider in the process of the test, which needs no network and no account.

Select it in the configuration (`provider = "fake"`); the application code stays the same. The target
(`transferkit.testing.scenarios`) or a script decides what happens. Its callbacks are JSON, so that they are
received and decoded like those of a real provider.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, final
from uuid import uuid4

from attrs import evolve, field, frozen

from transferkit._util.frozenmap import FrozenMap, freeze
from transferkit.codec import encode
from transferkit.events import (
    CallConnected,
    CallEnded,
    CallIncoming,
    Event,
    FailureReason,
    ProviderOther,
)
from transferkit.identifiers import (
    CommunicationUser,
    Identifier,
    PhoneNumber,
    SipAddress,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
    parse_identifier,
)
from transferkit.provider.adapter import Adapter, Callback, CallbackRoute, Deliver, Inspection, Submission
from transferkit.provider.capabilities import Capabilities, Plan, Support
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.facts import Delivery, Fact, MalformedCallback, Result, Signal
from transferkit.provider.limits import Anything, Identifiers
from transferkit.provider.registry import adapter_class
from transferkit.provider.results import NotSent, Presence, Rejected, SubmitResult, Submitted
from transferkit.requests import Call, Join, JoinSide, PlaceCall, Request, RequestKind, WireRequest
from transferkit.testing.scenarios import Ending, Scenario, scenario, scenario_for

__all__ = ["FakeAdapter", "FakeSettings", "Say", "Script"]


@final
@frozen(kw_only=True)
class FakeSettings:
    """`[providers.fake]`. `like`: an installed provider whose capabilities the fake has (`"acs"`)."""

    like: str | None = None


def _signals(given: Signal | tuple[Signal, ...]) -> tuple[Signal, ...]:
    return (given,) if isinstance(given, Signal) else given


@final
@frozen
class Say:
    """One callback of the fake: the signals about the call, and the reason of a failure.

    `operation`: the kind of request that a verdict is about. `call_id`: another call than the request's.
    """

    signals: tuple[Signal, ...] = field(converter=_signals)
    reason: FailureReason | None = field(default=None, kw_only=True)
    operation: RequestKind | None = field(default=None, kw_only=True)
    call_id: str | None = field(default=None, kw_only=True)
    id: str = field(factory=lambda: str(uuid4()), kw_only=True)
    """The delivery id. A callback with the id of an earlier one is a repetition."""


@final
@frozen(kw_only=True)
class Script:
    """What happens to one submission: callbacks before the response, the response, callbacks after it."""

    before: tuple[Say, ...] = ()
    answer: SubmitResult = field(factory=Submitted)
    after: tuple[Say, ...] = ()


_PEOPLE = (PhoneNumber, TeamsUser, TeamsApp, CommunicationUser, TeamsExtensionUser, SipAddress)
_ANY = Anything()
_ON_BOTH = dict.fromkeys(("caller_id", "context.sip", "context.voip", "context.teams", "callback_uri"), _ANY)
_ON_TRANSFERS = dict.fromkeys(("participant_id", "replaces", "language_id", "region", "endpoint"), _ANY)
_ON_REDIRECTS = dict.fromkeys(
    ("incoming_context", "ring_timeout", "disposition", "mask_caller", "mask_callee"), _ANY
)
_PERSON = Identifiers(kinds=_PEOPLE)
_REPEATABLE_FOR = timedelta(minutes=5)


def _step(*names: str, completes: bool = False) -> Support:
    limits = FrozenMap({name: _PERSON if name == "to" else _ANY for name in names})
    return Support(fields=limits, repeatable_for=_REPEATABLE_FOR, completes_on_acceptance=completes)


_STEPS: Mapping[RequestKind, Support] = {
    RequestKind.ANSWER: _step("incoming_context", "callback_uri"),
    RequestKind.REJECT: _step("incoming_context", "reason"),
    RequestKind.PLACE_CALL: _step(
        "to", "caller_id", "context.sip", "context.voip", "context.teams", "ring_timeout", "callback_uri"
    ),
    RequestKind.HOLD: _step("participant", "participant_id", completes=True),
    RequestKind.RESUME: _step("participant", "participant_id", completes=True),
    RequestKind.JOIN: _step("to", "other", "participant", "participant_id"),
    RequestKind.HANG_UP: _step("leave"),
}
_EVERYTHING = Capabilities(
    transfer=FrozenMap({"to": _PERSON, "transferee": _PERSON, **_ON_BOTH, **_ON_TRANSFERS}),
    redirect=FrozenMap({"to": Identifiers(kinds=_PEOPLE, max_count=25), **_ON_BOTH, **_ON_REDIRECTS}),
    repeatable_for=_REPEATABLE_FOR,
    steps=_STEPS,
)


@final
class FakeAdapter(Adapter):
    """The fake provider.

    * `submissions`: what was sent, in order.
    * `will(script)`: what happens to the next submission. Without a script, the target's scenario plays;
      `answer_target` and `decline_target` end the ringing of the scenario `manual`.
    * `say`: send a callback. `ring`: send an incoming call.
    * `presence`: the result of inspections, by call id; a call that is not in it is connected.
    """

    name: ClassVar[str] = "fake"
    settings_class: ClassVar[type[FakeSettings]] = FakeSettings
    needs_settings: ClassVar[bool] = False

    def __init__(self, settings: FakeSettings | None = None, *, clock: Clock | None = None) -> None:
        self._settings = settings or FakeSettings()
        self._clock = clock or SystemClock()
        self._like = _like(self._settings.like)
        self._deliver: Deliver | None = None
        self._scripts: deque[Script] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ringing: set[str] = set()
        self._placed: dict[str, str] = {}
        """The steps that placed calls, by call id."""
        self.submissions: list[Submission] = []
        self.presence: dict[str, Presence] = {}

    @property
    def capabilities(self) -> Capabilities:
        """Everything, or the capabilities of the provider named by `like`."""
        return self._like.capabilities if self._like else _EVERYTHING

    def plan(self, request: Request) -> Plan:
        """Plan the request as the provider named by `like` does."""
        return self._like.plan(request) if self._like else super().plan(request)

    def will(self, *scripts: Script) -> None:
        """Set what happens to the next submissions, one script each."""
        self._scripts.extend(scripts)

    async def wire(self, submission: Submission) -> WireRequest:
        """The request as JSON."""
        kind = submission.request.kind.value
        return WireRequest(
            method="POST",
            url=f"fake://calls/{submission.request.call.id}/{kind}",
            headers={"submission-id": submission.id, "authorization": "***"},
            body=encode(submission.request),
        )

    async def submit(self, submission: Submission) -> SubmitResult:
        """Play the script or the target's scenario. Raises `DeadlinePassed` if the deadline has passed."""
        submission.deadline.check()
        self.submissions.append(submission)
        script = self._scripts.popleft() if self._scripts else self._scenario(submission)
        call_id = submission.request.call.id
        if isinstance(submission.request, PlaceCall) and isinstance(script.answer, Submitted):
            call_id = script.answer.call_id or self._placed_call(submission.id)
            self._placed[call_id] = submission.id
            script = evolve(script, answer=evolve(script.answer, call_id=call_id))
        for callback in script.before:
            await self.say(callback.call_id or call_id, callback)
        if script.after:
            self._play(self._say_all(call_id, script.after))
        return script.answer

    def _placed_call(self, step_id: str) -> str:
        """The id of the call that the step placed: the same for a repeated request."""
        known = (call_id for call_id, placed_by in self._placed.items() if placed_by == step_id)
        return next(known, f"placed-{uuid4()}")

    def _scenario(self, submission: Submission) -> Script:
        request = submission.request
        if not request.targets:
            ends = request.kind in {RequestKind.HANG_UP, RequestKind.REJECT}
            connects = request.kind is RequestKind.ANSWER
            return Script(
                after=(Say(Signal.CALL_ENDED),) if ends else (Say(Signal.RETURNED),) if connects else ()
            )
        line = scenario_for(request.targets[0])
        sent = sum(earlier.id == submission.id for earlier in self.submissions)
        if line.status is not None and (line.refusals is None or sent <= line.refusals):
            result = Result(code=line.status, reason=line.reason or FailureReason.THROTTLED)
            return Script(answer=Rejected(result=result) if line.refusals is None else NotSent(result=result))
        if isinstance(request, PlaceCall):
            call_id = self._placed_call(submission.id)
            if line.ending is Ending.MANUAL:
                self._ringing.add(call_id)
            return Script(answer=Submitted(call_id=call_id), after=_placed_story(line))
        if isinstance(request, Join):
            return Script(after=_join_story(request, self.capabilities.join_side))
        if line.ending is Ending.MANUAL:
            self._ringing.add(request.call.id)
        return Script(after=_story(line))

    def answer_target(self, call_id: str) -> bool:
        """Have the target of the scenario `manual` answer; returns whether it was ringing."""
        return self._decide(call_id, scenario("answers"))

    def decline_target(self, call_id: str) -> bool:
        """Have the target of the scenario `manual` decline; returns whether it was ringing."""
        return self._decide(call_id, scenario("declined"))

    def _decide(self, call_id: str, line: Scenario) -> bool:
        if call_id not in self._ringing:
            return False
        self._ringing.remove(call_id)
        story = _placed_story(line) if call_id in self._placed else _story(line)[1:]
        self._play(self._say_all(call_id, story))
        return True

    async def _say_all(self, call_id: str, script: tuple[Say, ...]) -> None:
        for callback in script:
            await asyncio.sleep(0)  # let the response and waiting tasks continue first
            await self.say(callback.call_id or call_id, callback)

    def _play(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def say(self, call_id: str, callback: Say) -> tuple[Event, ...]:
        """Deliver one callback about a call; returns the events that resulted."""
        if Signal.CALL_ENDED in callback.signals:
            self.presence[call_id] = Presence.GONE
        return await self._send(
            {
                "id": callback.id,
                "call_id": call_id,
                "time": self._clock.now().isoformat(),
                "signals": list(callback.signals),
                "reason": callback.reason,
                "operation": callback.operation,
            },
            placed_by=self._placed.get(call_id),
        )

    async def ring(self, call_id: str, *, source: Identifier, target: Identifier) -> tuple[Event, ...]:
        """Deliver an incoming call; returns the resulting events, the first of which is `CallIncoming`."""
        return await self._send(
            {
                "id": str(uuid4()),
                "call_id": call_id,
                "time": self._clock.now().isoformat(),
                "incoming": {"source": source.raw_id, "target": target.raw_id, "context": str(uuid4())},
            }
        )

    async def _send(self, body: Mapping[str, Any], *, placed_by: str | None = None) -> tuple[Event, ...]:
        if self._deliver is None:
            raise RuntimeError("the fake delivers callbacks only to an open client: enter the client first")
        callback = Callback(
            body=json.dumps(body).encode(), received_at=self._clock.now(), placed_by=placed_by
        )
        return await self._deliver(callback, adapter=self)

    def listen(self, deliver: Deliver) -> None:
        """Store the function that delivers callbacks."""
        self._deliver = deliver

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:  # noqa: ARG002 - the fake has no tenants
        """The entry of the call in `presence`, otherwise connected."""
        return Inspection(presence=self.presence.get(call.id, Presence.CONNECTED))

    def route(self, path: str) -> CallbackRoute | None:
        """Callbacks can also be posted to `/fake`, and those of a placed call to `/fake/calls/<step id>`."""
        placed_by = path.removeprefix("/calls/") if path.startswith("/calls/") else None
        return CallbackRoute(name="fake", policy=None, placed_by=placed_by) if placed_by or not path else None

    @classmethod
    def decode(cls, callback: Callback) -> tuple[Fact, ...]:
        """Decode a callback of `say` or `ring` into one fact."""
        try:
            return (_fact(cls.name, callback, json.loads(callback.body)),)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise MalformedCallback(
                cls.name, "body", f"a callback of the fake cannot be decoded ({type(error).__name__})"
            ) from None

    async def aclose(self) -> None:
        """Cancel the scripts and scenarios that are still playing."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _like(name: str | None) -> Adapter | None:
    if name is None:
        return None
    cls = adapter_class(name)
    return cls(cls.settings_class())


def _story(line: Scenario) -> tuple[Say, ...]:
    """The callbacks of a scenario after the request was accepted."""
    started = Say(Signal.STARTED)
    match line.ending:
        case Ending.COMPLETES:
            return started, Say(Signal.ACCEPTED), Say((Signal.SUCCEEDED, Signal.CALL_ENDED))
        case Ending.FAILS:
            return started, Say(Signal.FAILED, reason=line.reason)
        case Ending.CALLER_LEAVES:
            return started, Say(Signal.CALL_ENDED, reason=line.reason)
        case Ending.RETURNED:
            return started, Say(Signal.RETURNED)
        case Ending.MANUAL:
            return (started,)
        case Ending.SILENT | Ending.REFUSED:
            return ()


def _placed_story(line: Scenario) -> tuple[Say, ...]:
    """The callbacks about a placed call after the request was accepted."""
    match line.ending:
        case Ending.COMPLETES | Ending.RETURNED:
            return (Say(Signal.RETURNED),)
        case Ending.FAILS:
            return (Say(Signal.CALL_ENDED, reason=line.reason),)
        case Ending.MANUAL | Ending.SILENT | Ending.CALLER_LEAVES | Ending.REFUSED:
            return ()


def _join_story(request: Join, side: JoinSide) -> tuple[Say, ...]:
    """The callbacks of a join that succeeds. The application stays on the agent's call if it joins there."""
    leaves = side is JoinSide.CALLER
    joined = (Signal.SUCCEEDED, Signal.CALL_ENDED) if leaves else Signal.SUCCEEDED
    return Say(joined, operation=RequestKind.JOIN), Say(Signal.CALL_ENDED, call_id=request.other)


def _fact(provider: str, callback: Callback, body: dict[str, Any]) -> Fact:
    common: dict[str, Any] = {
        "time": datetime.fromisoformat(body["time"]).astimezone(UTC),
        "provider": provider,
        "call_id": str(body["call_id"]),
        "raw": freeze(body),
    }
    delivery = Delivery(str(body["id"]))
    if incoming := body.get("incoming"):
        return Fact(
            event=CallIncoming(
                source=parse_identifier(incoming["source"]),
                targets=(parse_identifier(incoming["target"]),),
                incoming_context=str(incoming["context"]),
                **common,
            ),
            delivery=delivery,
        )
    signals = tuple(Signal(word) for word in body["signals"])
    reason = FailureReason(body["reason"]) if body.get("reason") else FailureReason.UNKNOWN
    event: Event
    if Signal.CALL_ENDED in signals:
        event = CallEnded(**common)
    elif Signal.RETURNED in signals:
        event = CallConnected(**common)
    else:
        event = ProviderOther(name=",".join(signals), **common)
    return Fact(
        event=event,
        signals=signals,
        result=Result(reason=reason),
        operation=RequestKind(body["operation"]) if body.get("operation") else None,
        call_alive=Signal.CALL_ENDED not in signals,
        ends_with_verdict=True,
        delivery=delivery,
        transfer_id=callback.transfer_id,
    )
