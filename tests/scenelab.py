"""Scenes of held-out digits as files, with their annotations in COCO's form."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

__all__ = ["UID", "write_scenes"]

ROOT = Path(__file__).resolve().parents[1]
UID = "mshub/1.0/ssdmobilenetv2_digits"


def write_scenes(folder: Path, count: int) -> Path:
    """Write `count` scenes to ``folder/held_out``; the annotations, ``folder/held_out.json``."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        module = importlib.import_module("digits_scenes")
    finally:
        sys.path.remove(str(ROOT / "examples"))
    path: Path = module.write(folder, "held_out", count)
    return path
