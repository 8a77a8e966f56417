"""From a picture to detections or classes: a network, an engine and the network's family joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from mshub_ssd import engines, families, pictures
from mshub_ssd.errors import UsageError
from mshub_ssd.results import Classification, Detections

if TYPE_CHECKING:
    from mindspore import nn

__all__ = ["classify", "detect", "postprocess"]

Kind = TypeVar("Kind", bound=families.Family)


def detect(
    network: nn.Cell, image: Any, score_threshold: float | None = None, max_detections: int | None = None
) -> Detections:
    """Find objects on a picture.

    Args:
        network: A detector from `mshub_ssd.load`.
        image: What `mshub_ssd.pictures.read_image` takes.
        score_threshold: Detections have a higher score than this, 0 to 1; None takes the network's own.
        max_detections: At most so many, the best ones; None for all, or as many as were published.

    Raises:
        MshubError: The network is of another kind, the picture cannot be read.
    """
    picture = pictures.read_image(image)
    family = _family(network, families.Detector)
    outputs = engines.call(network, family.preprocess(picture))
    return family.postprocess(outputs, picture.shape[:2], score_threshold, max_detections, image=picture)


def postprocess(
    network: nn.Cell,
    outputs: Any,
    image_size: tuple[int, int],
    score_threshold: float | None = None,
    max_detections: int | None = None,
) -> Detections:
    """Turn a detector's raw outputs for one picture into detections.

    Args:
        network: A detector from `mshub_ssd.load`.
        outputs: As the network returns them; arrays or tensors.
        image_size: (height, width) of the original picture in pixels.
        score_threshold: As for `detect`.
        max_detections: As for `detect`.

    Raises:
        UsageError: The outputs do not fit the network.
    """
    family = _family(network, families.Detector)
    return family.postprocess(engines.to_arrays(outputs), image_size, score_threshold, max_detections)


def classify(network: nn.Cell, image: Any, top_k: int = 5) -> Classification:
    """Say what is on a picture.

    Args:
        network: A classifier from `mshub_ssd.load`.
        image: What `mshub_ssd.pictures.read_image` takes.
        top_k: So many classes, or all if there are fewer.

    Raises:
        MshubError: The network is of another kind, the picture cannot be read.
    """
    families.check_top_k(top_k)
    picture = pictures.read_image(image)
    family = _family(network, families.Classifier)
    return family.postprocess(engines.call(network, family.preprocess(picture)), picture, top_k)


def _family(network: nn.Cell, wanted: type[Kind]) -> Kind:
    """The network's family, if it is of the kind wanted and the network in inference mode."""
    family = families.of(getattr(network, "config", None))
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
