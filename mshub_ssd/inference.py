"""From a picture to detections or classes: loading, the network and vision joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mshub_ssd import loading, runtime, vision
from mshub_ssd.cards import Card
from mshub_ssd.catalog import find_card
from mshub_ssd.errors import UsageError
from mshub_ssd.networks.classification import ClassifierConfig
from mshub_ssd.vision import Classification, Detections, DetectorConfig, classification

if TYPE_CHECKING:
    from mindspore import nn

__all__ = ["classify", "detect", "postprocess"]

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
    picture = vision.read_image(image)
    network = _network(model)
    config: DetectorConfig = _config(network, _DETECTOR)
    outputs = runtime.call(network, vision.preprocess(picture, config))
    return _detections(config, outputs, picture.shape[:2], score_threshold, max_detections, picture)


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
    config: DetectorConfig = _config(_network(model), _DETECTOR)
    return _detections(config, runtime.to_arrays(outputs), image_size, score_threshold, max_detections)


def _detections(
    config: DetectorConfig,
    outputs: Any,
    image_size: Any,
    score_threshold: float | None,
    max_detections: int | None,
    image: Any = None,
) -> Detections:
    if not isinstance(outputs, tuple | list) or len(outputs) != 2:
        raise UsageError(
            "the outputs of a detector are a pair", expected="(pred_loc, scores)", got=repr(type(outputs).__name__)
        )
    first, second = outputs
    return vision.postprocess(config, first, second, image_size, score_threshold, max_detections, image=image)


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
    classification.check_top_k(top_k)
    picture = vision.read_image(image)
    network = _network(model)
    config: ClassifierConfig = _config(network, _CLASSIFIER)
    outputs = runtime.call(network, classification.preprocess(picture, config))
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    if len(parts) != 1 or isinstance(parts[0], tuple):
        raise UsageError(
            f"the classifier {config.name} does not return one tensor of logits",
            expected=f"logits of shape [1, {config.num_classes}]",
            got=", ".join("a tuple" if isinstance(part, tuple) else str(list(part.shape)) for part in parts),
        )
    return classification.rank(config, parts[0], picture, top_k)


def _network(model: str | nn.Cell) -> nn.Cell:
    global _last
    if not isinstance(model, str):
        return model
    card = find_card(model)
    if _last is None or _last[0] != card:
        _last = None  # room for the next one before it is built
        _last = (card, loading.load(model))
    return _last[1]


@dataclass(frozen=True)
class _Kind:
    """What a network can be here, and what to say when it is the wrong thing."""

    name: str
    config: Any
    does: str
    door: str
    while_training: str


_DETECTOR = _Kind(
    "detector",
    DetectorConfig,
    "it finds objects and does not classify pictures",
    "mshub_ssd.detect(model, image), or mshub detect PICTURE --model UID",
    "it returns logits instead of scores",
)
_CLASSIFIER = _Kind(
    "classifier",
    ClassifierConfig,
    "it names a whole picture and finds no objects on it",
    "mshub_ssd.classify(model, image), or mshub classify PICTURE --model UID",
    "dropout makes its answers random",
)


def _config(network: nn.Cell, wanted: _Kind) -> Any:
    """The network's configuration, if it is of the kind wanted and in inference mode."""
    config = getattr(network, "config", None)
    other = _CLASSIFIER if wanted is _DETECTOR else _DETECTOR
    if isinstance(config, other.config):
        raise UsageError(f"this network is a {other.name}: {other.does}", got=config.name, hint=other.door)
    if not isinstance(config, wanted.config):
        raise UsageError(
            f"this network is not a {wanted.name} of this library: it has no configuration",
            expected="a uid, or a network from mshub_ssd.load",
            got=repr(type(network).__name__),
        )
    if network.training:
        raise UsageError(
            f"the network is in training mode, where {wanted.while_training}",
            hint="call network.set_train(False) first",
        )
    return config
