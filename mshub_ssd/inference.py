"""From a picture to detections: loading, the network and vision joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mshub_ssd import loading, runtime, vision
from mshub_ssd.cards import Card
from mshub_ssd.catalog import find_card
from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.config import SSDConfig
from mshub_ssd.vision import Detections

if TYPE_CHECKING:
    from mindspore import nn

__all__ = ["detect", "postprocess"]

# The network of the last uid, so that a loop over pictures loads it once. One only: networks are large.
_last: tuple[Card, nn.Cell] | None = None


def detect(
    model: str | nn.Cell,
    image: Any,
    score_threshold: float | None = None,
    max_detections: int | None = None,
) -> Detections:
    """Find objects on a picture.

    Args:
        model: A uid, the path of a card, or a network from `mshub_ssd.load`. The network of the last uid is
            kept for the next call.
        image: A path (EXIF rotation applied), a PIL image, or an RGB uint8 array [height, width, 3].
        score_threshold: Detections have a higher score than this, 0 to 1; None takes the network's own.
        max_detections: At most so many, the best ones; None for all.

    Returns:
        Boxes in pixels of the original picture, best first.

    Raises:
        MshubError: In one of its kinds: the model cannot be loaded, the picture cannot be read.
    """
    picture = vision.read_image(image)
    network = _network(model)
    config = _config(network)
    location, scores = runtime.call(network, vision.preprocess(picture, config))
    return vision.postprocess(
        config,
        location,
        scores,
        picture.shape[:2],
        score_threshold=score_threshold,
        max_detections=max_detections,
        image=picture,
    )


def postprocess(
    model: str | nn.Cell,
    outputs: Any,
    image_size: tuple[int, int],
    score_threshold: float | None = None,
    max_detections: int | None = None,
) -> Detections:
    """Turn a network's raw outputs for one picture into detections.

    Args:
        model: The network, or its uid.
        outputs: ``(pred_loc [1, N, 4], scores [1, N, classes])`` as arrays or tensors.
        image_size: (height, width) of the original picture in pixels.
        score_threshold: As for `detect`.
        max_detections: As for `detect`.

    Returns:
        Boxes in pixels of the original picture, best first.

    Raises:
        UsageError: The outputs do not fit the network.
    """
    config = _config(_network(model))
    if not isinstance(outputs, tuple | list) or len(outputs) != 2:
        raise UsageError(
            "the outputs of a detector are a pair", expected="(pred_loc, scores)", got=repr(type(outputs).__name__)
        )
    location, scores = (output.asnumpy() if hasattr(output, "asnumpy") else output for output in outputs)
    return vision.postprocess(
        config, location, scores, image_size, score_threshold=score_threshold, max_detections=max_detections
    )


def _network(model: str | nn.Cell) -> nn.Cell:
    global _last
    if not isinstance(model, str):
        return model
    card = find_card(model)
    if _last is None or _last[0] != card:
        _last = None  # room for the next one before it is built
        _last = (card, loading.load(model))
    return _last[1]


def _config(network: nn.Cell) -> SSDConfig:
    config = getattr(network, "config", None)
    if not isinstance(config, SSDConfig):
        raise UsageError(
            "this network is not a detector of this library: it has no configuration",
            expected="a uid, or a network from mshub_ssd.load",
            got=repr(type(network).__name__),
        )
    if network.training:
        raise UsageError(
            "the network is in training mode, where it returns logits instead of scores",
            hint="call network.set_train(False) first",
        )
    return config
