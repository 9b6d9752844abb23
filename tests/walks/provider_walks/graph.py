"""What Microsoft Graph's cloud communications do to a call, and the wire on which they say so.

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
    """One tenant's calls, as far as their transfers go."""

    def __init__(self, walk, mode):
        super().__init__(walk, mode)
        self._style = self.chance.choice(["resourceUrl", "resource", "both"])
        self._subcode = self.chance.choice(["subcode", "subCode"])
        self._quoted = self.chance.random() < 0.1
        self._chain_id = self.new_id() if self.chance.random() < 0.5 else None
        self._wording = self.chance.choice(MESSAGES)

    # --- requests ---------------------------------------------------------------------------------------

    def order_of(self, submission):
        """A submission as it is on the wire."""
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
            "other": self.chance.choice([(403, "7505"), (400, "8523"), (400, "BadRequest"), (403, "7504")]),
        }[why]
        return status, {}, {"error": {"code": code, "message": "made up"}}

    def answer_query(self, leg):
        if leg.ended_at is not None:
            return 404, {"error": {"code": "8522", "message": "Call not found."}}
        state = "established"
        if running := self.running(leg):
            accepted = any(one.accepted for one in running)
            state = self.chance.choice(["established", "transferAccepted" if accepted else "transferring"])
        return 200, {"@odata.type": "#microsoft.graph.call", "id": leg.id, "state": state, "resultInfo": None}

    def draw_failure(self, execution):
        order = execution.order
        if order.replaced is None:
            return (500, 7000) if self.chance.random() < 0.8 else (500, 1000)
        return (404, 10202) if order.replaced.ended_at is not None else (500, 7700)

    # --- notifications ------------------------------------------------------------------------------------

    def tell_started(self, execution):
        if self.chance.random() < 0.7:
            self.walk.later(self.chance.uniform(0, 0.5), self._progress, execution, "transferring")

    def tell_accepted(self, execution):
        if self.chance.random() < 0.8:
            self._progress(execution, "transferAccepted")
            if self.chance.random() < 0.4:
                self._call(execution.order.leg, state="transferring", mediaState={"audio": "inactive"})

    def _progress(self, execution, state):
        leg = execution.order.leg
        if self.mode.body == "2018" and self.chance.random() < 0.6:
            data = {
                "clientContext": execution.order.context,
                "status": "running",
                "resultInfo": {"code": 200, "subCode": state},
            }
            self._operation(leg, "comms", data)
        else:
            self._call(leg, state=state)

    def tell_succeeded(self, execution):
        order, leg, chance = execution.order, execution.order.leg, self.chance
        if leg.group:
            leg.parties.remove(order.transferee)
            self._post_roster(leg)
            if chance.random() < 0.5:  # the call goes on without the transferee
                self._call(leg, state="established")
                if len(leg.parties) <= 1 or chance.random() < 0.3:
                    self.walk.later(chance.uniform(0.1, 20), self._everybody_left, leg)
                return
        self.end(leg)
        if order.replaced is None:
            words = {"resultInfo": self._result((chance.choice([0, 200]), 7015), "GracefulTransferCompleted")}
        else:
            words = {"terminationReason": "AppTransferred"}
            self._drop_consult(order.replaced)
        self._terminated(leg, words, verdict_of=order)

    def _drop_consult(self, leg):
        if leg.ended_at is None:
            self.end(leg)
            words = self.chance.choice(CONSULT_DROPPED)
            told = {} if words is None else {"resultInfo": self._result(words, "made up")}
            self.walk.later(self.chance.uniform(0, 1), self._terminated, leg, told)

    def _everybody_left(self, leg):
        if leg.ended_at is None:
            self.end(leg)
            self.tell_ended(leg)

    def tell_failed(self, execution):
        leg, chance = execution.order.leg, self.chance
        if leg.ended_at is not None:
            return
        more = {"replacesContext": "cmVwbGFjZXM="} if chance.random() < 0.3 else {}
        result = self._result(execution.words, self._wording)
        self._call(leg, verdict_of=execution.order, state="established", resultInfo=result, **more)
        if chance.random() < 0.3:
            self.walk.later(
                chance.uniform(0, 1), self._call, leg, state="established", mediaState={"audio": "active"}
            )

    def tell_ended(self, leg):
        words = self.chance.choice(EVERYBODY_LEFT if leg.group else HUNG_UP)
        more = {} if words is None else {"resultInfo": self._result(words, "made up")}
        if self.chance.random() < 0.3:
            more["terminationReason"] = self.chance.choice(["CallTerminated", "AppInitiated"])
        self._terminated(leg, more)

    def _terminated(self, leg, words, *, verdict_of=None):
        if self.chance.random() < 0.2:
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

    def noise(self, leg):
        chance = self.chance
        if leg.ended_at is not None:
            return
        drawn = chance.random()
        if drawn < 0.2:
            self._post_roster(leg)
        elif drawn < 0.3:
            self._call(
                leg, state="established", toneInfo={"sequenceId": chance.randint(1, 9), "tone": "tone1"}
            )
        elif drawn < 0.4:
            self._call(leg, state="established", mediaState={"audio": "active"})
        else:
            status = chance.choice(["running", "completed", "failed", "failed"])
            owners = [one.owner for one in self.walk.wire_orders[-2:]]
            words = {"failed": chance.choice([(412, 9999), (400, 8508)]), "completed": (200, 0)}.get(status)
            data = {"clientContext": chance.choice([self.new_id(), "prompt 1", *owners]), "status": status}
            if words is not None:
                data["resultInfo"] = self._result(words, f"Action {status}.")
            change = "updated" if status == "running" else chance.choice(["updated", "deleted"])
            self._operation(leg, chance.choice(OPERATIONS), data, change=change)

    def foreign_order(self, leg):
        """A transfer of other code. Nothing on Graph's wire tells it from ours."""
        transferee = self.chance.choice(leg.parties) if leg.group and leg.parties else None
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

    def rewrite(self, letter):
        """Delivered again: as it was, or through a proxy under another number or none, written anew."""
        drawn = self.chance.random()
        if drawn < 0.5:
            return letter.headers, letter.body
        body = _collection([_reordered(saying.element) for saying in letter.sayings])
        compact = self.chance.random() < 0.5
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
    """The Graph adapter, with the model in the place of the network."""

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
