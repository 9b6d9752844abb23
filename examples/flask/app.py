"""Flask: the callback receiver is a WSGI app beside the routes of the application."""

from __future__ import annotations

from flask import Flask, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from transferkit import Client, UsageError, parse_identifier

# The client opens at its first use in each worker, so it can be created before the workers are forked.
client = Client.from_config()

app = Flask(__name__)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/callbacks": client.wsgi()})  # type: ignore[method-assign]


@app.post("/calls/<call_id>/transfer")
def transfer(call_id: str) -> tuple[dict[str, str], int]:
    """Start a transfer and return its id."""
    try:
        return {"id": client.transfer(call_id, to=parse_identifier(request.args["to"])).id}, 202
    except (UsageError, ValueError) as error:
        return {"error": str(error)}, 409
