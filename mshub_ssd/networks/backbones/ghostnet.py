"""GhostNet (Han et al., 2020, https://arxiv.org/abs/1911.11907) at width 1.3 with two outputs."""

from __future__ import annotations

from mshub_ssd.networks.backend import Tensor, nn, ops
from mshub_ssd.networks.layers import Activation, ConvBNAct, conv, depthwise

__all__ = ["GhostNet"]

# (kernel, expansion channels, channels, squeeze and excite, stride) of layers 1 to 16.
_LAYERS = (
    (3, 24, 20, False, 1),
    (3, 64, 32, False, 2),
    (3, 96, 32, False, 1),
    (5, 96, 52, True, 2),
    (5, 160, 52, True, 1),
    (3, 312, 104, False, 2),
    (3, 264, 104, False, 1),
    (3, 240, 104, False, 1),
    (3, 240, 104, False, 1),
    (3, 624, 144, True, 1),
    (3, 864, 144, True, 1),
    (5, 864, 208, True, 2),
    (5, 1248, 208, False, 1),
    (5, 1248, 208, True, 1),
    (5, 1248, 208, False, 1),
    (5, 1248, 208, True, 1),
)
_TAP = 11


class _GhostModule(nn.Cell):
    """Half of the channels from a 1x1 convolution, the other half from a cheap depthwise one on those."""

    def __init__(self, in_channels: int, channels: int, activation: Activation | None) -> None:
        super().__init__()
        half = channels // 2
        self.primary_conv = ConvBNAct(conv(in_channels, half), activation=activation)
        self.cheap_operation = ConvBNAct(depthwise(half), activation=activation)

    def construct(self, x: Tensor) -> Tensor:
        primary = self.primary_conv(x)
        return ops.concat((primary, self.cheap_operation(primary)), 1)


class _SqueezeExcite(nn.Cell):
    """Channel gates from the map's mean, by a hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = -(-(channels // 4) // 4) * 4
        self.conv_reduce = conv(channels, inner, bias=True)
        self.conv_expand = conv(inner, channels, bias=True)
        self.relu = nn.ReLU()
        # relu6(x + 3) / 6
        self.hard_sigmoid = nn.HSigmoid()

    def construct(self, x: Tensor) -> Tensor:
        gate = self.conv_expand(self.relu(self.conv_reduce(ops.mean(x, (2, 3), True))))
        return x * self.hard_sigmoid(gate)


class _Bottleneck(nn.Cell):
    """Ghost module, depthwise convolution where strided, gates, ghost module, and the shortcut."""

    def __init__(
        self, in_channels: int, expansion: int, channels: int, kernel: int, stride: int, squeeze_excite: bool
    ) -> None:
        super().__init__()
        self.ghost1 = _GhostModule(in_channels, expansion, nn.ReLU)
        self.dw = ConvBNAct(depthwise(expansion, kernel, stride), activation=None) if stride > 1 else None
        self.se = _SqueezeExcite(expansion) if squeeze_excite else None
        self.ghost2 = _GhostModule(expansion, channels, None)
        self.shortcut = None
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.SequentialCell(
                [
                    ConvBNAct(depthwise(in_channels, kernel, stride), activation=None),
                    ConvBNAct(conv(in_channels, channels), activation=None),
                ]
            )

    def construct(self, x: Tensor) -> Tensor:
        y = self.ghost1(x)
        if self.dw is not None:
            y = self.dw(y)
        if self.se is not None:
            y = self.se(y)
        y = self.ghost2(y)
        return y + (x if self.shortcut is None else self.shortcut(x))


class GhostNet(nn.Cell):
    """The feature extractor: a stem, 16 ghost bottlenecks, and a last 1x1 convolution; plain ReLU throughout.

    Attributes:
        channels: Channels of the two outputs (strides 16 and 32).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Cell] = [ConvBNAct(conv(3, 20, 3, 2), activation=nn.ReLU)]
        width = 20
        for kernel, expansion, channels, squeeze_excite, stride in _LAYERS:
            layers.append(_Bottleneck(width, expansion, channels, kernel, stride, squeeze_excite))
            width = channels
        layers.append(ConvBNAct(conv(width, 1248), activation=nn.ReLU))
        self.expand_layer_conv_11 = ConvBNAct(conv(_LAYERS[_TAP - 1][2], 864), activation=nn.ReLU)
        self.features_1 = nn.SequentialCell(layers[: _TAP + 1])
        self.features_2 = nn.SequentialCell(layers[_TAP + 1 :])
        self.channels = (864, 1248)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the maps of strides 16 and 32."""
        tap = self.features_1(x)
        return self.expand_layer_conv_11(tap), self.features_2(tap)
