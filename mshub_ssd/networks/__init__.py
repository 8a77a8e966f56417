"""Networks: what is known of each before it is built, its constructor, and Cells with their parameters.

Knowing which networks exist costs neither NumPy nor MindSpore.
"""

from __future__ import annotations

from mshub_ssd.networks.building import (
    build,
    building,
    fill,
    parameter_types,
    require_mindspore,
)
from mshub_ssd.networks.choosing import use_layers
from mshub_ssd.networks.configs import config_from_dict, config_to_dict
from mshub_ssd.networks.constructors import (
    constructor,
    describe,
    find,
    find_leading,
    names,
    normal,
    register_network,
    registered_here,
    require,
)
from mshub_ssd.networks.table import NETWORKS, NetworkSpec, argument_faults, largest_checkpoint

__all__ = [
    "NETWORKS",
    "NetworkSpec",
    "argument_faults",
    "build",
    "building",
    "config_from_dict",
    "config_to_dict",
    "constructor",
    "describe",
    "fill",
    "find",
    "find_leading",
    "largest_checkpoint",
    "names",
    "normal",
    "parameter_types",
    "register_network",
    "registered_here",
    "require",
    "require_mindspore",
    "use_layers",
]
