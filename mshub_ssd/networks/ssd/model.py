"""The detector as a Cell: features, head, activation.

Published checkpoints name the same parts differently and in different order; each layout is a small
subclass that says where its features come from and which part is the head.
"""

from __future__ import annotations

from mshub_ssd.networks.backend import Tensor, nn, ops
from mshub_ssd.networks.layers import conv
from mshub_ssd.networks.ssd.config import SSDConfig

__all__ = ["SSD", "VGGSSD", "BackboneSSD", "ExtractorSSD", "InceptionSSD"]


class SSD(nn.Cell):
    """Single shot detector (Liu et al., 2015, https://arxiv.org/abs/1512.02325).

    Called on pictures [B, 3, S, S] it returns ``(pred_loc [B, N, 4], scores [B, N, num_classes])``: scores are
    sigmoid probabilities in inference mode (unless the configuration says otherwise), logits after
    ``set_train(True)``.

    Attributes:
        config: The `SSDConfig`.
    """

    def __init__(self, config: SSDConfig) -> None:
        super().__init__()
        self.config = config
        self.sigmoid = ops.Sigmoid() if config.activation == "sigmoid" else None

    @property
    def trunk(self) -> nn.Cell | None:
        """The backbone, which fine-tuning leaves alone at first; None where the layout names none."""
        return getattr(self, "backbone", None)

    def predict(self, locations: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What the network returns, given what its head says."""
        if self.sigmoid is not None and not self.training:
            logits = self.sigmoid(logits)
        return locations, logits


class ExtractorSSD(SSD):
    """Layout of the pyramid networks: ``multi_box``, then ``feature_extractor``."""

    def __init__(self, config: SSDConfig, feature_extractor: nn.Cell, multi_box: nn.Cell) -> None:
        super().__init__(config)
        self.multi_box = multi_box
        self.feature_extractor = feature_extractor

    @property
    def trunk(self) -> nn.Cell | None:
        """See `SSD.trunk`."""
        return getattr(self.feature_extractor, self.feature_extractor.backbone_name)

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


class VGGSSD(SSD):
    """Layout of the VGG network: ``backbone``, ten convolutions at the top level, ``multi_box``.

    There is no activation after any of the ten, and dropout in training after the first two.
    """

    def __init__(self, config: SSDConfig, backbone: nn.Cell, multi_box: nn.Cell) -> None:
        super().__init__(config)
        self.backbone = backbone
        self.b6_1 = conv(512, 1024, 3, dilation=6, padding=6)
        self.b7_1 = conv(1024, 1024)
        self.b8_1 = conv(1024, 256, padding=1)
        self.b8_2 = conv(256, 512, 3, 2, padding=0)
        self.b9_1 = conv(512, 128, padding=1)
        self.b9_2 = conv(128, 256, 3, 2, padding=0)
        self.b10_1 = conv(256, 128)
        self.b10_2 = conv(128, 256, 3, padding=0)
        self.b11_1 = conv(256, 128)
        self.b11_2 = conv(128, 256, 3, padding=0)
        self.dropout = nn.Dropout(p=0.5)
        self.multi_box = multi_box

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, S, S] to locations and scores."""
        c4, x = self.backbone(x)
        c7 = self.dropout(self.b7_1(self.dropout(self.b6_1(x))))
        c8 = self.b8_2(self.b8_1(c7))
        c9 = self.b9_2(self.b9_1(c8))
        c10 = self.b10_2(self.b10_1(c9))
        c11 = self.b11_2(self.b11_1(c10))
        locations, logits = self.multi_box((c4, c7, c8, c9, c10, c11))
        return self.predict(locations, logits)


class InceptionSSD(SSD):
    """Layout of the Inception network: ``box``, ``InceptionV2``, ``feature_maps``."""

    def __init__(self, config: SSDConfig, backbone: nn.Cell, feature_maps: nn.Cell, box: nn.Cell) -> None:
        super().__init__(config)
        self.box = box
        self.InceptionV2 = backbone
        self.feature_maps = feature_maps

    @property
    def trunk(self) -> nn.Cell | None:
        """See `SSD.trunk`."""
        return self.InceptionV2

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, S, S] to locations and scores."""
        locations, logits = self.box(self.feature_maps(self.InceptionV2(x)))
        return self.predict(locations, logits)
