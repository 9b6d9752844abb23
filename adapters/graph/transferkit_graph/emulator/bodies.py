"""Reads request bodies about calls into values, and rejects those that do not have the published shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from attrs import field, frozen

from transferkit.emulators.schema import Check, find_problems
from transferkit.identifiers import Identifier
from transferkit_graph.emulator import schema
from transferkit_graph.identities import read_identity_set

__all__ = [
    "AnswerBody",
    "InvalidBody",
    "NewCallBody",
    "TransferBody",
    "read_answer",
    "read_hold",
    "read_new_call",
    "read_redirect",
    "read_reject",
    "read_resume",
    "read_subscribe_to_tone",
    "read_transfer",
]

_APP_HOSTED = "apphostedmediaconfig"
_SHOWN_AGAIN = (
    "subject",
    "ringingTimeoutInSeconds",
    "requestedModalities",
    "mediaConfig",
    "chatInfo",
    "meetingInfo",
)


class InvalidBody(Exception):
    """A body that Graph answers with 400; the text names the field and the problem."""


@final
@frozen(kw_only=True)
class TransferBody:
    """The body of a transfer or of a redirect."""

    targets: tuple[Identifier, ...]
    replaces: str | None = None
    transferee: Identifier | None = None
    client_context: str | None = None
    is_2018: bool = False
    callback_uri: str | None = None


@final
@frozen(kw_only=True)
class NewCallBody:
    """The body of a new call; `shown` contains the fields that later responses about the call repeat."""

    callback_uri: str
    targets: tuple[Identifier, ...]
    meeting: bool
    app_hosted: bool
    tenant_id: str | None
    ringing_timeout: int | None
    shown: Mapping[str, Any] = field(repr=False)

    @property
    def group(self) -> bool:
        """Whether the call has more than two participants."""
        return self.meeting or len(self.targets) > 1


@final
@frozen(kw_only=True)
class AnswerBody:
    """The body of an answer."""

    callback_uri: str | None
    app_hosted: bool


# Every function below raises `InvalidBody`.


def read_transfer(body: object) -> TransferBody:
    """The body of a transfer, in the current form or in that of 2018."""
    is_2018 = isinstance(body, Mapping) and "target" in body
    given = _checked(schema.TRANSFER_2018 if is_2018 else schema.TRANSFER, body)
    target = given["target" if is_2018 else "transferTarget"]
    transferee = given.get("transferee")
    return TransferBody(
        targets=(_identifier(target),),
        replaces=target.get("replacesCallId"),
        transferee=transferee and _identifier(transferee),
        client_context=given.get("clientContext"),
        is_2018=is_2018,
    )


def read_redirect(body: object, *, beta: bool) -> TransferBody:
    """The body of a redirect."""
    given = _checked(schema.REDIRECT_BETA if beta else schema.REDIRECT, body)
    targets = tuple(_identifier(target) for target in given["targets"])
    return TransferBody(targets=targets, callback_uri=given.get("callbackUri"))


def read_new_call(body: object) -> NewCallBody:
    """The body of a new call: to one person, to several, or into a meeting."""
    given = _checked(schema.NEW_CALL, body)
    targets, meeting = given.get("targets") or [], given.get("meetingInfo") is not None
    if meeting and given.get("chatInfo") is None:
        raise InvalidBody("chatInfo is required to join a meeting")
    if not meeting and not targets:
        raise InvalidBody("targets is required, unless there is a meetingInfo")
    return NewCallBody(
        callback_uri=given["callbackUri"],
        targets=tuple(_identifier(target) for target in targets),
        meeting=meeting,
        app_hosted=_is_app_hosted(given),
        tenant_id=given.get("tenantId"),
        ringing_timeout=given.get("ringingTimeoutInSeconds"),
        shown={name: given[name] for name in _SHOWN_AGAIN if given.get(name) is not None},
    )


def read_answer(body: object) -> AnswerBody:
    """The body of an answer."""
    given = _checked(schema.ANSWER, body)
    return AnswerBody(callback_uri=given.get("callbackUri"), app_hosted=_is_app_hosted(given))


def read_reject(body: object) -> str | None:
    """The body of a rejection; returns its callback address, if it has one."""
    uri: str | None = _checked(schema.REJECT, body).get("callbackUri")
    return uri


def read_subscribe_to_tone(body: object) -> str | None:
    """The body of a subscription to tones; returns its client context, if it has one."""
    context: str | None = _checked(schema.SUBSCRIBE_TO_TONE, body).get("clientContext")
    return context


def read_hold(body: object) -> str | None:
    """The body that puts a participant on hold; returns its client context, if it has one."""
    context: str | None = _checked(schema.HOLD, body).get("clientContext")
    return context


def read_resume(body: object) -> str | None:
    """The body that resumes a participant; returns its client context, if it has one."""
    context: str | None = _checked(schema.RESUME, body).get("clientContext")
    return context


def _checked(check: Check, body: Any) -> Mapping[str, Any]:
    if problems := find_problems(check, body):
        raise InvalidBody(str(problems[0]))
    given: Mapping[str, Any] = body
    return given


def _identifier(participant: Mapping[str, Any]) -> Identifier:
    identifier = read_identity_set(participant["identity"])
    if identifier is None:
        raise InvalidBody("an identity has no usable id")
    return identifier


def _is_app_hosted(body: Mapping[str, Any]) -> bool:
    return str(body["mediaConfig"]["@odata.type"]).rpartition(".")[2].lower() == _APP_HOSTED
