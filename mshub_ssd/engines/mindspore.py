"""Cells called on arrays, one at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from mshub_ssd.cpu import ensure_fast_cpu
from mshub_ssd.errors import MissingDependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["call", "device_target", "to_arrays"]

# One Cell in two threads at once gives wrong numbers (MindSpore 2.10, CPU), without an error.
_calling = threading.RLock()


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
    with _calling:
        return to_arrays(network(*(mindspore.Tensor(array) for array in arrays)))


def to_arrays(output: Any) -> Any:
    """A network's output with its tensors, however nested in tuples or lists, as arrays in tuples."""
    if isinstance(output, tuple | list):
        return tuple(map(to_arrays, output))
    return output.asnumpy() if hasattr(output, "asnumpy") else output


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
