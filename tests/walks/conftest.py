"""Makes the package `provider_walks` importable. The walks need both adapters."""

import sys
from importlib.util import find_spec
from pathlib import Path

collect_ignore_glob = [] if find_spec("transferkit_graph") and find_spec("transferkit_acs") else ["test_*.py"]
sys.path.append(str(Path(__file__).parent))
