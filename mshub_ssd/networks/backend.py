"""Where the networks take layers and operations from: MindSpore, with the CPU's speed seen to before anything runs."""

from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import initializer

from mshub_ssd.cpu import ensure_fast_cpu

__all__ = ["Parameter", "Tensor", "initializer", "mstype", "nn", "ops"]

ensure_fast_cpu()
