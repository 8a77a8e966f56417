"""MindSpore on this machine: whether it is there, building Cells, and calling them on arrays."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

from mshub_ssd.cpu import ensure_fast_cpu
from mshub_ssd.errors import MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "call",
    "device_target",
    "parameter_types",
    "require_mindspore",
    "to_arrays",
    "uninitialised_parameters",
]


def require_mindspore() -> None:
    """Make sure that MindSpore is installed and can be used.

    Raises:
        MissingDependencyError: It is not installed, or NumPy is too new for it.
    """
    for package in ("mindspore", "numpy"):
        if _find(package) is None:
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


def device_target() -> str:
    """The device that networks run on as things are, e.g. ``CPU`` or ``Ascend``.

    Raises:
        MissingDependencyError: MindSpore is there, but cannot be imported.
    """
    try:
        import mindspore
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"MindSpore cannot be imported: {error}",
            hint="pip install --force-reinstall 'mshub_ssd[mindspore]'",
        ) from error
    return str(mindspore.get_context("device_target"))


@contextmanager
def uninitialised_parameters() -> Iterator[None]:
    """Build networks without drawing random values, which a checkpoint overwrites anyway."""
    try:
        from mindspore.nn.utils import no_init_parameters
    except ImportError:
        # Other versions of MindSpore: slower, and just as right.
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


def call(network: Any, *arrays: NDArray[Any]) -> Any:
    """Run a Cell on NumPy arrays, in the user's mode and on the user's device.

    Args:
        network: A Cell that takes one tensor per array and returns a tensor or a tuple of tensors.
        arrays: The inputs.

    Returns:
        The outputs as arrays, see `to_arrays`.
    """
    import mindspore

    ensure_fast_cpu()
    return to_arrays(network(*(mindspore.Tensor(array) for array in arrays)))


def to_arrays(output: Any) -> Any:
    """A network's output with its tensors, however nested in tuples or lists, as arrays in tuples."""
    if isinstance(output, tuple | list):
        return tuple(map(to_arrays, output))
    return output.asnumpy() if hasattr(output, "asnumpy") else output


def _find(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except ImportError:
        return None
