"""The transferkit adapter for Azure Communication Services: `transferToParticipant` and `redirectCall`.

* `settings`, `auth`: where requests go and how they are authenticated.
* `capabilities`, `sip_headers`: what can be sent. `requests` writes bodies and headers, `sdk` sends them with
  the official SDK.
* `reasons`: what HTTP errors mean. `inspection` reads the state of a call, `callbacks` the events with
  their `identities`. `handshakes`: validation of Event Grid subscriptions.
* `testing`: signed callbacks for tests. `emulator`: a local ACS.
"""

from transferkit_acs.adapter import AcsAdapter
from transferkit_acs.settings import AcsSettings, ApiVersion

__all__ = ["AcsAdapter", "AcsSettings", "ApiVersion"]
