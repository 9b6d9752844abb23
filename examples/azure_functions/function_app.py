"""Azure Functions: the receiver as an HTTP function, and a timer for the work that is due.

`public_url` in the configuration is the function's own address, `https://NAME.azurewebsites.net/api/callbacks`.
"""

from __future__ import annotations

import json

import azure.functions as func

from transferkit import CallbackRequest, Client, UsageError, parse_identifier

# Functions are frozen and ended at any time: nothing runs in the background, and the store is PostgreSQL.
client = Client.from_config(background=False)
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route("callbacks/{*rest}", methods=["POST", "OPTIONS"], auth_level=func.AuthLevel.ANONYMOUS)
def callbacks(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the provider with what the client says; it verifies senders itself, hence ANONYMOUS."""
    received = CallbackRequest(method=req.method, url=req.url, headers=req.headers, body=req.get_body())
    answer = client.receive(received)
    return func.HttpResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))


@app.timer_trigger(arg_name="timer", schedule="*/5 * * * * *")
def due(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the runtime gives it by name
    """Do what an open client does by itself: send again, ask the provider, let deadlines pass."""
    client.run_due()


@app.route("calls/{call_id}/transfer", methods=["POST"])
def transfer(req: func.HttpRequest) -> func.HttpResponse:
    """Hand a call over; what became of it is asked for by the transfer's id."""
    try:
        begun = client.transfer(req.route_params["call_id"], to=parse_identifier(req.params["to"]))
    except (UsageError, ValueError) as error:
        return func.HttpResponse(str(error), status_code=409)
    return func.HttpResponse(json.dumps({"id": begun.id}), status_code=202)
