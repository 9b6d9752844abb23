"""The transferkit adapter for Microsoft Graph: `call: transfer` and `call: redirect` of cloud communications.

* `clouds`, `settings`: where requests go and how they are authenticated.
* `capabilities`: what can be sent. `requests` writes URLs and bodies, `transport` is the HTTP client.
* `reasons`: what HTTP errors mean. `inspection` reads the state of a call, `callbacks` the notifications with
  their `identities`.
* `check`: the application's permissions. `testing`: signed callbacks for tests. `emulator`: a local Graph.
"""

from transferkit_graph.adapter import GraphAdapter
from transferkit_graph.clouds import GraphCloud
from transferkit_graph.settings import Api, BodyForm, CallsPath, GraphSettings

__all__ = ["Api", "BodyForm", "CallsPath", "GraphAdapter", "GraphCloud", "GraphSettings"]
