"""An emulator of ACS Call Automation: the transfer, redirect and get-call requests and their callbacks.

The official SDK works against it unchanged, pointed at it by connection string. It accepts signatures by its
own key; it issues no tokens, so it refuses every bearer. Its callbacks carry no token.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, final
from uuid import uuid4

from attrs import define, frozen

from transferkit.clock import Clock, SystemClock
from transferkit.events import FailureReason
from transferkit.frozenmap import FrozenMap
from transferkit.identifiers import CommunicationUser, Identifier, PhoneNumber
from transferkit.testing.emulator import Emulator, RecordedRequest
from transferkit.testing.scenarios import Ending, scenario_for
from transferkit_acs.callbacks import canonical_call_id
from transferkit_acs.capabilities import RINGING
from transferkit_acs.emulator_checks import Refusal, RepeatableRequests, check_signature
from transferkit_acs.emulator_schema import redirect_problems, transfer_problems
from transferkit_acs.identities import identifier_of, response_model_of
from transferkit_acs.payloads import read_json
from transferkit_acs.reasons import TRANSFER_COMPLETED
from transferkit_acs.settings import ApiVersion

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

__all__ = ["AcsEmulator", "RingingCall"]

_CALLER: Final = PhoneNumber("+14255550150")
_CALLEE: Final = PhoneNumber("+14255550151")
_COLLEAGUE: Final = CommunicationUser(
    "8:acs:00000000-0000-4000-8000-000000000001_00000000-0000-4000-8000-000000000002"
)

_FAILURES: Final[Mapping[FailureReason, tuple[int, int, str]]] = {
    FailureReason.BUSY: (486, 560486, "The called number was busy."),
    FailureReason.NO_ANSWER: (480, 560480, "No answer from the called user."),
    FailureReason.DECLINED: (603, 560603, "The call was declined by the recipient."),
    FailureReason.UNREACHABLE: (480, 10078, "The remote participant is not registered or reachable."),
    FailureReason.TARGET_NOT_FOUND: (404, 560404, "The phone number was not found."),
}
_COMPLETED: Final = (200, TRANSFER_COMPLETED, "The transfer operation completed successfully.")
_CALLER_GONE: Final = (200, 4521, "The participant disconnected.")

_CALL_PATH = re.compile(r"/calling/callConnections/([^/:]+)")
_TRANSFER_PATH = re.compile(r"/calling/callConnections/([^/:]+):transferToParticipant")
_REDIRECT_PATH = "/calling/callConnections:redirect"


@final
@frozen(kw_only=True)
class RingingCall:
    """A call that rings: what Event Grid's IncomingCall says of it, and the id that its event has."""

    call_id: str
    incoming_context: str


@final
@define(kw_only=True)
class _Call:
    """A call as the emulator keeps it; `state` is a `callConnectionState`."""

    id: str
    callback_url: str
    group: bool
    server_call_id: str
    correlation_id: str
    state: str = "connected"
    executions: int = 0
    rosters: int = 0

    @property
    def others(self) -> list[Identifier]:
        return [_CALLER, _COLLEAGUE] if self.group else [_CALLER]


@final
class AcsEmulator(Emulator):
    """One ACS resource.

    A transfer of a group call must name the transferee; whoever is named counts as present. `clock` decides
    how old a repeatable request may be.
    """

    name: ClassVar[str] = "acs"

    def __init__(self, *, pace: float = 0.02, clock: Clock | None = None) -> None:
        super().__init__(pace=pace)
        self.access_key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.resource_id = str(uuid4())
        self._clock = clock or SystemClock()
        self._calls: dict[str, _Call] = {}
        self._ringing: dict[str, str] = {}
        self._redirects: dict[str, int] = {}
        self._repeatable = RepeatableRequests()
        self._app: ASGIApp | None = None

    @property
    def app(self) -> ASGIApp:
        """The ASGI app to serve."""
        if self._app is None:
            from starlette.applications import Starlette
            from starlette.routing import Route

            methods = ["DELETE", "GET", "PATCH", "POST", "PUT"]
            self._app = Starlette(routes=[Route("/{path:path}", self._answer, methods=methods)])
        return self._app

    def config(self, base_url: str, *, ca_file: Path | None = None) -> dict[str, Any]:
        """The `[providers.acs]` table that points an adapter at this emulator."""
        table = {
            "connection_string": f"endpoint={base_url};accesskey={self.access_key}",
            "resource_id": self.resource_id,
        }
        return table | ({"ca_file": str(ca_file)} if ca_file else {})

    def place_call(self, *, callback_url: str, group: bool = False) -> str:
        """An established call, as after the application answered; returns its id.

        The other party is a phone number; in a group call there is an ACS user, too.
        """
        call = _Call(
            id=str(uuid4()),
            callback_url=callback_url,
            group=group,
            server_call_id=base64.b64encode(secrets.token_bytes(24)).decode(),
            correlation_id=str(uuid4()),
        )
        self._calls[call.id] = call
        return call.id

    def ring(self, *, callback_url: str) -> RingingCall:
        """Let a call ring: Event Grid delivers its IncomingCall to `callback_url` (`…/acs/eventgrid`).

        Returns what a redirect needs. Must be called inside a running event loop.
        """
        correlation_id = str(uuid4())
        incoming_context = secrets.token_urlsafe(48)
        call_id = f"{RINGING}{correlation_id}"
        self._ringing[incoming_context] = call_id
        event = {
            "id": str(uuid4()),
            "topic": f"/subscriptions/{uuid4()}/communicationServices/emulator",
            "subject": "/caller/recipient",
            "data": {
                "to": response_model_of(_CALLEE),
                "from": response_model_of(_CALLER),
                "serverCallId": base64.b64encode(secrets.token_bytes(24)).decode(),
                "callerDisplayName": "",
                "incomingCallContext": incoming_context,
                "correlationId": correlation_id,
            },
            "eventType": "Microsoft.Communication.IncomingCall",
            "dataVersion": "1.0",
            "metadataVersion": "1",
            "eventTime": self._clock.now().isoformat(),
        }
        self.play(self._ring(callback_url, event))
        return RingingCall(call_id=call_id, incoming_context=incoming_context)

    async def _ring(self, url: str, event: dict[str, Any]) -> None:
        await self.post(url, [event], headers={"aeg-event-type": "Notification"})

    def executions(self, call_id: str) -> int:
        """How many transfers of this call, or redirects of this ringing call, were executed."""
        call = self._calls.get(canonical_call_id(call_id))
        return call.executions if call else self._redirects.get(call_id, 0)

    # --- requests -----------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        from starlette.responses import JSONResponse, Response

        body = await request.body()
        headers = {name.lower(): value for name, value in request.headers.items()}
        extra: dict[str, str] = {}
        try:
            status, answer = self._handle(request, headers, body, extra)
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body
            extra |= refusal.headers
        extra["X-Microsoft-Skype-Chain-ID"] = str(uuid4())
        self._record(request, headers, body, status)
        if answer is None:
            return Response(status_code=status, headers=extra)
        return JSONResponse(answer, status_code=status, headers=extra)

    def _record(self, request: Request, headers: dict[str, str], body: bytes, status: int) -> None:
        masked = headers | ({"authorization": "***"} if "authorization" in headers else {})
        try:
            value = read_json(body)
        except ValueError:
            value = None
        self.requests.append(
            RecordedRequest(
                method=request.method,
                path=request.url.path,
                query=FrozenMap(dict(request.query_params)),
                headers=FrozenMap(masked),
                body=value,
                status=status,
            )
        )

    def _handle(
        self, request: Request, headers: Mapping[str, str], body: bytes, extra: dict[str, str]
    ) -> tuple[int, Any]:
        """The status and body of the answer; adds to `extra` headers. Raises `Refusal`."""
        path, query = _target(request)
        target = f"{path}?{query}" if query else path
        check_signature(self.access_key, method=request.method, target=target, headers=headers, body=body)
        version = _version(request)
        if request.method == "GET" and (found := _CALL_PATH.fullmatch(path)):
            return HTTPStatus.OK, self._properties(self._call(found[1]))
        found = _TRANSFER_PATH.fullmatch(path)
        if found is None and path != _REDIRECT_PATH:
            raise Refusal(HTTPStatus.NOT_FOUND, "404", "Resource not found.")
        if request.method != "POST":
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "405", "Method not allowed.")
        request_id = self._repeatable.check(headers, now=self._clock.now())
        before = self._repeatable.recall(request_id, target=target, body=body)
        if request_id is not None:
            extra["Repeatability-Result"] = "accepted"
        if before is not None:
            return before
        try:
            value = _json_body(headers, body)
            answer = self._transfer(found[1], value, version) if found else self._redirect(value, version)
        except Refusal as refusal:
            answer = refusal.status, refusal.body
        self._repeatable.remember(request_id, target=target, body=body, status=answer[0], answer=answer[1])
        return answer

    def _call(self, call_id: str) -> _Call:
        call = self._calls.get(canonical_call_id(call_id))
        if call is None or call.state == "disconnected":
            raise _not_found()
        return call

    def _properties(self, call: _Call) -> dict[str, Any]:
        """`CallConnectionProperties`."""
        return {
            "callConnectionId": call.id,
            "serverCallId": call.server_call_id,
            "source": response_model_of(_CALLER),
            "targets": [response_model_of(someone) for someone in call.others],
            "callConnectionState": call.state,
            "callbackUri": call.callback_url,
            "correlationId": call.correlation_id,
        }

    def _transfer(self, call_id: str, body: Any, version: ApiVersion) -> tuple[int, Any]:
        if problems := transfer_problems(body, version):
            raise _invalid(problems)
        call = self._call(call_id)
        if call.state != "connected":
            raise Refusal(HTTPStatus.CONFLICT, "8607", "A transfer of this call is under way.")
        if call.group and "transferee" not in body:
            raise Refusal(
                HTTPStatus.BAD_REQUEST, "8505", "The call has several participants: name the transferee."
            )
        target = identifier_of(body["targetParticipant"])
        if target is None:
            raise _invalid(["request.targetParticipant names nobody"])
        call.state = "transferring"
        call.executions += 1
        self.play(self._play(call, target, body, version))
        context = body.get("operationContext")
        return HTTPStatus.ACCEPTED, {} if context is None else {"operationContext": context}

    def _redirect(self, body: Any, version: ApiVersion) -> tuple[int, Any]:
        if problems := redirect_problems(body, version):
            raise _invalid(problems)
        call_id = self._ringing.pop(body["incomingCallContext"], None)
        if call_id is None:
            raise _not_found()
        self._redirects[call_id] = self._redirects.get(call_id, 0) + 1
        return HTTPStatus.NO_CONTENT, None

    # --- callbacks ----------------------------------------------------------------------------------

    async def _play(self, call: _Call, target: Identifier, body: dict[str, Any], version: ApiVersion) -> None:
        """What follows an accepted transfer."""
        scenario = scenario_for(target)
        await self.step()
        match scenario.ending:
            case Ending.SILENT:
                return
            case Ending.CALLER_LEAVES:
                call.state = "disconnected"
                await self._end(call, version, _CALLER_GONE)
            case Ending.FAILS:
                call.state = "connected"
                code = _FAILURES[scenario.reason or FailureReason.UNREACHABLE]
                await self._verdict(
                    call, body, version, "CallTransferFailed", {"resultInformation": _result(code)}
                )
            case Ending.COMPLETES:
                await self._complete(call, target, body, version)

    async def _complete(
        self, call: _Call, target: Identifier, body: dict[str, Any], version: ApiVersion
    ) -> None:
        """Out of a 1:1 call the application goes, out of a group call the transferee does."""
        transferee = identifier_of(body.get("transferee")) or _CALLER
        call.state = "connected" if call.group else "disconnected"
        accepted: dict[str, Any] = {"resultInformation": _result(_COMPLETED)}
        if version >= ApiVersion.V2023_10_15:
            accepted |= {
                "transferTarget": response_model_of(target),
                "transferee": response_model_of(transferee),
            }
        await self._verdict(call, body, version, "CallTransferAccepted", accepted)
        await self.step()
        if not call.group:
            await self._end(call, version, _COMPLETED)
            return
        call.rosters += 1
        present = [
            {"identifier": response_model_of(one), "isMuted": False}
            for one in call.others
            if one != transferee
        ]
        await self._say(
            call, version, "ParticipantsUpdated", {"participants": present, "sequenceNumber": call.rosters}
        )

    async def _end(self, call: _Call, version: ApiVersion, code: tuple[int, int, str]) -> None:
        """Before 2024-09-15 nobody said why a call ended."""
        told = {"resultInformation": _result(code)} if version >= ApiVersion.V2024_09_15 else {}
        await self._say(call, version, "CallDisconnected", told)

    async def _verdict(
        self, call: _Call, body: dict[str, Any], version: ApiVersion, name: str, data: dict[str, Any]
    ) -> None:
        """Tell the operation's own callback address, else the call's."""
        context = {"operationContext": body["operationContext"]} if "operationContext" in body else {}
        url = body.get("operationCallbackUri") or call.callback_url
        await self._say(call, version, name, {**context, **data}, url=url)

    async def _say(
        self, call: _Call, version: ApiVersion, name: str, data: dict[str, Any], *, url: str | None = None
    ) -> None:
        """Post one CloudEvent, in an array of one as the service does."""
        kind = f"Microsoft.Communication.{name}"
        address = f"calling/callConnections/{call.id}"
        event = {
            "id": str(uuid4()),
            "source": address,
            "type": kind,
            "data": {
                **data,
                "version": version.value,
                "callConnectionId": call.id,
                "serverCallId": call.server_call_id,
                "correlationId": call.correlation_id,
                "publicEventType": kind,
            },
            "time": _wire_time(self._clock.now()),
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "subject": address,
        }
        await self.post(url or call.callback_url, [event])


def _result(code: tuple[int, int, str]) -> dict[str, Any]:
    return {"code": code[0], "subCode": code[1], "message": code[2]}


def _wire_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _target(request: Request) -> tuple[str, str]:
    """Path and query as they stand in the request line, which is what is signed."""
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return path.decode("latin-1").partition("?")[0], query.decode("latin-1")


def _version(request: Request) -> ApiVersion:
    version = request.query_params.get("api-version", "")
    try:
        return ApiVersion(version)
    except ValueError:
        message = "api-version is missing or not supported."
        raise Refusal(HTTPStatus.BAD_REQUEST, "8523", message) from None


def _json_body(headers: Mapping[str, str], body: bytes) -> Any:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "415", "The body must be application/json.")
    try:
        return read_json(body)
    except ValueError as error:
        raise _invalid([f"request {error}"]) from None


def _invalid(problems: list[str]) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "8523", f"Invalid argument: {'; '.join(problems)}.")


def _not_found() -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, "8522", "Call not found.")
