"""A caller's telephone, which follows a REFER: baresip."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import final

from sip_endpoints.programs import LOOPBACK, Programs, await_condition, free_port, start, stop


@final
class Baresip:
    """A telephone without sound devices. `uri` is its SIP address."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.port = free_port()
        self.uri = f"sip:caller@{LOOPBACK}:{self.port}"
        self._control_port = free_port()
        modules = ("module g711.so", "module ausine.so", "module aufile.so")
        applications = ("module_app account.so", "module_app menu.so", "module_app ctrl_tcp.so")
        settings = (
            f"sip_listen {LOOPBACK}:{self.port}",
            f"net_interface {LOOPBACK}",
            f"module_path {programs.root}/usr/lib/baresip/modules",
            *modules,
            *applications,
            f"ctrl_tcp_listen {LOOPBACK}:{self._control_port}",
            "audio_source ausine,440",
            "ausrc_srate 48000",  # the only rate of ausine
            "audio_player aufile,/dev/null",
        )
        (folder / "config").write_text("\n".join(settings) + "\n")
        (folder / "accounts").write_text(f"<{self.uri}>;regint=0\n")
        (folder / "contacts").write_text("")
        command = programs.command("usr/bin/baresip", "-f", str(folder))
        self.process: subprocess.Popen[bytes] = start(command, folder)
        await_condition(self._listens, "baresip listens")

    def _listens(self) -> bool:
        assert self.process.poll() is None, "baresip has ended"
        try:
            self._control().close()
        except OSError:
            return False
        return True

    def _control(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self._control_port), timeout=10)

    def _do(self, command: str, parameters: str = "") -> None:
        message = json.dumps({"command": command, "params": parameters, "token": "test"}).encode()
        received = b""
        with self._control() as connection:
            connection.sendall(b"%d:%s," % (len(message), message))
            while b'"response":true' not in received:
                part = connection.recv(65536)
                assert part, f"baresip ended while it executed {command}"
                received += part

    def dial(self, uri: str) -> None:
        """Call a SIP address."""
        self._do("dial", uri)

    def hang_up(self) -> None:
        """End its current call."""
        self._do("hangup")

    def stop(self) -> None:
        """End it. Its calls are hung up."""
        stop(self.process)

    def kill(self) -> None:
        """Kill it: nothing is sent to anyone."""
        self.process.kill()
        self.process.wait()
