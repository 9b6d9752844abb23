"""Flask: the receiver as a WSGI app beside the application's own routes."""

from __future__ import annotations

from flask import Flask, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from transferkit import Client, UsageError, parse_identifier

# It opens at its first use in each worker, so it may be made before they are forked.
client = Client.from_config()

app = Flask(__name__)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/callbacks": client.wsgi()})  # type: ignore[method-assign]


@app.post("/calls/<call_id>/transfer")
def transfer(call_id: str) -> tuple[dict[str, str], int]:
    """Hand a call over; what became of it is asked for by the transfer's id."""
    try:
        return {"id": client.transfer(call_id, to=parse_identifier(request.args["to"])).id}, 202
    except (UsageError, ValueError) as error:
        return {"error": str(error)}, 409
