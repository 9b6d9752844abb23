"""The Graph adapter: one HTTP request a submission, and what came of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, final
from uuid import uuid4

from attrs import evolve
from transferkit_microsoft.credentials import Token
from transferkit_microsoft.tokens import OWN_TENANT_ONLY, Tokens

from transferkit.errors import ConfigError
from transferkit.events import Basis, FailureReason
from transferkit.provider.adapter import Adapter, Callback, CallbackRoute, CheckResult, Inspection, Submission
from transferkit.provider.capabilities import Capabilities, Plan
from transferkit.provider.deadline import CHECKED, check_deadline
from transferkit.provider.facts import Fact, Result
from transferkit.provider.http import misconfigured
from transferkit.provider.json import thaw
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult
from transferkit.provider.secret import MASK
from transferkit.requests import Call, Request, WireRequest
from transferkit_graph import callbacks
from transferkit_graph.answers import answer_of, presence_of
from transferkit_graph.capabilities import capabilities_of, further_problems, not_offered
from transferkit_graph.check import UNTRIED, answered, permitted, without_token
from transferkit_graph.requests import action_url, body_of, call_url
from transferkit_graph.settings import GraphSettings
from transferkit_graph.transport import failure_of, open_client, unsent

if TYPE_CHECKING:
    import httpx

    from transferkit.provider.clock import Clock

__all__ = ["GraphAdapter"]

_CALLBACK_ACCEPTED = 202  # 204 asks for the form before Graph's, 3xx sends the notification elsewhere
_UNLIKED = frozenset({401, 403})
_CLOSED = Result(
    message="the HTTP client is closed",
    advice="Keep the client that was given to the adapter open for as long as the adapter is used.",
    basis=Basis.LOCAL,
)


@final
class GraphAdapter(Adapter):
    """Microsoft Graph cloud communications: `call: transfer` and `call: redirect`.

    `http` is an httpx client to use instead of an own one, on any transport; whoever gives it closes it.
    """

    name: ClassVar[str] = "graph"
    settings_class: ClassVar[type[GraphSettings]] = GraphSettings
    noisy_loggers: ClassVar[tuple[str, ...]] = ("msal",)

    def __init__(
        self,
        settings: GraphSettings,
        *,
        clock: Clock | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._given_http = http
        self._own_http: httpx.AsyncClient | None = None
        self._tokens = Tokens(settings)

    @property
    def capabilities(self) -> Capabilities:
        return capabilities_of(self._settings)

    def plan(self, request: Request) -> Plan:
        missing = not_offered(self._settings)
        if missing:
            return Plan(request=request, problems=(missing,))
        held = super().plan(request)
        return evolve(held, problems=(*held.problems, *further_problems(held.request, self._settings)))

    @classmethod
    def canonical_call_id(cls, call_id: str) -> str:
        return callbacks.canonical_call_id(call_id)

    async def wire(self, submission: Submission) -> WireRequest:
        request = submission.request
        body = body_of(request, form=self._settings.body, submission_id=submission.id)
        return WireRequest(
            method="POST",
            url=action_url(self._settings, request),
            headers={
                "Accept": "application/json",
                "Authorization": f"Bearer {MASK}",
                "Content-Type": "application/json",
                # The same for every attempt, so that Microsoft's support can find them all.
                "client-request-id": submission.id,
            },
            body=body,
        )

    async def submit(self, submission: Submission) -> SubmitResult:
        tenant = submission.request.call.tenant_id or submission.tenant_id
        with submission.deadline.in_force():
            reply = await self._send(self.wire(submission), tenant)
        answer = (
            reply if isinstance(reply, (Rejected, NotSent, MaybeSent)) else answer_of(reply, now=self._now())
        )
        if isinstance(answer, Rejected) and answer.result.reason is FailureReason.TENANT_MISMATCH:
            return self._of_another_tenant(answer)
        return answer

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:
        reply = await self._send(self._question(call.id), call.tenant_id or tenant_id)
        if isinstance(reply, (Rejected, NotSent, MaybeSent)):
            return Inspection(presence=Presence.UNKNOWN, result=reply.result)
        presence, result = presence_of(reply)
        return Inspection(presence=presence, result=result)

    async def check(self) -> tuple[CheckResult, ...]:
        settings = self._settings
        registered = settings.uses_registration and settings.credential_kind is not None
        if registered and settings.client_id and settings.default_tenant is None:
            return (UNTRIED,)
        token = await self._tokens.get(settings.scope)
        if not isinstance(token, Token):
            return (without_token(token),)
        reply = await self._send(self._question(str(uuid4())), None)
        return answered(reply, now=self._now()), permitted(token.value, settings)

    def route(self, path: str) -> CallbackRoute | None:
        if path:
            return None
        return CallbackRoute(
            name=self.name,
            policy=self._settings.callback_policy,
            needs="providers.graph.client_id",
            success_status=_CALLBACK_ACCEPTED,
        )

    @classmethod
    def decode(cls, callback: Callback) -> tuple[Fact, ...]:
        return callbacks.decode(callback, provider=cls.name)

    async def aclose(self) -> None:
        await self._tokens.aclose()
        if self._own_http is not None:
            await self._own_http.aclose()
            self._own_http = None

    async def _question(self, call_id: str) -> WireRequest:
        """The request that asks about a call."""
        headers = {"Accept": "application/json", "Authorization": f"Bearer {MASK}"}
        return WireRequest(method="GET", url=call_url(self._settings, call_id), headers=headers)

    async def _send(
        self, made: Awaitable[WireRequest], tenant: str | None
    ) -> httpx.Response | Rejected | NotSent | MaybeSent:
        """Send the request once, with the real token in place of the mask.

        The answer counts from when its headers have come: it may lack its body.
        """
        try:
            wire = await made
            content = json.dumps(thaw(wire.body)).encode() if wire.body else None
            client = self._http()
            if client.is_closed:
                return Rejected(result=_CLOSED)
            token = await self._tokens.get(self._settings.scope, tenant)
        except ConfigError as error:
            return misconfigured(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing has left
            return unsent(error)
        if not isinstance(token, Token):
            return token
        response: httpx.Response | None = None
        try:
            check_deadline()  # and again when the connection is there, where the transport allows it
            # httpx limits each wait; an answer that drips in has to end at some time, too.
            async with (
                asyncio.timeout(2 * self._settings.timeout),
                client.stream(
                    wire.method,
                    wire.url,
                    headers={**wire.headers, "Authorization": f"Bearer {token.value}"},
                    content=content,
                    timeout=self._settings.timeout,
                    follow_redirects=False,
                    extensions=CHECKED,
                ) as response,
            ):
                await response.aread()
        except Exception as error:  # noqa: BLE001 - a transport may raise anything, and the request may be out
            if response is None:
                return failure_of(error)
        if response.status_code in _UNLIKED:
            self._tokens.forget(tenant)
        return response

    def _of_another_tenant(self, answer: Rejected) -> Rejected:
        """The refusal, advising what can be done with the credential that there is."""
        if self._settings.managed_identity is None:
            return answer
        return evolve(answer, result=evolve(answer.result, advice=OWN_TENANT_ONLY))

    def _http(self) -> httpx.AsyncClient:
        if self._given_http is not None:
            return self._given_http
        if self._own_http is None:
            self._own_http = open_client(self._settings)
        return self._own_http

    def _now(self) -> datetime:
        return self._clock.now() if self._clock else datetime.now(UTC)
