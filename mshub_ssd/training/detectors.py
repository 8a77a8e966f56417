"""The detector that is trained: built for other classes, filled with what fits, and what its loss needs to know."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd import cpu, loading, networks, providers
from mshub_ssd.cards import card_text, parse_card
from mshub_ssd.errors import ArgumentTypeError, UsageError

if TYPE_CHECKING:
    from mindspore import nn

    from mshub_ssd.hub import Hub
    from mshub_ssd.providers import Plan, Recipe

__all__ = ["Detector", "Loss", "Target", "build", "choose", "loss_cell", "target_of"]


Arrays = dict[str, NDArray[Any]]

# At the start nearly every anchor is background: said beforehand, the first losses stay small.
_PRIOR = -4.0
_SMALL = 0.01


@dataclass(frozen=True)
class Loss:
    """What is minimised: sigmoid focal loss, smooth L1 and GIoU of the positive anchors.

    OpenMMLab's detectors have a softmax, and the SSD paper's loss instead.

    Attributes:
        gamma: How fast easy cases fade in the focal loss.
        alpha: Weight of positive anchors in it.
        class_weight: Its weight.
        location_weight: Weight of smooth L1.
        iou_weight: Weight of 1 - GIoU.
    """

    gamma: float = 1.5
    alpha: float = 0.5
    class_weight: float = 3.0
    location_weight: float = 0.5
    iou_weight: float = 1.5


@dataclass(frozen=True)
class Target:
    """What a network's input and anchors are.

    Attributes:
        image_size: Side of the square input in pixels.
        anchors: float32 [N, 4] as (cy, cx, h, w), relative to the input.
        prior_scaling: Factors of the centre's and of the size's offsets.
        mean: Per channel, RGB, subtracted from pixel values of 0 to 255.
        std: Per channel, RGB, that the difference is divided by.
        ignore: Anchors whose best overlap is between this and a half learn nothing of it.
    """

    image_size: int
    anchors: NDArray[np.float32] = field(repr=False)
    prior_scaling: tuple[float, float]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    ignore: float | None = 0.4

    @property
    def fill(self) -> tuple[float, ...]:
        """What lies around a picture that is made smaller."""
        return tuple(round(value) for value in self.mean)


def target_of(config: Any) -> Target:
    """What batches for a network must be.

    Raises:
        UsageError: It is no detector that can be trained here.
    """
    from mshub_ssd.networks.ssd.config import SSDConfig
    from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig

    if isinstance(config, SSDConfig):
        return Target(config.image_size, config.anchors, config.prior_scaling, config.mean, config.std)
    if isinstance(config, OpenMMLabConfig):
        low, high = config.anchors[:, 1::-1], config.anchors[:, 3:1:-1]
        anchors = np.concatenate([(low + high) / 2, high - low], axis=1) / np.float32(config.image_size)
        centre, _, size, _ = config.delta_stds
        return Target(config.image_size, anchors.astype(np.float32), (centre, size), config.mean, config.std, None)
    raise UsageError(
        "this network cannot be trained here",
        expected="a single-shot detector: one whose config is an SSDConfig or an OpenMMLabConfig",
        got=f"a config of the type {type(config).__name__}",
        hint="mshub list --task object-detection shows detectors",
    )


@dataclass
class Detector:
    """A network and what is known of it.

    Attributes:
        plan: What it was made of.
        key: Architecture key.
        arguments: What its constructor needs besides the classes.
        classes: Names of its classes.
        network: The Cell.
        target: What batches must be.
        kept: Classes whose weights were there already.
    """

    plan: Plan
    key: str
    arguments: Mapping[str, Any]
    classes: tuple[str, ...]
    network: nn.Cell
    target: Target
    kept: tuple[str, ...] = ()

    @property
    def config(self) -> Any:
        """The network's configuration."""
        return self.network.config

    def arrays(self) -> Arrays:
        """The network's parameters as they are now."""
        return {parameter.name: parameter.asnumpy().copy() for parameter in self.network.get_parameters()}

    def card_network(self) -> dict[str, Any]:
        """What a card says of it."""
        return {"name": self.key, "num_classes": len(self.classes) + 1, **self.arguments}

    def twin(self, arrays: Mapping[str, NDArray[Any]]) -> nn.Cell:
        """Another Cell of the same kind, with these values, in inference mode."""
        twin = _build(self.key, self.arguments, self.classes)
        networks.fill(twin, arrays)
        twin.set_train(False)
        # By its card other engines know how to write it down.
        fields = {"model-name": self.key, "network": self.card_network(), "classes": list(self.classes)}
        twin.card = parse_card(card_text(self.key, fields), uid=self.plan.card.uid)
        return twin


def choose(hub: Hub, model: object, pretrained: bool) -> Plan:
    """What a model's name means, if it can be trained here; nothing is fetched or built.

    Raises:
        ArgumentTypeError: It is no name.
        UsageError: It is another kind of network.
        MshubError: In another of its kinds: there is no such model.
    """
    if not isinstance(model, str) and not hasattr(model, "__fspath__"):
        raise ArgumentTypeError(
            "a model to train is named by its uid or by its card",
            expected="a text or a path",
            got=repr(type(model))[:200],
            hint="of a network that you hold, save a checkpoint and write a card: mshub new UID --checkpoint FILE",
        )
    plan = hub.plan(model, pretrained=pretrained)  # type: ignore[arg-type]  # it is a path
    recipe = plan.recipe
    spec = networks.NETWORKS.get(recipe.key)
    if recipe.code is not None or recipe.provider or (spec is not None and spec.family not in ("ssd", "openmmlab")):
        raise UsageError(
            f"the network {recipe.key} cannot be trained here",
            where=plan.card.uid,
            expected="a single-shot detector of this library, such as "
            + ", ".join(key for key, one in networks.NETWORKS.items() if one.family == "ssd"),
            hint="mshub list --task object-detection shows detectors",
        )
    return plan


def build(plan: Plan, classes: Sequence[str], hub: Hub, *, input_size: int | None = None, seed: int = 0) -> Detector:
    """Build a plan's network for other classes and fill it with all that fits.

    Rows of the class heads whose class has the same name are kept. Other classes start as the average of all that
    there were.

    Args:
        plan: From `choose`; without a checkpoint the network is initialised at random.
        classes: Names of the classes.
        hub: The session.
        input_size: Side of the input in pixels, where the network lets one choose.
        seed: What random values follow from.

    Raises:
        MshubError: In one of its kinds: the checkpoint cannot be had, or is another network's.
    """
    networks.require_mindspore()
    cpu.ensure_fast_cpu()
    recipe = plan.recipe
    arguments = {name: value for name, value in recipe.arguments.items() if name not in ("num_classes", "classes")}
    if input_size is not None:
        arguments["image_size"] = _checked_size(recipe, input_size)
    names = tuple(map(str, classes))
    if plan.checkpoint is None:
        import mindspore

        mindspore.set_seed(seed)
        network = _build(recipe.key, arguments, names, initialised=True)
        detector = Detector(plan, recipe.key, arguments, names, network, target_of(network.config))
        _set_prior(network, recipe, arguments, names)
        return detector
    arrays = loading.read(plan.checkpoint, settings=hub.settings)
    make = functools.partial(
        providers.build_network, settings=hub.settings, initialised=False, uid=plan.card.uid, where=plan.card.place
    )
    fitting = providers.fit((recipe, *plan.others), arrays, make)
    if not fitting.report.ok:
        raise loading.mismatch(plan, arrays, fitting.report)
    old = fitting.network
    network = _build(recipe.key, arguments, names)
    target = target_of(network.config)
    values, kept = _carried_over(recipe, old, fitting.values, network, arguments, names, seed)
    networks.fill(network, values)
    return Detector(plan, recipe.key, arguments, names, network, target, kept)


def loss_cell(detector: Detector, loss: Loss) -> nn.Cell:
    """The network and its loss as one Cell."""
    from mshub_ssd.networks.ssd.config import SSDConfig
    from mshub_ssd.networks.ssd.learning import FlatOutputs
    from mshub_ssd.networks.ssd.loss import FocalSSDLoss, MultiBoxLoss, WithLoss

    if not isinstance(detector.config, SSDConfig):
        # A few background anchors even where there is nothing: such pictures teach what is no object.
        return WithLoss(FlatOutputs(detector.network), MultiBoxLoss(location_weight=1.0, minimum=8))
    focal = FocalSSDLoss(
        loss.gamma,
        loss.alpha,
        class_weight=loss.class_weight,
        location_weight=loss.location_weight,
        iou_weight=loss.iou_weight,
        anchors=detector.target.anchors,
        prior_scaling=detector.target.prior_scaling,
        beta=0.4,
    )
    return WithLoss(detector.network, focal)


def _build(key: str, arguments: Mapping[str, Any], classes: Sequence[str], *, initialised: bool = False) -> nn.Cell:
    return networks.build(
        key, card={**arguments, "num_classes": len(classes) + 1}, classes=classes, initialised=initialised
    )


def _checked_size(recipe: Recipe, side: int) -> int:
    spec = networks.NETWORKS.get(recipe.key)
    kind = spec.arguments.get("image_size") if spec is not None else None
    if kind is None:
        own = f"; it takes {spec.image_size} x {spec.image_size} pixels" if spec else ""
        sized = [key for key, one in networks.NETWORKS.items() if "image_size" in one.arguments]
        raise UsageError(
            f"the size of the input of {recipe.key} cannot be chosen{own}",
            got=str(side),
            hint=f"leave --input-size out; {' and '.join(sized)} lets one choose",
        )
    if not kind.accepts(side):
        raise UsageError("no such size of input", expected=kind.text, got=repr(side)[:80], hint="e.g. 320")
    return side


def _class_rows(recipe: Recipe, arguments: Mapping[str, Any], count: int) -> dict[str, int]:
    """Parameters of the last layers of the class heads → rows of each for one class."""
    shapes = [
        networks.parameter_types(_build(recipe.key, arguments, [str(i) for i in range(number)]))
        for number in (count, count + 1)
    ]
    rows: dict[str, int] = {}
    for name, (shape, _) in shapes[0].items():
        other = shapes[1][name][0]
        if other != shape:
            rows[name] = shape[0] // (count + 1)
            if shape[1:] != other[1:] or shape[0] != rows[name] * (count + 1) or other[0] != rows[name] * (count + 2):
                raise UsageError(
                    f"the network {recipe.key} has no class heads whose rows could be told apart",
                    got=f"{name} {list(shape)} for {count} classes, {list(other)} for {count + 1}",
                )
    return rows


def _carried_over(
    recipe: Recipe,
    old: nn.Cell,
    values: Mapping[str, NDArray[Any]],
    network: nn.Cell,
    arguments: Mapping[str, Any],
    classes: tuple[str, ...],
    seed: int,
) -> tuple[Arrays, tuple[str, ...]]:
    """The new network's values, and the classes that were there."""
    before = tuple(old.config.class_names)
    last = type(old.config).__name__ == "OpenMMLabConfig"  # the background is the last class there
    per_class = _class_rows(recipe, arguments, len(classes))
    known = {name: index for index, name in enumerate(before)}
    kept = tuple(name for name in classes if name in known)
    rng = np.random.default_rng((seed, 4))
    filled: Arrays = {}
    for name, (shape, dtype) in networks.parameter_types(network).items():
        value = values.get(name)
        if name not in per_class or value is None:
            if value is not None and value.shape == shape:
                filled[name] = value
            continue
        boxes = per_class[name]
        table = np.asarray(value).reshape(boxes, len(before) + 1, *shape[1:])
        background = table[:, -1:] if last else table[:, :1]
        objects = table[:, :-1] if last else table[:, 1:]
        average = objects.mean(axis=1)
        rows = []
        for one in classes:
            if one in known:
                rows.append(objects[:, known[one]])
                continue
            # Alike, they would part slowly.
            noise = rng.normal(0, _SMALL, average.shape) if average.ndim > 1 else 0.0
            rows.append(average + noise)
        table = np.stack(rows, axis=1)
        table = np.concatenate([table, background] if last else [background, table], axis=1)
        filled[name] = np.ascontiguousarray(table.reshape(shape), dtype=dtype)
    return filled, kept


def _set_prior(network: nn.Cell, recipe: Recipe, arguments: Mapping[str, Any], classes: tuple[str, ...]) -> None:
    """Let a fresh network with a sigmoid take everything for background."""
    from mshub_ssd.networks.ssd.config import SSDConfig

    if not isinstance(network.config, SSDConfig):
        return
    import mindspore

    rows = _class_rows(recipe, arguments, len(classes))
    for parameter in network.get_parameters():
        if parameter.name in rows and len(parameter.shape) == 1:
            parameter.set_data(mindspore.Tensor(np.full(parameter.shape, _PRIOR, np.float32)))
