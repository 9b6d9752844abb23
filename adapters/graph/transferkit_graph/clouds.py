"""The Microsoft clouds that Graph runs in: their addresses, token authorities, and signers of callbacks.

Hosts: learn.microsoft.com graph/deployments. Signers of callbacks: learn.microsoft.com
msteams bots/calls-and-meetings/call-notifications.
"""

from __future__ import annotations

from enum import StrEnum
from typing import final

from attrs import frozen

from transferkit.identifiers import Cloud

__all__ = ["CLOUDS", "CloudFacts", "GraphCloud"]


class GraphCloud(StrEnum):
    """A national cloud deployment of Graph."""

    GLOBAL = "global"
    """The global service, GCC included."""
    US_GOV_L4 = "us-gov-l4"
    """US Government L4 (GCC High)."""
    US_GOV_L5 = "us-gov-l5"
    """US Government L5 (DoD)."""
    CHINA = "china"
    """China, operated by 21Vianet."""


@final
@frozen(kw_only=True)
class CloudFacts:
    """What differs between the clouds.

    `base` is Graph's address and the resource that tokens are for. `identifiers` is the only cloud, besides
    the public one, that an identifier of this deployment may name.
    """

    base: str
    authority: str
    openid_url: str
    issuers: tuple[str, ...]
    identifiers: Cloud


_SIGNER = "https://api.aps.skype.com/v1/.well-known/OpenIdConfiguration"
_ISSUERS = ("https://graph.microsoft.com", "https://api.botframework.com")
# Users reported callbacks of GCC High with the global issuer, once with a slash at its end, and with a key
# that is not in the government's document (microsoft-graph-comms-samples issue 865, open). The settings
# `openid_url` and `issuers` allow for that.
_GOVERNMENT_ISSUERS = (*_ISSUERS, "https://api.botframework.com/")

CLOUDS: dict[GraphCloud, CloudFacts] = {
    GraphCloud.GLOBAL: CloudFacts(
        base="https://graph.microsoft.com",
        authority="https://login.microsoftonline.com",
        openid_url=_SIGNER,
        issuers=_ISSUERS,
        identifiers=Cloud.PUBLIC,
    ),
    GraphCloud.US_GOV_L4: CloudFacts(
        base="https://graph.microsoft.us",
        authority="https://login.microsoftonline.us",
        openid_url=_SIGNER,
        issuers=_GOVERNMENT_ISSUERS,
        identifiers=Cloud.GCCH,
    ),
    GraphCloud.US_GOV_L5: CloudFacts(
        base="https://dod-graph.microsoft.us",
        authority="https://login.microsoftonline.us",
        openid_url=_SIGNER,
        issuers=_GOVERNMENT_ISSUERS,
        identifiers=Cloud.DOD,
    ),
    GraphCloud.CHINA: CloudFacts(
        base="https://microsoftgraph.chinacloudapi.cn",
        authority="https://login.chinacloudapi.cn",
        openid_url=_SIGNER,
        issuers=_ISSUERS,
        identifiers=Cloud.PUBLIC,
    ),
}
