"""The networks of this library as a table, for whoever wants to know of them without NumPy and MindSpore."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mshub_ssd.networks.arguments import (
    CHANNELS,
    NAME,
    SWITCH,
    Fault,
    Kind,
    Relations,
    listed,
    mobilenet_v2_relations,
    real,
    row,
    whole,
)

__all__ = ["NETWORKS", "NetworkSpec", "argument_faults", "largest_checkpoint"]

_COMMON: Mapping[str, Kind] = {"num_classes": whole(2), "classes": listed(NAME, least=1, optional=True)}
_SIZE = real(0, 10, above=True)
_MOBILENET_V2: Mapping[str, Kind] = {
    **_COMMON,
    "image_size": whole(32, 8192),
    "stem_channels": CHANNELS,
    "blocks": listed(
        row("expansion, channels, repeats, stride", whole(1, 64), CHANNELS, whole(1, 64), whole(1, 2)), least=1
    ),
    "last_channels": CHANNELS,
    "taps": listed(row("layer, channels", whole(0, 1000), CHANNELS)),
    "extras": listed(row("channels, ratio", CHANNELS, real(0, 64, above=True))),
    "box_sizes": listed(listed(row("width, height", _SIZE, _SIZE), least=1), least=1, optional=True),
    "depthwise_head": SWITCH,
    "score_threshold": real(),
    "nms_threshold": real(),
}


@dataclass(frozen=True)
class NetworkSpec:
    """What is known of a network before it is built.

    Attributes:
        key: Architecture key.
        constructor: ``module:function``.
        family: Key of the family in `mshub_ssd.families` that knows its inputs and outputs.
        values: How many values its parameters have, built without arguments.
        image_size: Side of its square input in pixels, unless ``image_size`` is among its arguments.
        arguments: What the constructor takes, by name. Detectors count the background in ``num_classes``.
        classes: Data set whose classes it names by default.
        num_classes: How many classes it has by default, with the background where it has one.
        background: Whether ``num_classes`` counts a background, which has no name.
        relations: What must agree between arguments that are sound alone.
    """

    key: str
    constructor: str
    family: str
    values: int
    image_size: int
    arguments: Mapping[str, Kind]
    classes: str = "coco2017"
    num_classes: int = 81
    background: bool = True
    relations: Relations | None = None


def _ssd(
    key: str,
    function: str,
    values: int,
    image_size: int,
    arguments: Mapping[str, Kind] = _COMMON,
    relations: Relations | None = None,
) -> NetworkSpec:
    constructor = f"mshub_ssd.networks.ssd.variants:{function}"
    return NetworkSpec(key, constructor, "ssd", values, image_size, arguments, relations=relations)


def _openmmlab(key: str, function: str, values: int, image_size: int) -> NetworkSpec:
    return NetworkSpec(key, f"mshub_ssd.networks.ssd.openmmlab:{function}", "openmmlab", values, image_size, _COMMON)


def _sppnet(key: str, values: int) -> NetworkSpec:
    constructor = f"mshub_ssd.networks.sppnet:{key}"
    arguments = {**_COMMON, "hidden_units": CHANNELS}
    return NetworkSpec(key, constructor, "classifier", values, 224, arguments, "imagenet2012", 1000, background=False)


NETWORKS: dict[str, NetworkSpec] = {
    spec.key: spec
    for spec in (
        _openmmlab("openmmlab_ssd300", "ssd300", 34_305_206, 300),
        _openmmlab("openmmlab_ssd512", "ssd512", 36_038_196, 512),
        _openmmlab("openmmlab_ssdlite_mobilenetv2", "ssdlite_mobilenet_v2", 4_277_620, 320),
        _sppnet("sppnet_mult", 77_037_672),
        _sppnet("sppnet_single", 77_037_672),
        _sppnet("sppnet_zfnet", 62_357_608),
        _ssd("ssd300", "ssd300", 4_445_365, 300),
        _ssd("ssd_ghostnet", "ssd_ghostnet", 6_788_201, 300),
        _ssd("ssd_inceptionv2", "ssd_inception_v2", 13_747_829, 300),
        _ssd("ssd_mobilenet_v1_fpn", "ssd_mobilenet_v1_fpn", 12_579_774, 640),
        _ssd("ssd_mobilenetV2", "ssd_mobilenet_v2", 47_227_189, 320, _MOBILENET_V2, mobilenet_v2_relations),
        _ssd("ssd_mobilenetV2_FPNlite", "ssd_mobilenet_v2_fpnlite", 2_542_462, 320),
        _ssd("ssd_resnet34", "ssd_resnet34", 12_721_590, 300),
        _ssd("ssd_resnet50", "ssd_resnet50", 36_737_462, 640),
        _ssd("ssd_resnet50_fpn", "ssd_resnet50_fpn", 33_370_814, 640),
        _ssd("ssd_vgg16", "ssd_vgg16", 24_316_853, 300),
    )
}


def largest_checkpoint(key: str) -> int | None:
    """Bytes that no honest checkpoint of a network, built without arguments, exceeds; None where that is not known.

    Room for the weights, two moments of an optimizer and a running average, all of four bytes, and 64 MiB for the rest.
    """
    return 4 * 4 * NETWORKS[key].values + (64 << 20) if key in NETWORKS else None


def argument_faults(key: str, arguments: Mapping[str, Any], classes: Sequence[str] | None = None) -> Iterator[Fault]:
    """What a network of the table refuses of a card's arguments; of another one, nothing can be told.

    Args:
        key: Architecture key.
        arguments: What the card gives its constructor.
        classes: The card's names of the classes; they come before those among the arguments.
    """
    spec = NETWORKS.get(key)
    if spec is None:
        return
    sound = dict(arguments)
    for name, value in arguments.items():
        kind = spec.arguments.get(name)
        if kind is not None and kind.accepts(value):
            continue
        del sound[name]
        shown = repr(value)[:200]
        if kind is None:
            near = difflib.get_close_matches(name.lower().replace("-", "_"), spec.arguments, n=1)
            hint = f"did you mean {near[0]}?" if near else "leave it out"
            known = ", ".join(spec.arguments)
            yield Fault(name, f"the network {key} takes no argument {name}", known, f"{name}={shown}", hint)
        else:
            yield Fault(name, f"{name} of the network {key} cannot be {shown}", kind.text, shown)
    names = classes if classes is not None else sound.get("classes")
    count = sound.get("num_classes", spec.num_classes)
    if names is not None and not (set(arguments) - set(sound)) & {"num_classes", "classes"}:
        wanted = count - 1 if spec.background else count
        if len(names) != wanted:
            background = " (the background has no name)" if spec.background else ""
            yield Fault(
                "classes",
                f"there are {len(names)} class names, and {wanted} classes to name",
                f"{wanted} names for num_classes={count}{background}",
                f"{len(names)} names",
                "correct `classes:` or num_classes in the card",
            )
    if spec.relations and len(sound) == len(arguments):
        yield from spec.relations(sound)
