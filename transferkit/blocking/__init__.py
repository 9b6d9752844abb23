"""The blocking client: `AsyncClient` for programs of threads."""

from transferkit.blocking.client import (
    BlockingCallHandle,
    BlockingHandle,
    BlockingRedirectHandle,
    BlockingStepHandle,
    BlockingTransferHandle,
    Client,
)
from transferkit.blocking.consultations import BlockingConsultationHandle
from transferkit.blocking.relay import BlockingRelay
from transferkit.blocking.routes import BlockingRouteHandle
from transferkit.blocking.stream import BlockingEventStream

__all__ = [
    "BlockingCallHandle",
    "BlockingConsultationHandle",
    "BlockingEventStream",
    "BlockingHandle",
    "BlockingRedirectHandle",
    "BlockingRelay",
    "BlockingRouteHandle",
    "BlockingStepHandle",
    "BlockingTransferHandle",
    "Client",
]
