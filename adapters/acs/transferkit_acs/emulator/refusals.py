"""Answers other than success, with the published error body."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from transferkit.emulators import Reply

__all__ = ["Refusal", "call_not_found", "invalid"]


class Refusal(Exception):
    """An error response (`CommunicationErrorResponse`): its code is a number in a string.

    `target` names the field that is wrong. As recorded, errors about the state of a call have none.
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
        """The answer as it is sent."""
        target = {} if self.target is None else {"target": self.target}
        error = {"code": self.code, "message": str(self), **target}
        return Reply(status=self.status, body={"error": error}, headers=self.headers)


def invalid(problem: str, *more: str, target: str | None = None) -> Refusal:
    """A request that does not have the published shape; `target` is the field of the first problem."""
    message = f"Invalid argument: {'; '.join((problem, *more))}."
    return Refusal(HTTPStatus.BAD_REQUEST, "8523", message, target=target)


def call_not_found() -> Refusal:
    """A call that has ended, or never was. So says ACS of its own leg after a transfer, too."""
    return Refusal(HTTPStatus.NOT_FOUND, "8522", "Call not found.")
