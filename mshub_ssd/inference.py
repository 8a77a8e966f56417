"""From a picture to detections or classes: loading, the network and its family joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from mshub_ssd import families, loading, pictures, runtime
from mshub_ssd.cards import Card
from mshub_ssd.catalog import find_card
from mshub_ssd.errors import UsageError
from mshub_ssd.results import Classification, Detections

if TYPE_CHECKING:
    from mindspore import nn

__all__ = ["classify", "detect", "postprocess"]

Kind = TypeVar("Kind", bound=families.Family)

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
        max_detections: At most so many, the best ones; None for all (for OpenMMLab's networks: for the published
            200).

    Returns:
        Boxes in pixels of the original picture, best first.

    Raises:
        MshubError: In one of its kinds: the model cannot be loaded, the picture cannot be read.
    """
    picture = pictures.read_image(image)
    network = _network(model)
    family = _family(network, families.Detector)
    outputs = runtime.call(network, family.preprocess(picture))
    return family.postprocess(outputs, picture.shape[:2], score_threshold, max_detections, image=picture)


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
        outputs: ``(pred_loc [1, N, 4], scores [1, N, classes])``, or OpenMMLab's ``(cls_scores, bbox_preds)``, each
            a tuple of one map per level; arrays or tensors.
        image_size: (height, width) of the original picture in pixels.
        score_threshold: As for `detect`.
        max_detections: As for `detect`.

    Returns:
        Boxes in pixels of the original picture, best first.

    Raises:
        UsageError: The outputs do not fit the network.
    """
    family = _family(_network(model), families.Detector)
    return family.postprocess(runtime.to_arrays(outputs), image_size, score_threshold, max_detections)


def classify(model: str | nn.Cell, image: Any, top_k: int = 5) -> Classification:
    """Say what is on a picture.

    Args:
        model: A uid, the path of a card, or a network from `mshub_ssd.load`. The network of the last uid is
            kept for the next call.
        image: A path (EXIF rotation applied), a PIL image, or an RGB uint8 array [height, width, 3].
        top_k: So many classes, or all if there are fewer.

    Returns:
        The most probable classes, best first.

    Raises:
        MshubError: In one of its kinds: the model cannot be loaded, the picture cannot be read.
    """
    families.check_top_k(top_k)
    picture = pictures.read_image(image)
    network = _network(model)
    family = _family(network, families.Classifier)
    return family.postprocess(runtime.call(network, family.preprocess(picture)), picture, top_k)


def _network(model: str | nn.Cell) -> nn.Cell:
    global _last
    if not isinstance(model, str):
        return model
    card = find_card(model)
    if _last is None or _last[0] != card:
        _last = None  # room for the next one before it is built
        _last = (card, loading.load(model))
    return _last[1]


def _family(network: nn.Cell, wanted: type[Kind]) -> Kind:
    """The network's family, if it is of the kind wanted and the network in inference mode."""
    config = getattr(network, "config", None)
    family = families.of(config)
    if family is None:
        raise UsageError(
            f"this network is not a {wanted.kind} of this library: it has no configuration",
            expected="a uid, or a network from mshub_ssd.load",
            got=repr(type(network).__name__),
        )
    if not isinstance(family, wanted):
        raise UsageError(f"this network is a {family.kind}: {family.does}", got=family.config.name, hint=family.door)
    if network.training:
        raise UsageError(
            f"the network is in training mode, where {family.while_training}",
            hint="call network.set_train(False) first",
        )
    return family
