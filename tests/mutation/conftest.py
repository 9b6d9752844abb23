"""Makes the package `mutating` importable, as it is to `run.py`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
