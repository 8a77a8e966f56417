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
    network: nn.Cell, image: Any, score_threshold: float | None = None, max_detections: int | None = 100
) -> Detections:
    """Find objects on a picture.

    Args:
        network: A detector from `mshub_ssd.load`.
        image: What `mshub_ssd.pictures.read_image` takes.
        score_threshold: Detections have a higher score than this, 0 to 1; None takes the network's own.
        max_detections: At most so many, the best ones; None for as many as were published, or all.

    Raises:
        MshubError: The network is of another kind, the picture cannot be read.
    """
    picture = pictures.read_image(image)
    family = _family(network, families.Detector)
    options = family.options(score_threshold=score_threshold, max_detections=max_detections)
    inputs, transform = family.preprocess(picture)
    found: Detections = family.postprocess(engines.call(network, inputs), [transform], options, pictures=[picture])[0]
    return found


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
    options = family.options(score_threshold=score_threshold, max_detections=max_detections)
    return family.result(engines.to_arrays(outputs), family.transform(image_size), options)


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
    inputs, transform = family.preprocess(picture)
    options = family.options(top_k=top_k)
    found: Classification = family.postprocess(engines.call(network, inputs), [transform], options, pictures=[picture])[
        0
    ]
    return found


def _family(network: nn.Cell, wanted: type[Kind]) -> Kind:
    """The network's family, if it is of the kind wanted and the network in inference mode."""
    family = families.of(getattr(network, "config", None))
    if family is None:
        raise UsageError(
            f"this network is not a {wanted.kind} that this library knows: it has no configuration of a known family",
            expected="a uid, or a network from mshub_ssd.load",
            got=repr(type(network).__name__),
            hint="of a network of your own: let network.config name its family, see docs/families.md",
        )
    if not isinstance(family, wanted):
        raise UsageError(
            f"this network is a {family.kind}: {family.does}",
            got=getattr(family.config, "name", None),
            hint=family.door,
        )
    if network.training:
        raise UsageError(
            f"the network is in training mode, where {family.while_training}",
            hint="call network.set_train(False) first",
        )
    return family
