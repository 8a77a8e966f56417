"""NumPy's names that went away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mshub_ssd.foreign.adapters.surroundings import Surroundings, adapter

__all__: list[str] = []

_BUILTINS = {"bool": bool, "int": int, "float": float, "complex": complex, "object": object, "str": str, "long": int}
_OTHERS = {
    "unicode": "str_",
    "Inf": "inf",
    "Infinity": "inf",
    "NaN": "nan",
    "float_": "float64",
    "product": "prod",
    "row_stack": "vstack",
}


@adapter("numpy-aliases", "`np.int`, `np.float`, `np.bool`, `np.object`, `np.long`, …, gone since NumPy 1.24 and 2")
def _aliases(around: Surroundings) -> None:
    def always(value: Any) -> Callable[[], Any]:
        return lambda: value

    def other(name: str) -> Callable[[], Any]:
        def find() -> Any:
            import numpy as np

            return getattr(np, name)

        return find

    # `hasattr` would warn: these names still lead to an error with a story.
    around.replace("numpy", **{name: always(value) for name, value in _BUILTINS.items()})
    around.missing("numpy", **{name: other(now) for name, now in _OTHERS.items()})
