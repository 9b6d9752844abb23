"""The Microsoft Graph adapter of transferkit: `call: transfer` and `call: redirect` of cloud communications.

From the ground up: `clouds` and `settings` say where requests go, `reasons` what HTTP errors mean (call end
codes: `transferkit_microsoft.codes`), `wording` how Graph writes, `identities` who is meant, `capabilities`
what can be carried; `requests`, `transport` and `answers` are the way out, `callbacks` the way in,
`credentials` and `auth` get tokens. `adapter` puts them together; `emulator` is the other side of the wire.
"""

from transferkit_graph.adapter import GraphAdapter
from transferkit_graph.clouds import GraphCloud
from transferkit_graph.settings import Api, BodyForm, CallsPath, GraphSettings

__all__ = ["Api", "BodyForm", "CallsPath", "GraphAdapter", "GraphCloud", "GraphSettings"]
