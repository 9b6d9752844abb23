"""The requests of an application. All are immutable values.

* `transfers`: transfer a call, or redirect an incoming call. The terms follow RFC 5589: the application's leg
  is the transferor, `transferee` is the party that is transferred, and `to` is the transfer target.
* `steps`: answer, reject, place, hold, resume, join and hang up calls.
* `consultations`: call an agent while the caller waits, then connect the two.
* `routes`: several targets, one after the other.
* `fields`, `context`: what the requests have in common. `wire`: the HTTP request that a request becomes.
"""

from transferkit.requests.consultations import Consultation
from transferkit.requests.context import (
    CallingContext,
    TeamsPhoneCallDetails,
    TeamsPhoneCallerDetails,
    TeamsPhoneSourceDetails,
)
from transferkit.requests.fields import Call, CommonFields, HasCall, OnUnsupported, RequestFields, RequestKind
from transferkit.requests.routes import Attempt, Route
from transferkit.requests.steps import (
    AnswerCall,
    HangUp,
    Hold,
    Join,
    JoinSide,
    PlaceCall,
    RejectCall,
    RejectReason,
    Resume,
    Step,
)
from transferkit.requests.transfers import CallDisposition, EndpointType, HandoverFields, Redirect, Transfer
from transferkit.requests.wire import WireRequest

__all__ = [
    "AnswerCall",
    "Attempt",
    "Call",
    "CallDisposition",
    "CallingContext",
    "CommonFields",
    "Consultation",
    "EndpointType",
    "HandoverFields",
    "HangUp",
    "HasCall",
    "Hold",
    "Join",
    "JoinSide",
    "OnUnsupported",
    "PlaceCall",
    "Redirect",
    "RejectCall",
    "RejectReason",
    "Request",
    "RequestFields",
    "RequestKind",
    "Resume",
    "Route",
    "Step",
    "TeamsPhoneCallDetails",
    "TeamsPhoneCallerDetails",
    "TeamsPhoneSourceDetails",
    "Transfer",
    "WireRequest",
]

Request = Transfer | Redirect | Step | Consultation | Route
