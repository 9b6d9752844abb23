"""`transferkit transfer`."""

from __future__ import annotations

from transferkit.cli.request_options import request_command
from transferkit.requests import Transfer

__all__ = ["transfer"]

transfer = request_command(
    Transfer,
    """Transfer a call and print its events.

    Prints one JSON object per line, until the provider has received the request or, with --wait, until the
    outcome. Exits with 1 if the transfer failed, or did not complete with --wait.

    Examples:
      transferkit transfer CALL --to +14255550100 --wait
      transferkit transfer CALL --to teams:OID --replaces CONSULT_CALL
      transferkit transfer CALL -p fake --to +14255550100 --dry-run
    """,
)
