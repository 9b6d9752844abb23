"""End to end: emulators, sockets, receiver. Only where the adapters are installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("transferkit_graph") and find_spec("transferkit_acs") else ["test_*.py"]
