"""The emulator: Graph's calls, and Entra in front of them, on one address."""

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
from transferkit_graph.emulator import refusals
from transferkit_graph.emulator.actions import Actions
from transferkit_graph.emulator.calls import CALLER, CLIENT_ID, TENANT_ID, Calls, EmulatedCall
from transferkit_graph.emulator.entra import Entra
from transferkit_graph.emulator.notifications import NOT_RESPONDED, respelled
from transferkit_graph.emulator.permissions import Permission
from transferkit_graph.emulator.refusals import Refusal
from transferkit_graph.emulator.stories import Stories

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "TENANT_ID", "GraphEmulator"]

CLIENT_SECRET = "emulated-secret"  # noqa: S105 - opens nothing but the emulator

_SIGNER: Final = "/v1"
_OPENID: Final = f"{_SIGNER}/.well-known/OpenIdConfiguration"
_KEYS: Final = f"{_SIGNER}/keys"


@final
class GraphEmulator(Emulator):
    """Microsoft Graph cloud communications, and Entra in front of it, on one address.

    It knows one application in every tenant that a call was placed in. `permissions` are what it was granted
    there, every permission for calls unless told; the next request knows of a change. An incoming call that
    is not answered, rejected or redirected within `respond_within` seconds (15 as published) is over.
    """

    name: ClassVar[str] = "graph"
    needs_tls: ClassVar[bool] = True  # msal takes an authority over https only
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
        self._stories = Stories(self, self._calls)
        self._actions = Actions(
            self, calls=self._calls, stories=self._stories, permissions=lambda: self.permissions
        )
        self._entra = Entra(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            resources={facts.base for facts in CLOUDS.values()},
            home=TENANT_ID,
            clock=self.clock,
        )
        self._unanswered: set[asyncio.Task[None]] = set()

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
        """An established call, as after the application answered; returns its id.

        `tenant_id` is the call's tenant: a token of any other is refused with 7505.
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
        """A call that rings at the application: posts `incoming` there. Needs a running event loop."""
        call = self._place(callback_url, tenant_id, state="incoming", group=group, source=source)
        self.start(self._stories.rings(call, decrypted=self._actions.decrypts))
        waiting = asyncio.get_running_loop().create_task(self._give_up(call))
        self._unanswered.add(waiting)
        waiting.add_done_callback(self._unanswered.discard)
        return RingingCall(call_id=call.id)

    def hang_up(self, call_id: str) -> None:
        """Let the other side end the call: the provider forgets it, and says so in a notification.

        Whoever is being called by the application declines.
        """
        call = self._calls[call_id]
        call.responded.set()
        if not self.end_ringing(call.id, "declined" if call.state == "establishing" else "caller_leaves"):
            self.start(self._stories.hung_up(call))

    def press(self, call_id: str, tone: str = "tone1") -> None:
        """Let the caller press a key (`tone0` to `tone9`, `star`, `pound`, `a` to `d`, `flash`).

        The application hears it if it subscribed to the call's tones. Needs a running event loop.
        """
        self.start(self._stories.pressed(self._calls[call_id], tone))

    def executions(self, call_id: str) -> int:
        return self._calls[call_id].executions

    def calls(self) -> tuple[CallView, ...]:
        return tuple(
            CallView(
                id=call.id,
                provider=self.name,
                state=call.state,
                parties=tuple(member.someone.raw_id for member in call.members),
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

    async def _give_up(self, call: EmulatedCall) -> None:
        """End an incoming call that the application does not respond to in time."""
        until = self.clock.now() + timedelta(seconds=self.respond_within)
        await self.clock.wait(call.responded, until)
        if not call.responded.is_set():
            call.state = "terminated"
            self.start(self._stories.ended(call, NOT_RESPONDED))

    # --- credentials --------------------------------------------------------------------------------

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

    # --- the wire -----------------------------------------------------------------------------------

    async def handle(self, request: EmulatedRequest) -> Reply:
        published = {_OPENID: lambda: self.signer.openid_configuration(f"{request.base_url}{_SIGNER}")}
        published[_KEYS] = self.signer.jwks
        if request.path in published:
            get = request.method in {"GET", "HEAD"}
            return Reply(status=200, body=published[request.path]()) if get else Reply(status=405)
        of_entra = self._entra.answer(request, permissions=self.permissions)
        return self._graph(request) if of_entra is None else of_entra

    def other_spelling(self, body: Any) -> Any:
        return respelled(body)

    def reply_to_fault(self, fault: Fault) -> Reply:
        return self._refused(refusals.trouble(fault.status, fault.retry_after), _ids())

    async def aclose(self) -> None:
        for waiting in list(self._unanswered):
            waiting.cancel()
        await asyncio.gather(*self._unanswered, return_exceptions=True)
        await super().aclose()

    def _graph(self, request: EmulatedRequest) -> Reply:
        ids = _ids(request.headers.get("client-request-id"))
        tenant = self._entra.tenant_of(request.headers.get("authorization", ""))
        if tenant is None:
            return self._refused(refusals.bad_token(), ids)
        try:
            reply = self._actions.answer(request, tenant=tenant)
        except Refusal as refusal:
            return self._refused(refusal, ids)
        return Reply(status=reply.status, body=reply.body, headers={**reply.headers, **ids})

    def _refused(self, refusal: Refusal, ids: dict[str, str]) -> Reply:
        reply = refusals.refused(refusal, ids=ids, now=self.clock.now())
        return Reply(status=reply.status, body=reply.body, headers={**reply.headers, **ids})


def _ids(client_request_id: str | None = None) -> dict[str, str]:
    """What Graph names an exchange by, in the headers and in an error's body."""
    return {"request-id": str(uuid4()), "client-request-id": client_request_id or str(uuid4())}
