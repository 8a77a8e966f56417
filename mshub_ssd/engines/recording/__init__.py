"""The recorder: stand-ins for the few layers and operations that networks use, which write down what they are told.

They have MindSpore's names and arguments, as far as the networks of this library use them, and hold shapes and names
instead of weights. `mshub_ssd.networks.backend` hands them out in a process that chose them (`networks.use_layers`),
so that a network is written once. Losses and training are not here.
"""

from __future__ import annotations

from types import SimpleNamespace

from mshub_ssd.engines.recording import nn, ops
from mshub_ssd.engines.recording.cells import Cell, Parameter, initializer
from mshub_ssd.engines.recording.tape import Tensor, not_recordable, recorded

__all__ = ["Cell", "Parameter", "Tensor", "initializer", "mstype", "nn", "not_recordable", "ops", "recorded"]

mstype = SimpleNamespace(float32="Float32")
