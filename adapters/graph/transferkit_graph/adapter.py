"""The Graph adapter: one HTTP request for each submission, and what its response proves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar, final
from uuid import uuid4

from attrs import evolve
from transferkit_microsoft.credentials import Token
from transferkit_microsoft.responses import HttpResponse, NoResponse
from transferkit_microsoft.settings import run_all
from transferkit_microsoft.tokens import OWN_TENANT_ONLY, Tokens

from transferkit.errors import ConfigError
from transferkit.events import Basis, FailureReason
from transferkit.provider.adapter import Adapter, Callback, CallbackRoute, CheckResult, Inspection, Submission
from transferkit.provider.capabilities import Capabilities, Plan
from transferkit.provider.deadline import CHECKED, check_deadline
from transferkit.provider.facts import Fact, Result
from transferkit.provider.http import misconfigured
from transferkit.provider.json import thaw
from transferkit.provider.results import NotSent, Presence, Rejected, SubmitResult, Submitted
from transferkit.provider.secret import MASK
from transferkit.requests import Call, Hold, PlaceCall, Request, Resume, WireRequest
from transferkit_graph import callbacks
from transferkit_graph.capabilities import CALL_ID, capabilities_of, further_problems, not_offered
from transferkit_graph.check import REFUSALS, UNTRIED, permitted
from transferkit_graph.inspection import inspection_of
from transferkit_graph.participants import UNRESOLVED, as_not_sent, participant_id_of
from transferkit_graph.reasons import GRAPH
from transferkit_graph.requests import action_url, body_of, call_url, method_of, participants_url
from transferkit_graph.settings import GraphSettings
from transferkit_graph.transport import open_client, origin_of, read_response

if TYPE_CHECKING:
    import httpx

    from transferkit.provider.clock import Clock

__all__ = ["GraphAdapter"]

_CALLS = "/calls/"
_CALLBACK_ACCEPTED = 202  # 204 requests the format before Graph's, 3xx redirects the notification
_TOKEN_REFUSED = frozenset({401, 403})
_CLOSED = Result(
    message="the HTTP client is closed",
    advice="Keep the client that was given to the adapter open for as long as the adapter is used.",
    basis=Basis.LOCAL,
)


@final
class GraphAdapter(Adapter):
    """Microsoft Graph cloud communications: transfers, redirects and call steps.

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
        if isinstance(request, Hold | Resume) and request.participant_id is None:
            request = evolve(request, participant_id=UNRESOLVED)
        return WireRequest(
            method=method_of(request),
            url=action_url(self._settings, request),
            headers={
                "Accept": "application/json",
                "Authorization": f"Bearer {MASK}",
                **({"Content-Type": "application/json"} if body else {}),
                # The same for every attempt, so that Microsoft's support can find them all.
                "client-request-id": submission.id,
            },
            body=body,
        )

    async def submit(self, submission: Submission) -> SubmitResult:
        request = submission.request
        tenant = request.call.tenant_id or submission.tenant_id
        with submission.deadline.in_force():
            if isinstance(request, Hold | Resume) and request.participant_id is None:
                found = await self._participant(request, tenant)
                if not isinstance(found, str):
                    return found
                submission = evolve(submission, request=evolve(request, participant_id=found))
            response = await self._send(self.wire(submission), tenant)
        if not isinstance(response, HttpResponse):
            return response
        result = GRAPH.submit_result(response, now=self._now())
        if isinstance(result, Submitted) and isinstance(request, PlaceCall):
            return evolve(result, call_id=self._created_call(response))
        if isinstance(result, Rejected) and self._settings.managed_identity is not None:
            refusal = result.result
            if refusal.reason is FailureReason.TENANT_MISMATCH:
                return Rejected(result=evolve(refusal, advice=OWN_TENANT_ONLY))
        return result

    @classmethod
    def _created_call(cls, response: HttpResponse) -> str | None:
        """The id of the new call; None if the body broke off. Its callbacks have an address of their own."""
        created = response.json.text("id")
        return created and cls.canonical_call_id(created)

    async def _participant(self, request: Hold | Resume, tenant: str | None) -> str | NotSent | Rejected:
        """The participant id of the party that the request means, from a query of the group call."""
        url = participants_url(self._settings, request.call.id)
        response = await self._send(self._get(url), tenant)
        if isinstance(response, HttpResponse):
            return participant_id_of(request, response, client_id=self._settings.client_id, now=self._now())
        return response if isinstance(response, Rejected) else as_not_sent(response)

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:
        query = self._get(call_url(self._settings, call.id))
        response = await self._send(query, call.tenant_id or tenant_id)
        if isinstance(response, HttpResponse):
            return inspection_of(response)
        return Inspection(presence=Presence.UNKNOWN, result=response.result)

    def check_secrets(self) -> None:
        from transferkit_microsoft.entra import read_secrets

        run_all(self._settings.table, self._settings.ssl_context, partial(read_secrets, self._settings))

    async def check(self) -> tuple[CheckResult, ...]:
        settings = self._settings
        registered = settings.uses_registration and settings.credential_kind is not None
        if registered and settings.client_id and settings.default_tenant is None:
            return (UNTRIED,)
        token = await self._tokens.get(settings.scope)
        if not isinstance(token, Token):
            return (GRAPH.check_result(token, refusals=REFUSALS, now=self._now()),)
        response = await self._send(self._get(call_url(self._settings, str(uuid4()))), None)
        credentials = GRAPH.check_result(response, refusals=REFUSALS, now=self._now())
        return credentials, permitted(token.value, settings)

    def route(self, path: str) -> CallbackRoute | None:
        """`""`, and `/calls/<id>`: the callbacks of an answered call (its id) or a placed one (its step)."""
        prefix, placed_by = path[: len(_CALLS)], path[len(_CALLS) :]
        if path and (prefix != _CALLS or not CALL_ID.fullmatch(placed_by)):
            return None
        return CallbackRoute(
            name=self.name,
            placed_by=placed_by.lower() or None,
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

    async def _get(self, url: str) -> WireRequest:
        """A request that queries a call or its participants."""
        headers = {"Accept": "application/json", "Authorization": f"Bearer {MASK}"}
        return WireRequest(method="GET", url=url, headers=headers)

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
