"""End to end: emulators, sockets, receiver. Only where the adapters are installed."""

from importlib.util import find_spec

ADAPTERS = ("transferkit_graph", "transferkit_acs", "transferkit_asterisk")

collect_ignore_glob = [] if all(map(find_spec, ADAPTERS)) else ["test_*.py"]
