"""`transferkit answer`."""

from __future__ import annotations

from transferkit.cli.request_options import request_command
from transferkit.requests import AnswerCall

__all__ = ["answer"]

answer = request_command(
    AnswerCall,
    """Answer an incoming call and print its events.

    The callbacks of the call arrive at `callbacks.public_url`, where `transferkit serve` or your application
    must receive them. Prints one JSON object per line, until the provider has received the request or, with
    --wait, until the call is connected. Exits with 1 if the call was not answered, or did not connect with
    --wait.

    Examples:
      transferkit answer CALL --wait
      transferkit answer CALL --incoming-context @context.txt
      transferkit answer CALL -p fake --dry-run
    """,
)
