"""The Azure Communication Services adapter of transferkit: `transferToParticipant` and `redirectCall`.

From the ground up: `settings` says where requests go, `identities` who they are about, `capabilities` what
can be carried. The way out: `requests`, `certificates`, `tokens`, `auth`, `sdk`, `answers`.
The way in: `payloads`, `callbacks`. `reasons` says what HTTP errors mean, `transferkit_microsoft.codes` what
call end codes mean. `adapter` puts them together; `emulator` is the other side of the wire.
"""

from transferkit_acs.adapter import AcsAdapter
from transferkit_acs.settings import AcsSettings, ApiVersion

__all__ = ["AcsAdapter", "AcsSettings", "ApiVersion"]
