"""Transfer and redirect calls on Microsoft Graph and Azure Communication Services, and get the true outcome.

All public names can be imported from here; `transferkit.testing` contains what tests need. `__init__.pyi`
lists the names, for type checkers and for `lazy_loader`, which imports each name when it is first used.
"""

from importlib.util import find_spec

from lazy_loader import attach_stub

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

# `import *` and `help` import every listed name, so a name whose extra is not installed is not listed.
_EXTRAS = {"PostgresStore": ("psycopg", "psycopg_pool"), "OpenTelemetry": ("opentelemetry",)}
__all__ = [name for name in __all__ if all(map(find_spec, _EXTRAS.get(name, ())))]  # pyright: ignore[reportUnsupportedDunderAll]
__dir__ = __all__.copy
