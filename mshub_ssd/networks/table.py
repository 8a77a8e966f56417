"""The networks of this library as a table, for whoever wants to know of them without NumPy and MindSpore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["NETWORKS", "NetworkSpec", "largest_checkpoint"]

_COMMON: Mapping[str, type] = {"num_classes": int, "classes": list}
_MOBILENET_V2: Mapping[str, type] = {
    **_COMMON,
    "image_size": int,
    "stem_channels": int,
    "blocks": list,
    "last_channels": int,
    "taps": list,
    "extras": list,
    "box_sizes": list,
    "depthwise_head": bool,
    "score_threshold": float,
    "nms_threshold": float,
}


@dataclass(frozen=True)
class NetworkSpec:
    """What is known of a network before it is built.

    Attributes:
        key: Architecture key.
        constructor: ``module:function``.
        family: Key of the family in `mshub_ssd.families` that knows its inputs and outputs.
        values: How many values its parameters have, built without arguments.
        classes: Data set whose classes it names by default.
        arguments: What the constructor takes, by name, with types; a list may be any sequence, a float any number.
            Detectors count the background in ``num_classes``.
    """

    key: str
    constructor: str
    family: str
    values: int
    classes: str = "coco2017"
    arguments: Mapping[str, type] = field(default_factory=lambda: _COMMON)


def _ssd(key: str, function: str, values: int, arguments: Mapping[str, type] = _COMMON) -> NetworkSpec:
    return NetworkSpec(key, f"mshub_ssd.networks.ssd.variants:{function}", "ssd", values, arguments=arguments)


def _openmmlab(key: str, function: str, values: int) -> NetworkSpec:
    return NetworkSpec(key, f"mshub_ssd.networks.ssd.openmmlab:{function}", "openmmlab", values)


def _sppnet(key: str, values: int) -> NetworkSpec:
    constructor = f"mshub_ssd.networks.sppnet:{key}"
    return NetworkSpec(key, constructor, "classifier", values, "imagenet2012", {**_COMMON, "hidden_units": int})


NETWORKS: dict[str, NetworkSpec] = {
    spec.key: spec
    for spec in (
        _openmmlab("openmmlab_ssd300", "ssd300", 34_305_206),
        _openmmlab("openmmlab_ssd512", "ssd512", 36_038_196),
        _openmmlab("openmmlab_ssdlite_mobilenetv2", "ssdlite_mobilenet_v2", 4_277_620),
        _sppnet("sppnet_mult", 77_037_672),
        _sppnet("sppnet_single", 77_037_672),
        _sppnet("sppnet_zfnet", 62_357_608),
        _ssd("ssd300", "ssd300", 4_445_365),
        _ssd("ssd_ghostnet", "ssd_ghostnet", 6_788_201),
        _ssd("ssd_inceptionv2", "ssd_inception_v2", 13_747_829),
        _ssd("ssd_mobilenet_v1_fpn", "ssd_mobilenet_v1_fpn", 12_579_774),
        _ssd("ssd_mobilenetV2", "ssd_mobilenet_v2", 47_227_189, _MOBILENET_V2),
        _ssd("ssd_mobilenetV2_FPNlite", "ssd_mobilenet_v2_fpnlite", 2_542_462),
        _ssd("ssd_resnet34", "ssd_resnet34", 12_721_590),
        _ssd("ssd_resnet50", "ssd_resnet50", 36_737_462),
        _ssd("ssd_resnet50_fpn", "ssd_resnet50_fpn", 33_370_814),
        _ssd("ssd_vgg16", "ssd_vgg16", 24_316_853),
    )
}


def largest_checkpoint(key: str) -> int | None:
    """Bytes that no honest checkpoint of a network, built without arguments, exceeds; None where that is not known.

    Room for the weights, two moments of an optimizer and a running average, all of four bytes, and 64 MiB for the rest.
    """
    return 4 * 4 * NETWORKS[key].values + (64 << 20) if key in NETWORKS else None
