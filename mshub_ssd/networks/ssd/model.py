"""The detector as a Cell: features, head, activation.

Published checkpoints name the same parts differently and in different order; each layout is a small
subclass that says where its features come from and which part is the head.
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from mshub_ssd.networks.ssd.config import SSDConfig

__all__ = ["SSD", "BackboneSSD", "ExtractorSSD"]


class SSD(nn.Cell):
    """Single shot detector (Liu et al., 2015, https://arxiv.org/abs/1512.02325).

    Called on pictures [B, 3, S, S] it returns ``(pred_loc [B, N, 4], scores [B, N, num_classes])``: scores are
    sigmoid probabilities in inference mode, logits after ``set_train(True)``.

    Attributes:
        config: The `SSDConfig`.
    """

    def __init__(self, config: SSDConfig) -> None:
        super().__init__()
        self.config = config
        self.sigmoid = ops.Sigmoid()

    def predict(self, locations: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What the network returns, given what its head says."""
        if not self.training:
            logits = self.sigmoid(logits)
        return locations, logits


class ExtractorSSD(SSD):
    """Layout of the pyramid networks: ``multi_box``, then ``feature_extractor``."""

    def __init__(self, config: SSDConfig, feature_extractor: nn.Cell, multi_box: nn.Cell) -> None:
        super().__init__(config)
        self.multi_box = multi_box
        self.feature_extractor = feature_extractor

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, S, S] to locations and scores."""
        locations, logits = self.multi_box(self.feature_extractor(x))
        return self.predict(locations, logits)


class BackboneSSD(SSD):
    """Layout of the mobile networks: ``backbone``, extra maps from ``multi_residual``, ``multi_box``."""

    def __init__(self, config: SSDConfig, backbone: nn.Cell, multi_residual: nn.CellList, multi_box: nn.Cell) -> None:
        super().__init__(config)
        self.backbone = backbone
        self.multi_residual = multi_residual
        self.multi_box = multi_box

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, S, S] to locations and scores."""
        maps = self.backbone(x)
        for residual in self.multi_residual:
            maps = (*maps, residual(maps[-1]))
        locations, logits = self.multi_box(maps)
        return self.predict(locations, logits)
