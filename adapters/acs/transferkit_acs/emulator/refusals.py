"""Answers other than success, with the published error body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from transferkit.testing.emulator import Reply

__all__ = ["Refusal", "call_not_found", "invalid"]


class Refusal(Exception):
    """An error answer (`CommunicationErrorResponse`): its code is a number in a string."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = int(status)
        self.code = code
        self.headers = dict(headers or {})

    @property
    def reply(self) -> Reply:
        """The answer as it is sent."""
        error = {"code": self.code, "message": str(self)}
        return Reply(status=self.status, body={"error": error}, headers=self.headers)


def invalid(problems: Iterable[str]) -> Refusal:
    """A request that does not have the published shape."""
    return Refusal(HTTPStatus.BAD_REQUEST, "8523", f"Invalid argument: {'; '.join(problems)}.")


def call_not_found() -> Refusal:
    """A call that has ended, or never was. So says ACS of its own leg after a transfer, too."""
    return Refusal(HTTPStatus.NOT_FOUND, "8522", "Call not found.")
