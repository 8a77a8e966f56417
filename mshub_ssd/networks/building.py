"""Building Cells: whether MindSpore is there to do it, and what their parameters are."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mshub_ssd.errors import MissingDependencyError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["building", "parameter_types", "require_mindspore"]

# MindSpore's switch for parameters without values holds for the whole process.
_one_at_a_time = threading.RLock()


def require_mindspore() -> None:
    """Make sure that MindSpore is installed and can be used.

    Raises:
        MissingDependencyError: It is not installed, or NumPy is too new for it.
    """
    for package in ("mindspore", "numpy"):
        if not _is_there(package):
            raise MissingDependencyError(
                f"{package} is not installed; networks cannot be built without it",
                hint="pip install 'mshub_ssd[mindspore]'",
            )
    import numpy as np

    if int(np.__version__.split(".")[0]) >= 2:
        raise MissingDependencyError(
            "this NumPy is too new for MindSpore's wheel, which is compiled against NumPy 1",
            expected="numpy<2",
            got=f"numpy {np.__version__}",
            hint="pip install 'numpy<2'",
        )


@contextmanager
def building(*, initialised: bool = True) -> Iterator[None]:
    """Build networks here, and nowhere else in the process at the same time.

    Args:
        initialised: Whether their parameters get random values; a checkpoint would overwrite them anyway.
    """
    from mshub_ssd.networks.backend import no_init_parameters

    with _one_at_a_time:
        if initialised:
            yield
            return
        with no_init_parameters():
            yield


def parameter_types(network: Any) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and NumPy type of each parameter of a Cell, by name and in order."""
    import numpy as np

    # MindSpore's types are NumPy's with a capital: Float32, Int64, Bool.
    return {
        parameter.name: (tuple(parameter.shape), np.dtype(str(parameter.dtype).lower()))
        for parameter in network.get_parameters()
    }


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False
