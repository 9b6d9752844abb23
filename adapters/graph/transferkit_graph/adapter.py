"""The Graph adapter: one HTTP request for each submission, and what its response proves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, final
from uuid import uuid4

from attrs import evolve
from transferkit_microsoft.credentials import Token
from transferkit_microsoft.responses import HttpResponse, NoResponse
from transferkit_microsoft.tokens import OWN_TENANT_ONLY, Tokens

from transferkit.errors import ConfigError
from transferkit.events import Basis, FailureReason
from transferkit.provider.adapter import Adapter, Callback, CallbackRoute, CheckResult, Inspection, Submission
from transferkit.provider.capabilities import Capabilities, Plan
from transferkit.provider.deadline import CHECKED, check_deadline
from transferkit.provider.facts import Fact, Result
from transferkit.provider.http import misconfigured
from transferkit.provider.json import thaw
from transferkit.provider.results import Presence, Rejected, SubmitResult
from transferkit.provider.secret import MASK
from transferkit.requests import Call, Request, WireRequest
from transferkit_graph import callbacks
from transferkit_graph.capabilities import capabilities_of, further_problems, not_offered
from transferkit_graph.check import REFUSALS, UNTRIED, permitted
from transferkit_graph.inspection import inspection_of
from transferkit_graph.reasons import GRAPH
from transferkit_graph.requests import action_url, body_of, call_url
from transferkit_graph.settings import GraphSettings
from transferkit_graph.transport import open_client, origin_of, read_response

if TYPE_CHECKING:
    import httpx

    from transferkit.provider.clock import Clock

__all__ = ["GraphAdapter"]

_CALLBACK_ACCEPTED = 202  # 204 requests the format before Graph's, 3xx redirects the notification
_TOKEN_REFUSED = frozenset({401, 403})
_CLOSED = Result(
    message="the HTTP client is closed",
    advice="Keep the client that was given to the adapter open for as long as the adapter is used.",
    basis=Basis.LOCAL,
)


@final
class GraphAdapter(Adapter):
    """Microsoft Graph cloud communications: `call: transfer` and `call: redirect`.

    `http` is an httpx client to use instead of the adapter's own, on any transport. It is not closed.
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
        self._capabilities = capabilities_of(settings)
        self._clock = clock
        self._given_http = http
        self._own_http: httpx.AsyncClient | None = None
        self._tokens = Tokens(settings)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def plan(self, request: Request) -> Plan:
        missing = not_offered(self._settings)
        if missing:
            return Plan(request=request, problems=(missing,))
        planned = super().plan(request)
        more = tuple(further_problems(planned.request, self._settings))
        return evolve(planned, problems=(*planned.problems, *more)) if more else planned

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
            response = await self._send(self.wire(submission), tenant)
        if not isinstance(response, HttpResponse):
            return response
        result = GRAPH.submit_result(response, now=self._now())
        if isinstance(result, Rejected) and self._settings.managed_identity is not None:
            refusal = result.result
            if refusal.reason is FailureReason.TENANT_MISMATCH:
                return Rejected(result=evolve(refusal, advice=OWN_TENANT_ONLY))
        return result

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:
        response = await self._send(self._query(call.id), call.tenant_id or tenant_id)
        if isinstance(response, HttpResponse):
            return inspection_of(response)
        return Inspection(presence=Presence.UNKNOWN, result=response.result)

    async def check(self) -> tuple[CheckResult, ...]:
        settings = self._settings
        registered = settings.uses_registration and settings.credential_kind is not None
        if registered and settings.client_id and settings.default_tenant is None:
            return (UNTRIED,)
        token = await self._tokens.get(settings.scope)
        if not isinstance(token, Token):
            return (GRAPH.check_result(token, refusals=REFUSALS, now=self._now()),)
        response = await self._send(self._query(str(uuid4())), None)
        credentials = GRAPH.check_result(response, refusals=REFUSALS, now=self._now())
        return credentials, permitted(token.value, settings)

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

    async def _query(self, call_id: str) -> WireRequest:
        """The request that queries a call."""
        headers = {"Accept": "application/json", "Authorization": f"Bearer {MASK}"}
        return WireRequest(method="GET", url=call_url(self._settings, call_id), headers=headers)

    async def _send(self, made: Awaitable[WireRequest], tenant: str | None) -> HttpResponse | NoResponse:
        """Send the request once, with the token in place of the mask.

        A response counts as soon as its headers have arrived. Its body may be missing.
        """
        import httpx

        try:
            wire = await made
            content = json.dumps(thaw(wire.body)).encode() if wire.body else None
            client = self._http()
            if client.is_closed:
                return Rejected(result=_CLOSED)
            token = await self._tokens.get(self._settings.scope, tenant)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was sent
            local = misconfigured(error) if isinstance(error, ConfigError) else None
            return local or GRAPH.failure(error, sent=False)
        if not isinstance(token, Token):
            return token
        try:
            url = httpx.URL(wire.url)
        except httpx.InvalidURL as error:
            return GRAPH.unusable_address(error)
        response: httpx.Response | None = None
        try:
            check_deadline()  # and again when the connection is made, if the transport supports it
            # httpx limits each wait, so a response that arrives byte by byte needs a limit of its own.
            async with (
                asyncio.timeout(2 * self._settings.timeout),
                client.stream(
                    wire.method,
                    url,
                    headers={**wire.headers, "Authorization": f"Bearer {token.value}"},
                    content=content,
                    timeout=self._settings.timeout,
                    follow_redirects=False,
                    extensions=CHECKED,
                ) as response,
            ):
                await response.aread()
        except Exception as error:  # noqa: BLE001 - a transport may raise anything
            if response is None:
                return GRAPH.failure(origin_of(error))
        if response.status_code in _TOKEN_REFUSED:
            self._tokens.forget(tenant)
        return read_response(response)

    def _http(self) -> httpx.AsyncClient:
        if self._given_http is not None:
            return self._given_http
        if self._own_http is None:
            self._own_http = open_client(self._settings)
        return self._own_http

    def _now(self) -> datetime:
        return self._clock.now() if self._clock else datetime.now(UTC)
