"""A model of Microsoft Graph's cloud communications: what they do to calls, and their wire.

Shapes and codes: the documentation of call: transfer, call: delete, participant: invite and call: playPrompt
(v1.0 and beta, with their history). Graph has no request id under which it executes once, names no transfer
in its notifications, and numbers its messages only in a header.
"""

import json

import httpx
from transferkit_graph import GraphAdapter, GraphSettings
from transferkit_graph.inspection import inspection_of
from transferkit_graph.reasons import GRAPH
from transferkit_graph.requests import body_of
from transferkit_graph.transport import read_response

from provider_walks.provider import Order, Provider, Unanswered, Unconnected
from transferkit.provider.adapter import Inspection
from transferkit.provider.results import Presence

SETTINGS = {
    form: GraphSettings(tenant_id="tenant", client_id="client", managed_identity="system", body=form)
    for form in ("current", "2018")
}
MESSAGE_ID = "X-Microsoft-Skype-Message-ID"
HUNG_UP = ((200, 4521), (200, 4097), (200, 18503), (200, 540000), (200, 560000), (0, None), None)
EVERYBODY_LEFT = ((200, 5001), (200, 5002), (200, 5003), (200, 5010), (200, 5000), (200, 4097), None)
CONSULT_DROPPED = ((200, 5000), (200, 7000), (200, 10550), None)
MESSAGES = ("Unexpected server error.", "Transfer failed. DiagCode: 500#7000.@", "")
OPERATIONS = (
    "playPrompt",
    "record",
    "inviteParticipants",
    "muteParticipant",
    "subscribeToTone",
    "updateRecordingStatus",
)


class GraphModel(Provider):
    """The transfers of one tenant."""

    def __init__(self, walk, mode):
        super().__init__(walk, mode)
        self._style = self.random.choice(["resourceUrl", "resource", "both"])
        self._subcode = self.random.choice(["subcode", "subCode"])
        self._quoted = self.random.random() < 0.1
        self._chain_id = self.new_id() if self.random.random() < 0.5 else None
        self._wording = self.random.choice(MESSAGES)

    # --- requests ---------------------------------------------------------------------------------------

    def order_of(self, submission):
        """Return the order of a submission."""
        body = body_of(submission.request, form=self.mode.body, submission_id=submission.id)
        target = body.get("transferTarget") or body.get("target")
        leg = self.legs[submission.request.call.id]
        replaced = self.legs.get(target.get("replacesCallId"))
        transferee = body.get("transferee")
        return Order(
            owner=submission.id,
            leg=leg,
            replaced=replaced,
            transferee=transferee["identity"]["user"]["id"] if transferee else None,
            address=leg.address,
            context=body.get("clientContext"),
        )

    def refusal(self, why):
        status, code = {
            "gone": (404, "8522"),
            "not established": (400, "8501"),
            "conflict": (409, "8607"),
            "other": self.random.choice([(403, "7505"), (400, "8523"), (400, "BadRequest"), (403, "7504")]),
        }[why]
        return status, {}, {"error": {"code": code, "message": "made up"}}

    def answer_query(self, leg):
        if leg.ended_at is not None:
            return 404, {"error": {"code": "8522", "message": "Call not found."}}
        state = "established"
        if running := self.running(leg):
            accepted = any(one.accepted for one in running)
            state = self.random.choice(["established", "transferAccepted" if accepted else "transferring"])
        return 200, {"@odata.type": "#microsoft.graph.call", "id": leg.id, "state": state, "resultInfo": None}

    def draw_failure(self, execution):
        order = execution.order
        if order.replaced is None:
            return (500, 7000) if self.random.random() < 0.8 else (500, 1000)
        return (404, 10202) if order.replaced.ended_at is not None else (500, 7700)

    # --- notifications ------------------------------------------------------------------------------------

    def post_started(self, execution):
        if self.random.random() < 0.7:
            self.walk.later(self.random.uniform(0, 0.5), self._progress, execution, "transferring")

    def post_accepted(self, execution):
        if self.random.random() < 0.8:
            self._progress(execution, "transferAccepted")
            if self.random.random() < 0.4:
                self._call(execution.order.leg, state="transferring", mediaState={"audio": "inactive"})

    def _progress(self, execution, state):
        leg = execution.order.leg
        if self.mode.body == "2018" and self.random.random() < 0.6:
            data = {
                "clientContext": execution.order.context,
                "status": "running",
                "resultInfo": {"code": 200, "subCode": state},
            }
            self._operation(leg, "comms", data)
        else:
            self._call(leg, state=state)

    def post_succeeded(self, execution):
        order, leg, random = execution.order, execution.order.leg, self.random
        if leg.group:
            leg.parties.remove(order.transferee)
            self._post_roster(leg)
            if random.random() < 0.5:  # the call goes on without the transferee
                self._call(leg, state="established")
                if len(leg.parties) <= 1 or random.random() < 0.3:
                    self.walk.later(random.uniform(0.1, 20), self._everybody_left, leg)
                return
        self.end(leg)
        if order.replaced is None:
            words = {"resultInfo": self._result((random.choice([0, 200]), 7015), "GracefulTransferCompleted")}
        else:
            words = {"terminationReason": "AppTransferred"}
            self._drop_consult(order.replaced)
        self._terminated(leg, words, verdict_of=order)

    def _drop_consult(self, leg):
        if leg.ended_at is None:
            self.end(leg)
            words = self.random.choice(CONSULT_DROPPED)
            fields = {} if words is None else {"resultInfo": self._result(words, "made up")}
            self.walk.later(self.random.uniform(0, 1), self._terminated, leg, fields)

    def _everybody_left(self, leg):
        if leg.ended_at is None:
            self.end(leg)
            self.post_ended(leg)

    def post_failed(self, execution):
        leg, random = execution.order.leg, self.random
        if leg.ended_at is not None:
            return
        more = {"replacesContext": "cmVwbGFjZXM="} if random.random() < 0.3 else {}
        result = self._result(execution.codes, self._wording)
        self._call(leg, verdict_of=execution.order, state="established", resultInfo=result, **more)
        if random.random() < 0.3:
            self.walk.later(
                random.uniform(0, 1), self._call, leg, state="established", mediaState={"audio": "active"}
            )

    def post_ended(self, leg):
        words = self.random.choice(EVERYBODY_LEFT if leg.group else HUNG_UP)
        more = {} if words is None else {"resultInfo": self._result(words, "made up")}
        if self.random.random() < 0.3:
            more["terminationReason"] = self.random.choice(["CallTerminated", "AppInitiated"])
        self._terminated(leg, more)

    def _terminated(self, leg, words, *, verdict_of=None):
        if self.random.random() < 0.2:
            self._call(leg, ended_leg=leg, verdict_of=verdict_of, state="terminated", **words)
        self._call(leg, change="deleted", ended_leg=leg, verdict_of=verdict_of, state="terminated", **words)

    def _post_roster(self, leg):
        people = [
            {
                "@odata.type": "#microsoft.graph.participant",
                "info": {"identity": {"user": {"id": one}}},
                "isMuted": False,
                "id": f"participant-{one}",
            }
            for one in leg.parties
        ]
        self._notify(leg, "updated", people, part="/participants")

    def post_unrelated(self, leg):
        random = self.random
        if leg.ended_at is not None:
            return
        drawn = random.random()
        if drawn < 0.2:
            self._post_roster(leg)
        elif drawn < 0.3:
            self._call(
                leg, state="established", toneInfo={"sequenceId": random.randint(1, 9), "tone": "tone1"}
            )
        elif drawn < 0.4:
            self._call(leg, state="established", mediaState={"audio": "active"})
        else:
            status = random.choice(["running", "completed", "failed", "failed"])
            owners = [one.owner for one in self.walk.wire_orders[-2:]]
            words = {"failed": random.choice([(412, 9999), (400, 8508)]), "completed": (200, 0)}.get(status)
            data = {"clientContext": random.choice([self.new_id(), "prompt 1", *owners]), "status": status}
            if words is not None:
                data["resultInfo"] = self._result(words, f"Action {status}.")
            change = "updated" if status == "running" else random.choice(["updated", "deleted"])
            self._operation(leg, random.choice(OPERATIONS), data, change=change)

    def other_code_order(self, leg):
        """Return a transfer of other code. Graph's callbacks do not distinguish it from ours."""
        transferee = self.random.choice(leg.parties) if leg.group and leg.parties else None
        return Order(owner=None, leg=leg, transferee=transferee, address=leg.address)

    def _result(self, words, message):
        code, subcode = words
        result = {
            "@odata.type": "#microsoft.graph.resultInfo",
            "code": str(code) if self._quoted else code,
            "message": message,
        }
        if subcode is not None:
            result[self._subcode] = str(subcode) if self._quoted else subcode
        return result

    def _call(self, leg, *, change="updated", ended_leg=None, verdict_of=None, **data):
        data = {"@odata.type": "#microsoft.graph.call", **data}
        if self._chain_id is not None:
            data["callChainId"] = self._chain_id
        self._notify(leg, change, data, ended_leg=ended_leg, verdict_of=verdict_of)

    def _operation(self, leg, kind, data, *, change="updated"):
        id_ = self.new_id()
        named = {"@odata.type": f"#microsoft.graph.{kind}Operation", "id": id_}
        self._notify(leg, change, {**named, **data}, part=f"/operations/{id_}")

    def _notify(self, leg, change, data, *, part="", ended_leg=None, verdict_of=None):
        element = {
            "@odata.type": "#microsoft.graph.commsNotification",
            "changeType": change,
            "resourceData": data,
        }
        if self._style != "resource":
            element["resourceUrl"] = f"/communications/calls/{leg.id}{part}"
        if self._style != "resourceUrl":
            element["resource"] = f"/app/calls/{leg.id}{part}"
        self.walk.network.post(leg.address, element, ended_leg=ended_leg, verdict_of=verdict_of)

    def write(self, elements):
        return self._headers(), json.dumps(_collection(elements)).encode()

    def rewrite(self, delivery):
        """Repeat the callback: unchanged, or reformatted by a proxy with another message id or none."""
        drawn = self.random.random()
        if drawn < 0.5:
            return delivery.headers, delivery.body
        body = _collection([_reordered(element.content) for element in delivery.elements])
        compact = self.random.random() < 0.5
        text = json.dumps(body, separators=(",", ":") if compact else None)
        return self._headers() if drawn < 0.8 else {"content-type": "application/json"}, text.encode()

    def _headers(self):
        headers = {"content-type": "application/json"}
        if self.walk.conditions.numbered:
            headers[MESSAGE_ID] = self.new_id()
        return headers


def _collection(elements):
    return {"@odata.type": "#microsoft.graph.commsNotifications", "value": elements}


def _reordered(element):
    return dict(reversed(element.items()))


class GraphWalker(GraphAdapter):
    """The Graph adapter, with the model instead of a network."""

    def __init__(self, model, clock):
        super().__init__(SETTINGS[model.mode.body], clock=clock)
        self._model = model

    async def submit(self, submission):
        with self._model.walk.guard():
            order = self._model.walk.sends(self._model.order_of(submission))
            try:
                status, headers, body = await self._model.exchange(order)
            except Unconnected:
                return GRAPH.failure(httpx.ConnectError("no connection"))
            except TimeoutError:
                return GRAPH.failure(httpx.ReadTimeout("no answer"))
            except Unanswered:
                return GRAPH.failure(httpx.RemoteProtocolError("the connection broke"))
            response = read_response(httpx.Response(status, headers=headers, json=body))
            return GRAPH.submit_result(response, now=self._now())

    async def inspect(self, call, *, tenant_id=None):
        with self._model.walk.guard():
            try:
                status, body = await self._model.query(call.id)
            except Unanswered:
                return Inspection(presence=Presence.UNKNOWN)
            return inspection_of(read_response(httpx.Response(status, json=body)))

    def decode(self, callback):
        return self._model.walk.decoded(super().decode(callback))

    async def aclose(self):
        pass
