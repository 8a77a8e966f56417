"""Losses of single-shot detectors, as MindSpore Cells; all of them compile in graph mode.

Predictions are what a network returns in training mode: offsets [B, N, 4] and class logits
[B, N, num_classes], class 0 being the background. Targets come from `mshub_ssd.networks.ssd.matching`:
offsets [B, N, 4] and int32 labels [B, N], where 0 is background and -1 an anchor to ignore.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.backend import Tensor, mstype, nn, ops

__all__ = [
    "BoxIoULoss",
    "FocalSSDLoss",
    "HardNegativeMining",
    "MultiBoxLoss",
    "SigmoidFocalLoss",
    "SmoothL1",
    "WithLoss",
]


class SmoothL1(nn.Cell):
    """Huber's loss per element: quadratic below `beta`, linear above, with slope 1."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def construct(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape to the losses of that shape."""
        distance = ops.abs(prediction - target)
        return ops.select(distance < self.beta, 0.5 * distance * distance / self.beta, distance - 0.5 * self.beta)


class SigmoidFocalLoss(nn.Cell):
    """Binary cross entropy that fades for easy cases (Lin et al., 2017, https://arxiv.org/abs/1708.02002).

    Args:
        gamma: How fast easy cases fade.
        alpha: Weight of positives; negatives have 1 - alpha.
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha

    def construct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits and targets (0 or 1) of one shape to the losses of that shape."""
        # log(1 + exp(-|x|)) stays finite for any logit.
        entropy = ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
        probability = ops.sigmoid(logits)
        wrong = targets * (1 - probability) + (1 - targets) * probability
        weight = targets * self.alpha + (1 - targets) * (1 - self.alpha)
        return weight * ops.pow(wrong, self.gamma) * entropy


class HardNegativeMining(nn.Cell):
    """Picks the background anchors with the greatest losses, per picture.

    Args:
        ratio: Background anchors per positive one.
        minimum: At least so many in each picture, so that pictures without objects count.
    """

    def __init__(self, ratio: float = 3.0, minimum: int = 0) -> None:
        super().__init__()
        self.ratio = ratio
        self.minimum = minimum

    def construct(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Losses [B, N] and labels [B, N] to a float mask [B, N], 1 at the chosen background anchors."""
        background = labels == 0
        # Losses are never negative, so -1 puts everything else last.
        candidates = ops.select(background, losses, ops.full_like(losses, -1.0))
        _, order = ops.sort(candidates, axis=1, descending=True)
        _, rank = ops.sort(ops.cast(order, mstype.float32), axis=1)
        positives = ops.cast(labels > 0, mstype.float32).sum(axis=1, keepdims=True)
        quota = ops.clamp(positives * self.ratio, min=float(self.minimum))
        chosen = ops.logical_and(ops.cast(rank, mstype.float32) < quota, background)
        return ops.stop_gradient(ops.cast(chosen, mstype.float32))


class BoxIoULoss(nn.Cell):
    """1 - GIoU of predicted and target boxes (Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630).

    Args:
        anchors: [N, 4] as (cy, cx, h, w).
        prior_scaling: Factors of the centre's and of the size's offsets.
    """

    def __init__(self, anchors: NDArray[np.float32], prior_scaling: tuple[float, float] = (0.1, 0.2)) -> None:
        super().__init__()
        self.centre = Tensor(np.ascontiguousarray(anchors[:, :2]))
        self.size = Tensor(np.ascontiguousarray(anchors[:, 2:]))
        self.centre_scale, self.size_scale = prior_scaling

    def corners(self, offsets: Any) -> Any:
        """Offsets [B, N, 4] to the boxes' upper left and lower right corners, [B, N, 2] each."""
        centre = self.centre + offsets[..., :2] * self.centre_scale * self.size
        # A wild prediction must not overflow: exp(8) times an anchor is far larger than any picture.
        half = ops.exp(ops.clamp(offsets[..., 2:] * self.size_scale, max=8.0)) * self.size * 0.5
        return centre - half, centre + half

    def construct(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Offsets [B, N, 4], twice, to losses [B, N] between 0 and 2."""
        low, high = self.corners(prediction)
        target_low, target_high = self.corners(target)
        shared = ops.relu(ops.minimum(high, target_high) - ops.maximum(low, target_low))
        hull = ops.maximum(high, target_high) - ops.minimum(low, target_low)
        size, target_size = high - low, target_high - target_low
        overlap = shared[..., 0] * shared[..., 1]
        union = size[..., 0] * size[..., 1] + target_size[..., 0] * target_size[..., 1] - overlap
        around = hull[..., 0] * hull[..., 1]
        return 2 - overlap / (union + 1e-9) - union / (around + 1e-9)


class MultiBoxLoss(nn.Cell):
    """Loss of the SSD paper: softmax cross entropy with hard negatives, and smooth L1 on the offsets.

    Both are sums over anchors, divided by the number of positive anchors in the batch.

    Args:
        ratio: Background anchors per positive one.
        location_weight: Weight of the offsets' part.
        minimum: Least number of background anchors per picture.
    """

    def __init__(self, ratio: float = 3.0, location_weight: float = 1.0, minimum: int = 0) -> None:
        super().__init__()
        self.mining = HardNegativeMining(ratio, minimum)
        self.smooth_l1 = SmoothL1()
        self.location_weight = location_weight

    def construct(self, pred_loc: Tensor, logits: Tensor, locations: Tensor, labels: Tensor) -> Tensor:
        """Predictions and targets to one number."""
        positive = ops.cast(labels > 0, mstype.float32)
        classes = ops.one_hot(ops.relu(labels), logits.shape[-1], Tensor(1.0), Tensor(0.0))
        entropy = -(ops.log_softmax(logits, -1) * classes).sum(axis=-1)
        counted = positive + self.mining(ops.stop_gradient(entropy), labels)
        offsets = self.smooth_l1(pred_loc, locations).sum(axis=-1)
        total = (entropy * counted).sum() + self.location_weight * (offsets * positive).sum()
        return total / ops.clamp(positive.sum(), min=1.0)


class FocalSSDLoss(nn.Cell):
    """Sigmoid focal loss on all anchors, smooth L1 and, if wanted, an IoU loss on the positive ones.

    The background has no logit to learn: it is where no class fires, so column 0 takes no part. All parts
    are sums, divided by the number of positive anchors in the batch.

    Args:
        gamma: See `SigmoidFocalLoss`.
        alpha: See `SigmoidFocalLoss`.
        class_weight: Weight of the focal loss.
        location_weight: Weight of smooth L1.
        iou_weight: Weight of the IoU loss, which needs `anchors`; 0 leaves it out.
        anchors: [N, 4] as (cy, cx, h, w).
        prior_scaling: Factors of the centre's and of the size's offsets.
        beta: Where smooth L1 turns linear.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float = 0.25,
        *,
        class_weight: float = 1.0,
        location_weight: float = 1.0,
        iou_weight: float = 0.0,
        anchors: NDArray[np.float32] | None = None,
        prior_scaling: tuple[float, float] = (0.1, 0.2),
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        self.focal = SigmoidFocalLoss(gamma, alpha)
        self.smooth_l1 = SmoothL1(beta)
        self.class_weight = class_weight
        self.location_weight = location_weight
        self.iou_weight = iou_weight
        self.iou_loss = None
        if iou_weight:
            if anchors is None:
                raise UsageError(
                    "the IoU loss needs the anchors",
                    where="FocalSSDLoss",
                    expected="anchors=network.config.anchors",
                    hint="give `anchors`, or set iou_weight to 0",
                )
            self.iou_loss = BoxIoULoss(anchors, prior_scaling)

    def construct(self, pred_loc: Tensor, logits: Tensor, locations: Tensor, labels: Tensor) -> Tensor:
        """Predictions and targets to one number."""
        positive = ops.cast(labels > 0, mstype.float32)
        counted = ops.cast(labels >= 0, mstype.float32)
        classes = ops.one_hot(ops.relu(labels), logits.shape[-1], Tensor(1.0), Tensor(0.0))
        focal = self.focal(logits[..., 1:], classes[..., 1:]).sum(axis=-1)
        total = self.class_weight * (focal * counted).sum()
        offsets = self.smooth_l1(pred_loc, locations).sum(axis=-1)
        total = total + self.location_weight * (offsets * positive).sum()
        if self.iou_loss is not None:
            total = total + self.iou_weight * (self.iou_loss(pred_loc, locations) * positive).sum()
        return total / ops.clamp(positive.sum(), min=1.0)


class WithLoss(nn.Cell):
    """A network and its loss as one Cell to train.

    Save the bare network, not this Cell: parameter names inside it are the network's own.
    """

    def __init__(self, network: nn.Cell, loss: nn.Cell) -> None:
        # Without the prefix the parameters keep the names they have in the bare network.
        super().__init__(auto_prefix=False)
        self.network = network
        self.loss = loss

    def construct(self, pictures: Tensor, locations: Tensor, labels: Tensor) -> Tensor:
        """Normalised pictures [B, 3, S, S] and targets to one number."""
        pred_loc, logits = self.network(pictures)
        return self.loss(pred_loc, logits, locations, labels)
