"""The helpers of the adapter contract; the contract itself runs in the tests of each adapter."""

import asyncio

from transferkit.testing.contracts.adapter import _unclear_provider


async def test_a_connection_without_a_request_is_not_counted_as_a_request():
    async with _unclear_provider(b"") as (url, requests):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert requests == []
