"""MindSpore: Cells called on arrays, one at a time, as they are or compiled."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mshub_ssd.cpu import ensure_fast_cpu
from mshub_ssd.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CellRunner", "call", "cell_runner", "device_target", "to_arrays", "to_tensors"]

_log = logging.getLogger(__name__)

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


class CellRunner:
    """A Cell, compiled by `mindspore.jit` whatever mode the user set; see `Runner`.

    The Cell is the user's: it is not changed, and runs with the weights that it has at each call. A graph that
    MindSpore has compiled keeps the tensors that the parameters held then: it sees what an optimizer writes into them,
    but not what `Parameter.set_data` and `load_param_into_net` put in their place. So each call looks whether they are
    still the same, and whether parts of the Cell were put into training, and compiles anew if not. A Cell that
    MindSpore cannot compile, e.g. one with hooks, runs as the user's mode has it.

    Args:
        cell: A Cell that takes one tensor.
    """

    name = "mindspore"
    precision = "f32"

    def __init__(self, cell: Any) -> None:
        self._cell = cell
        self._call: Any = None
        self._state: Any = None

    def run(self, batch: NDArray[Any]) -> Any:
        """See `Runner.run`."""
        import mindspore

        ensure_fast_cpu()
        with _calling:
            if self._cell is None:
                raise UsageError("this Runner is closed", hint="make a new one")
            x = mindspore.Tensor(batch)
            if self._call is self._cell:
                return to_arrays(self._cell(x))
            state = _state(self._cell)
            if state is None:  # this MindSpore does not tell: slower, and just as right
                return to_arrays(self._cell(x))
            if state != self._state:
                self._call, self._state = _compiling()(self._cell), state
            try:
                return to_arrays(self._call(x))
            except Exception as error:  # noqa: BLE001 - of whatever kind: the Cell itself is asked next
                outputs = to_arrays(self._cell(x))
                _log.warning("MindSpore cannot compile this Cell, which runs more slowly: %s", _first_line(error))
                self._call = self._cell
                return outputs

    def flow(self) -> _Flow:
        """See `Runner.flow`: a batch after the other, each when its outputs are asked for, in the thread that asks."""
        return _Flow(self)

    def run_many(self, batches: Sequence[NDArray[Any]]) -> list[Any]:
        """See `Runner.run_many`; one after the other."""
        return list(map(self.run, batches))

    def close(self) -> None:
        """See `Runner.close`; the Cell itself stays what it is."""
        with _calling:
            self._cell, self._call, self._state = None, None, None


class _Flow:
    """See `Flow`."""

    depth = 1

    def __init__(self, runner: CellRunner) -> None:
        self._runner = runner

    def start(self, batch: NDArray[Any]) -> _Running:
        """See `Flow.start`."""
        return _Running(self._runner, batch)

    def close(self) -> None:
        """See `Flow.close`."""


class _Running:
    """See `Running`."""

    def __init__(self, runner: CellRunner, batch: NDArray[Any]) -> None:
        self._runner, self._batch = runner, batch

    def is_done(self, seconds: float) -> bool:
        """See `Running.is_done`; nothing is gained by waiting for what has not begun."""
        return True

    def result(self) -> Any:
        """See `Running.result`."""
        return self._runner.run(self._batch)


def cell_runner(cell: Any) -> CellRunner:
    """A Runner for a Cell, on MindSpore's device; see `CellRunner`."""
    return CellRunner(cell)


@functools.cache
def _compiling() -> type[Any]:
    """A Cell around another one that MindSpore compiles as a whole; a function would be warned about when it is new."""
    from mindspore import jit, nn

    class Compiled(nn.Cell):
        def __init__(self, cell: Any) -> None:
            super().__init__(auto_prefix=False)  # or the parameters would be renamed
            self.cell = cell

        @jit  # type: ignore[untyped-decorator]
        def construct(self, x: Any) -> Any:
            return self.cell(x)

    return Compiled


def _state(cell: Any) -> tuple[Any, ...] | None:
    """What a compiled graph has built in: where the parameters' values lie, and which parts are in training."""
    places = [getattr(parameter, "data_ptr", None) for parameter in cell.get_parameters()]
    if None in places:
        return None
    return (*(place() for place in places if place), *(part.training for _, part in cell.cells_and_names()))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def to_arrays(output: Any) -> Any:
    """A network's output with its tensors, however nested in tuples or lists, as arrays in tuples."""
    if isinstance(output, tuple | list):
        return tuple(map(to_arrays, output))
    return output.asnumpy() if hasattr(output, "asnumpy") else output


def to_tensors(arrays: Any) -> Any:
    """Arrays in nested tuples as MindSpore's tensors."""
    import mindspore

    return tuple(map(to_tensors, arrays)) if isinstance(arrays, tuple) else mindspore.Tensor(arrays)


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
