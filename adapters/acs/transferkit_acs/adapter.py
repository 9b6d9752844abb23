"""The adapter: Azure Communication Services Call Automation behind transferkit's contract.

The SDK loads when the first request leaves, so that planning and decoding stay cheap.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, final

from attrs import evolve

from transferkit.adapter import Adapter, Callback, CallbackRoute, Inspection, Submission, TokenPolicy
from transferkit.capabilities import Capabilities, Plan, plan
from transferkit.clock import SystemClock
from transferkit.lifecycle import Answer, NotSent, Presence, Taken
from transferkit.requests import Call, Request, WireRequest
from transferkit.signals import Fact
from transferkit_acs import callbacks
from transferkit_acs.answers import Reply, answer_of, answer_without_reply, inspection_of
from transferkit_acs.capabilities import RINGING, capabilities_of, further_problems
from transferkit_acs.settings import AcsSettings

if TYPE_CHECKING:
    from azure.communication.callautomation.aio import CallAutomationClient

    from transferkit.clock import Clock
    from transferkit_acs.tokens import EntraCredential

__all__ = ["AcsAdapter"]

_log = logging.getLogger("transferkit.acs")

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

Operation = Callable[["CallAutomationClient", dict[str, Any]], Awaitable[object]]


@final
class AcsAdapter(Adapter):
    """Transfers and redirects calls of Azure Communication Services."""

    name: ClassVar[str] = callbacks.PROVIDER
    settings_class: ClassVar[type[Any]] = AcsSettings

    def __init__(self, settings: AcsSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._client: CallAutomationClient | None = None
        self._tokens: EntraCredential | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the api-version can carry."""
        return capabilities_of(self._settings.api_version)

    def plan(self, request: Request) -> Plan:
        """Hold the request against the capabilities, and against what they cannot say."""
        planned = plan(request, self.capabilities)
        more = further_problems(planned.request, self._settings.api_version)
        return evolve(planned, problems=(*planned.problems, *more))

    @classmethod
    def canonical_call_id(cls, call_id: str) -> str:
        """A GUID in lower case, as events have it; any other id as it is."""
        return callbacks.canonical_call_id(call_id)

    # --- the way out --------------------------------------------------------------------------------

    async def wire(self, submission: Submission) -> WireRequest:
        """The exact request that `submit` would send, as the SDK makes it, with placeholder credentials."""
        from transferkit_acs.sdk import show

        return await show(self._settings, submission)

    async def submit(self, submission: Submission) -> Answer:
        """Send once and say how it went."""
        from transferkit_acs.sdk import send

        async def operation(client: CallAutomationClient, options: dict[str, Any]) -> None:
            await send(client, submission, **options)

        came = await self._ask(operation)
        if isinstance(came, Reply):
            answer = answer_of(came, now=self._clock.now())
        else:
            answer = answer_without_reply(came)
        if not isinstance(answer, Taken):
            _log.info(
                "submission not taken: %s",
                answer.result.reason,
                extra={
                    "event": "acs_not_taken",
                    "transfer_id": submission.id,
                    "code": answer.result.code,
                    "subcode": answer.result.subcode,
                    "request_id": answer.result.request_id,
                    "may_be_sent_again": isinstance(answer, NotSent),
                },
            )
        return answer

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:  # noqa: ARG002 - ACS has none
        """Ask ACS about the call. Of a call that still rings it says nothing."""
        if call.id.startswith(RINGING):
            return Inspection(presence=Presence.UNKNOWN)

        async def operation(client: CallAutomationClient, options: dict[str, Any]) -> None:
            await client.get_call_connection(call.id).get_call_properties(**options)

        came = await self._ask(operation)
        if isinstance(came, Reply):
            return inspection_of(came)
        answer = answer_without_reply(came)
        return Inspection(
            presence=Presence.UNKNOWN, result=None if isinstance(answer, Taken) else answer.result
        )

    async def _ask(self, operation: Operation) -> Reply | Exception:
        """One call of the SDK: the answer that came, whatever the SDK makes of it, or what came instead."""
        from azure.core.exceptions import IncompleteReadError, ServiceRequestError, ServiceResponseError

        replies: list[Reply] = []

        def keep(response: Any) -> None:
            http = response.http_response
            headers = {name.lower(): value for name, value in http.headers.items()}
            replies.append(Reply(status=http.status_code, headers=headers, body=http.content))

        try:
            # Bounds an answer that trickles in: each of its parts is within the SDK's own limit.
            async with asyncio.timeout(2 * self._settings.timeout):
                await operation(self._open(), {"raw_response_hook": keep})
        except (TimeoutError, IncompleteReadError, ServiceRequestError, ServiceResponseError) as error:
            return error  # also where an earlier answer asked for another token: this is the later word
        except Exception as error:  # noqa: BLE001 - nothing that comes from outside may be raised
            if not replies:
                return error
        return replies[-1]

    def _open(self) -> CallAutomationClient:
        """The SDK's client, made when first needed. Raises `ConfigError`."""
        from transferkit_acs.auth import connect
        from transferkit_acs.sdk import open_client
        from transferkit_acs.tokens import EntraCredential

        if self._client is None:
            endpoint, credential = connect(self._settings)
            self._tokens = credential if isinstance(credential, EntraCredential) else None
            self._client = open_client(self._settings, endpoint, credential)
        return self._client

    async def aclose(self) -> None:
        """Close connections."""
        client, self._client = self._client, None
        tokens, self._tokens = self._tokens, None
        if client is not None:
            await client.close()
        if tokens is not None:  # the SDK leaves it to whoever made it
            await tokens.close()

    # --- the way in ---------------------------------------------------------------------------------

    def route(self, path: str) -> CallbackRoute | None:
        """`""` and `/<transfer id>` are mid-call callbacks, `/eventgrid` is Event Grid's."""
        if path == f"/{callbacks.EVENT_GRID}":
            return CallbackRoute(name=callbacks.EVENT_GRID, policy=None)
        transfer_id = path.removeprefix("/")
        if transfer_id and not _UUID.fullmatch(transfer_id):
            return None
        return CallbackRoute(name="", policy=self._policy(), transfer_id=transfer_id.lower() or None)

    def _policy(self) -> TokenPolicy | None:
        if self._settings.resource_id is None:
            return None
        return TokenPolicy(
            openid_url=self._settings.openid_url,
            issuers=self._settings.issuers,
            audience=self._settings.resource_id,
        )

    @classmethod
    def decode(cls, callback: Callback) -> tuple[Fact, ...]:
        """What a callback says."""
        return callbacks.decode(callback)
