"""Our packages beside this one have common names: they are found here, whatever a working directory holds.

``schemas``, ``transforms`` and ``runners`` lie beside ``beam_pipeline`` and are imported by these names. A folder of
the user's with such a name, even an empty one, stands before an installed package on Python's path. So
``beam_pipeline`` imports its own three by their place before anything else, and refuses if another one was imported
before. Workers import no ``beam_pipeline``; they are started so that they do the same (``runners.own_processes``).

They could instead be mapped under ``beam_pipeline`` when the package is built. Then every import in a checkout would
have another name than the folder that it is in.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

NAMES = ("schemas", "transforms", "runners")
ROOT = Path(__file__).parent.parent


def claim() -> None:
    """Imports our packages from where this one lies.

    Raises:
      ImportError: a package of the same name has been imported before; the message says which.
    """
    for name in NAMES:
        known = sys.modules.get(name)
        if known is not None:
            places = [str(Path(place).resolve()) for place in getattr(known, "__path__", [])]
            if str((ROOT / name).resolve()) not in places:
                where = getattr(known, "__file__", None) or ", ".join(places) or "no file"
                raise ImportError(
                    f"beam_pipeline has a package {name!r} in {ROOT / name}, but another one was imported before it, "
                    f"from {where}: import beam_pipeline first, or give the other one another name"
                )
            continue
        spec = importlib.machinery.PathFinder.find_spec(name, [str(ROOT)])
        if spec is None or spec.loader is None:
            raise ImportError(f"beam_pipeline isn't installed whole: {ROOT / name} is missing; install it again")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
