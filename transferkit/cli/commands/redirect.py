"""`transferkit redirect`."""

from __future__ import annotations

from transferkit.cli.request_options import request_command
from transferkit.requests import Redirect

__all__ = ["redirect"]

redirect = request_command(
    Redirect,
    """Redirect an incoming call and print its events.

    A redirect sends the call elsewhere before it is answered. Prints one JSON object per line, until the
    provider has received the request or, with --wait, until the outcome. Exits with 1 if the redirect
    failed, or did not complete with --wait.

    Examples:
      transferkit redirect CALL --to +14255550100 --incoming-context @context.txt
      transferkit redirect CALL --to teams:OID --to +14255550100 --ring-timeout 30
      transferkit redirect CALL -p fake --to +14255550100 --dry-run
    """,
)
