"""A walk that was traced, told in lines that people can read."""

import json
from functools import singledispatchmethod

from provider_walks.graph import MESSAGE_ID
from provider_walks.network import Letter
from provider_walks.provider import Execution, Leg, Sending
from provider_walks.walk import Asked
from transferkit.events import Outcome


def tell(walk):
    """The lines of a traced walk."""
    provider, story = walk.provider, Story(walk)
    yield f"mode: {walk.mode}; seed: {walk.seed}"
    yield f"conditions: {walk.conditions}"
    yield f"the provider refuses a second transfer while one is running: {provider.refuses_second}"
    for leg in provider.legs.values():
        kind = f"group call, parallel transfers: {provider.parallel}" if leg.group else "one to one"
        yield f"{story.calls[leg.id]}: {kind}, context of the call: {leg.context!r}"
    for at, what, about in walk.trace:
        yield f"{at:8.2f}  {story.line(about, what)}"


class Story:
    """Names transfers T1, T2 … and calls A, B in what was traced."""

    def __init__(self, walk):
        self.transfers = {one.id: f"T{one.number + 1}" for one in walk.asked.values()}
        self.calls = {id_: f"call {chr(ord('A') + index)}" for index, id_ in enumerate(walk.provider.legs)}

    @singledispatchmethod
    def line(self, about, what):
        return f"{what} {'' if about is None else about}"

    @line.register
    def _(self, about: Asked, what):
        return (
            f"T{about.number + 1} {what} for on {self.calls[about.leg.id]}, deadline {about.deadline_at:.2f}"
        )

    @line.register
    def _(self, about: Letter, what):
        said = ", ".join(self._said(saying.element) for saying in about.sayings)
        number = about.headers.get(MESSAGE_ID)
        message = f" (message {number[:4]})" if number else ""
        return f"callback {what} at {self._named(about.url)}: {said}{message}"

    @line.register
    def _(self, about: Sending, what):
        status = f", {about.status}" if what == "answered" else ""
        context = self._named(str(about.order.context))
        owner = self.transfers.get(about.order.owner)
        return f"request of {owner} {what}{status} [{about.fate}], context {context!r}"

    @line.register
    def _(self, about: Execution, what):
        order = about.order
        who = self.transfers.get(order.owner, "other code")
        if what == "executed":
            end = "SUCCEEDED" if about.succeeded else f"FAILED {about.words}"
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

    def _said(self, element):
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
