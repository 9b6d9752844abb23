"""Makes the package `fuzzing` importable, as it is to `run.py`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
