"""The ways of using a provider that are walked."""

from attrs import field, frozen

from transferkit.config import CallbackConfig, Config


@frozen(kw_only=True)
class Mode:
    """One way of using one provider.

    * `own_address`: each transfer has its own callback address (ACS).
    * `context`: the operation contexts that the application gives: unique, shared, none or mixed.
    * `loses_context`: ACS may omit or trim the echoed context.
    * `group`: the probability that the call is a group call.
    * `consult`: there is a second call, to the target, which transfers may replace (Graph).
    * `other_code`: other code transfers the call as well, without transferkit.
    * `enforced`: a wrong stated outcome fails the test. False if the wire does not allow to detect it.
    """

    provider: str
    name: str
    own_address: bool = False
    context: str = "none"
    loses_context: bool = False
    group: float = 0.0
    consult: bool = False
    other_code: bool = False
    body: str = "current"
    enforced: bool = True
    shared_context: str = field(init=False, default="case 7")

    def __str__(self):
        return f"{self.provider} {self.name}"

    @property
    def call_address(self):
        return f"/{self.provider}"

    @property
    def config(self):
        public_url = "https://app.example.com" if self.own_address else None
        callbacks = CallbackConfig(public_url=public_url, accept_unverified=True)
        return Config(source="walk", provider=self.provider, callbacks=callbacks)


def _acs(name, **more):
    return Mode(provider="acs", name=name, group=0.4, **more)


def _graph(name, **more):
    return Mode(provider="graph", name=name, **more)


_ALL = (
    _acs("own address, unique context", own_address=True, context="unique"),
    _acs("own address, shared context", own_address=True, context="shared"),
    _acs("own address, no context", own_address=True),
    _acs("own address, echo lost", own_address=True, context="unique", loses_context=True),
    _acs("own address, other code", own_address=True, context="mixed", other_code=True),
    _acs("call address, unique context", context="unique"),
    _acs("call address, shared context", context="shared"),
    _acs("call address, no context"),
    _acs("call address, mixed contexts", context="mixed"),
    _acs("call address, echo lost", context="unique", loses_context=True),
    _acs("call address, other code", context="unique", other_code=True),
    _graph("one to one"),
    _graph("group call", group=1.0),
    _graph("consult call", consult=True),
    _graph("body of 2018", body="2018"),
    _graph("other code", group=0.3, other_code=True, enforced=False),
)
MODES = {str(mode): mode for mode in _ALL}
