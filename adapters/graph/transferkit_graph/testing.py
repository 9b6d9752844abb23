"""Graph's callbacks for tests of your own endpoint: in their published form, and signed like real ones.

    signer = CallbackSigner(issuer=ISSUER)
    client = AsyncClient.from_config(config, fetch_keys=signer.fetch)
    graph = GraphCallbacks(signer=signer, client_id="…", tenant_id="…")
    response = await client.receive(graph.transfer_completed(call_id))

`transferkit_acs.testing` has the same methods, so a test can be written for both. Receiving the same callback
twice is a repeated delivery.
"""

from __future__ import annotations

import json
from typing import Any, Final, final
from uuid import uuid4

from attrs import frozen

from transferkit._callbacks import CallbackRequest
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit.testing.signing import CallbackSigner
from transferkit_graph.clouds import CLOUDS, GraphCloud
from transferkit_graph.identities import identity_set

__all__ = ["ISSUER", "GraphCallbacks"]

ISSUER: Final = CLOUDS[GraphCloud.GLOBAL].issuers[-1]
"""The issuer of real callbacks (observed: microsoft bot-docs issue 2242)."""

_CALLER: Final = PhoneNumber("+14255550100")
_CALLED: Final = PhoneNumber("+14255550101")
_FAILED: Final = 500
_BLIND: Final = 7000


@final
@frozen(kw_only=True)
class GraphCallbacks:
    """Creates signed callbacks of one application.

    * `client_id`: the application's, the audience of its callbacks, as in `[providers.graph]`.
    * `tenant_id`: the call's tenant, in the token.
    * `url`: the application's path for Graph's callbacks.
    * `issuer`: the issuer of the tokens.
    """

    signer: CallbackSigner
    client_id: str
    tenant_id: str
    url: str = "/graph"
    issuer: str = ISSUER

    def transfer_started(self, call_id: str, *, transfer_id: str | None = None) -> CallbackRequest:
        """The transfer has started. Graph's callbacks name no transfer, so `transfer_id` has no effect."""
        del transfer_id
        return self._call(call_id, "updated", state="transferring")

    def transfer_completed(self, call_id: str, *, transfer_id: str | None = None) -> CallbackRequest:
        """The transfer succeeded, which ended the call."""
        del transfer_id
        info = {"code": 0, "subcode": 7015, "message": "GracefulTransferCompleted"}
        return self._call(call_id, "deleted", state="terminated", resultInfo=info)

    def transfer_failed(
        self,
        call_id: str,
        *,
        transfer_id: str | None = None,
        code: int = _FAILED,
        subcode: int = _BLIND,
        message: str = "",
    ) -> CallbackRequest:
        """The transfer failed and the call continues."""
        del transfer_id
        info = {"code": code, "subCode": subcode, "message": message}  # spelled so in published failures
        return self._call(call_id, "updated", state="established", resultInfo=info)

    def call_connected(self, call_id: str) -> CallbackRequest:
        """The call is established."""
        return self._call(call_id, "updated", state="established")

    def call_ended(
        self, call_id: str, *, code: int = 200, subcode: int = 4521, message: str = ""
    ) -> CallbackRequest:
        """The call ended, by default because the other party hung up."""
        info = {"code": code, "subcode": subcode, "message": message}
        return self._call(call_id, "deleted", state="terminated", resultInfo=info)

    def incoming_call(
        self, call_id: str, *, source: Identifier = _CALLER, target: Identifier = _CALLED
    ) -> CallbackRequest:
        """An incoming call."""
        return self._call(
            call_id,
            "created",
            state="incoming",
            direction="incoming",
            source={"@odata.type": "#microsoft.graph.participantInfo", "identity": identity_set(source)},
            targets=[
                {
                    "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                    "identity": identity_set(target),
                }
            ],
            tenantId=self.tenant_id,
        )

    def signed(self, body: object, *, token: str | None = None) -> CallbackRequest:
        """Any body (bytes, or a JSON value) as a callback. `token` replaces the valid token."""
        token = token or self.signer.token(
            audience=self.client_id, tenant_id=self.tenant_id, issuer=self.issuer
        )
        return CallbackRequest(
            method="POST",
            url=self.url,
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
                "X-Microsoft-Skype-Message-ID": str(uuid4()),
            },
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        )

    def _call(self, call_id: str, change: str, **data: Any) -> CallbackRequest:
        resource = f"/communications/calls/{call_id}"
        return self.signed(
            {
                "@odata.type": "#microsoft.graph.commsNotifications",
                "value": [
                    {
                        "@odata.type": "#microsoft.graph.commsNotification",
                        "changeType": change,
                        "resourceUrl": resource,
                        "resourceData": {
                            "@odata.type": "#microsoft.graph.call",
                            "@odata.id": resource,
                            **data,
                        },
                    }
                ],
            }
        )
