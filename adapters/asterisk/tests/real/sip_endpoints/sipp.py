"""SIP endpoints that behave as scripted: SIPp."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import final

from attrs import frozen

from sip_endpoints.programs import LOOPBACK, Programs, await_condition, free_port, is_free, start, stop

SCENARIOS = Path(__file__).parent / "scenarios"


class Sipp:
    """A SIPp process. `port` is its SIP port."""

    def __init__(self, programs: Programs, folder: Path, scenario: str, *arguments: str) -> None:
        folder.mkdir(parents=True)
        (folder / "scenario.xml").write_text(scenario)
        self.port = free_port()
        self.log = folder / "messages"
        options = {
            "-sf": folder / "scenario.xml",
            "-i": LOOPBACK,
            "-p": self.port,
            "-ci": LOOPBACK,
            "-cp": free_port(),
            "-mi": LOOPBACK,
            "-mp": free_port(),
            "-message_file": self.log,
        }
        command = [str(part) for option in options.items() for part in option]
        command += ["-trace_msg", "-nostdin", *arguments]
        self.process: subprocess.Popen[bytes] = start(programs.command("usr/bin/sipp", *command), folder)
        await_condition(self._listens, "SIPp listens")

    def _listens(self) -> bool:
        assert self.process.poll() is None, "SIPp has ended"
        return not is_free(self.port, socket.SOCK_DGRAM)

    def received(self, method: str) -> int:
        """How many requests with this method it sent and received, with repetitions."""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        return log.count(f"\n{method} sip:")

    def stop(self) -> None:
        """End it. Nothing is sent to anyone."""
        stop(self.process)


@final
class Target(Sipp):
    """A transfer target. It takes calls until it is stopped, each by the same scenario.

    `rings` is for how many seconds it rings before it answers or refuses; `status` is the status line with
    which the scenario `refuse` refuses.
    """

    def __init__(
        self, programs: Programs, folder: Path, scenario: str, *, status: str = "", rings: float = 0.2
    ) -> None:
        self.scenario = scenario
        script = (SCENARIOS / f"{scenario}.xml").read_text().replace("@STATUS@", status)
        super().__init__(programs, folder, script, "-d", str(round(rings * 1000)))

    @property
    def uri(self) -> str:
        """Its SIP address."""
        return f"sip:agent@{LOOPBACK}:{self.port}"


@final
@frozen
class Notify:
    """A NOTIFY about a REFER."""

    sipfrag: str
    state: str = "active;expires=60"
    content_type: str = "message/sipfrag"


@final
class Transferee(Sipp):
    """A caller that reports about a REFER whatever the test says, and calls nobody.

    It calls `uri` once. `answer` is the status line for the REFER. It ends the call afterwards if `hangs_up`.
    """

    def __init__(
        self,
        programs: Programs,
        folder: Path,
        uri: str,
        *,
        answer: str = "202 Accepted",
        notifies: tuple[Notify, ...] = (),
        hangs_up: bool = False,
    ) -> None:
        notify = (SCENARIOS / "notify.xml").read_text()
        parts = [
            notify.replace("@STATE@", each.state)
            .replace("@TYPE@", each.content_type)
            .replace("@BODY@", each.sipfrag)
            for each in notifies
        ]
        end = (SCENARIOS / ("hang_up.xml" if hangs_up else "wait.xml")).read_text()
        script = (SCENARIOS / "transferee.xml").read_text().replace("@ANSWER@", answer)
        script = script.replace("<!-- REST -->", "".join([*parts, end]))
        user, _, address = uri.removeprefix("sip:").partition("@")
        behaviour = "all,-abortunexp"  # Asterisk ends the subscription by SUBSCRIBE, sooner or later
        arguments = ("-s", user, "-m", "1", "-default_behaviors", behaviour, address)
        super().__init__(programs, folder, script, *arguments)
