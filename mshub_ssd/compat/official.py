"""`load` and its neighbours, with the official client's arguments, words and kinds of errors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from mshub_ssd import settings
from mshub_ssd.cards import version_key
from mshub_ssd.errors import ArgumentTypeError, CardError, UnknownModelError, UsageError
from mshub_ssd.hub import default_hub

if TYPE_CHECKING:
    import mindspore
    from mindspore import nn

__all__ = ["get_hub_dir", "hub_list", "load", "load_weights", "set_hub_dir"]

_URL = re.compile(r"https?://[^/?#]+/([^?#]+)", re.IGNORECASE)
_ASSETS = "mshub_res/assets/"
_RELEASE = re.compile(r"r[0-9]+(?:\.[0-9]+)+")

T = TypeVar("T")


def load(
    name: str,
    *args: Any,
    source: str = "gitee",
    pretrained: bool = True,
    force_reload: bool = False,
    **kwargs: Any,
) -> nn.Cell:
    """A network, as `mshub_ssd.load` gives it: its checkpoint verified, its parameters matched, in inference mode.

    Args:
        name: A uid, or the address of a card in the official hub; with ``source="local"`` the path of a card.
        args: For the network's constructor.
        source: ``"gitee"``, ``"github"`` or ``"local"``. The cards of the first two are those known here.
        pretrained: Load the card's checkpoint.
        force_reload: Download the checkpoint again.
        kwargs: For the network's constructor.

    Raises:
        ArgumentTypeError: An argument is of the wrong type (a `TypeError`).
        UsageError: The name is neither a uid nor an address, or `source` is another word (a `ValueError`).
        MshubError: As for `mshub_ssd.load`.
    """
    return _named(
        name,
        source,
        lambda known: default_hub().load(
            known, *args, source=source, pretrained=pretrained, force_reload=force_reload, **kwargs
        ),
    )


def load_weights(name: str, source: str = "gitee", force_reload: bool = False) -> dict[str, mindspore.Parameter]:
    """The parameters of a card's checkpoint by name, as `mshub_ssd.load_weights` gives them.

    Args:
        name: As for `load`.
        source: As for `load`.
        force_reload: Download the checkpoint again.

    Raises:
        MshubError: As for `load`.
    """
    return _named(name, source, lambda known: default_hub().load_weights(known, source, force_reload))


def hub_list(version: str | None = None, force_reload: bool = False) -> list[str]:
    """Names of the models, without publisher and version, each once and sorted: ``["ssd300_coco2017", ...]``.

    `mshub_ssd.list_models` gives whole uids, which name one card each.

    Args:
        version: ``"master"`` or None for all; ``"r1.8"`` for the models of MindSpore 1.8 and before.
        force_reload: Accepted; the cards are looked up anew by each call.

    Raises:
        ArgumentTypeError: An argument is of the wrong type (a `TypeError`).
        UsageError: There is no such version (a `ValueError`).
    """
    if not isinstance(version, str | None):
        raise ArgumentTypeError("`version` is neither text nor None", expected='e.g. "r1.8"', got=repr(version)[:200])
    if not isinstance(force_reload, bool):
        raise ArgumentTypeError(
            "`force_reload` is neither True nor False", expected="a bool", got=repr(force_reload)[:200]
        )
    hub = default_hub()
    if version is None or version == "master":
        uids = hub.list_models()
    elif _RELEASE.fullmatch(version):
        newest = version_key(version.removeprefix("r"))[:-2]  # without the mark of its end, so that 1.8.1 is in r1.8
        uids = [
            card.uid
            for card in hub.registry.cards()
            if card.mindspore_version and version_key(card.mindspore_version)[: len(newest)] <= newest
        ]
    else:
        raise UsageError(
            "there is no such version",
            expected='None, "master", or "r" and a version of MindSpore, such as "r1.8"',
            got=repr(version)[:200],
            hint="leave it out for all models",
        )
    return sorted({uid.rpartition("/")[2] for uid in uids})


def set_hub_dir(dir_path: str | os.PathLike[str] | None = None) -> None:
    """Keep downloads in another folder for the rest of this process, whatever ``MSHUB_HOME`` says.

    Args:
        dir_path: The folder, made when something is kept; None for the usual one again.

    Raises:
        ArgumentTypeError: It is no path (a `TypeError`).
        UsageError: There can be no such folder (a `ValueError`).
    """
    settings.set_home(dir_path)


def get_hub_dir() -> str:
    """The folder that downloads are kept in, absolute: of `set_hub_dir`, ``MSHUB_HOME`` or the platform's own."""
    return str(settings.current().home)


def uid_of(name: str) -> str | None:
    """The uid that a name or a card's address means, dots and publisher included; None where it is neither.

    The official client takes the last three parts of an address, and of them what stands before the first dot.
    """
    found = _URL.match(name)
    if found is None:
        parts = name.split("/")
    else:
        before, mark, behind = found[1].partition(_ASSETS)
        parts = (behind if mark else before).removesuffix(".md").split("/")
        if not mark:
            parts = parts[-3:] if len(parts) > 3 else []
    return "/".join(parts) if len(parts) in (3, 4) and all(parts) else None


def _named(name: str, source: str, act: Callable[[str], T]) -> T:
    """Do something with the card that a name means; what cannot be a name is a `ValueError`, as it always was."""
    if not isinstance(name, str):
        raise ArgumentTypeError("a model is named by text", expected="a uid or an address", got=repr(type(name)))
    if source not in ("local", "gitee", "github"):
        raise UsageError("unknown source", expected='"gitee", "github" or "local"', got=repr(source)[:200])
    if source == "local":
        return act(name)
    uid = uid_of(name)
    if uid not in (None, name) and _is_known(uid):
        return act(uid)
    try:
        return act(name)
    except UnknownModelError as error:
        if uid is not None or _is_known(name):  # then it is the network that is not known
            raise
        raise UsageError(
            "this is neither a uid nor a card's address",
            expected="publisher/version/name, or .../mshub_res/assets/publisher/version/name.md",
            got=repr(name)[:200],
            hint=error.hint or "mshub list",
        ) from error


def _is_known(name: str) -> bool:
    try:
        default_hub().info(name, "gitee")
    except UnknownModelError:
        return False
    except CardError:  # whoever wants the card is told
        return True
    return True
