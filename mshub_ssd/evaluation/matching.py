"""Which class of a model is which class of a data set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mshub_ssd.errors import UsageError
from mshub_ssd.terminal import brief, counted

__all__ = ["MATCHES", "Matched", "listed", "match_classes", "plain_name"]

MATCHES = ("name", "order")


class Matched(NamedTuple):
    """Which class is which.

    Attributes:
        categories: 0-based label of the model → id of the category.
        notes: What is worth knowing about it.
    """

    categories: dict[int, int]
    notes: tuple[str, ...]


def match_classes(
    classes: Sequence[str], categories: Mapping[int, str], needed: Collection[int], match: str = "name"
) -> Matched:
    """Find the category of each class of a model.

    Args:
        classes: The model's, by label.
        categories: Category's id → its name.
        needed: Ids that the model must know: of categories that objects have. Others may be strange to it.
        match: ``name``: capitals, and blanks for underscores and dashes, do not count where the exact name is not
            there. ``order``: the first class is the category with the lowest id, and so on.

    Raises:
        UsageError: The model does not know a category that is needed; for ``order`` there are not as many of both.
    """
    if match not in MATCHES:
        raise UsageError("match says how classes find each other", expected='"name" or "order"', got=repr(match)[:80])
    if match == "order":
        return _by_order(classes, categories)
    found: dict[int, int] = {}
    for form in (str, plain_name):
        if len(found) == len(classes):
            break
        taken, places = set(found.values()), dict[str, list[int]]()
        for number, name in categories.items():
            if number not in taken:
                places.setdefault(form(name), []).append(number)
        for label, name in enumerate(classes):
            numbers = places.get(form(name), []) if label not in found else []
            # Exports often have a second category of that name, which no object has.
            used = [number for number in numbers if number in needed]
            numbers = used or numbers[:1]
            if len(numbers) > 1:
                raise UsageError(
                    "two categories have one name",
                    where="categories",
                    got=f"{brief(name, 60)!r} with the ids {numbers[0]} and {numbers[1]}",
                    hint="give each a name of its own, or make them one",
                )
            if numbers:
                found[label] = numbers[0]
    unknown = [categories[number] for number in sorted(set(needed) - set(found.values()))]
    if unknown:
        near = [close[0] for name in unknown[:1] for close in [difflib.get_close_matches(name, classes, n=1)] if close]
        same = len(classes) == len(categories)
        raise UsageError(
            f"the model knows no class of the name of {counted(len(unknown), 'category', 'categories')}",
            expected=f"names that it knows: {listed(classes)}" + (f"; did you mean {near[0]!r}?" if near else ""),
            got=listed(unknown),
            hint=("if the order is the same, match='order' (--match order); or " if same else "")
            + "evaluate those that it knows: categories=[...] (--category NAME)",
        )
    return Matched(found, tuple(_notes(classes, categories, found)))


def plain_name(name: str) -> str:
    """A name without what people write in different ways."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few of some names, and how many more there are."""
    shown = ", ".join(brief(name, 40) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _by_order(classes: Sequence[str], categories: Mapping[int, str]) -> Matched:
    if len(classes) != len(categories):
        raise UsageError(
            "classes and categories cannot be matched by their order: there are not as many of both",
            expected=counted(len(classes), "category", "categories"),
            got=counted(len(categories), "category", "categories"),
            hint="match='name' (--match name) takes their names",
        )
    numbers = sorted(categories)
    other = sum(plain_name(name) != plain_name(categories[id_]) for name, id_ in zip(classes, numbers, strict=True))
    note = f"classes were matched by their order; {other} of {len(classes)} have another name in the annotations"
    return Matched(dict(enumerate(numbers)), (note,))


def _notes(classes: Sequence[str], categories: Mapping[int, str], found: Mapping[int, int]) -> list[str]:
    notes = []
    missing = [name for label, name in enumerate(classes) if label not in found]
    if missing:
        notes.append(
            f"{counted(len(missing), 'class', 'classes')} of the model "
            f"{'is' if len(missing) == 1 else 'are'} not in the annotations, and what it finds of them does not count: "
            f"{listed(missing)}"
        )
    if different := [f"{classes[a]} = {categories[b]}" for a, b in found.items() if classes[a] != categories[b]]:
        notes.append(f"written differently, and taken for the same: {listed(different)}")
    return notes
