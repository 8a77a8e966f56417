"""Model cards held against rules: findings with line and column, fixes, reports for people and for CI.

`validate` is the door for programs, ``mshub validate`` the one for people. `engine` runs the rules of `rules` over
`context`s, `formats` writes reports. Pure but for reading cards and writing fixed ones: what the network says is
handed in (see `rules.online`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mshub_ssd.lazy import exports

if TYPE_CHECKING:
    from mshub_ssd.lint.baseline import Baseline
    from mshub_ssd.lint.config import Config, load_config
    from mshub_ssd.lint.context import CardContext
    from mshub_ssd.lint.discovery import discover
    from mshub_ssd.lint.engine import lint
    from mshub_ssd.lint.explain import explained, field_reference, find_rules, rule_facts, rule_reference, rule_table
    from mshub_ssd.lint.finding import Edit, Finding, Fix, Severity
    from mshub_ssd.lint.formats import FORMATS, render
    from mshub_ssd.lint.formats.text import describer, summary
    from mshub_ssd.lint.online import Answers, Question, Reply, cards_to_ask, likeness, questions_of
    from mshub_ssd.lint.report import Report, Unreadable
    from mshub_ssd.lint.rules import all_rules
    from mshub_ssd.lint.schema import front_matter_schema

_NAMES = {
    "baseline": ("Baseline",),
    "config": ("Config", "load_config"),
    "context": ("CardContext",),
    "discovery": ("discover",),
    "engine": ("lint",),
    "explain": ("explained", "field_reference", "find_rules", "rule_facts", "rule_reference", "rule_table"),
    "finding": ("Edit", "Finding", "Fix", "Severity"),
    "formats": ("FORMATS", "render"),
    "formats.text": ("describer", "summary"),
    "online": ("Answers", "Question", "Reply", "cards_to_ask", "likeness", "questions_of"),
    "report": ("Report", "Unreadable"),
    "rules": ("all_rules",),
    "schema": ("front_matter_schema",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "FORMATS",
    "Answers",
    "Baseline",
    "CardContext",
    "Config",
    "Edit",
    "Finding",
    "Fix",
    "Question",
    "Reply",
    "Report",
    "Severity",
    "Unreadable",
    "all_rules",
    "cards_to_ask",
    "describer",
    "discover",
    "explained",
    "field_reference",
    "find_rules",
    "front_matter_schema",
    "likeness",
    "lint",
    "load_config",
    "questions_of",
    "render",
    "rule_facts",
    "rule_reference",
    "rule_table",
    "summary",
    "validate",
]


def validate(
    *paths: str | Path,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    config: str | Path | None = None,
    use_config: bool = True,
) -> Report:
    """Check model cards; changes nothing, and needs neither MindSpore nor the network.

    Runs in this process and thread. ``mshub validate`` does the same on all cores.

    Args:
        paths: Cards and folders of cards.
        select: Codes of the rules to run (``MC013``), or their beginnings, or ``ALL``; by default those of
            the profile ``default``.
        ignore: Codes of rules to leave out.
        config: Configuration file, instead of the nearest ``mshub.toml`` or ``pyproject.toml`` at or above the first
            path.
        use_config: Whether to look for a configuration file at all.

    Returns:
        The report: `Report.findings` in the order of files and lines, and `Report.ok`. Its text is what
        ``mshub validate`` prints.

    Raises:
        UsageError: A path does not exist, or the configuration makes no sense.
    """
    from mshub_ssd.lint.config import load_config
    from mshub_ssd.lint.engine import lint

    chosen = load_config(
        Path(paths[0]) if paths else None,
        select=select,
        ignore=ignore,
        file=None if config is None else Path(config),
        use_file=use_config,
    )
    return lint(paths, chosen)


__getattr__ = exports(__name__, _HOMES)
