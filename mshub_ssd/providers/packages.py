"""Cards whose networks lie in packages: MindCV's classifiers, MindYOLO's detectors, and what MindOCR has.

What is known of them is data, ``data/packages.jsonl``, which ``benchmarks/capture_packages.py`` writes. Nothing here
imports a package; whoever builds a recipe does. A row holds, besides what a recipe of a file has:

- ``key``, ``package``, ``versions``: what the network is called, where it is, and which versions were tried;
- ``repository``, ``path``, ``commits``, ``configuration``: what says so;
- ``family``, ``settings``, ``named_after``: how pictures are prepared and outputs read, and whose classes they are; the
  family is null where that is not known;
- ``classes``: a parameter, one of its axes, a factor and a rest: its side is factor x classes + rest;
- ``values``: whether constructors compute with their parameters' values;
- ``models``, ``rename``: of a stand-in: what the zoo's cards call the network, and its parameters. MindCV stands in for
  the zoo's code only where the outputs were compared, with equal parameters; that names fit proves no function;
- ``apart``, ``pictures``, ``datasets``: how far the outputs were apart, as a share of the largest; at which commits the
  zoo's own script prepares pictures as `settings` say, and for which data sets;
- ``parameters``, ``digest``: their number, and the SHA-256 of their sorted names and shapes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from mshub_ssd import foreign
from mshub_ssd.providers.recipes import Call, Code, Input, Recipe

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = ["candidates", "config_for", "package_of", "sees", "sized"]

_LINK = re.compile(r"\bmindspore-lab/(mindcv|mindyolo|mindocr)(?:[/#?]|\.git|$)")
_IMAGENET = 1000


def candidates(card: Card) -> list[Recipe]:
    """The networks of packages that a card may mean: none, or one.

    A card's ``network:`` may name one by its key; else its repo-link names the package, and its model-name the
    network.
    """
    if card.network is not None:
        row = _rows().get(card.network.name)
        return [] if row is None else [_recipe(row, card, "the card's `network:`", dict(card.network.arguments))]
    link = _LINK.search(card.repo_link or "")
    if link is None:
        return _stand_ins(card)
    row = _rows().get(f"{link[1]}:{_plain(card.model_name or '')}")
    if row is None or "models" in row:
        return []
    return [_recipe(row, card, f"its repo-link names {link[1]}, and model-name {card.model_name!r} the network", {})]


def _stand_ins(card: Card) -> list[Recipe]:
    """Networks of packages that compute what the zoo's code computes that the card links."""
    link = foreign.parse_repo_link(card.repo_link or "")
    if link is None or link.branch is None:
        return []
    commit = foreign.commit_of(link.repository, link.branch)
    found = []
    for key, row in _rows().items():
        if (
            key == row["key"]
            and (row["repository"], row["path"]) == (link.repository, link.path)
            and commit in row["commits"]
            and _plain(card.model_name or "") in map(_plain, row.get("models", ()))
        ):
            recipe = _recipe(row, card, f"it computes the same as {link.path} at {link.branch}", {})
            fitting = any(_plain(name).startswith(tuple(row["datasets"])) for name in card.datasets)
            found.append(dataclasses.replace(recipe, pictures=commit in row["pictures"] and fitting))
    return found


def package_of(recipe: Recipe) -> tuple[str, str]:
    """The package that has a recipe's code, by the name it is imported and installed by, and its versions."""
    return (recipe.code.name, recipe.code.version) if recipe.code and recipe.level == "package" else ("", "")


def sized(recipe: Recipe, shapes: Mapping[str, Sequence[int]]) -> Recipe:
    """The recipe for as many classes as a checkpoint has, going by the shapes of its parameters.

    What does not tell a number leaves the recipe as it is.
    """
    row, call = _rows().get(recipe.key), recipe.call
    count = None if row is None else _count(row, shapes)
    if call is None or count is None or count == call.kwargs.get("num_classes"):
        return recipe
    return dataclasses.replace(recipe, call=dataclasses.replace(call, kwargs={**call.kwargs, "num_classes": count}))


def sees(recipe: Recipe) -> bool:
    """Whether it is known, or will be once it is built, what a network makes of pictures; nothing is imported.

    Of code of others, only rows tell.
    """
    if recipe.code is None:
        return True
    row = _rows().get(recipe.key)
    return row is not None and row["family"] is not None and recipe.pictures


def config_for(recipe: Recipe, network: Any = None) -> Any:
    """The configuration that a network's family needs; None where it is not known how the network sees pictures.

    Args:
        recipe: How it was built.
        network: The Cell, which tells the number of its classes; None for what the recipe says.

    Returns:
        A `ClassifierConfig` or a `YOLOConfig`.

    Raises:
        UsageError: The card names more or fewer classes than the network has.
    """
    row = _rows().get(recipe.key)
    if row is None or row["family"] is None or not recipe.pictures:
        return None
    count = None
    if network is not None:
        count = _count(row, {item.name: item.shape for item in network.get_parameters()})
    if count is None:
        arguments = {**(recipe.call.kwargs if recipe.call else {}), **recipe.arguments}
        count = arguments.get("num_classes", row["settings"]["num_classes"])
    known: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row["settings"].items()}
    known |= {"name": recipe.key, "num_classes": count}
    if row["family"] == "classifier":
        known.setdefault("resize_to", "shorter side")
    if row["family"] == "yolo":
        from mshub_ssd.networks import yolo

        return yolo.YOLOConfig(
            **known, class_names=yolo.class_names(count, recipe.classes, coco=recipe.named_after == "coco")
        )
    from mshub_ssd.networks import classification

    names = recipe.classes if recipe.classes is not None else _classifier_names(count, recipe.named_after)
    return classification.ClassifierConfig(
        **known,
        class_names=classification.class_names(count, names),
        input_sizes=(known["image_size"],),
    )


def _classifier_names(count: int, named_after: str) -> tuple[str, ...]:
    from mshub_ssd.networks.classification import imagenet_classes

    names = imagenet_classes() if named_after == "imagenet" and count in (_IMAGENET, _IMAGENET + 1) else ()
    # With 1001 classes MindCV trains on labels of 0 to 999 all the same: the last one means nothing.
    return (*names, *(f"class {number}" for number in range(len(names), count)))


def _recipe(row: Mapping[str, Any], card: Card, reason: str, arguments: dict[str, Any]) -> Recipe:
    call = row["call"]
    after = row["named_after"]
    return Recipe(
        key=row["key"],
        reason=reason,
        arguments=arguments,
        classes=card.classes,
        level="package",
        code=Code(row["package"], row["versions"]),
        call=Call(call["callable"], tuple(call["args"]), call["kwargs"]),
        inputs=tuple(Input(tuple(each["shape"]), each["type"]) for each in row["inputs"]),
        adapters=tuple(row.get("adapters", ())),
        proven=frozenset(row["proven"]),
        named_after=after if after and any(_plain(name).startswith(after) for name in card.datasets) else "",
        rename=tuple((pattern, replacement) for pattern, replacement in row.get("rename", ())),
        values=row.get("values", False),
        # Of a stand-in that is named by its key, nobody knows whose weights it gets.
        pictures="models" not in row,
    )


def _count(row: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> int | None:
    """The number of classes that parameters have; None where they do not tell."""
    name, axis, factor, rest = row.get("classes") or ("", 0, 1, 0)
    # Checkpoints of training runs may have a wrapper's name before each.
    found = [shapes[name]] if name in shapes else [shape for key, shape in shapes.items() if key.endswith(f".{name}")]
    if len(found) != 1 or len(found[0]) <= axis:
        return None
    count, left = divmod(int(found[0][axis]) - rest, factor)
    return None if left or count < 1 else count


@functools.cache
def _rows() -> dict[str, dict[str, Any]]:
    """What is known of networks, by their keys; the name after the colon also without signs, as cards are compared."""
    text = (resources.files("mshub_ssd.providers") / "data" / "packages.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    plain = {f"{row['package']}:{_plain(row['key'].partition(':')[2])}": row for row in rows}
    return {**plain, **{row["key"]: row for row in rows}}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
