"""aiohttp: the receiver as a handler."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from aiohttp import web

from transferkit import AsyncClient, CallbackRequest, UsageError, parse_identifier

client = AsyncClient.from_config()


async def callbacks(asked: web.Request) -> web.Response:
    """Answer the provider with what the client says, and not before."""
    url, headers = asked.raw_path.removeprefix("/callbacks"), list(asked.headers.items())
    received = CallbackRequest(method=asked.method, url=url, headers=headers, body=await asked.read())
    answer = await client.receive(received)
    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


async def transfer(asked: web.Request) -> web.Response:
    """Hand a call over; what became of it is asked for by the transfer's id."""
    try:
        begun = await client.transfer(asked.match_info["call"], to=parse_identifier(asked.query["to"]))
    except (UsageError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=409)
    return web.json_response({"id": begun.id}, status=202)


async def opened(_: web.Application) -> AsyncGenerator[None]:
    """Open the client as long as the application runs."""
    async with client:
        yield


app = web.Application()
app.cleanup_ctx.append(opened)
app.router.add_route("*", "/callbacks/{rest:.*}", callbacks)
app.router.add_post("/calls/{call}/transfer", transfer)
