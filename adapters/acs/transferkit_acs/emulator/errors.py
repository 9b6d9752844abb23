"""ACS's error responses, with the published body."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from transferkit.emulators import Reply

__all__ = ["AcsError", "call_not_found", "invalid"]


class AcsError(Exception):
    """A request that ACS rejects (`CommunicationErrorResponse`); `code` is a number as text.

    `target` names the invalid field. As recorded, errors about the state of a call have no target.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        target: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = int(status)
        self.code = code
        self.target = target
        self.headers = dict(headers or {})

    @property
    def reply(self) -> Reply:
        """The response."""
        target = {} if self.target is None else {"target": self.target}
        error = {"code": self.code, "message": str(self), **target}
        return Reply(status=self.status, body={"error": error}, headers=self.headers)


def invalid(problem: str, *more: str, target: str | None = None) -> AcsError:
    """A request that does not have the published shape; `target` is the field of the first problem."""
    message = f"Invalid argument: {'; '.join((problem, *more))}."
    return AcsError(HTTPStatus.BAD_REQUEST, "8523", message, target=target)


def call_not_found() -> AcsError:
    """The call does not exist or has ended; also after a transfer, which ends the application's leg."""
    return AcsError(HTTPStatus.NOT_FOUND, "8522", "Call not found.")
