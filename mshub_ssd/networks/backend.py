"""Where the networks take layers and operations from.

They are MindSpore's, with the CPU's speed seen to before anything runs, or what `use_layers` chose before this
module was first imported. A process has one kind.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mshub_ssd.networks.choosing import chosen_layers

__all__ = ["Parameter", "Tensor", "initializer", "mstype", "nn", "no_init_parameters", "ops"]

_layers = chosen_layers()

if TYPE_CHECKING or _layers is None:
    from mindspore import Parameter, Tensor, nn, ops
    from mindspore import dtype as mstype
    from mindspore.common.initializer import initializer

    from mshub_ssd.cpu import ensure_fast_cpu

    try:
        from mindspore.nn.utils import no_init_parameters
    except ImportError:  # other versions of MindSpore: slower, and just as right
        no_init_parameters = contextlib.nullcontext

    ensure_fast_cpu()
else:
    Parameter, Tensor, nn, ops = _layers.Parameter, _layers.Tensor, _layers.nn, _layers.ops
    initializer, mstype = _layers.initializer, _layers.mstype
    no_init_parameters = contextlib.nullcontext
