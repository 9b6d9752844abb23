"""Why a request failed."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["FailureReason"]


class FailureReason(StrEnum):
    """Why a transfer or redirect failed. Each adapter maps its provider's codes to these reasons."""

    BUSY = "busy"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"
    TARGET_NOT_FOUND = "target_not_found"
    TARGET_NOT_ALLOWED = "target_not_allowed"
    TENANT_MISMATCH = "tenant_mismatch"
    CALLER_LEFT = "caller_left"
    TARGET_LEFT = "target_left"
    CALL_NOT_FOUND = "call_not_found"
    CALL_NOT_ESTABLISHED = "call_not_established"
    CALL_ENDED = "call_ended"
    CONFLICT = "conflict"
    UNSUPPORTED = "unsupported"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    PROVIDER_ERROR = "provider_error"
    UNKNOWN = "unknown"
