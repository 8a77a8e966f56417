"""From the parameter names of PyTorch's files to MindSpore's: names in, names out.

Two things differ. Batch norms: ``weight``, ``bias``, ``running_mean``, ``running_var`` are ``gamma``, ``beta``,
``moving_mean``, ``moving_variance`` in MindSpore, and the counter ``num_batches_tracked`` has no counterpart. And
OpenMMLab's SSDs were laid out anew in MMDetection 2.14: extra levels and L2 norm moved from the backbone to the
neck, and the head's convolutions into lists. Whole names are matched, so that a file of the new layout, or one
that was converted before, stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["OLD_LAYOUT", "Translation", "translate"]

OLD_LAYOUT = "OpenMMLab's before MMDetection 2.14"

_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_COUNTER = "num_batches_tracked"

# Compiled on first use only: listing models imports this module. A name may carry a wrapper's prefix such as
# ``module.``, which is matched later with the network's own names.
_OLD_EXTRA = r"((?:.*\.)?)backbone\.extra\.(0|[1-9]\d{0,3})\.(weight|bias)"
_OLD_NORM = r"((?:.*\.)?)backbone\.l2_norm\.weight"
_OLD_HEAD = r"((?:.*\.)?)bbox_head\.(cls_convs|reg_convs)\.(\d{1,4})\.(weight|bias)"


@dataclass(frozen=True)
class Translation:
    """What becomes of a file's names.

    Attributes:
        names: MindSpore's name of each of the file's names that has one, in the file's order.
        dropped: The file's names that have none: counters of batch norms.
        layout: `OLD_LAYOUT` if the file has it, else empty.
    """

    names: dict[str, str]
    dropped: tuple[str, ...] = ()
    layout: str = ""


def translate(names: Iterable[str], network: Collection[str] = ()) -> Translation:
    """MindSpore's names for a checkpoint's names; names that are MindSpore's already stay.

    Args:
        names: The file's.
        network: Parameter names of the network, if known. What the network itself spells as PyTorch or the old
            layout would is left alone, and no two names become one.
    """
    listed = list(names)
    known = set(listed)
    old = any(_is_old(name) for name in listed) and not any(_is_old(name) for name in network)
    norms = {name.removesuffix(".running_mean") for name in listed if name.endswith(".running_mean")}
    if any(name.endswith(".running_mean") for name in network):
        norms = set()
    translated: dict[str, str] = {}
    dropped: list[str] = []
    for name in listed:
        stem, _, last = name.rpartition(".")
        if stem in norms and last == _COUNTER:
            dropped.append(name)
            continue
        new = name
        if stem in norms and last in _BATCH_NORM:
            new = f"{stem}.{_BATCH_NORM[last]}"
        elif old:
            new = _new_layout(name)
        # Where the file has the new name as well, both stay, and the match with the network tells.
        translated[name] = name if new in known else new
    return Translation(translated, tuple(dropped), OLD_LAYOUT if old else "")


def _is_old(name: str) -> bool:
    if re.fullmatch(_OLD_NORM, name):
        return True
    match = re.fullmatch(_OLD_EXTRA, name)
    return match is not None and match[2] == "0" and match[3] == "weight"


def _new_layout(name: str) -> str:
    if match := re.fullmatch(_OLD_EXTRA, name):
        level, place = divmod(int(match[2]), 2)
        return f"{match[1]}neck.extra_layers.{level}.{place}.conv.{match[3]}"
    if match := re.fullmatch(_OLD_NORM, name):
        return f"{match[1]}neck.l2_norm.weight"
    if match := re.fullmatch(_OLD_HEAD, name):
        return f"{match[1]}bbox_head.{match[2]}.{match[3]}.0.{match[4]}"
    return name
