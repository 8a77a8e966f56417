"""What runs a network on arrays: MindSpore itself, in the user's mode and on the user's device."""

from __future__ import annotations

from mshub_ssd.engines.mindspore import call, device_target, to_arrays

__all__ = ["call", "device_target", "to_arrays"]
