"""A readable description of a traced walk."""

import json
from functools import singledispatchmethod

from provider_walks.graph import MESSAGE_ID
from provider_walks.network import Delivery
from provider_walks.provider import Execution, Leg, Sending
from provider_walks.walk import RequestedTransfer
from transferkit.events import Outcome


def describe(walk):
    """Yield the lines that describe a traced walk."""
    provider, describer = walk.provider, Describer(walk)
    yield f"mode: {walk.mode}; seed: {walk.seed}"
    yield f"conditions: {walk.conditions}"
    yield f"the provider refuses a second transfer while one is running: {provider.refuses_second}"
    for leg in provider.legs.values():
        kind = f"group call, parallel transfers: {provider.parallel}" if leg.group else "one to one"
        yield f"{describer.calls[leg.id]}: {kind}, context of the call: {leg.context!r}"
    for at, what, about in walk.trace:
        yield f"{at:8.2f}  {describer.line(about, what)}"


class Describer:
    """Describes traced objects. It names transfers T1, T2 … and calls A, B …"""

    def __init__(self, walk):
        self.transfers = {one.id: f"T{one.number + 1}" for one in walk.transfers.values()}
        self.calls = {id_: f"call {chr(ord('A') + index)}" for index, id_ in enumerate(walk.provider.legs)}

    @singledispatchmethod
    def line(self, about, what):
        return f"{what} {'' if about is None else about}"

    @line.register
    def _(self, about: RequestedTransfer, what):
        return f"T{about.number + 1} {what} on {self.calls[about.leg.id]}, deadline {about.deadline_at:.2f}"

    @line.register
    def _(self, about: Delivery, what):
        contents = ", ".join(self._content(element.content) for element in about.elements)
        number = about.headers.get(MESSAGE_ID)
        message = f" (message {number[:4]})" if number else ""
        return f"callback {what} at {self._named(about.url)}: {contents}{message}"

    @line.register
    def _(self, about: Sending, what):
        status = f", {about.status}" if what == "answered" else ""
        context = self._named(str(about.order.context))
        owner = self.transfers.get(about.order.owner)
        return f"request of {owner} {what}{status} [{about.handling}], context {context!r}"

    @line.register
    def _(self, about: Execution, what):
        order = about.order
        who = self.transfers.get(order.owner, "other code")
        if what == "executed":
            end = "SUCCEEDED" if about.succeeded else f"FAILED {about.codes}"
            return f"PROVIDER: the transfer of {who} {end}"
        transferee = f", transferee {order.transferee[-4:]}" if order.transferee else ""
        replaced = f", replaces {self.calls[order.replaced.id]}" if order.replaced else ""
        return f"PROVIDER begins the transfer of {who} on {self.calls[order.leg.id]}{transferee}{replaced}"

    @line.register
    def _(self, about: Leg, what):
        return f"PROVIDER: {self.calls[about.id]} {what.upper()}"

    @line.register
    def _(self, about: Outcome, what):
        why = getattr(about, "reason", getattr(about, "evidence", ""))
        alive = f", call_alive {about.call_alive}" if hasattr(about, "call_alive") else ""
        return f"OUTCOME of {self.transfers[about.transfer_id]}: {about.kind} {about.basis} {why}{alive}"

    def _named(self, text):
        for id_, name in self.transfers.items():
            text = text.replace(id_, name)
        return text

    def _content(self, element):
        if "type" in element:
            name, data = element["type"].rpartition(".")[2], element["data"]
            words = data.get("resultInformation", {})
            shown = {
                "context": data.get("operationContext"),
                "code": [words.get("code"), words.get("subCode")],
            }
        else:
            data = element["resourceData"]
            address = element.get("resourceUrl") or element["resource"]
            name = f"{element['changeType']} {address.split('/calls/')[1].partition('/')[2] or 'call'}"
            shown = {} if isinstance(data, list) else {k: v for k, v in data.items() if k != "callChainId"}
        return f"{name} {self._named(json.dumps(shown))}"
