"""Rules about what loading the card would do, as far as whoever runs the linter works that out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mshub_ssd.cards import DIGEST, MapNode, Node, Scalar, SeqNode
from mshub_ssd.lint.context import CardContext, Violation
from mshub_ssd.lint.plan import Remark
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.rules.assets import link_fault

_STEP = re.compile(r"\[([0-9]+)\]|([^.\[\]]+)")


@rule(
    "MC053",
    "does-not-load",
    "error",
    why="`mshub.load` refuses the card before it has looked at a single weight: nobody can use the model.",
    bad="network: {name: ssd_mobilenetV2, num_clases: 11}",
    good="network: {name: ssd_mobilenetV2, num_classes: 11}",
)
def does_not_load(context: CardContext) -> Iterator[Violation]:
    """A card that `mshub.load` would refuse, for a reason that the card tells.

    That is a `network:` that is not known here; arguments that the network does not take; class names that do not fit
    the number of classes; no file that can be loaded; a file beside the card that is not the one it promises. Cards
    that mean no network of this library are left alone, if they do not say `network:`.
    """
    plan = context.plan
    for remark in plan.obstacles if plan else ():
        if not _is_told(context, remark):
            yield _violation(context, remark)


@rule(
    "MC054",
    "hardly-meant",
    "warning",
    why="The model loads, and is not what the card describes: birds are called toothbrushes, or the file turns out to "
    "belong to another network.",
    bad="train-dataset: birds\nnetwork: ssd300",
    good="train-dataset: birds\nnetwork: {name: ssd300, num_classes: 3}\nclasses: [robin, wren]",
)
def hardly_meant(context: CardContext) -> Iterator[Violation]:
    """What `mshub.load` would do, and the card hardly means.

    The network's own class names for another data set; a file that is named after another network; a module-type or
    input-shape that is not the network's; two classes of one name. Only for networks of this library.
    """
    plan = context.plan
    for remark in plan.doubts if plan else ():
        yield _violation(context, remark)


def _is_told(context: CardContext, remark: Remark) -> bool:
    """Whether a rule about the field says the same: MC012 and MC013 of digests, MC029 of links."""
    found = re.fullmatch(r"asset\[([0-9]+)\]\.(asset-sha256|asset-link)", remark.field)
    asset = next((one for one in context.assets if found and one.index == int(found[1])), None)
    if found is None or asset is None:
        return False
    if found[2] == "asset-sha256":
        digest = asset.value("asset-sha256")
        return digest is None or not DIGEST.fullmatch(digest.lower())
    return link_fault(context, asset) is not None


def _violation(context: CardContext, remark: Remark) -> Violation:
    return Violation(*_place(context, remark.field), remark.message, remark.hint)


def _place(context: CardContext, field: str) -> tuple[int, int]:
    """Where a field stands; the nearest part of it that does, else the head of the card."""
    place = context.head
    node: Node | None = context.source.root
    field, of_key, _ = field.partition(":key")
    for step in _STEP.finditer(field):
        if step[1] and isinstance(node, MapNode) and field.startswith("asset"):
            continue  # `asset` without dashes is read as its only item
        if step[1] and isinstance(node, SeqNode) and int(step[1]) < len(node.items):
            node = node.items[int(step[1])]
            place = (node.start, node.start + 1)
        elif step[2] and isinstance(node, MapNode):
            found = next(((key, value) for key, value in node.items if key.text == step[2]), None)
            if found is None:
                break
            key, node = found
            shown = isinstance(node, Scalar) and node.text and not (of_key and field.endswith(key.text))
            place = (node.start, node.end) if shown else (key.start, key.end)
        else:
            break
    return place
