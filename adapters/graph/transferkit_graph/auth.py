"""Tokens for Graph: client credentials through msal, one application a tenant, msal's own cache.

learn.microsoft.com entra v2-oauth2-client-creds-grant-flow. Nothing here is loaded or resolved before the
first token is asked for.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any, final

from transferkit.errors import ConfigError, Problem
from transferkit.events import FailureReason
from transferkit.lifecycle import NotSent, Refused
from transferkit.signals import Result
from transferkit_graph.settings import GraphSettings

if TYPE_CHECKING:
    import httpx

__all__ = ["Tokens", "misconfigured", "trust"]

_SOURCE = "configuration"
_PASSING = frozenset({"temporarily_unavailable", "server_error"})


def trust(settings: GraphSettings) -> ssl.SSLContext | bool:
    """What certificates to believe: `ca_file` alone, or httpx's choice. Raises `ConfigError`."""
    if settings.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        why = f"{settings.ca_file} cannot be used ({type(error).__name__})"
        raise ConfigError(_SOURCE, [Problem("providers.graph.ca_file", why, "a PEM file")]) from None


def misconfigured(error: ConfigError) -> Refused:
    """A wrong configuration as an answer: nothing was sent, and nothing will be until it is mended."""
    advice = "; ".join(str(problem) for problem in error.problems)
    return Refused(result=Result(reason=FailureReason.UNAUTHORIZED, advice=advice))


@final
class Tokens:
    """Gets bearer tokens. Concurrent askers of one tenant share one question."""

    def __init__(self, settings: GraphSettings) -> None:
        self._settings = settings
        self._client: httpx.Client | None = None
        self._applications: dict[str, Any] = {}
        self._asking: dict[str, asyncio.Task[str | Refused | NotSent]] = {}

    async def bearer(self, tenant: str | None) -> str | Refused | NotSent:
        """A token for the call's tenant, or why there is none.

        `Refused` where the authority or the configuration says no, `NotSent` where nobody could be asked.
        """
        tenant = tenant or self._settings.default_tenant
        if tenant is None:
            return misconfigured(self._missing("tenant_id"))
        asking = self._asking.get(tenant)
        if asking is None:
            asking = asyncio.create_task(asyncio.to_thread(self._acquire, tenant))
            self._asking[tenant] = asking
            asking.add_done_callback(lambda _: self._asking.pop(tenant, None))
        return await asyncio.shield(asking)

    def forget(self, tenant: str | None) -> None:
        """Ask the authority anew next time: Graph did not like the token."""
        application = self._applications.get(tenant or self._settings.default_tenant or "")
        if application is not None:
            application.remove_tokens_for_client()

    async def aclose(self) -> None:
        """Close connections."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        self._applications.clear()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _acquire(self, tenant: str) -> str | Refused | NotSent:
        import httpx
        from msal.exceptions import MsalError

        try:
            answer = self._application(tenant).acquire_token_for_client([self._settings.scope])
        except ConfigError as error:
            return misconfigured(error)
        except httpx.TimeoutException as error:
            return _unreached(error, FailureReason.TIMEOUT)
        except (httpx.HTTPError, MsalError, json.JSONDecodeError, RuntimeError) as error:
            return _unreached(error)
        except ValueError:  # msal's word for an authority that knows no such tenant
            return Refused(
                result=Result(
                    message=f"no token authority at {self._settings.authority_of(tenant)}",
                    reason=FailureReason.UNAUTHORIZED,
                    advice="Check providers.graph.tenant_id and providers.graph.cloud.",
                )
            )
        except (KeyError, TypeError, AttributeError) as error:  # an answer of another shape than published
            return _unreached(error)
        return _read(answer)

    def _application(self, tenant: str) -> Any:
        """The msal application for the tenant; finding the authority is I/O."""
        known = self._applications.get(tenant)
        if known is not None:
            return known
        from msal import ConfidentialClientApplication

        settings = self._settings
        if settings.client_id is None:
            raise self._missing("client_id")
        if settings.client_secret is None:
            raise self._missing("client_secret")
        application = ConfidentialClientApplication(
            settings.client_id,
            client_credential=settings.client_secret.resolve(),
            authority=settings.authority_of(tenant),
            # The authority is ours or the operator's choice, and other clouds need not reach the global one.
            instance_discovery=False,
            http_client=self._http(),
        )
        return self._applications.setdefault(tenant, application)

    def _http(self) -> httpx.Client:
        # msal's own client, requests, would let REQUESTS_CA_BUNDLE overrule `ca_file`.
        import httpx

        if self._client is None:
            self._client = httpx.Client(verify=trust(self._settings), timeout=self._settings.timeout)
        return self._client

    @staticmethod
    def _missing(key: str) -> ConfigError:
        return ConfigError(_SOURCE, [Problem(f"providers.graph.{key}", "is missing")])


def _unreached(error: Exception, reason: FailureReason = FailureReason.PROVIDER_ERROR) -> NotSent:
    return NotSent(
        result=Result(message=f"the token authority gave no answer ({type(error).__name__})", reason=reason)
    )


def _read(answer: Any) -> str | Refused | NotSent:
    token = answer.get("access_token")
    if isinstance(token, str) and token:
        return token
    message = answer.get("error_description") or answer.get("error")
    result = Result(
        message=str(message) if message else None,
        reason=FailureReason.UNAUTHORIZED,
        advice="Check providers.graph.client_id, client_secret and tenant_id; the message is Entra's.",
        request_id=answer.get("correlation_id"),
    )
    return NotSent(result=result) if answer.get("error") in _PASSING else Refused(result=result)
