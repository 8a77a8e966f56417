"""Recipes: how a card's network is built, as data: whose code it is, what is called with what, and what was proven.

A recipe of a file is JSON::

    {"path": "official/cv/resnet", "models": ["resnet50"], "commits": ["…", …],
     "call": {"callable": "src.resnet:resnet50", "args": [], "kwargs": {"class_num": 10}},
     "inputs": [{"shape": [1, 3, 224, 224], "type": "float32"}],
     "adapters": ["easydict"], "proven": ["constructs", "runs"]}

An argument is a plain JSON value, or an object with one of these keys in place of what JSON has not:

- ``call``: what a call returns, e.g. a sub-network (``callable``, ``args``, ``kwargs``);
- ``name``: what ``module:name`` is, e.g. a class or a function;
- ``object``: an instance with these attributes; of the class ``of``, made without its constructor, or a namespace;
- ``tuple``, ``items``: a tuple of arguments, a dictionary as a list of pairs; a plain dictionary is ``{"dict": {…}}``;
- ``dtype``: MindSpore's type of that name; ``tensor``: ``{"shape", "type", "value"}``, filled with one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["LEVELS", "Call", "Code", "Input", "Level", "Recipe", "code_text"]

Level = Literal["builtin", "user", "package", "repository"]

LEVELS: tuple[Level, ...] = ("builtin", "user", "package", "repository")
"""Whose code a recipe runs, the most trusted first."""


@dataclass(frozen=True)
class Code:
    """Where a network's code is, if it is neither this library's nor registered.

    Attributes:
        name: A distribution such as ``mindcv``, or a repository such as ``mindspore/models``.
        version: The versions of the distribution that were tried, e.g. ``>=0.3,<0.6``; or the commit, 40 hex digits.
        path: The folder in the repository.
    """

    name: str
    version: str
    path: str = ""


@dataclass(frozen=True)
class Call:
    """What is called to have the network.

    Attributes:
        callable: ``module:name``; the module as the code itself would import it from its folder.
        args: Arguments, as this module's description has them.
        kwargs: Arguments by name.
        argv: What scripts that parse the command line when they are imported shall find there.
    """

    callable: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class Input:
    """One input of a network.

    Attributes:
        shape: Its sides.
        type: Its type, e.g. ``float32``.
    """

    shape: tuple[int, ...]
    type: str = "float32"


@dataclass(frozen=True)
class Recipe:
    """How the network that a card means is built.

    Attributes:
        key: Architecture key; for code of others, a name of the network that tells whose it is.
        reason: What says so.
        arguments: Constructor arguments the card gives.
        classes: Names of the classes the card gives, without background; None for the network's own.
        level: Whose code it is.
        code: Where it is; None for this library's and registered networks.
        call: What is called; None for this library's and registered networks.
        inputs: What the network takes, where that is known.
        adapters: Names of the adapters that the code needs.
        provider: Name of the other package's provider that builds it.
        proven: What was seen: ``constructs``, ``runs``, ``fits`` (a checkpoint's parameters), ``verified`` (outputs).
        named_after: The data set whose classes the network has, where their number is that one's: ``imagenet``,
            ``coco``; nothing where that is not known.
        rename: What the checkpoint calls its parameters, and what this code does: pairs of a regular expression and
            its replacement, tried in order.
        values: Whether constructors compute with their parameters' values, and so must have some.
        pictures: Whether what it makes of pictures holds for the card, where its family is known.
    """

    key: str
    reason: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    level: Level = "builtin"
    code: Code | None = None
    call: Call | None = None
    inputs: tuple[Input, ...] = ()
    adapters: tuple[str, ...] = ()
    provider: str = ""
    proven: frozenset[str] = frozenset()
    named_after: str = ""
    rename: tuple[tuple[str, str], ...] = ()
    values: bool = False
    pictures: bool = True


def code_text(recipe: Recipe) -> str | None:
    """Whose code a recipe runs, in words; None for this library's own and the user's."""
    code = recipe.code
    if code is None:
        return None
    proven = f"; proven: {', '.join(sorted(recipe.proven))}" if recipe.proven else ""
    if recipe.level == "package":
        return f"package {code.name}{code.version}{proven}"
    return f"repository {code.name} at {code.version[:12]}, {code.path}; runs only with your consent{proven}"
