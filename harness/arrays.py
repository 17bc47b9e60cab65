"""NumPy, imported when something of it is first used. Knows nothing else.

Commands that only list what there is compute nothing, and importing NumPy takes longer than all else that they do. Modules
that such a command imports write ``from harness.arrays import NDArray, np`` instead of ``import numpy as np``; in the others
both are the same.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["NDArray", "np"]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    # For annotations, which nobody evaluates.
    NDArray = "NDArray"

    class _NumPy:
        """Has every attribute of the module, each from the first time on that it is asked for."""

        def __getattr__(self, name: str) -> object:
            value = getattr(import_module("numpy"), name)
            setattr(self, name, value)
            return value

    np = _NumPy()
