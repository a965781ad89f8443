"""What is compared: the standard library in `make test`, and packages in `make fidelity`, which fetches them."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("FIDELITY_FILES") else ["test_packages.py"]
