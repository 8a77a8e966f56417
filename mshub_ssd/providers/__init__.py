"""From a card to what loading it means: which network, built how, and which checkpoint fills it; decisions only."""

from __future__ import annotations

from mshub_ssd.providers.planning import (
    Checkpoint,
    Doubt,
    Obstacle,
    Plan,
    Standing,
    checkpoint_of,
    choose_asset,
    choose_checkpoint,
    choose_network,
    doubts,
    obstacles,
    plan,
    standing,
)
from mshub_ssd.providers.recipes import LEVELS, Call, Code, Input, Level, Recipe
from mshub_ssd.providers.recognise import Fit, fits, owner

__all__ = [
    "LEVELS",
    "Call",
    "Checkpoint",
    "Code",
    "Doubt",
    "Fit",
    "Input",
    "Level",
    "Obstacle",
    "Plan",
    "Recipe",
    "Standing",
    "checkpoint_of",
    "choose_asset",
    "choose_checkpoint",
    "choose_network",
    "doubts",
    "fits",
    "obstacles",
    "owner",
    "plan",
    "standing",
]
