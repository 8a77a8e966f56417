"""From a card to what loading it means: which network, built how, and which checkpoint fills it; decisions only."""

from __future__ import annotations

from mshub_ssd.providers.building import build_network, check_code
from mshub_ssd.providers.fitting import Fitting, fit
from mshub_ssd.providers.packages import config_for, sees
from mshub_ssd.providers.planning import (
    Checkpoint,
    Doubt,
    Obstacle,
    Plan,
    Standing,
    candidates,
    checkpoint_of,
    choose_asset,
    choose_checkpoint,
    choose_network,
    code_of,
    doubts,
    obstacles,
    plan,
    standing,
)
from mshub_ssd.providers.plugins import Provider
from mshub_ssd.providers.recipes import LEVELS, Call, Code, Input, Level, Recipe, code_text
from mshub_ssd.providers.recognise import Fit, fits, owner

__all__ = [
    "LEVELS",
    "Call",
    "Checkpoint",
    "Code",
    "Doubt",
    "Fit",
    "Fitting",
    "Input",
    "Level",
    "Obstacle",
    "Plan",
    "Provider",
    "Recipe",
    "Standing",
    "build_network",
    "candidates",
    "check_code",
    "checkpoint_of",
    "choose_asset",
    "choose_checkpoint",
    "choose_network",
    "code_of",
    "code_text",
    "config_for",
    "doubts",
    "fit",
    "fits",
    "obstacles",
    "owner",
    "plan",
    "sees",
    "standing",
]
