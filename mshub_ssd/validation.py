"""Model cards held against the linter's rules, which are told what loading each card would do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mshub_ssd import providers, store
from mshub_ssd.errors import IntegrityError, MshubError, UnknownModelError, WeakDigestWarning
from mshub_ssd.lint import CardPlan, Remark, lint, load_config

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.lint import Report
    from mshub_ssd.providers import Checkpoint

__all__ = ["plan_card", "validate"]


def validate(
    *paths: str | Path,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    profile: str | None = None,
    config: str | Path | None = None,
    use_config: bool = True,
) -> Report:
    """Check model cards; changes nothing, and needs neither MindSpore nor the network.

    Runs in this process and thread. ``mshub validate`` does the same on all cores.

    Args:
        paths: Cards and folders of cards.
        select: Codes of the rules to run (``MC013``), or their beginnings, or ``ALL``, instead of a profile's.
        ignore: Codes of rules to leave out.
        profile: ``default`` for what breaks loading, misleads, or the official validator refuses; ``strict`` for house
            style, too.
        config: Configuration file, instead of the nearest ``mshub.toml`` or ``pyproject.toml`` at or above the first
            path.
        use_config: Whether to look for a configuration file at all.

    Returns:
        The report: `Report.findings` in the order of files and lines, and `Report.ok`. ``print`` writes
        what ``mshub validate`` does; a notebook shows the findings, of many the counts.

    Raises:
        UsageError: A path does not exist, or the configuration makes no sense.
    """
    chosen = load_config(
        Path(paths[0]) if paths else None,
        select=select,
        ignore=ignore,
        profile=profile,
        file=None if config is None else Path(config),
        use_file=use_config,
    )
    return lint(paths, chosen, planner=plan_card)


def plan_card(card: Card) -> CardPlan:
    """What loading a card would do, for the linter; nothing but a file beside the card is opened.

    A card that names no `network:`, and means none that is known here, is like most of the hub: nothing is said. Nor
    is anything of code that is not here: findings are the same wherever cards are validated.
    """
    recipe: providers.Recipe | None
    try:
        recipe = providers.choose_network(card)
        if recipe.code is not None and card.network is None:
            return CardPlan()
    except UnknownModelError:
        if card.network is None:
            return CardPlan()
        recipe = None
    obstacles = [_remark(one.field, one.error) for one in providers.obstacles(card)]
    if not any(one.field.startswith("asset") for one in obstacles):
        asset, file_format = providers.choose_asset(card)
        checkpoint = providers.checkpoint_of(card, asset, file_format)
        obstacles += _file_obstacles(f"asset[{card.assets.index(asset)}]", checkpoint)
    if recipe is None:
        return CardPlan(None, tuple(obstacles))
    doubts = tuple(Remark(one.field, one.message, one.hint) for one in providers.doubts(card, recipe))
    return CardPlan(recipe.key, tuple(obstacles), doubts)


def _remark(field: str, error: MshubError) -> Remark:
    hint = error.hint or "correct it"
    if error.expected and len(error.expected) < 200 and not hint.endswith("?"):
        hint = f"{hint}; expected {error.expected}"
    return Remark(field, error.message, hint)


def _file_obstacles(asset: str, checkpoint: Checkpoint) -> Iterator[Remark]:
    """Why the file beside a card would be refused."""
    path = checkpoint.path
    if path is None:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WeakDigestWarning)  # the linter has a rule for it
            store.verify_local(path, checkpoint.sha256, size=checkpoint.size, max_bytes=checkpoint.max_bytes)
    except IntegrityError as error:
        if not path.is_file():
            field = "asset-link"
        elif checkpoint.size not in (None, path.stat().st_size):
            field = "asset-size"
        else:
            field = "asset-sha256"
        # The linter's help is all that people see of the error.
        found = f"the file there is {error.got.partition(';')[0]}: " if error.got else ""
        yield Remark(f"{asset}.{field}", error.message, f"{found}correct {field}, or put the right file there")
    except MshubError as error:  # larger than any checkpoint of that network
        yield Remark(f"{asset}.asset-link", error.message, error.hint)
