"""A model of Azure Communication Services: what it does to calls, and its wire.

Shapes and codes: the REST API 2026-03-12, recorded events, and the published tables of codes. A request is
executed once under one Repeatability-Request-ID within five minutes of its Repeatability-First-Sent.
"""

import json
from datetime import timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from transferkit_acs import AcsAdapter, AcsSettings
from transferkit_acs.inspection import inspection_of
from transferkit_acs.reasons import ACS
from transferkit_acs.requests import body_of, headers_of
from transferkit_microsoft.responses import HttpResponse

from provider_walks.clock import START
from provider_walks.provider import Order, Provider, Unanswered, Unconnected
from transferkit.provider.adapter import Inspection
from transferkit.provider.results import Presence

SETTINGS = AcsSettings(endpoint="https://acs.example.com", managed_identity="system", resource_id="made-up")
REMEMBERED = 300.0
BUSY, DECLINED, NO_ANSWER = (486, 560486), (603, 560603), (480, 560480)
FAILURES = (
    BUSY,
    DECLINED,
    NO_ANSWER,
    (404, 560404),
    (487, 10024),
    (487, 10004),
    (500, 9999),
    (403, 510403),
    None,
)
HUNG_UP = ((200, 4521), (200, 540000), (0, 560000), (200, 5000), (200, 7000), (487, 0), None)
EVERYBODY_LEFT = (
    *((200, code) for code in (5000, 5001, 5002, 5003, 5010, 5300, 4097)),
    *((0, code) for code in (5003, 5300, 4097)),
    None,
)
TRANSFERRED = ((200, 7000), (200, 7015), (200, 5001), None)
OPERATIONS = (
    ("PlayCompleted", (200, 0)),
    ("PlayFailed", (400, 8536)),
    ("PlayCanceled", None),
    ("RecognizeFailed", (400, 8510)),
    ("AddParticipantSucceeded", (200, 0)),
    ("AddParticipantFailed", (603, 560603)),
    ("RemoveParticipantFailed", (400, 8523)),
    ("MoveParticipantFailed", (400, 8523)),
    ("HoldFailed", (400, 8501)),
    ("RecordingStateChanged", None),
)


class AcsModel(Provider):
    """The transfers of one resource."""

    def __init__(self, walk, mode):
        super().__init__(walk, mode)
        self._repeated = {}
        self._sequence = 0

    def place_call(self, *, group):
        leg = super().place_call(group=group)
        leg.parties = [f"8:acs:{one}" for one in leg.parties]
        leg.context = self.random.choice([None, "answered-7", self.mode.shared_context])
        return leg

    # --- requests ---------------------------------------------------------------------------------------

    def order_of(self, submission):
        """Return the order of a submission."""
        body, headers = body_of(submission), headers_of(submission)
        first_sent = parsedate_to_datetime(headers["Repeatability-First-Sent"]) - START
        leg = self.legs[submission.request.call.id]
        address = body.get("operationCallbackUri")
        return Order(
            owner=submission.id,
            leg=leg,
            transferee=(body.get("transferee") or {}).get("rawId"),
            address=urlsplit(address).path if address else leg.address,
            context=body.get("operationContext"),
            repeat_id=headers["Repeatability-Request-ID"],
            first_sent=first_sent / timedelta(seconds=1),
        )

    def decide(self, order, *, refuse=False, sending=None):
        if order.repeat_id is None:
            return super().decide(order, refuse=refuse)
        known = self._repeated.get(order.repeat_id)
        if self.walk.now - order.first_sent > REMEMBERED:
            return self.refusal("window")
        if known is None:
            known = self._repeated[order.repeat_id] = super().decide(order, refuse=refuse, sending=sending)
        elif order.leg.ended_at is not None and self.random.random() < 0.3:
            return self.refusal("gone")  # the response to a repetition has the current state
        return known

    def refusal(self, why):
        status, code = {
            "gone": (404, "8522"),
            "not established": (400, "8501"),
            "conflict": (409, "8607"),
            "window": (412, "PreconditionFailed"),
            "other": self.random.choice([(400, "8523"), (403, "7504"), (403, "510403"), (400, "8585")]),
        }[why]
        return status, {}, {"error": {"code": code, "message": "made up"}}

    def answer_query(self, leg):
        if leg.ended_at is not None:
            return 404, {"error": {"code": "8522", "message": "Call not found."}}
        state = "connected"
        if self.walk.now < leg.unsettled_until:
            state = "connecting"
        elif running := self.running(leg):
            accepted = any(one.accepted for one in running)
            state = self.random.choice(["connected", "transferAccepted" if accepted else "transferring"])
        return 200, {"callConnectionId": leg.id, "callConnectionState": state}

    def draw_failure(self, execution):
        return self.random.choice(FAILURES)

    # --- events -----------------------------------------------------------------------------------------

    def post_succeeded(self, execution):
        order, leg, random = execution.order, execution.order.leg, self.random
        data = {"resultInformation": _result((200, 7015))}
        if random.random() < 0.7:
            data |= {
                "transferTarget": _person("8:acs:target"),
                "transferee": _person(order.transferee or "8:acs:caller"),
            }
        self._verdict("CallTransferAccepted", order, data)
        if leg.group:
            leg.parties.remove(order.transferee)
            self._post_roster(leg)
            if len(leg.parties) <= 1 or random.random() < 0.3:
                self.walk.later(random.uniform(0.1, 20), self._everybody_left, leg)
            return
        self.end(leg)
        self.walk.later(
            random.choice([0, random.uniform(0, 2)]), self._disconnect, leg, random.choice(TRANSFERRED)
        )

    def _everybody_left(self, leg):
        if leg.ended_at is None:
            self.end(leg)
            self._disconnect(leg, self.random.choice(EVERYBODY_LEFT))

    def post_failed(self, execution):
        order, leg, random = execution.order, execution.order.leg, self.random
        words = execution.codes
        self._verdict(
            "CallTransferFailed", order, {} if words is None else {"resultInformation": _result(words)}
        )
        if leg.ended_at is not None or leg.group:
            return
        drawn = random.random()
        if drawn < 0.15:  # azure-sdk-for-js issue 33159: the call ended
            self.end(leg)
            self.walk.later(random.choice([0, random.uniform(0, 3)]), self._disconnect, leg, (200, 5001))
        elif drawn < 0.3:
            leg.unsettled_until = self.walk.now + random.uniform(0.2, 6)
            self.walk.later(leg.unsettled_until - self.walk.now, self._connected, leg)

    def end(self, leg):
        running = self.running(leg)
        super().end(leg)
        for execution in running:
            if self.random.random() < 0.4:
                self._verdict("CallTransferFailed", execution.order, {"resultInformation": _result((487, 0))})

    def post_ended(self, leg):
        self._disconnect(leg, self.random.choice(EVERYBODY_LEFT if leg.group else HUNG_UP))

    def _disconnect(self, leg, words):
        data = {} if words is None else {"resultInformation": _result(words)}
        self._post(leg.address, leg, "CallDisconnected", leg.context, data, ended_leg=leg)

    def _connected(self, leg):
        if leg.ended_at is None:
            self._post(leg.address, leg, "CallConnected", leg.context, {})

    def _post_roster(self, leg):
        self._sequence += 1
        data = {"participants": [{"identifier": _person(one), "isMuted": False} for one in leg.parties]}
        self._post(leg.address, leg, "ParticipantsUpdated", None, {**data, "sequenceNumber": self._sequence})

    def post_unrelated(self, leg):
        if leg.ended_at is not None:
            return
        drawn = self.random.random()
        if drawn < 0.3:
            self._post_roster(leg)
            return
        name, words = self.random.choice(OPERATIONS)
        contexts = [None, self.new_id(), leg.context, *(one.context for one in self.walk.wire_orders[-2:])]
        data = {} if words is None else {"resultInformation": _result(words)}
        self._post(leg.address, leg, name, self.random.choice(contexts), data)

    def other_code_order(self, leg):
        """Return a transfer of other code. The official SDKs send a random context, or none."""
        transferee = self.random.choice(leg.parties) if leg.group and leg.parties else None
        context = self.random.choice([None, self.new_id()])
        return Order(owner=None, leg=leg, transferee=transferee, address=leg.address, context=context)

    def _verdict(self, name, order, data):
        context = order.context
        if self.mode.loses_context and context is not None:
            drawn = self.random.random()
            if drawn < 0.3:
                context = None
            elif drawn < 0.4:
                context = context.strip()
        self._post(order.address, order.leg, name, context, data, verdict_of=order)

    def _post(self, url, leg, name, context, data, *, ended_leg=None, verdict_of=None):
        source = f"calling/callConnections/{leg.id}"
        data = {"version": "2026-03-12", "callConnectionId": leg.id, "serverCallId": "c2VydmVy", **data}
        data["correlationId"] = "4c38229b-0000-4000-8000-5c4ec6387568"
        if context is not None:
            data["operationContext"] = context
        element = {
            "id": self.new_id(),
            "source": source,
            "type": f"Microsoft.Communication.{name}",
            "data": data,
            "time": self.walk.clock.now().isoformat(),
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "subject": source,
        }
        self.walk.network.post(url, element, ended_leg=ended_leg, verdict_of=verdict_of)

    def write(self, elements):
        return {"content-type": "application/json"}, json.dumps(elements).encode()


def _result(words):
    code, subcode = words
    return {"code": code, "subCode": subcode, "message": "made up"}


def _person(raw_id):
    return {"rawId": raw_id, "kind": "communicationUser", "communicationUser": {"id": raw_id}}


class AcsWalker(AcsAdapter):
    """The ACS adapter, with the model instead of a network."""

    def __init__(self, model, clock):
        super().__init__(SETTINGS, clock=clock)
        self._model = model

    async def submit(self, submission):
        with self._model.walk.guard():
            order = self._model.walk.sends(self._model.order_of(submission))
            try:
                status, headers, body = await self._model.exchange(order)
            except Unconnected:
                return ACS.failure(OSError("no connection"), sent=False)
            except (TimeoutError, Unanswered) as error:
                return ACS.failure(error)
            response = HttpResponse(status=status, headers=headers, body=json.dumps(body).encode())
            return ACS.submit_result(response, now=self._clock.now())

    async def inspect(self, call, *, tenant_id=None):
        with self._model.walk.guard():
            try:
                status, body = await self._model.query(call.id)
            except Unanswered:
                return Inspection(presence=Presence.UNKNOWN)
            return inspection_of(HttpResponse(status=status, body=json.dumps(body).encode()))

    def decode(self, callback):
        return self._model.walk.decoded(super().decode(callback))

    async def aclose(self):
        pass
