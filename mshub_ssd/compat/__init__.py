"""The official client's calls (mindspore_hub 2.0.0) on this library, and scripts written for it; docs/migration.md.

`install_as_mindspore_hub` lets ``import mindspore_hub`` find them; ``python -m mshub_ssd.compat SCRIPT`` runs a script
that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.lazy import exports

if TYPE_CHECKING:
    from mshub_ssd.compat.cell_info import CellInfo, ValidMarkdown, auto_rename, sanity_check
    from mshub_ssd.compat.installing import install_as_mindspore_hub
    from mshub_ssd.compat.official import get_hub_dir, hub_list, load, load_weights, set_hub_dir

_HOMES = {
    "CellInfo": "cell_info",
    "ValidMarkdown": "cell_info",
    "auto_rename": "cell_info",
    "sanity_check": "cell_info",
    "install_as_mindspore_hub": "installing",
    "get_hub_dir": "official",
    "hub_list": "official",
    "load": "official",
    "load_weights": "official",
    "set_hub_dir": "official",
}

__all__ = [
    "CellInfo",
    "ValidMarkdown",
    "auto_rename",
    "get_hub_dir",
    "hub_list",
    "install_as_mindspore_hub",
    "load",
    "load_weights",
    "sanity_check",
    "set_hub_dir",
]

__getattr__ = exports(__name__, _HOMES)
