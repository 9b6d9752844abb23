"""`transferkit hang-up`."""

from __future__ import annotations

from transferkit.cli.request_options import request_command
from transferkit.requests import HangUp

__all__ = ["hang_up"]

hang_up = request_command(
    HangUp,
    """End a call and print its events.

    Ends the call for everyone, or with --leave only the application's leg of it. Prints one JSON object per
    line, until the provider has received the request or, with --wait, until the call has ended. Exits with 1
    if the call could not be ended, or did not end with --wait.

    Examples:
      transferkit hang-up CALL --wait
      transferkit hang-up CALL --leave
      transferkit hang-up CALL -p fake --dry-run
    """,
)
