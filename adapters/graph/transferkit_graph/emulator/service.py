"""The emulator: Graph's calls and Entra on one address."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, final
from uuid import uuid4

from transferkit.emulators import CallView, EmulatedRequest, Emulator, Fault, Reply, RingingCall
from transferkit.identifiers import Identifier
from transferkit.provider.clock import Clock
from transferkit.testing.signing import CallbackSigner
from transferkit_graph.clouds import CLOUDS
from transferkit_graph.emulator import errors
from transferkit_graph.emulator.actions import Actions
from transferkit_graph.emulator.call_flows import CallFlows
from transferkit_graph.emulator.calls import CALLER, CLIENT_ID, TENANT_ID, Calls, EmulatedCall
from transferkit_graph.emulator.entra import Entra
from transferkit_graph.emulator.errors import GraphError
from transferkit_graph.emulator.notifications import NOT_RESPONDED, respell
from transferkit_graph.emulator.permissions import Permission

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "TENANT_ID", "GraphEmulator"]

CLIENT_SECRET = "emulated-secret"  # noqa: S105 - valid only for the emulator

_OPENID: Final = "/v1/.well-known/OpenIdConfiguration"
_KEYS: Final = "/v1/keys"


@final
class GraphEmulator(Emulator):
    """Microsoft Graph cloud communications and Entra, with one application.

    * `permissions`: the application permissions that are granted in every tenant, by default all calling
      permissions. Changes apply to the next request.
    * `respond_within`: an incoming call ends after this time in seconds unless it is answered, rejected or
      redirected (published: 15).
    """

    name: ClassVar[str] = "graph"
    needs_tls: ClassVar[bool] = True  # msal accepts only an https authority
    issuer: ClassVar[str] = "https://api.botframework.com"

    def __init__(
        self,
        *,
        pace: float = 0.02,
        clock: Clock | None = None,
        signer: CallbackSigner | None = None,
        permissions: Collection[str] = tuple(Permission),
        respond_within: float = 15.0,
    ) -> None:
        super().__init__(pace=pace, clock=clock, signer=signer)
        self.permissions: set[str] = set(permissions)
        self.respond_within = respond_within
        self._calls = Calls()
        self._flows = CallFlows(self, self._calls)
        self._actions = Actions(
            self, calls=self._calls, flows=self._flows, permissions=lambda: self.permissions
        )
        self._entra = Entra(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            resources={facts.base for facts in CLOUDS.values()},
            home_tenant=TENANT_ID,
            clock=self.clock,
        )
        self._timers: set[asyncio.Task[None]] = set()

    def config(self, base_url: str, *, ca_file: Path | None = None) -> dict[str, Any]:
        table = {
            "tenant_id": TENANT_ID,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "base_url": base_url,
            "authority": f"{base_url}/{TENANT_ID}",
            "openid_url": f"{base_url}{_OPENID}",
            "issuers": [self.signer.issuer],
        }
        return table if ca_file is None else {**table, "ca_file": str(ca_file)}

    # --- calls --------------------------------------------------------------------------------------

    def place_call(
        self,
        *,
        callback_url: str,
        group: bool = False,
        tenant_id: str = TENANT_ID,
        source: Identifier = CALLER,
    ) -> str:
        """Add an established call, as after the application answered; returns its id.

        Requests with a token of another tenant than `tenant_id` are rejected with 7505.
        """
        return self._place(callback_url, tenant_id, state="established", group=group, source=source).id

    def ring(
        self,
        *,
        callback_url: str,
        group: bool = False,
        tenant_id: str = TENANT_ID,
        source: Identifier = CALLER,
    ) -> RingingCall:
        """Add an incoming call and post its notification. Needs a running event loop."""
        call = self._place(callback_url, tenant_id, state="incoming", group=group, source=source)
        self.start(self._flows.rings(call, decrypted=self._actions.shows_callers))
        timer = asyncio.get_running_loop().create_task(self._end_unanswered(call))
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)
        return RingingCall(call_id=call.id)

    def hang_up(self, call_id: str) -> None:
        """Have the other party hang up; while the application calls a target, the called party declines.

        Raises `KeyError` for an unknown call.
        """
        call = self._calls[call_id]
        call.responded.set()
        if not self.end_ringing(call.id, "declined" if call.state == "establishing" else "caller_leaves"):
            self.start(self._flows.hung_up(call))

    def press(self, call_id: str, tone: str = "tone1") -> None:
        """Have the caller press a key (`tone0` to `tone9`, `star`, `pound`, `a` to `d`, `flash`).

        The application is notified if it subscribed to the tones. Needs a running event loop.
        """
        self.start(self._flows.pressed(self._calls[call_id], tone))

    def executions(self, call_id: str) -> int:
        return self._calls[call_id].executions

    def calls(self) -> tuple[CallView, ...]:
        return tuple(
            CallView(
                id=call.id,
                provider=self.name,
                state=call.state,
                parties=tuple(member.identifier.raw_id for member in call.members),
                group=call.group,
                ringing=call.state == "incoming",
                executions=call.executions,
                marks=(call.chain_id,),
            )
            for call in self._calls
        )

    def _place(self, callback_url: str, tenant_id: str, **more: Any) -> EmulatedCall:
        self._entra.add_tenant(tenant_id)
        return self._calls.add(EmulatedCall(callback_url=callback_url, tenant_id=tenant_id, **more))

    async def _end_unanswered(self, call: EmulatedCall) -> None:
        """End an incoming call to which the application does not respond in time."""
        until = self.clock.now() + timedelta(seconds=self.respond_within)
        await self.clock.wait(call.responded, until)
        if not call.responded.is_set():
            call.state = "terminated"
            self.start(self._flows.ended(call, NOT_RESPONDED))

    # --- credentials --------------------------------------------------------------------------------

    def add_certificate(self, pem: str) -> None:
        """Register a certificate (PEM) of the application, which verifies its client assertions."""
        self._entra.add_certificate(pem)

    def add_managed_identity(self, client_id: str | None = None) -> None:
        """Also serve the machine's token endpoint, for this identity (None: the system-assigned one).

        msal uses it if the variable AZURE_POD_IDENTITY_AUTHORITY_HOST contains the emulator's address. Its
        tokens are issued for the emulator's own tenant, whichever tenant a call has.
        """
        self._entra.add_identity(client_id)

    def revoke_tokens(self) -> None:
        """Reject every token that was issued so far with 401."""
        self._entra.revoke()

    # --- requests -----------------------------------------------------------------------------------

    async def handle(self, request: EmulatedRequest) -> Reply:
        return (
            self.signer_document(request, openid_path=_OPENID, keys_path=_KEYS)
            or self._entra.handle(request, permissions=self.permissions)
            or self._handle_graph(request)
        )

    def other_spelling(self, body: Any) -> Any:
        return respell(body)

    def reply_to_fault(self, fault: Fault) -> Reply:
        error = errors.service_error(fault.status, fault.retry_after)
        return errors.error_reply(error, ids=_ids(), now=self.clock.now())

    async def aclose(self) -> None:
        for timer in list(self._timers):
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        await super().aclose()

    def _handle_graph(self, request: EmulatedRequest) -> Reply:
        ids = _ids(request.headers.get("client-request-id"))
        try:
            tenant = self._entra.tenant_of(request.headers.get("authorization", ""))
            if tenant is None:
                raise errors.invalid_token()
            reply = self._actions.handle(request, tenant=tenant)
        except GraphError as error:
            return errors.error_reply(error, ids=ids, now=self.clock.now())
        return Reply(status=reply.status, body=reply.body, headers={**reply.headers, **ids})


def _ids(client_request_id: str | None = None) -> dict[str, str]:
    """The ids of a request, in the headers of its response and in the body of an error."""
    return {"request-id": str(uuid4()), "client-request-id": client_request_id or str(uuid4())}
