"""Azure Functions: the callback receiver is an HTTP function, and a timer processes due work.

`public_url` in the configuration is the address of the function, `https://NAME.azurewebsites.net/api/callbacks`.
"""

from __future__ import annotations

import json

import azure.functions as func

from transferkit import CallbackRequest, Client, UsageError, parse_identifier

# The platform may stop a function at any time, so nothing runs in the background.
client = Client.from_config(background=False)
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route("callbacks/{*rest}", methods=["POST", "OPTIONS"], auth_level=func.AuthLevel.ANONYMOUS)
def callbacks(req: func.HttpRequest) -> func.HttpResponse:
    """Pass a callback to the client, which verifies the sender, and return its response."""
    received = CallbackRequest(method=req.method, url=req.url, headers=req.headers, body=req.get_body())
    answer = client.receive(received)
    return func.HttpResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))


@app.timer_trigger(arg_name="timer", schedule="*/5 * * * * *")
def due(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the runtime passes it by name
    """Process due work: retries, queries of the provider, deadlines."""
    client.run_due()


@app.route("calls/{call_id}/transfer", methods=["POST"])
def transfer(req: func.HttpRequest) -> func.HttpResponse:
    """Start a transfer and return its id."""
    try:
        started = client.transfer(req.route_params["call_id"], to=parse_identifier(req.params["to"]))
    except (UsageError, ValueError) as error:
        return func.HttpResponse(str(error), status_code=409)
    return func.HttpResponse(json.dumps({"id": started.id}), status_code=202)
