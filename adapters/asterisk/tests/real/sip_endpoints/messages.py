"""The SIP messages that an Asterisk wrote to its log: what was on the wire."""

from __future__ import annotations

import re
from pathlib import Path
from typing import final

from attrs import frozen

_TITLE = re.compile(
    rb"<--- (Received|Transmitting) SIP (?:request|response) "
    rb"\((\d+) bytes\) (?:from|to) UDP:[^:]+:(\d+) --->\n"
)


@final
@frozen
class Message:
    """One SIP message. `sent` is False if Asterisk received it; `port` is that of the other side."""

    sent: bool
    port: int
    text: str

    @property
    def first_line(self) -> str:
        """The request line or the status line."""
        return self.text.partition("\r\n")[0]

    @property
    def method(self) -> str:
        """The method of a request, or of the request that a response answers."""
        return self.header("CSeq").partition(" ")[2]

    @property
    def status(self) -> int | None:
        """The status of a response. None for a request."""
        version, _, rest = self.first_line.partition(" ")
        return int(rest[:3]) if version == "SIP/2.0" else None

    @property
    def body(self) -> str:
        """The body."""
        return self.text.partition("\r\n\r\n")[2]

    def header(self, name: str) -> str:
        """The value of a header, or an empty string."""
        head = self.text.partition("\r\n\r\n")[0]
        found = re.search(rf"^{re.escape(name)}:[ \t]*(.*?)\r?$", head, re.IGNORECASE | re.MULTILINE)
        return found[1] if found else ""

    def is_request(self, method: str, *, sent: bool) -> bool:
        """Whether it is a request with this method and direction."""
        return self.sent is sent and self.status is None and self.method == method


def read_messages(log: Path) -> list[Message]:
    """All messages in Asterisk's log, in order. A message that is still being written is left out."""
    content = log.read_bytes()
    found = []
    for title in _TITLE.finditer(content):
        text = content[title.end() : title.end() + int(title[2])]
        if len(text) == int(title[2]):
            found.append(Message(title[1] == b"Transmitting", int(title[3]), text.decode()))
    return found
