"""The arguments of `transfer` and `redirect`: both type checkers know them from the request classes.

Each `type: ignore` marks a call that a type checker must refuse. An unused one is an error, too.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from transferkit import (
    AsyncClient,
    BlockingRedirectHandle,
    BlockingTransferHandle,
    Call,
    CallIncoming,
    Client,
    PhoneNumber,
    RedirectHandle,
    Transfer,
    TransferHandle,
)

TO = PhoneNumber("+14255550100")


async def asynchronous(client: AsyncClient, incoming: CallIncoming) -> None:
    assert_type(await client.transfer("call-1", to=TO, deadline=60, extra={"a": 1}), TransferHandle)
    assert_type(await client.transfer(Call("acs", "call-1"), to=TO, endpoint="voicemail"), TransferHandle)
    assert_type(await client.redirect(incoming, to=[TO], ring_timeout=20.5), RedirectHandle)
    assert_type(await client.submit(Transfer("call-1", to=TO)), TransferHandle)
    await client.transfer("call-1", to=TO, deadlin=60)  # type: ignore[call-arg]
    await client.transfer("call-1", to="+14255550100")  # type: ignore[arg-type]
    await client.transfer("call-1")  # type: ignore[call-arg]
    await client.transfer(7, to=TO)  # type: ignore[arg-type]
    assert_type(await client.transfer(await client.answer(incoming), to=TO), TransferHandle)
    await client.redirect(incoming, to=TO, replaces="call-2")  # type: ignore[call-arg]
    await client.redirect(incoming, to=TO, ring_timeout="20")  # type: ignore[arg-type]


def blocking(client: Client, incoming: CallIncoming) -> None:
    assert_type(client.transfer("call-1", to=TO), BlockingTransferHandle)
    assert_type(client.redirect(incoming, to=TO), BlockingRedirectHandle)
    client.transfer("call-1", to=TO, deadlin=60)  # type: ignore[call-arg]
    client.redirect(incoming, to=TO, ring_timeout="20")  # type: ignore[arg-type]
