"""An Asterisk process with its own configuration, ports and folder."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any, final

import httpx

from sip_endpoints.messages import Message, read_messages
from sip_endpoints.programs import LOOPBACK, Programs, await_condition, free_port, is_free, start, stop

USER, PASSWORD = "transferkit", "ari-test-password"


@final
class Asterisk:
    """An Asterisk. `dialplan` is the content of extensions.conf; calls from outside enter at `incoming`.

    ARI is at `ari_url`; the SIP address is `sip_uri(user)`. The endpoint `peer` sends to any SIP address. The
    ports stay the same when it is stopped and started again.
    """

    def __init__(self, programs: Programs, folder: Path, *, dialplan: str) -> None:
        self.programs = programs
        self.folder = folder
        self.sip_port = free_port()
        self.http_port = free_port()
        self.ari_url = f"http://{LOOPBACK}:{self.http_port}/ari"
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("etc", "data", "spool", "run", "log"):
            (folder / name).mkdir(parents=True)
        for name, content in self._configuration(dialplan).items():
            (folder / "etc" / f"{name}.conf").write_text(content)

    def _configuration(self, dialplan: str) -> dict[str, str]:
        root, folder, user = self.programs.root, self.folder, "transferkit"
        return {
            "asterisk": f"""[directories]
astetcdir => {folder}/etc
astmoddir => {self.programs.libraries}/asterisk/modules
astvarlibdir => {folder}/data
astdbdir => {folder}/data
astkeydir => {folder}/data
astcachedir => {folder}/data
astdatadir => {root}/usr/share/asterisk
astagidir => {root}/usr/share/asterisk/agi-bin
astspooldir => {folder}/spool
astrundir => {folder}/run
astlogdir => {folder}/log
astsbindir => {root}/usr/sbin
""",
            "logger": """[general]
[logfiles]
messages => notice,warning,error
sip => verbose
""",
            # These listen on more than loopback, or need a server that is not there.
            "modules": """[modules]
autoload=yes
noload=chan_iax2.so
noload=chan_unistim.so
noload=pbx_dundi.so
noload=res_config_ldap.so
noload=res_config_pgsql.so
noload=res_odbc.so
noload=res_phoneprov.so
""",
            "http": f"[general]\nenabled=yes\nbindaddr={LOOPBACK}\nbindport={self.http_port}\n",
            "ari": f"[general]\nenabled=yes\n\n[{user}]\ntype=user\nread_only=no\npassword={PASSWORD}\n",
            "rtp": "[general]\nrtpstart=10000\nrtpend=19998\n",
            "musiconhold": f"[default]\nmode=files\ndirectory={root}/usr/share/asterisk/moh\n",
            "pjsip": f"""[global]
type=global
debug=yes

[udp]
type=transport
protocol=udp
bind={LOOPBACK}:{self.sip_port}

[peer]
type=endpoint
transport=udp
context=incoming
disallow=all
allow=ulaw
direct_media=no
media_address={LOOPBACK}
bind_rtp_to_media_address=yes
allow_transfer=yes
from_user=pbx

[peer]
type=identify
endpoint=peer
match={LOOPBACK}
""",
            "extensions": dialplan,
        }

    def sip_uri(self, user: str) -> str:
        """The SIP address of a user of this Asterisk."""
        return f"sip:{user}@{LOOPBACK}:{self.sip_port}"

    def start(self) -> None:
        """Start it, and return when ARI and SIP answer."""
        command = ("usr/sbin/asterisk", "-f", "-C", f"{self.folder}/etc/asterisk.conf")
        self.process = start(self.programs.command(*command), self.folder)
        await_condition(self._is_ready, "Asterisk answers")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"Asterisk has ended: see {self.folder}/output"
        if is_free(self.sip_port, socket.SOCK_DGRAM) or is_free(self.http_port, socket.SOCK_STREAM):
            return False
        try:
            return self.ari("GET", "asterisk/ping").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Stop it, as an administrator does. Its calls are hung up."""
        assert self.process is not None
        stop(self.process)

    def kill(self) -> None:
        """Kill it: nothing is sent to anyone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ari(self, method: str, path: str, **parameters: Any) -> httpx.Response:
        """Send a request to ARI."""
        return httpx.request(
            method, f"{self.ari_url}/{path}", params=parameters, auth=(USER, PASSWORD), timeout=10
        )

    def run(self, command: str) -> str:
        """Run a command of Asterisk's command line, and return what it prints."""
        arguments = ("-C", f"{self.folder}/etc/asterisk.conf", "-rx", command)
        program = self.programs.command("usr/sbin/asterisk", *arguments)
        result = subprocess.run(  # noqa: S603 - a program of the folder
            program, check=True, capture_output=True, text=True, timeout=10
        )
        return result.stdout

    def channels(self) -> dict[str, dict[str, Any]]:
        """The channels by id."""
        return {channel["id"]: channel for channel in self.ari("GET", "channels").json()}

    def variable(self, channel: str, name: str) -> str | None:
        """A variable of a channel. None if the variable or the channel does not exist."""
        response = self.ari("GET", f"channels/{channel}/variable", variable=name)
        return response.json()["value"] if response.is_success else None

    def is_up(self, channel: str) -> bool:
        """Whether a channel exists and is answered.

        GET of the channel itself would not tell: it still lists a channel whose caller left during a REFER.
        """
        return self.variable(channel, "CHANNEL(state)") == "Up"

    def call(self) -> None:
        """Call from the extension `s` of the context `outside`, and connect it with that of `talk`."""
        channel = {"endpoint": "Local/s@outside/n", "context": "talk", "extension": "s", "priority": 1}
        assert self.ari("POST", "channels", **channel).is_success

    def messages(self) -> list[Message]:
        """The SIP messages since it was first started."""
        return read_messages(self.folder / "log" / "sip")
