"""Tools for the tests of applications and adapters: a fake provider, a clock, contracts, a signer, a server.

`__init__.pyi` lists the names. Each is imported when it is first used, so the fake needs no pytest and pytest
needs no server.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
