"""aiohttp: the callback receiver is a handler."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from aiohttp import web

from transferkit import AsyncClient, CallbackRequest, UsageError, parse_identifier

client = AsyncClient.from_config()


async def callbacks(request: web.Request) -> web.Response:
    """Pass a callback to the client and return its response."""
    url, headers = request.raw_path.removeprefix("/callbacks"), list(request.headers.items())
    received = CallbackRequest(method=request.method, url=url, headers=headers, body=await request.read())
    answer = await client.receive(received)
    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


async def transfer(request: web.Request) -> web.Response:
    """Start a transfer and return its id."""
    try:
        started = await client.transfer(request.match_info["call"], to=parse_identifier(request.query["to"]))
    except (UsageError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=409)
    return web.json_response({"id": started.id}, status=202)


async def open_client(_: web.Application) -> AsyncGenerator[None]:
    """Keep the client open while the application runs."""
    async with client:
        yield


app = web.Application()
app.cleanup_ctx.append(open_client)
app.router.add_route("*", "/callbacks/{rest:.*}", callbacks)
app.router.add_post("/calls/{call}/transfer", transfer)
