"""MindSpore's side of the training: steps in graph mode, and what they remember. The user's context stays as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.training.batches import Batch
from mshub_ssd.training.detectors import Detector, Loss, loss_cell

if TYPE_CHECKING:
    from mindspore import nn

__all__ = ["Steps", "mindspore_context"]

# Adam's decays of the running means.
_DECAYS = (0.9, 0.999)
# Statistics of fewer pictures than this are worse than those that the network has.
_LEAST_FOR_STATISTICS = 8


@contextlib.contextmanager
def mindspore_context(device: str | None, seed: int) -> Iterator[None]:
    """MindSpore as training needs it: in graph mode, its random numbers following from the seed.

    Args:
        device: ``CPU``, ``GPU`` or ``Ascend``; None for the one that MindSpore has.
        seed: The seed.

    Raises:
        UsageError: There is no such device here, or MindSpore has begun with another one.
    """
    import mindspore

    before = mindspore.get_context("mode")
    numbers, seeded = np.random.get_state(), mindspore.get_seed()
    if device is not None and device != mindspore.get_context("device_target"):
        try:
            mindspore.set_device(device)
        except (ValueError, RuntimeError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UsageError(
                f"MindSpore cannot use this device: {first[:200]}",
                where="--device",
                expected=str(mindspore.get_context("device_target")),
                got=device,
                hint="leave it out for the one that MindSpore has",
            ) from error
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    mindspore.set_seed(seed)  # seeds NumPy's global generator, too
    try:
        yield
    finally:
        mindspore.set_context(mode=before)
        if seeded is not None:
            mindspore.set_seed(seeded)
        np.random.set_state(numbers)


class Steps:
    """Steps of a training with a part of the network, or all of it, learning.

    Args:
        detector: What learns.
        loss: What is minimised.
        frozen: Whether the backbone does not learn.
        batch_size: Pictures of a step.
    """

    def __init__(self, detector: Detector, loss: Loss, *, frozen: bool, batch_size: int) -> None:
        import mindspore

        from mshub_ssd.networks.ssd.learning import AdamStep, norms

        network = detector.network
        trunk = getattr(network, "trunk", None)
        still = {id(parameter) for parameter in trunk.get_parameters()} if frozen and trunk is not None else set()
        learning = [one for one in network.get_parameters() if _learns(one) and id(one) not in still]
        self._weights = mindspore.ParameterTuple(learning)
        self._first = self._weights.clone("first", "zeros")
        self._second = self._weights.clone("second", "zeros")
        self._names = [one.name for one in learning]
        self._cell: nn.Cell = AdamStep(loss_cell(detector, loss), self._weights, self._first, self._second)
        self._cell.set_train(True)
        if still and trunk is not None:
            trunk.set_train(False)
        if batch_size < _LEAST_FOR_STATISTICS:
            for norm in norms(network):
                norm.set_train(False)
        self.count = 0

    def run(self, batch: Batch, rate: float) -> Any:
        """One step; its loss, a tensor that waits for it when it is read."""
        from mindspore import Tensor

        self.count += 1
        numbers = (rate, *(decay**self.count for decay in _DECAYS))
        return self._cell(*(Tensor(np.float32(number)) for number in numbers), *map(Tensor, batch))[0]

    def moments(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Running means of the gradients and of their squares, by the names of the parameters."""
        return tuple(  # type: ignore[return-value]
            {name: one.asnumpy() for name, one in zip(self._names, some, strict=True)}
            for some in (self._first, self._second)
        )

    def restore(self, count: int, first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `moments` gave after so many steps; before the first step only."""
        from mindspore import Tensor

        for some, stored in ((self._first, first), (self._second, second)):
            for name, one in zip(self._names, some, strict=True):
                one.set_data(Tensor(np.ascontiguousarray(stored[name])))
        self.count = count


def _learns(parameter: Any) -> bool:
    return bool(parameter.requires_grad)
