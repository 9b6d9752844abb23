"""`decode` of each adapter: facts or `MalformedCallback`, nothing lost, nothing shown, all of it storable."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from fuzzing import bodies
from fuzzing.mutations import altered, altered_bytes, written
from fuzzing.target import Case, Target, as_bytes, as_text, promised
from transferkit import Event, MalformedCallback
from transferkit._callbacks.decoding import decode_callback
from transferkit.codec import decode, encode
from transferkit.identifiers import Identifier
from transferkit.provider.adapter import Adapter, Callback
from transferkit.testing import ManualClock

NOW = ManualClock().now()


class Decoding(Target):
    """One adapter's `decode`."""

    def __init__(
        self, adapter: type[Adapter], seeds: list[Any], *, routes: tuple[str, ...], weight: int
    ) -> None:
        self.name = adapter.name
        self.weight = weight
        self._adapter = adapter
        self._seeds = seeds
        self._routes = routes

    def make(self, random: Random) -> Case:
        seed = random.choice(self._seeds)
        if random.random() < 0.15:  # bytes alone, of a body as it is published
            body = altered_bytes(json.dumps(seed).encode(), random)
        else:
            body = written(altered(seed, random, self._seeds), random)
        case = {"body": as_text(body), "route": random.choice(self._routes)}
        if random.random() < 0.2:
            case["message_id"] = random.choice(("m-1", "", "\ud800", "m" * 300))
        return case

    async def check(self, case: Case) -> None:
        callback = Callback(
            body=as_bytes(case["body"]),
            received_at=NOW,
            route=case["route"],
            headers={"x-microsoft-skype-message-id": case["message_id"]} if "message_id" in case else {},
        )
        facts, error = self._facts(callback)
        if error is None:
            elements = _elements(callback.body)
            promised(len(facts) == elements, f"{elements} elements became {len(facts)} facts")
        else:
            promised(bodies.NUMBER[2:] not in f"{error} {error!r}", "an error shows a phone number")
        for fact in facts:
            promised(fact.event.provider == self.name, "the provider is another")
            promised(isinstance(fact.event.call_id, str) and fact.event.call_id, "there is no call")
            promised(fact.event.time.utcoffset() is not None, "the time has no zone")
            promised(fact.delivery is not None and fact.delivery.key, "a repetition would not be recognised")
            # Ids are shown as they are, whatever a provider takes for one: they are what support asks for.
            ids = f"{fact.event.call_id} {fact.event.correlation_id} {fact.delivery.key} {fact.transfer_id}"
            ids += " ".join(str(one.id) for one in getattr(fact.event, "participants", ()))
            shown = bodies.NUMBER[2:] in repr(fact) and bodies.NUMBER[2:] not in ids
            promised(not shown, "a repr shows a phone number")
        kept, malformed = decode_callback(self._adapter, callback)  # type: ignore[arg-type] # decode is a class's
        promised(malformed is not None or len(kept) == len(facts), "a fact is dropped without a word")
        for fact in kept:
            line = json.dumps(encode(fact.event), ensure_ascii=False)
            line.encode()
            promised(decode(Event, json.loads(line)) == fact.event, "an event is another after it was stored")
            for someone in (fact.target, fact.transferee):
                promised(_survives(someone), "a person is another after being stored")
        if len(callback.body) % 8 == 0:
            again, _ = decode_callback(self._adapter, callback)  # type: ignore[arg-type]
            promised(kept == again, "the same body is decoded to something else")

    def _facts(self, callback: Callback) -> tuple[Any, MalformedCallback | None]:
        try:
            return self._adapter.decode(callback), None
        except MalformedCallback as error:
            return error.facts, error


def _elements(body: bytes) -> int:
    """How many elements a body has that was decoded without complaint."""
    text = body.decode(json.detect_encoding(body), "replace")
    value = json.loads(text, parse_int=str)
    if isinstance(value, dict):
        value = next((item for name, item in reversed(value.items()) if name.lower() == "value"), value)
    return len(value) if isinstance(value, list) else 1


def _survives(someone: Identifier | None) -> bool:
    if someone is None:
        return True
    return decode(Identifier, json.loads(json.dumps(encode(someone)))) == someone  # type: ignore[type-abstract]
