"""The calls, and what becomes of them when they are transferred or redirected."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final
from uuid import uuid4

from attrs import define, frozen

from transferkit._redact import MASK
from transferkit.events import FailureReason
from transferkit.identifiers import Identifier, TeamsApp, TeamsUser
from transferkit.testing.emulator import Emulator, RecordedRequest
from transferkit.testing.scenarios import Ending as ScenarioEnding
from transferkit.testing.scenarios import Scenario, scenario_for
from transferkit_graph.clouds import CLOUDS
from transferkit_graph.emulator.bodies import Unacceptable, Wanted, read_redirect, read_transfer
from transferkit_graph.emulator.entra import Entra
from transferkit_graph.emulator.notifications import (
    CALLER_HUNG_UP,
    CONSULT_CALL_GONE,
    FAILURES,
    TRANSFERRED,
    Ending,
    Generation,
    notification,
    participant,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["GraphEmulator"]

TENANT_ID = "5a1e0c5e-0000-4000-8000-000000000001"
CLIENT_ID = "b07b07b0-0000-4000-8000-000000000002"
CLIENT_SECRET = "emulated-secret"  # noqa: S105 - opens nothing but the emulator
CALLER = TeamsUser(
    "ca11e500-0000-4000-8000-000000000003", tenant_id=TENANT_ID, display_name="Emulated Caller"
)

_ENTRA = re.compile(
    r"/(?P<tenant>[^/]+)/(?P<what>v2\.0/\.well-known/openid-configuration|oauth2/v2\.0/token)"
)
_MACHINE = "/metadata/identity/oauth2/token"
_CALL = re.compile(
    r"/(?P<api>v1\.0|beta)/(?:(?P<path>communications|app)|applications/(?P<app>[^/]+))"
    r"/calls/(?P<id>[^/]+)(?:/(?P<action>transfer|redirect))?"
)
_HIDDEN_FIELDS = re.compile(rb"(client_secret|client_assertion)=[^&]*")


@define(kw_only=True)
class _Call:
    """A call as the service keeps it; `state` in Graph's words."""

    id: str
    callback_url: str
    tenant_id: str
    group: bool = False
    state: str = "established"
    chain_id: str
    executions: int = 0


@final
@frozen(kw_only=True)
class _Reply:
    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


class _Refusal(Exception):
    """Graph's error answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@final
class GraphEmulator(Emulator):
    """Microsoft Graph cloud communications, and Entra in front of it, on one address.

    It knows one application in every tenant that a call was placed in. Its error answers carry the published
    body and codes; where Graph's own are not published (a second transfer, a transfer of a call that rings)
    they are those of the same calling service beneath Azure Communication Services.
    """

    name: ClassVar[str] = "graph"
    needs_tls: ClassVar[bool] = True  # msal takes an authority over https only

    def __init__(self, *, pace: float = 0.02) -> None:
        super().__init__(pace=pace)
        self._calls: dict[str, _Call] = {}
        self._entra = Entra(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            scopes=frozenset(f"{facts.base}/.default" for facts in CLOUDS.values()),
        )
        self._entra.add_tenant(TENANT_ID)

    @property
    def app(self) -> ASGIApp:
        from starlette.applications import Starlette
        from starlette.routing import Mount

        return Starlette(routes=[Mount("/", app=self._asgi)])

    def config(self, base_url: str, *, ca_file: Path | None = None) -> dict[str, Any]:
        table = {
            "tenant_id": TENANT_ID,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "base_url": base_url,
            "authority": f"{base_url}/{TENANT_ID}",
        }
        return table if ca_file is None else {**table, "ca_file": str(ca_file)}

    def place_call(self, *, callback_url: str, group: bool = False, tenant_id: str = TENANT_ID) -> str:
        """An established call, as after the application answered; returns its id.

        `tenant_id` is the call's tenant: a token of any other is refused with 7505.
        """
        return self._place(callback_url, tenant_id, group=group).id

    def ring(self, *, callback_url: str, source: Identifier = CALLER, tenant_id: str = TENANT_ID) -> str:
        """A call that rings at the application: posts `incoming`, and returns the id that a redirect takes.

        Needs a running event loop.
        """
        call = self._place(callback_url, tenant_id, state="incoming")
        self.play(self._notify(call, "created", **self._offer(call, source)))
        return call.id

    def hang_up(self, call_id: str) -> None:
        """Let the caller end the call: the provider forgets it at once, and says so in a notification."""
        self.play(self._end(self._calls[call_id.lower()], CALLER_HUNG_UP))

    def add_certificate(self, pem: str) -> None:
        """Let the application prove itself by a certificate: assertions are verified with it."""
        self._entra.add_certificate(pem)

    def add_managed_identity(self, client_id: str | None = None) -> None:
        """Be the machine's own token endpoint, too, for that identity; for the system's unless told.

        msal finds it where the variable AZURE_POD_IDENTITY_AUTHORITY_HOST holds the emulator's address. Its
        tokens are of the emulator's own tenant, whatever call they are wanted for.
        """
        self._entra.add_identity(client_id)

    def revoke_tokens(self) -> None:
        """Answer 401 to every token that was issued so far."""
        self._entra.revoke()

    def executions(self, call_id: str) -> int:
        return self._calls[call_id.lower()].executions

    def _place(self, callback_url: str, tenant_id: str, **more: Any) -> _Call:
        self._entra.add_tenant(tenant_id)
        call = _Call(
            id=str(uuid4()),
            callback_url=callback_url,
            tenant_id=tenant_id,
            chain_id=str(uuid4()),
            **more,
        )
        self._calls[call.id] = call
        return call

    # --- the wire ---------------------------------------------------------------------------------

    async def _asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response

        request = Request(scope, receive)
        body = await request.body()
        path = request.url.path
        if path == _MACHINE:
            reply = self._machine(request)
        elif entra := _ENTRA.fullmatch(path):
            reply = self._authority(request, entra, body)
        else:
            reply = self._graph(request, path, body)
        self.requests.append(_recorded(request, path, body, reply.status))
        response: Response = (
            Response(status_code=reply.status, headers=reply.headers)
            if reply.body is None
            else JSONResponse(reply.body, status_code=reply.status, headers=reply.headers)
        )
        await response(scope, receive, send)

    def _authority(self, request: Request, entra: re.Match[str], body: bytes) -> _Reply:
        asks_for_token = entra["what"].endswith("token")
        if request.method != ("POST" if asks_for_token else "GET"):
            return _Reply(status=405)
        base = f"{request.url.scheme}://{request.url.netloc}"
        if asks_for_token:
            status, answer = self._entra.token(entra["tenant"], body, here=f"{base}{request.url.path}")
        else:
            status, answer = self._entra.openid_document(base, entra["tenant"])
        return _Reply(status=status, body=answer)

    def _machine(self, request: Request) -> _Reply:
        if request.method != "GET":
            return _Reply(status=405)
        metadata = request.headers.get("metadata")
        status, answer = self._entra.machine_token(request.query_params, metadata=metadata, tenant=TENANT_ID)
        return _Reply(status=status, body=answer)

    def _graph(self, request: Request, path: str, body: bytes) -> _Reply:
        asked = request.headers.get("client-request-id") or str(uuid4())
        ids = {"request-id": str(uuid4()), "client-request-id": asked}
        try:
            reply = self._answer(request, path, body)
        except _Refusal as refusal:
            inner = {"date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}", **ids}
            error = {"code": refusal.code, "message": refusal.message, "innerError": inner}
            reply = _Reply(status=refusal.status, body={"error": error})
        return _Reply(status=reply.status, body=reply.body, headers={**reply.headers, **ids})

    def _answer(self, request: Request, path: str, body: bytes) -> _Reply:
        tenant = self._entra.tenant_of(request.headers.get("authorization", ""))
        if tenant is None:
            raise _Refusal(401, "InvalidAuthenticationToken", "Access token is empty or invalid.")
        found = _CALL.fullmatch(path)
        if found is None or (found["app"] and found["app"].lower() != CLIENT_ID):
            raise _Refusal(404, "ResourceNotFound", "There is no such resource.")
        if request.method != ("POST" if found["action"] else "GET"):
            raise _Refusal(405, "MethodNotAllowed", "The method is not allowed here.")
        wanted = _wanted(request, found, body) if found["action"] else None
        call = self._calls.get(found["id"].lower())
        if call is None or call.state == "terminated":
            raise _Refusal(404, "8522", "Call not found.")
        if tenant != call.tenant_id.lower():
            raise _Refusal(403, "7505", "Request authorization tenant mismatch.")
        headers = {"X-Microsoft-Skype-Chain-ID": call.chain_id}
        if wanted is None:
            return _Reply(status=200, body=_shown(call, found["api"]), headers=headers)
        if found["action"] == "redirect":
            is_old = found["path"] != "communications"
            self._take_redirect(call, wanted, Generation.Y2018 if is_old else Generation.CURRENT)
            return _Reply(status=202, headers=headers)
        self._take_transfer(call, wanted)
        if wanted.is_2018:
            return _Reply(status=200, body=_operation(wanted), headers=headers)
        return _Reply(status=202, headers=headers)

    # --- what is asked for ------------------------------------------------------------------------

    def _take_transfer(self, call: _Call, wanted: Wanted) -> None:
        if call.state in {"transferring", "transferAccepted"}:
            raise _Refusal(409, "8607", "Transfer operation conflict.")
        if call.state != "established":
            raise _Refusal(400, "8501", "The call is not established.")
        if call.group and not wanted.transferee:
            raise _Refusal(400, "8523", "Cannot do transfer for meeting mode")
        call.state = "transferring"
        call.executions += 1
        self.play(self._transfer(call, wanted, scenario_for(wanted.targets[0])))

    def _take_redirect(self, call: _Call, wanted: Wanted, generation: Generation) -> None:
        if call.state != "incoming":
            raise _Refusal(409, "8519", "The call is no longer incoming.")
        call.state = "redirecting"
        call.executions += 1
        call.callback_url = wanted.callback_uri or call.callback_url
        self.play(self._redirect(call, generation, scenario_for(wanted.targets[0]), wanted.targets[0]))

    async def _transfer(self, call: _Call, wanted: Wanted, scenario: Scenario) -> None:
        await self.step()
        if scenario.ending is ScenarioEnding.SILENT:
            return
        generation = Generation.Y2018 if wanted.is_2018 else Generation.CURRENT
        consult = self._calls.get((wanted.replaces or "").lower())
        await self._notify(call, "updated", generation, state="transferring")
        await self.step()
        if call.state == "terminated":  # the caller hung up in the meantime
            return
        if scenario.ending is ScenarioEnding.CALLER_LEAVES:
            await self._end(call, CALLER_HUNG_UP, generation)
        elif wanted.replaces and (consult is None or consult.state != "established"):
            await self._fail(call, CONSULT_CALL_GONE, generation)
        elif scenario.ending is ScenarioEnding.FAILS:
            await self._fail(call, FAILURES[scenario.reason or FailureReason.UNKNOWN], generation)
        else:
            await self._complete(call, consult, generation)

    async def _complete(self, call: _Call, consult: _Call | None, generation: Generation) -> None:
        call.state = "transferAccepted"
        await self._notify(call, "updated", generation, state="transferAccepted")
        await self.step()
        call.state = "terminated"
        if generation is Generation.Y2018:
            words = {"terminationReason": "AppTransferred"}
            await self._notify(call, "updated", generation, state="terminated", **words)
            await self.step()
            await self._notify(
                call, "deleted", generation, state="terminated", terminationReason="AppInitiated"
            )
        elif consult is not None:
            words = {"terminationReason": "AppTransferred"}
            await self._notify(call, "deleted", generation, state="terminated", **words)
        else:
            await self._notify(
                call, "deleted", generation, state="terminated", resultInfo=TRANSFERRED.result_info()
            )
        if consult is not None:
            await self._end(consult, None, generation)

    async def _fail(self, call: _Call, ending: Ending, generation: Generation) -> None:
        call.state = "established"
        info = ending.result_info(subcode_key="subCode")
        await self._notify(call, "updated", generation, state="established", resultInfo=info)

    async def _redirect(
        self, call: _Call, generation: Generation, scenario: Scenario, target: Identifier
    ) -> None:
        await self.step()
        if scenario.ending is ScenarioEnding.SILENT:
            return
        more: dict[str, Any] = {"direction": "incoming"}
        if generation is Generation.Y2018:
            await self._notify(call, "updated", generation, state="redirecting")
            await self.step()
        if scenario.ending is ScenarioEnding.CALLER_LEAVES:
            more["resultInfo"] = CALLER_HUNG_UP.result_info()
        elif scenario.ending is ScenarioEnding.FAILS:
            more["resultInfo"] = FAILURES[scenario.reason or FailureReason.UNKNOWN].result_info()
        else:
            more["answeredBy"] = participant(target)
            if generation is Generation.Y2018:
                more["terminationReason"] = "AppRedirected"
        call.state = "terminated"
        await self._notify(call, "deleted", generation, state="terminated", **more)

    # --- what is said -----------------------------------------------------------------------------

    async def _end(
        self, call: _Call, ending: Ending | None, generation: Generation = Generation.CURRENT
    ) -> None:
        call.state = "terminated"
        info = {} if ending is None else {"resultInfo": ending.result_info()}
        await self._notify(call, "deleted", generation, state="terminated", **info)

    async def _notify(
        self, call: _Call, change: str, generation: Generation = Generation.CURRENT, **data: Any
    ) -> None:
        await self.post(
            call.callback_url,
            notification(generation, call.id, change, **data),
            headers={
                "Authorization": "Bearer unsigned",
                "User-Agent": "Microsoft-Skype/3.0,(Calling/1.0)",
                "X-Microsoft-Skype-Chain-ID": call.chain_id,
                "X-Microsoft-Skype-Message-ID": str(uuid4()),
                "Scenario-Id": call.chain_id,
            },
        )

    def _offer(self, call: _Call, source: Identifier) -> dict[str, Any]:
        return {
            "state": "incoming",
            "direction": "incoming",
            "callbackUri": call.callback_url,
            "source": participant(source),
            "targets": [participant(TeamsApp(CLIENT_ID, display_name="Emulated Bot"))],
            "tenantId": call.tenant_id,
            "myParticipantId": str(uuid4()),
            "callChainId": call.chain_id,
            "id": call.id,
        }


def _wanted(request: Request, found: re.Match[str], body: bytes) -> Wanted:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Refusal(415, "UnsupportedMediaType", "The body must be application/json.")
    try:
        value = json.loads(body)
        if found["action"] == "transfer":
            return read_transfer(value)
        return read_redirect(value, beta=found["api"] == "beta")
    except (ValueError, RecursionError):
        raise _Refusal(400, "BadRequest", "The body is not JSON.") from None
    except Unacceptable as error:
        raise _Refusal(400, "BadRequest", f"Invalid request: {error}.") from None


def _shown(call: _Call, api: str) -> dict[str, Any]:
    return {
        "@odata.context": f"https://graph.microsoft.com/{api}/$metadata#communications/calls/$entity",
        "@odata.type": "#microsoft.graph.call",
        "id": call.id,
        "state": call.state,
        "direction": "incoming",
        "callbackUri": call.callback_url,
        "callChainId": call.chain_id,
        "tenantId": call.tenant_id,
        "resultInfo": None,
        "answeredBy": None,
        "toneInfo": None,
    }


def _operation(wanted: Wanted) -> dict[str, Any]:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    context = {} if wanted.client_context is None else {"clientContext": wanted.client_context}
    return {
        **context,
        "createdDateTime": now,
        "id": str(uuid4()),
        "lastActionDateTime": now,
        "status": "Running",
    }


def _recorded(request: Request, path: str, body: bytes, status: int) -> RecordedRequest:
    """The request, its credentials masked."""
    try:
        content: Any = json.loads(body) if body else None
    except (ValueError, RecursionError):
        content = _HIDDEN_FIELDS.sub(rb"\1=" + MASK.encode(), body).decode("utf-8", "replace")
    headers = dict(request.headers)
    if "authorization" in headers:
        headers["authorization"] = f"{headers['authorization'].partition(' ')[0]} {MASK}"
    return RecordedRequest(
        method=request.method,
        path=path,
        query=dict(request.query_params),
        headers=headers,
        body=content,
        status=status,
    )
