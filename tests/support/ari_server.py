"""A small ARI on a socket, which executes the adapter's requests as Asterisk 22 does.

`tests/e2e` and the tests of the adapter use it where no Asterisk is installed. What a target does depends on
its number (`transferkit.testing.scenarios`). The tests in `adapters/asterisk/tests/real` use a real Asterisk.
"""

import asyncio
import base64
import hashlib
import json
import re
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from urllib.parse import parse_qs, unquote, urlsplit

from transferkit.testing import SCENARIOS, scenario
from transferkit.testing.scenarios import Ending
from transferkit.testing.server import stop_accepting

__all__ = ["PASSWORD", "AriServer", "ari_server"]

APP, CONTEXT, PASSWORD = "transferkit", "transferkit", "pl4nted~ari~password"
_ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REFER = {"answers": "SUCCESS/0", "busy": "486", "declined": "603", "unreachable": "480", "not_found": "404"}
_DIAL = {
    "busy": "BUSY/486",
    "declined": "CHANUNAVAIL/603",
    "unreachable": "NOANSWER/480",
    "not_found": "CHANUNAVAIL/404",
    "no_answer": "NOANSWER/180",
}


class Channel:
    """A channel: its place in the dialplan, and its variables."""

    def __init__(self, id_, *, state):
        self.id = id_
        self.state = state
        self.place = {"context": "incoming", "exten": "100", "priority": 1, "app_name": "Stasis"}
        self.variables = {}
        self.listed = True
        self.on_hold = False

    @property
    def in_stasis(self):
        return self.place["app_name"] == "Stasis"

    def json(self):
        caller = {"name": "Ada", "number": "+14255550142"}
        return {
            "id": self.id,
            "name": f"PJSIP/{self.id}",
            "state": self.state,
            "caller": caller,
            "dialplan": self.place,
        }


class AriServer:
    """The state of the PBX.

    * `requests`: method and path of each request, in order. `bodies`: their JSON.
    * `replies`: status and body to answer a path with, instead of executing the request, by a pattern.
    * `results`: what `TRANSFERKIT_STATE` becomes, by the target's number, instead of the scenario's result.
    * `connected`: set while a client receives events.
    """

    def __init__(self, *, pace=0.0):
        self.pace = pace
        self.channels = {}
        self.bridges = {}
        self.requests = []
        self.bodies = []
        self.replies = {}
        self.results = {}
        self.hung_up_with = {}
        self.connected = asyncio.Event()
        self.silent = False
        self.url = ""
        self._numbers = count(1)
        self._events = None
        self._tasks = set()
        self._writers = set()
        self._executed = {}

    # --- what a test does -------------------------------------------------------------------------

    def table(self, **more):
        """The table `[providers.asterisk]` that points here."""
        table = {"base_url": f"{self.url}/ari", "password": PASSWORD, "app": APP, "context": CONTEXT}
        return {**table, "number_uri": "sip:{number}@pbx.example", "timeout": 2, **more}

    def place_call(self, *, state="Up", **_):
        """A new call in the Stasis application; returns the channel's id."""
        channel = Channel(f"1795985222.{next(self._numbers)}", state=state)
        self.channels[channel.id] = channel
        self.emit("StasisStart", channel, args=[])
        return channel.id

    def hang_up(self, call_id, *, cause=16):
        """The caller hangs up."""
        channel = self.channels.pop(call_id)
        key = channel.variables.get("TRANSFERKIT_KEY")
        if key is not None:
            state = channel.variables.get(f"TRANSFERKIT_STATE_{key}", "")
            dialled = channel.variables.get("DIALSTATUS", "")
            self.emit("ChannelVarset", channel, variable=f"TRANSFERKIT_END_{key}", value=f"{state}/{dialled}")
        self.emit("ChannelDestroyed", channel, cause=cause, cause_txt="Normal Clearing")
        for id_, bridge in list(self.bridges.items()):
            if call_id in bridge["channels"]:
                bridge["channels"].remove(call_id)
                self.emit("ChannelLeftBridge", channel, bridge={"id": id_, **bridge})

    def executions(self, call_id):
        """How many transfers of a call were executed."""
        return self._executed.get(call_id, 0)

    async def cut(self):
        """Cut the websocket."""
        if self._events is not None:
            self._events.transport.abort()
            self._events = None
            self.connected.clear()

    def emit(self, type_, channel=None, **more):
        """Send an event, if a client receives them."""
        event = {
            "type": type_,
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "+0000",
            **more,
        }
        if channel is not None:
            event["channel"] = channel.json()
        self.send(json.dumps(event).encode())

    def send(self, text):
        """Send the text of an event."""
        if self._events is not None and not self.silent:
            head = bytes([0x81]) + (
                bytes([len(text)]) if len(text) < 126 else bytes([126]) + len(text).to_bytes(2, "big")
            )
            self._events.write(head + text)

    # --- the dialplan -------------------------------------------------------------------------------

    def _continue(self, channel, place):
        if not channel.in_stasis:
            return 409, {"message": "Channel not in Stasis application"}
        kind, _, key = place["extension"].partition("-")
        channel.place = {
            "context": place["context"],
            "exten": place["extension"],
            "priority": 1,
            "app_name": "Set",
        }
        self.emit("StasisEnd", channel)
        self._set(channel, "TRANSFERKIT_KEY", key)
        state = f"TRANSFERKIT_STATE_{key}"
        if state in channel.variables:
            self._report(channel, key)
        else:
            self._executed[channel.id] = self.executions(channel.id) + 1
            self._set(channel, state, "pending")
            channel.place["app_name"] = "Transfer" if kind == "refer" else "Dial"
            self._play(self._execute(channel, kind, key))
        return 204, None

    async def _execute(self, channel, kind, key):
        await asyncio.sleep(self.pace)
        target = channel.variables[f"TRANSFERKIT_TARGET_{key}"]
        name = next((line.name for line in SCENARIOS if line.number.number in target), "answers")
        ending, result = scenario(name).ending, self.results.get(name)
        if ending is Ending.SILENT and result is None:
            return
        if ending is Ending.CALLER_LEAVES:
            if kind == "dial":
                channel.variables["DIALSTATUS"] = "CANCEL"
            self.hang_up(channel.id)
            return
        if result is None and kind == "dial" and ending is Ending.COMPLETES:
            channel.variables["DIALEDPEERNAME"] = "PJSIP/target"
            self._set(channel, "DIALSTATUS", "ANSWER")
            self._set(channel, "BRIDGEPEER", "PJSIP/target")
            return
        if result is None and kind == "dial":
            result = _DIAL[name]
        elif result is None:
            result = "SUCCESS/0" if ending is Ending.COMPLETES else f"FAILURE/{_REFER.get(name, '487')}"
        self._set(channel, f"TRANSFERKIT_STATE_{key}", result)
        self._report(channel, key)

    def _report(self, channel, key):
        channel.place = {**channel.place, "exten": "report", "app_name": "Stasis"}
        consult = channel.variables.get(f"TRANSFERKIT_CONSULT_{key}", "")
        state = channel.variables[f"TRANSFERKIT_STATE_{key}"]
        self.emit("StasisStart", channel, args=["transferkit", key, state, consult])

    def _set(self, channel, name, value):
        channel.variables[name] = value
        self.emit("ChannelVarset", channel, variable=name, value=value)

    # --- ARI ------------------------------------------------------------------------------------------

    def _respond(self, method, path, query, body):  # noqa: PLR0911 - one for each request
        for pattern, reply in self.replies.items():
            if re.fullmatch(pattern, f"{method} {path}"):
                return reply
        parts = path.split("/")
        match (method, *parts):
            case ("GET", "asterisk", "info"):
                return 200, {"system": {"version": "22.10.0"}}
            case ("GET", "applications", app):
                found = app == APP and self.connected.is_set()
                return (200, {"name": app}) if found else (404, {"message": "Application not found"})
            case ("POST", "applications", _, "subscription"):
                return 200, {}
            case ("GET", "endpoints", "PJSIP", "carrier"):
                return 200, {"state": "online"}
            case ("GET", "bridges"):
                return 200, [{"id": id_, **bridge} for id_, bridge in self.bridges.items()]
            case (_, "bridges", id_, *action):
                return self._bridge(method, id_, action, body)
            case (_, "channels", id_, *action):
                return self._channel(method, unquote(id_), action, query, body)
        return 404, {"message": "Resource not found"}

    def _bridge(self, method, id_, action, body):  # noqa: PLR0911 - one for each request
        if method == "POST" and not action:
            if id_ in self.bridges:
                return 409, {"message": "Bridge with id already exists"}
            self.bridges[id_] = {"name": body["name"], "channels": []}
            return 200, {"id": id_}
        if id_ not in self.bridges:
            return 404, {"message": "Bridge not found"}
        bridge = self.bridges[id_]
        if method == "GET":
            return 200, {"id": id_, **bridge}
        if method == "DELETE":
            del self.bridges[id_]
            return 204, None
        members = [self.channels.get(member) for member in body["channel"]]
        if None in members:
            return 400, {"message": "Channel not found"}
        for member in members:
            if member.id not in bridge["channels"]:
                bridge["channels"].append(member.id)
                self.emit("ChannelEnteredBridge", member, bridge={"id": id_, **bridge})
        self._executed[bridge["name"]] = 1
        return 204, None

    def _channel(self, method, id_, action, query, body):  # noqa: C901, PLR0911 - one for each request
        channel = self.channels.get(id_)
        if method == "POST" and not action:
            return self._originate(id_, body)
        if channel is None:
            return 404, {"message": "Channel not found"}
        match (method, *action):
            case ("GET",):
                return 200, channel.json()
            case ("GET", "variable"):
                return self._variable(channel, query["variable"][0])
            case ("DELETE",):
                self.hung_up_with[id_] = query.get("reason", [None])[0]
                self._play(self._hang_up_soon(id_))
                return 204, None
            case ("POST", "variable") if channel.in_stasis:
                self._set(channel, body["variable"], body["value"])
                return 204, None
            case ("POST", "answer"):
                channel.state = "Up"
                self.emit("ChannelStateChange", channel)
                return 204, None
            case ("POST" | "DELETE", "moh") if channel.in_stasis:
                channel.on_hold = method == "POST"
                return 204, None
            case ("POST", "continue"):
                return self._continue(channel, body)
            case ("POST", "redirect"):
                self._executed[id_] = self.executions(id_) + 1
                self._play(self._hang_up_soon(id_, cause=23))
                return 204, None
        return 409, {"message": "Channel not in Stasis application"}

    def _originate(self, id_, body):
        if id_ in self.channels:
            return 409, {"message": "Channel with given unique ID already exists"}
        channel = self.channels[id_] = Channel(id_, state="Ringing")
        self._executed[id_] = self.executions(id_) + 1
        name = next((line.name for line in SCENARIOS if line.number.number in body["endpoint"]), "answers")
        self._play(self._answer_or_not(channel, name, body))
        return 200, channel.json()

    async def _answer_or_not(self, channel, name, body):
        await asyncio.sleep(self.pace)
        causes = {"busy": 17, "declined": 21, "no_answer": 19, "unreachable": 20, "not_found": 1}
        if name in causes:
            self.hang_up(channel.id, cause=causes[name])
        elif scenario(name).ending is Ending.COMPLETES:
            channel.state = "Up"
            self.emit("StasisStart", channel, args=[body["appArgs"]])

    def _variable(self, channel, name):
        if not channel.listed:
            return 404, {"message": "Provided channel was not found"}
        functions = {"CHANNEL(state)": channel.state}
        for part in ("call-id", "local_tag", "remote_tag"):
            functions[f"CHANNEL(pjsip,{part})"] = f"{part}~{channel.id}"
        value = {**functions, **channel.variables}.get(name)
        return (
            (404, {"message": "Provided variable was not found"})
            if value is None
            else (200, {"value": value})
        )

    async def _hang_up_soon(self, call_id, **how):
        await asyncio.sleep(0)
        if call_id in self.channels:
            self.hang_up(call_id, **how)

    def _play(self, work):
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- HTTP -----------------------------------------------------------------------------------------

    async def handle(self, reader, writer):
        self._writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *lines = head.strip().split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
                }
                method, target, _ = line.split()
                content = await reader.readexactly(int(headers.get("content-length", 0)))
                url = urlsplit(target)
                path = url.path.removeprefix("/ari/")
                given = headers.get("authorization", "").removeprefix("Basic ")
                if base64.b64decode(given) != f"transferkit:{PASSWORD}".encode():
                    reply = 401, {"message": "Authentication required"}
                elif path == "events":
                    await self._receive_events(reader, writer, headers["sec-websocket-key"])
                    break
                else:
                    body = json.loads(content) if content else {}
                    self.requests.append(f"{method} {path}")
                    self.bodies.append(body)
                    reply = self._respond(method, path, parse_qs(url.query), body)
                status, value = reply
                text = b"" if value is None else json.dumps(value).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
                await writer.drain()
        writer.close()

    async def _receive_events(self, reader, writer, key):
        accept = base64.b64encode(hashlib.sha1(f"{key}{_ACCEPT}".encode(), usedforsecurity=False).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        if self._events is not None:
            self.emit("ApplicationReplaced", application=APP)
            self._events.write(bytes([0x88, 0]))
        self._events = writer
        self.connected.set()
        try:
            await self._answer_frames(reader, writer)
        finally:
            if self._events is writer:
                self._events = None
                self.connected.clear()

    async def _answer_frames(self, reader, writer):
        """Read the client's frames; answer a ping and the closing handshake."""
        while True:
            first, second = await reader.readexactly(2)
            mask = await reader.readexactly(4)
            content = await reader.readexactly(second & 0x7F)
            opcode, text = first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(content))
            if opcode in {0x8, 0x9}:
                writer.write(bytes([0x80 | (0x8 if opcode == 0x8 else 0xA), len(text)]) + text)
                await writer.drain()
            if opcode == 0x8:
                return

    async def aclose(self):
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def ari_server(**options):
    """Serve an `AriServer` on loopback."""
    state = AriServer(**options)
    handling = set()

    async def handle(reader, writer):
        handling.add(asyncio.current_task())
        await state.handle(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        await stop_accepting(server)
        await state.aclose()
        await asyncio.gather(*handling, return_exceptions=True)
