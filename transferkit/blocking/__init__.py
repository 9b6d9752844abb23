"""The blocking client: `AsyncClient` for programs of threads."""

from transferkit.blocking.client import BlockingHandle, BlockingRedirectHandle, BlockingTransferHandle, Client
from transferkit.blocking.stream import BlockingEventStream

__all__ = [
    "BlockingEventStream",
    "BlockingHandle",
    "BlockingRedirectHandle",
    "BlockingTransferHandle",
    "Client",
]
