"""Where the networks take layers and operations from: MindSpore, with the CPU's speed seen to before anything runs."""

from __future__ import annotations

import contextlib

from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import initializer

from mshub_ssd.cpu import ensure_fast_cpu

try:
    from mindspore.nn.utils import no_init_parameters
except ImportError:  # other versions of MindSpore: slower, and just as right
    no_init_parameters = contextlib.nullcontext

__all__ = ["Parameter", "Tensor", "initializer", "mstype", "nn", "no_init_parameters", "ops"]

ensure_fast_cpu()
