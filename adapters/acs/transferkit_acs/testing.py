"""ACS's callbacks for tests of your own endpoint: in their published form, and signed like real ones.

    signer = CallbackSigner(issuer=ISSUER)
    client = AsyncClient.from_config(config, fetch_keys=signer.fetch)
    acs = AcsCallbacks(signer=signer, resource_id="…", eventgrid_secret="…")
    response = await client.receive(acs.transfer_completed(call_id, transfer_id=transfer.id))

`transferkit_graph.testing` has the same methods, so a test can be written for both. Receiving the same
callback twice is a repeated delivery.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, final
from urllib.parse import quote
from uuid import uuid4

from attrs import field, frozen

from transferkit._callbacks import CallbackRequest
from transferkit.identifiers import CommunicationUser, Identifier, PhoneNumber
from transferkit.provider.clock import Clock, SystemClock
from transferkit.testing.signing import CallbackSigner
from transferkit_acs.identities import response_model_of
from transferkit_acs.settings import AcsSettings, ApiVersion

__all__ = ["ISSUER", "AcsCallbacks"]

ISSUER: Final = AcsSettings().issuers[0]
"""The issuer of real callbacks."""

_CALLER: Final = PhoneNumber("+14255550100")
_CALLED: Final = CommunicationUser(
    "8:acs:00000000-0000-4000-8000-000000000001_00000000-0000-4000-8000-000000000002"
)


@final
@frozen(kw_only=True)
class AcsCallbacks:
    """Creates signed callbacks of one resource.

    * `resource_id`: the resource's immutable id, the audience of its callbacks, as in `[providers.acs]`.
    * `url`: the application's path for mid-call callbacks. Event Grid's path is `/eventgrid` below it, with
      `eventgrid_secret` in the query if there is one.
    * `issuer`: the issuer of the tokens. `api_version`: the version of the events.
    """

    signer: CallbackSigner
    resource_id: str
    url: str = "/acs"
    eventgrid_secret: str | None = field(default=None, repr=False)
    issuer: str = ISSUER
    api_version: ApiVersion = ApiVersion.V2026_03_12
    clock: Clock = field(factory=SystemClock, repr=False)

    def transfer_completed(self, call_id: str, *, transfer_id: str | None = None) -> CallbackRequest:
        """The transfer succeeded. With `transfer_id`, the URL is the transfer's own."""
        result = {"code": 200, "subCode": 7015, "message": "The transfer operation completed successfully."}
        event = self.event("CallTransferAccepted", call_id, resultInformation=result)
        return self.signed([event], transfer_id=transfer_id)

    def transfer_failed(
        self,
        call_id: str,
        *,
        transfer_id: str | None = None,
        code: int = 603,
        subcode: int = 560603,
        message: str = "",
    ) -> CallbackRequest:
        """The transfer failed and the call continues. With `transfer_id`, the URL is the transfer's own."""
        result = {"code": code, "subCode": subcode, "message": message}
        event = self.event("CallTransferFailed", call_id, resultInformation=result)
        return self.signed([event], transfer_id=transfer_id)

    def call_connected(self, call_id: str) -> CallbackRequest:
        """The call is established."""
        return self.signed([self.event("CallConnected", call_id)])

    def call_ended(
        self, call_id: str, *, code: int = 200, subcode: int = 7000, message: str = ""
    ) -> CallbackRequest:
        """The call ended, by default normally."""
        result = {"code": code, "subCode": subcode, "message": message}
        return self.signed([self.event("CallDisconnected", call_id, resultInformation=result)])

    def incoming_call(
        self,
        call_id: str,
        *,
        source: Identifier = _CALLER,
        target: Identifier = _CALLED,
        incoming_context: str = "context",
        rang_at: datetime | None = None,
    ) -> CallbackRequest:
        """Event Grid's `IncomingCall`. The call has no connection yet, so `call_id` is its correlation id."""
        data = {
            "to": response_model_of(target),
            "from": response_model_of(source),
            "serverCallId": uuid4().hex,
            "callerDisplayName": "",
            "incomingCallContext": incoming_context,
            "correlationId": call_id,
        }
        return self.delivery("Microsoft.Communication.IncomingCall", data, time=rang_at)

    def validation(self, code: str) -> CallbackRequest:
        """Event Grid's validation of a new subscription. The response must contain `code`."""
        return self.delivery("Microsoft.EventGrid.SubscriptionValidationEvent", {"validationCode": code})

    def permission(self, origin: str = "eventgrid.azure.net") -> CallbackRequest:
        """Event Grid's validation of a new subscription in the CloudEvents schema."""
        return CallbackRequest(
            method="OPTIONS", url=self._eventgrid_url, headers={"WebHook-Request-Origin": origin}
        )

    def event(self, name: str, call_id: str, **data: Any) -> dict[str, Any]:
        """One event of a call in CloudEvents 1.0. `data` is added to its data."""
        source = f"calling/callConnections/{call_id}"
        kind = f"Microsoft.Communication.{name}"
        return {
            "id": str(uuid4()),
            "source": source,
            "type": kind,
            "data": {
                "version": str(self.api_version),
                "callConnectionId": call_id,
                "serverCallId": uuid4().hex,
                "correlationId": str(uuid4()),
                "publicEventType": kind,
                **data,
            },
            "time": self._time(),
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "subject": source,
        }

    def signed(
        self, body: object, *, transfer_id: str | None = None, token: str | None = None
    ) -> CallbackRequest:
        """Any body (bytes, or a JSON value) as a mid-call callback. `token` replaces the valid token."""
        token = token or self.signer.token(audience=self.resource_id, issuer=self.issuer)
        return CallbackRequest(
            method="POST",
            url=self.url if transfer_id is None else f"{self.url}/{transfer_id}",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        )

    def delivery(self, kind: str, data: dict[str, Any], *, time: datetime | None = None) -> CallbackRequest:
        """One event of Event Grid in its own schema."""
        event = {
            "id": str(uuid4()),
            "topic": f"/subscriptions/{uuid4()}",
            "subject": "",
            "data": data,
            "eventType": kind,
            "dataVersion": "1.0",
            "metadataVersion": "1",
            "eventTime": self._time(time),
        }
        validates = kind.endswith("SubscriptionValidationEvent")
        return CallbackRequest(
            method="POST",
            url=self._eventgrid_url,
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "aeg-event-type": "SubscriptionValidation" if validates else "Notification",
            },
            body=json.dumps([event]).encode(),
        )

    def _time(self, time: datetime | None = None) -> str:
        return (time or self.clock.now()).astimezone(UTC).isoformat()

    @property
    def _eventgrid_url(self) -> str:
        secret = self.eventgrid_secret
        return f"{self.url}/eventgrid" + ("" if secret is None else f"?secret={quote(secret, safe='')}")
