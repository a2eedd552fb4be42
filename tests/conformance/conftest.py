from __future__ import annotations

import sys
from pathlib import Path

# The children that the kit kills import these backends by name, and so do the tests.
sys.path.insert(0, str(Path(__file__).parent))
