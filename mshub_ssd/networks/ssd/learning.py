"""One step of learning as a Cell: a detector's loss, its gradient, and Adam. It compiles in graph mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mshub_ssd.networks.backend import Tensor, nn, ops

__all__ = ["AdamStep", "FlatOutputs", "norms"]


class FlatOutputs(nn.Cell):
    """A network of OpenMMLab's that returns what the losses here take.

    That is offsets [B, N, 4] as (dy, dx, dh, dw) and class logits [B, N, num_classes] with the background as class 0.

    Args:
        network: It returns class logits and box deltas as maps, level by level, with the background as the last class.
    """

    def __init__(self, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.num_classes = network.config.num_classes
        self.levels = len(network.config.anchor_spec.per_cell)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, S, S] to offsets and class logits."""
        scores, deltas = self.network(x)
        logits = ops.concat([self.rows(scores[i], self.num_classes) for i in range(self.levels)], 1)
        moves = ops.concat([self.rows(deltas[i], 4) for i in range(self.levels)], 1)
        last = self.num_classes - 1
        return (
            ops.concat((moves[..., 1:2], moves[..., 0:1], moves[..., 3:4], moves[..., 2:3]), -1),
            ops.concat((logits[..., last:], logits[..., :last]), -1),
        )

    def rows(self, level: Any, columns: int) -> Any:
        """[B, anchors * columns, H, W] to [B, H * W * anchors, columns]."""
        return ops.reshape(ops.transpose(level, (0, 2, 3, 1)), (ops.shape(level)[0], -1, columns))


_square = ops.MultitypeFuncGraph("square")
_update = ops.MultitypeFuncGraph("update")


@_square.register("Tensor")  # type: ignore[untyped-decorator]
def _(gradient: Tensor) -> Tensor:
    return ops.square(gradient).sum()


@_update.register("Function", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor")  # type: ignore[untyped-decorator]
def _(
    adam: Any,
    rate: Tensor,
    decay1: Tensor,
    decay2: Tensor,
    factor: Tensor,
    weight: Tensor,
    first: Tensor,
    second: Tensor,
    gradient: Tensor,
) -> Any:
    return adam(weight, first, second, decay1, decay2, rate, 0.9, 0.999, 1e-8, gradient * factor)


class AdamStep(nn.Cell):
    """Adam (Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980) on a loss, the gradient's length limited.

    It keeps no count of its own: learning rate and powers of the decays are given at each call, so that weights and
    moments are all there is to remember.

    Args:
        forward: Returns the loss, one number.
        weights: What learns, a ParameterTuple.
        first: The gradients' running means, likewise.
        second: The running means of their squares, likewise.
        max_norm: A longer gradient is shortened to this length.
    """

    def __init__(
        self,
        forward: nn.Cell,
        weights: Sequence[Any],
        first: Sequence[Any],
        second: Sequence[Any],
        *,
        max_norm: float = 10.0,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.forward = forward
        self.weights, self.first, self.second = weights, first, second
        self.max_norm = max_norm
        # A loop would be unrolled, and deeper than MindSpore goes with some hundred parameters.
        self.each = ops.HyperMap()
        self.gradient = ops.GradOperation(get_by_list=True)
        self.adam = ops.Adam()

    def construct(self, rate: Tensor, decay1: Tensor, decay2: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """One step; the loss before it, and the length of its gradient."""
        loss = self.forward(*batch)
        gradients = self.gradient(self.forward, self.weights)(*batch)
        length = ops.sqrt(ops.addn(self.each(_square, gradients)))
        factor = self.max_norm / ops.maximum(length, ops.full_like(length, self.max_norm))
        update = ops.partial(_update, self.adam, rate, decay1, decay2, factor)
        done = self.each(update, self.weights, self.first, self.second, gradients)
        return ops.depend(loss, done), length


def norms(network: nn.Cell) -> list[nn.Cell]:
    """The batch norms of a network."""
    return [cell for _, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
