"""Model cards held against rules: findings with line and column, fixes, reports for people and for CI.

`mshub_ssd.validate` is the door for programs, ``mshub validate`` the one for people. `engine` runs the rules of
`rules` over `context`s, `formats` writes reports. Pure but for reading cards and writing fixed ones: what the network
says, and what loading a card would do, is handed in (see `online`, `plan`).
"""

from __future__ import annotations

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
    from mshub_ssd.lint.formats.text import describer, statistics, summary
    from mshub_ssd.lint.online import Answers, Question, Reply, cards_to_ask, likeness, questions_of
    from mshub_ssd.lint.plan import CardPlan, Planner, Remark
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
    "formats.text": ("describer", "statistics", "summary"),
    "online": ("Answers", "Question", "Reply", "cards_to_ask", "likeness", "questions_of"),
    "plan": ("CardPlan", "Planner", "Remark"),
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
    "CardPlan",
    "Config",
    "Edit",
    "Finding",
    "Fix",
    "Planner",
    "Question",
    "Remark",
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
    "statistics",
    "summary",
]


__getattr__ = exports(__name__, _HOMES)
